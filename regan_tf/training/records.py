"""What a run's directory tells of it in numbers, read: metrics.jsonl, a record a line, each of an
epoch of pre-training or of an adversarial iteration; and summary.json. No TensorFlow here.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path

from regan_tf.config import UserError

RECORDS, SUMMARY = "metrics.jsonl", "summary.json"

Key = tuple[str, int]  # a record's phase and iteration
_PHASES = ("pretrain", "adversarial")


def to_line(record: dict) -> str:
    """A record as a line of the file; what is not finite is null."""
    finite = {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()
    }
    return json.dumps(finite) + "\n"


def read(path: str | Path, reached: int = -1) -> list[dict]:
    """The records of the run in a directory; a last line cut short by a kill is left out.

    Args:
      path: the directory.
      reached: the last iteration that must be there, at least; -1: there may be none.
    Raises:
      UserError, naming the file: a line is no record, or an iteration has none.
    """
    found, damage = _parsed(path)
    last = max([reached, *(n for phase, n in map(_key, found) if phase == "adversarial")])
    _require(path, found, [("adversarial", n) for n in range(last + 1)], damage)
    if damage:
        raise UserError(damage)
    return found


def read_of(path: str | Path, keys: Iterable[Key]) -> list[dict]:
    """The records of these keys, in their order; whatever else is there is left out.

    Raises UserError, naming the file, if some are not there.
    """
    found, damage = _parsed(path)
    _require(path, found, keys, damage)
    by_key = {_key(record): record for record in found}
    return [by_key[key] for key in keys]


def summary(path: str | Path) -> dict | None:
    """The summary of the run in a directory; None if there is none that can be read, which the same
    command writes again.
    """
    try:
        found = json.loads((Path(path) / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _key(record):
    return record["phase"], record["iteration"]


def _require(path, found, keys, damage):
    there = set(map(_key, found))
    if missing := [f"{phase} {number}" for phase, number in keys if (phase, number) not in there]:
        which = " to ".join(dict.fromkeys([missing[0], missing[-1]]))
        raise UserError(damage or f"{Path(path) / RECORDS} lacks records: {which}")


def _parsed(path):
    """The records, and what is wrong with the first line that is none, "" if all are."""
    file = Path(path) / RECORDS
    try:
        *lines, last = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], ""
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    found = [_record(line) for line in lines]
    if None in found:
        number = found.index(None) + 1
        damage = f"{file}: line {number} is no record, a JSON object with phase and iteration"
    else:
        damage = ""
    return [record for record in (*found, _record(last)) if record], damage


def _record(line):
    """The record in a line, bytes; None if it is none."""
    try:
        record = json.loads(line)
        is_one = record["phase"] in _PHASES and type(record["iteration"]) is int
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if is_one else None
