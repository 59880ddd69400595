"""Checkpoints of a run: each a directory, which appears when it is whole. The newest that serves is
read; one that is damaged, or whose run lacks something, leaves its place to the one before it.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from regan_tf.config import UserError
from regan_tf.files import first_line, writing

_KEPT = 2
_REPLACED = "-replaced"  # the name of a checkpoint while another takes its place has this
_EARLIER_LACK = {"prior", "reward"}  # parts of a checkpoint that earlier versions did not write
_DAMAGED = (tf.errors.OpError, OSError, ValueError, LookupError, RuntimeError, AssertionError)


class _EarlierVersionError(UserError):
    """A checkpoint is whole, but an earlier version's: an older one is no better."""


def save(path, checkpoint, position):
    """Writes a checkpoint of the run in a directory and drops the oldest. position: what its name
    counts; it must grow. Raises NotWrittenError.
    """
    directory = Path(path) / "checkpoints"
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
    for old in saved(path)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def restore(path, checkpoint, flag="workdir", require: Callable[[], object] = lambda: None):
    """Loads a run's newest checkpoint that serves into `checkpoint`.

    Args:
      path: the run's directory.
      checkpoint: a tf.train.Checkpoint.
      flag: that names the directory.
      require: called when one is loaded: raises UserError if the run lacks something to go on from
        there.
    Returns:
      Its path; None if there is none at all.
    Raises:
      UserError: none serves, or it is of an earlier version or of other things.
    """

    def load(directory):
        if _EARLIER_LACK.intersection(vars(checkpoint)) - _parts(directory):
            raise _EarlierVersionError(
                f"--{flag}={path} was made by an earlier version, which kept neither its prior nor "
                "its calls: it cannot go on; it can be sampled and exported, and --start_from "
                "takes it"
            )
        checkpoint.read(str(directory / "state")).assert_consumed()
        require()

    return _newest(path, flag, load)


def require_checkpoint(path, checkpoint, flag="workdir"):
    """Loads a run's newest checkpoint as `restore` does; raises UserError if there is none, too."""
    if not restore(path, checkpoint, flag):
        raise UserError(f"--{flag}={path} holds no checkpoint yet")


def restore_parts(path, parts, flag="workdir"):
    """Loads parts of a run's newest checkpoint that serves, which may hold more: variables by the
    part's name. What an earlier version did not keep stays as it is. Raises UserError, naming the
    flag, if there is no checkpoint, or none serves.
    """

    def load(directory):
        lacking = parts.keys() - _parts(directory)
        if lacking - _EARLIER_LACK:
            raise LookupError(f"it has no {', '.join(lacking)}")
        there = {name: variables for name, variables in parts.items() if name not in lacking}
        found = tf.train.Checkpoint(**there).read(str(directory / "state"))
        found.expect_partial().assert_existing_objects_matched()

    if not _newest(path, flag, load):
        raise UserError(f"--{flag}={path} holds no checkpoint yet")


def _newest(path, flag, load):
    """The newest checkpoint that serves: for which load(directory) does not raise; None if there is
    none at all. Says so where it is not the newest of all. Raises UserError if none serves.
    """
    complaint = ""
    for directory in reversed(saved(path)):
        try:
            load(directory)
        except _EarlierVersionError:
            raise
        except (*_DAMAGED, UserError) as error:
            complaint = complaint or _complaint(directory, error)
            continue
        if complaint:
            print(f"warning: {complaint}: the one before it is taken", file=sys.stderr)
        return directory
    if complaint:
        raise UserError(
            f"--{flag}={path}: {complaint}, and there is none before it that can; put back what is "
            f"damaged, or drop {Path(path) / 'checkpoints'}: the run then starts again, to the "
            "same numbers"
        )
    return None


def _complaint(directory, error):
    if isinstance(error, UserError):
        return f"checkpoint {directory} cannot serve: {error}"
    return f"checkpoint {directory} cannot be read ({first_line(error)})"


def drop_after(path, kept):
    """Drops those that are newer than `kept`, one of them: the run comes to them again."""
    for newer in saved(path)[saved(path).index(kept) + 1 :]:
        shutil.rmtree(newer, ignore_errors=True)


def saved(path):
    """The directories of a run's checkpoints: the oldest first, and one that is being replaced
    before what replaces it.
    """
    found = [p for p in Path(path).glob("checkpoints/*") if _position(p).isdigit()]
    return sorted(found, key=lambda p: (_position(p), not p.name.endswith(_REPLACED)))


def _position(directory):
    return directory.name.removesuffix(_REPLACED)


def _parts(directory):
    """Names of the parts that a checkpoint holds."""
    return {name.split("/")[0] for name, _ in tf.train.list_variables(str(directory / "state"))}


def _drop_half_written(directory):
    for left_over in directory.glob(".writing-*"):
        shutil.rmtree(left_over, ignore_errors=True)
