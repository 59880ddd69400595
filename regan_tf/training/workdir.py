"""A run's directory: its configuration, metrics, checkpoints. Whatever matters is written under
another name, then renamed.
"""

import contextlib
import fcntl
import json
import math
import os
import shutil
import tempfile
from pathlib import Path

import tensorflow as tf

from regan_tf.cli import command, config_flags
from regan_tf.config import UserError
from regan_tf.files import first_line, write_atomically, writing

RECORDS, SUMMARY, SAMPLES = "metrics.jsonl", "summary.json", "samples.txt"
CALLS, BEST = "calls.jsonl", "best_sequences.tsv"
VOCABULARY = "vocabulary.json"
_LOCK = ".lock"
_KEPT_CHECKPOINTS = 2
_REPLACED = "-replaced"  # the name of a checkpoint while another takes its place has this
_EARLIER_LACK = {"prior", "reward"}  # parts of a checkpoint that earlier versions did not write


class Workdir:
    """The directory of one run, held from its making until the end of a `with`.

    Raises UserError if it cannot be written, is in use by another process (with `wait`, that is
    waited for), or holds a run of another configuration.
    """

    def __init__(self, path, config, wait=False):
        self.path = Path(path)
        _require_writable(self.path)
        self._lock = _locked(self.path, wait)
        try:
            _require_same_run(self.path, config)
        except UserError:
            self._lock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._lock.close()

    def record(self, config, vocabulary):
        """Writes configuration and vocabulary, a text.Vocabulary: from here on the directory is
        this run's.
        """
        # First what makes the directory a run's: a kill between the two leaves one that goes on.
        write_atomically(self.path / config_flags.FILE_NAME, config_flags.to_text(config))
        write_atomically(self.path / VOCABULARY, vocabulary.to_json() + "\n")

    def has_checkpoint(self):
        """Whether there is one to go on from."""
        return bool(_checkpoints(self.path))

    def save(self, checkpoint, position):
        """Writes a checkpoint and drops the oldest. position: what its name counts; it must grow.
        Raises NotWrittenError.
        """
        directory = self.path / "checkpoints"
        final = directory / f"{position:08d}"
        with writing(final):
            directory.mkdir(exist_ok=True)
            _drop_half_written(directory)
            temporary = tempfile.mkdtemp(prefix=".writing-", dir=directory)
            try:
                checkpoint.write(os.path.join(temporary, "state"))
                replaced = final.with_name(final.name + _REPLACED)
                if final.exists():  # it counts until the other is there
                    shutil.rmtree(replaced, ignore_errors=True)
                    os.rename(final, replaced)
                os.rename(temporary, final)
                shutil.rmtree(replaced, ignore_errors=True)
            except (OSError, tf.errors.OpError):
                _drop_half_written(directory)
                raise
        for old in _checkpoints(self.path)[:-_KEPT_CHECKPOINTS]:
            shutil.rmtree(old, ignore_errors=True)

    def cut_metrics(self, keep):
        """Drops the metrics lines for which keep(record) is false, and a half-written last line;
        returns those kept.
        """
        records = [r for r in read_metrics(self.path) if keep(r)]
        write_atomically(self.path / RECORDS, "".join(_json_line(r) for r in records))
        return records

    def append_metrics(self, record):
        """Adds one line to metrics.jsonl, or raises NotWrittenError and adds nothing."""
        _append(self.path / RECORDS, _json_line(record))

    def append_calls(self, lines):
        """Adds lines to calls.jsonl, or raises NotWrittenError and adds nothing."""
        _append(self.path / CALLS, lines)

    def cut_calls(self):
        """Drops a half-written last line of calls.jsonl."""
        with contextlib.suppress(FileNotFoundError), open(self.path / CALLS, "r+b") as file:
            whole = sum(len(line) for line in file if line.endswith(b"\n"))
            file.truncate(whole)

    def write(self, name, text):
        """Replaces a file of the run, atomically."""
        write_atomically(self.path / name, text)


def restore(path, checkpoint, flag="workdir"):
    """Loads a run's newest checkpoint into `checkpoint`; returns whether there was one. Raises
    UserError, naming the flag, if it is damaged, or is not of the same things.
    """
    saved = _checkpoints(path)
    if not saved:
        return False
    with _reading(saved[-1], path, flag):
        lacking = _EARLIER_LACK.intersection(vars(checkpoint)) - _parts(saved[-1])
        if not lacking:
            checkpoint.read(str(saved[-1] / "state")).assert_consumed()
    if lacking:
        raise UserError(
            f"--{flag}={path} was made by an earlier version, which kept neither its prior nor its "
            "calls: it cannot go on; it can be sampled and exported, and --start_from takes it"
        )
    return True


