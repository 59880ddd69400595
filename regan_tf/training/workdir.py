"""A run's directory: its configuration, metrics, checkpoints. Whatever matters is written under
another name, then renamed.
"""

import contextlib
import fcntl
import tempfile
from pathlib import Path

from regan_tf.cli import command, config_flags
from regan_tf.config import UserError
from regan_tf.files import first_line, write_atomically, writing
from regan_tf.training import checkpoints, records

SAMPLES = "samples.txt"
CALLS, BEST = "calls.jsonl", "best_sequences.tsv"
VOCABULARY = "vocabulary.json"
_LOCK = ".lock"


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
        return bool(checkpoints.saved(self.path))

    def save(self, checkpoint, position):
        """Writes a checkpoint, see `checkpoints.save`."""
        checkpoints.save(self.path, checkpoint, position)

    def go_on_from(self, checkpoint, keys):
        """Drops what is newer than a checkpoint: other checkpoints, and metrics.

        Args:
          checkpoint: its directory; None: the run is at its start.
          keys: of the records up to there, as `records.read_of` takes them.
        """
        kept = records.read_of(self.path, keys)
        if checkpoint:
            checkpoints.drop_after(self.path, checkpoint)
        lines = "".join(map(records.to_line, kept))
        write_atomically(self.path / records.RECORDS, lines)

    def append_metrics(self, record):
        """Adds one line to metrics.jsonl, or raises NotWrittenError and adds nothing."""
        _append(self.path / records.RECORDS, records.to_line(record))

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


def call_lines(path):
    """The lines of a run's calls.jsonl, read as they are asked for; none if it is not there."""
    with (
        contextlib.suppress(FileNotFoundError),
        open(Path(path) / CALLS, encoding="utf-8") as file,
    ):
        yield from file


@contextlib.contextmanager
def reading_calls(path):
    """Makes what fails in it, as calls.jsonl is read, a UserError that names the file."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{Path(path) / CALLS} cannot be read: {first_line(error)}") from None


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
    with writing(path / _LOCK):
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
