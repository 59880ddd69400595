"""Files of flags, and of sweeps, found by name: `--flagfile=recipe_15` works from everywhere."""

import os
import re
from pathlib import Path

import regan_tf
from regan_tf.config import UserError

_FLAGFILE = re.compile(r"--?flagfile(?:=(.*))?")
_PACKAGE = Path(regan_tf.__file__).parent
# Inside an installed package, or beside it in a checkout.
_IN_WHEEL, _IN_SOURCES = _PACKAGE / "configs", _PACKAGE.parent / "configs"
_CONFIGURATIONS = _IN_WHEEL if _IN_WHEEL.is_dir() else _IN_SOURCES


def expanded(arguments, directory=None, within=()):
    """The arguments of a command, each --flagfile replaced by the flags in it.

    In a file a line is a flag, blank, or a comment after # or //; another --flagfile in it is
    looked for beside it first.

    Args:
      arguments: a list of strings.
      directory: where files are looked for first.
      within: paths of the files that these arguments stand in.
    Raises:
      UserError: a file is not there, cannot be read, or contains itself.
    """
    result, rest = [], iter(arguments)
    for argument in rest:
        match = _FLAGFILE.fullmatch(argument)
        if argument == "--":
            return [*result, argument, *rest]
        if not match:
            result.append(argument)
            continue
        path = found(next(rest, "") if match[1] is None else match[1], "flagfile", directory)
        if path in within:
            raise UserError(f"--flagfile={path} contains itself")
        result += expanded(_lines(path), path.parent, (*within, path))
    return result


def found(name, flag, directory=None):
    """The path of a file: in `directory`, from here, or the configuration of that name.

    Raises UserError, naming the flag, if it is none.
    """
    suffix = {"flagfile": ".flags", "sweep": ".toml"}[flag]
    places = [Path(name).expanduser(), _CONFIGURATIONS / name, _CONFIGURATIONS / f"{name}{suffix}"]
    if directory:
        places.insert(0, directory / name)
    for path in places:
        if os.path.isfile(path):  # also where its name is too long to be one
            return path.resolve()
    names = ", ".join(sorted(path.stem for path in _CONFIGURATIONS.glob(f"*{suffix}")))
    raise UserError(f"--{flag}={name} is not a file, nor one of the configurations {names}")


def _lines(path):
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise UserError(f"--flagfile={path} cannot be read: {error}") from None
    return [line for line in lines if line and not line.startswith(("#", "//"))]