def require_checkpoint(path, checkpoint, flag="workdir"):
    """Loads a run's newest checkpoint as `restore` does; raises UserError if there is none, too."""
    if not restore(path, checkpoint, flag):
        raise UserError(f"--{flag}={path} holds no checkpoint yet")


def restore_parts(path, parts, flag="workdir"):
    """Loads parts of a run's newest checkpoint, which may hold more: variables by the part's name.
    What an earlier version did not keep stays as it is. Raises UserError, naming the flag, if there
    is no checkpoint, it is damaged, or it lacks another part.
    """
    saved = _checkpoints(path)
    if not saved:
        raise UserError(f"--{flag}={path} holds no checkpoint yet")
    with _reading(saved[-1], path, flag):
        lacking = parts.keys() - _parts(saved[-1])
        if not lacking - _EARLIER_LACK:
            there = {name: variables for name, variables in parts.items() if name not in lacking}
            found = tf.train.Checkpoint(**there).read(str(saved[-1] / "state"))
            found.expect_partial().assert_existing_objects_matched()
            return
    raise UserError(
        f"--{flag}={path}: checkpoint {saved[-1]} cannot be read: it has no {', '.join(lacking)}"
    )


@contextlib.contextmanager
def _reading(saved, path, flag):
    try:
        yield
    except (tf.errors.OpError, ValueError, LookupError, RuntimeError, AssertionError) as error:
        raise UserError(
            f"--{flag}={path}: checkpoint {saved} cannot be read ({first_line(error)}); "
            "delete that directory to go on from the one before it, or from the start"
        ) from None


def _parts(saved):
    """Names of the parts that a checkpoint holds."""
    return {name.split("/")[0] for name, _ in tf.train.list_variables(str(saved / "state"))}


def _drop_half_written(directory):
    for left_over in directory.glob(".writing-*"):
        shutil.rmtree(left_over, ignore_errors=True)


def _checkpoints(path):
    """The oldest first, and one that is being replaced before what replaces it."""
    found = [p for p in Path(path).glob("checkpoints/*") if _position(p).isdigit()]
    return sorted(found, key=lambda p: (_position(p), not p.name.endswith(_REPLACED)))


def _position(checkpoint):
    return checkpoint.name.removesuffix(_REPLACED)


def read_metrics(path):
    """The records of a run's metrics.jsonl; a last line cut short by a kill is left out."""
    records = []
    with (
        contextlib.suppress(FileNotFoundError),
        open(Path(path) / RECORDS, encoding="utf-8") as file,
    ):
        for line in file:
            with contextlib.suppress(json.JSONDecodeError):
                records.append(json.loads(line))
    return records


def call_lines(path):
    """The lines of a run's calls.jsonl, read as they are asked for; none if it is not there."""
    with (
        contextlib.suppress(FileNotFoundError),
        open(Path(path) / CALLS, encoding="utf-8") as file,
    ):
        yield from file


def resume_command(path, config):
    """What to type to go on with the run and to export it as was asked for."""
    arguments = [
        f"--flagfile={Path(path) / config_flags.FILE_NAME}",
        f"--workdir={path}",
        *config_flags.export_flags(config),
    ]
    return command.typed("main", *arguments)


def _require_writable(path):
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(
            f"--workdir={path} cannot be written: {error.strerror}; give a directory that can"
        ) from None


def _locked(path, wait):
    lock = open(path / _LOCK, "a")  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UserError(
            f"--workdir={path} is in use by another process: wait for it, or give another directory"
        ) from None
    return lock


def _require_same_run(path, config):
    if not (path / config_flags.FILE_NAME).exists():
        if any(
            not p.name.startswith(".") for p in path.iterdir()
        ):  # a kill may leave a temporary file
            raise UserError(
                f"--workdir={path} is not empty and holds no run: give a new directory, or one of "
                "a run"
            )
        return
    config_flags.require_same(config, config_flags.read_run(path), path)


def _append(path, lines):
    data = lines.encode()
    with writing(path), open(path, "ab", buffering=0) as file:
        end = file.tell()
        try:
            while data:
                data = data[file.write(data) :]
        except OSError:
            file.truncate(end)
            raise


def _json_line(record):
    finite = {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()
    }
    return json.dumps(finite) + "\n"
