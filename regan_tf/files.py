"""Files that are whole or not there, and what is said where one cannot be written."""

import contextlib
import os
from pathlib import Path

import tensorflow as tf

from regan_tf.config import UserError


class NotWrittenError(UserError):
    """Something cannot be written, as where the disk is full: the message names the file and the
    cause.
    """


@contextlib.contextmanager
def writing(path):
    """Makes what fails in it, Python's or TensorFlow's writing of a file or directory, a
    NotWrittenError that names `path`.
    """
    try:
        yield
    except OSError as error:
        raise NotWrittenError(
            f"{path} cannot be written: {error.strerror or first_line(error)}"
        ) from None
    except tf.errors.OpError as error:  # "<file>; No space left on device [Op:SaveV2]"
        cause = error.message.partition("\n")[0].rsplit("; ", 1)[-1].partition(" [Op:")[0]
        raise NotWrittenError(f"{path} cannot be written: {cause[:160]}") from None


def write_atomically(path, text):
    """Replaces the file's contents at once: a reader, or a kill, sees the old or the new. Raises
    NotWrittenError.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def first_line(error):
    """What an error says, in one short line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


def typed_line(error):
    """An error in one short line, with its type: a KeyError says no more than the key."""
    return f"{type(error).__name__}: {first_line(error)}"
