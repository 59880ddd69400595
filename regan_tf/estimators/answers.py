"""What a reward in Python answers: how it is asked, what it may give, and who is to blame.

No TensorFlow is imported here: worker processes load this module and the user's alone.
"""

import copy
import importlib
import numbers
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regan_tf.estimators.calls import NOT_COMPONENTS

_LONGEST_SHOWN = 200  # characters of a sequence in a message
_ASKED_ALONE = 32  # sequences, to find which one makes a reward fail: it may be slow
_OURS = str(Path(__file__).parents[1])


class RewardError(Exception):
    """A reward raised something, or gave what is no reward: the message has the sequence.

    Attributes:
      answers: of the first ones of the sequences, in their order; None for what has none.
    """

    def __init__(self, message: str, answers: Sequence[dict[str, float] | None] = ()):
        super().__init__(message)
        self.answers = list(answers)


def ask(function: Callable, sequences: Sequence) -> list[dict[str, float]]:
    """The reward and its components of each of N > 0 sequences.

    Raises RewardError, with the first sequence that is to blame.
    """
    try:
        given = _given(function, sequences)
    except Exception as error:
        raise _blamed(function, sequences, error) from None
    return _rows(given, sequences)


def _given(function, sequences):
    """What the function gives, by name; lists, where it can be listed. Whatever it raises."""
    found = function(copy.copy(sequences))  # it may change what it is given
    columns = found if isinstance(found, dict) else {"reward": found}
    return {name: _listed(column) for name, column in columns.items()}


def _listed(column):
    """As a list, if it is a number of things; what it raises then is an error of the user's."""
    if isinstance(column, str | bytes):
        return column
    try:
        things = iter(column)
    except TypeError:
        return column
    return list(things)


def _blamed(function, sequences, error):
    """The RewardError of the first sequence for which the function fails alone; else of all of
    them, with the error that it raised for all.
    """
    alone = sequences[:_ASKED_ALONE] if len(sequences) > 1 else sequences[:0]
    answers: list[dict[str, float] | None] = []
    for i in range(len(alone)):
        one = sequences[i : i + 1]
        try:
            answers += _rows(_given(function, one), one)
        except RewardError as own:
            return RewardError(str(own), answers)
        except Exception as own:
            return RewardError(f"raised {reason(own)}, for {shown(sequences[i])}", answers)
    which = f"for {shown(sequences[0])}"
    if len(alone):
        none_of = (
            "any of them" if len(alone) == len(sequences) else f"any of the first {len(alone)}"
        )
        which = (
            f"for {len(sequences)} sequences together, of which {shown(sequences[0])} is the "
            f"first, and not for {none_of} alone"
        )
    return RewardError(f"raised {reason(error)}, {which}", answers)


def reason(error: BaseException) -> str:
    """What was raised, in one line, with the line of the user's file that did it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
    # Of what the user's code calls, which may be a library's, the last line of its first file.
    lines = [f.lineno for f in frames if f.filename == frames[0].filename]
    place = f" ({Path(frames[0].filename).name}, line {lines[-1]})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


def _is_users(path):
    return not path.startswith((_OURS, "<frozen")) and path != importlib.__file__


def _rows(given, sequences):
    """What was given as dicts of floats, one a sequence; the reward of what is not valid is 0.
    Raises RewardError, with the others' if there are some for which it gave no numbers.
    """
    if "reward" not in given:
        names = ", ".join(map(str, given)) or "nothing"
        raise RewardError(f'gave a dict of {names}: it must have "reward", too')
    if taken := [name for name in given if name in NOT_COMPONENTS]:
        raise RewardError(f"gave {taken[0]} as a component: a call has its own, give another name")
    for name, column in given.items():
        _check_one_each(name, column, sequences)
    rows, wrong = [], None
    for sequence, *values in zip(sequences, *given.values(), strict=True):
        try:
            rows.append(_row(dict(zip(given, values, strict=True)), sequence))
        except RewardError as error:
            rows.append(None)
            wrong = wrong or error
    if wrong:
        raise RewardError(str(wrong), rows)
    return rows


def _check_one_each(name, column, sequences):
    """Raises RewardError if this is no list of one thing a sequence."""
    if not isinstance(column, list):
        raise RewardError(
            f"gave {_described(column)} as {name}: it must be a list of {len(sequences)} numbers"
        )
    if len(column) != len(sequences):
        raise RewardError(
            f"gave {len(column)} numbers as {name} for {len(sequences)} sequences, the first of "
            f"which is {shown(sequences[0])}: it must give one each"
        )


def _row(values, sequence):
    """What was given for one sequence as floats; what is none is NaN where it is not valid."""
    valid = values.get("valid", True)
    if not isinstance(valid, bool | np.bool_):
        raise RewardError(
            f"gave {_described(valid)} as valid for {shown(sequence)}: it must be True or False"
        )
    found = {name: _number(value) for name, value in values.items()}
    for name, number in found.items():
        if valid and np.isnan(number):
            raise RewardError(
                f"gave {_described(values[name])} as {name} for {shown(sequence)}: it must be a "
                "finite number"
            )
    return found if valid else found | {"reward": 0.0}


def _number(value):
    """As a float; NaN if it is no finite number."""
    try:
        number = float(value) if isinstance(value, numbers.Real | np.bool_) else np.nan
    except OverflowError:  # an integer beyond all floats
        return np.nan
    return number if np.isfinite(number) else np.nan


def shown(sequence: Any) -> str:
    """A text, or tokens, as a message has them."""
    return _cut(repr(sequence if isinstance(sequence, str) else np.asarray(sequence).tolist()))


def _described(value):
    """What a reward gave, as a message has it, in one line."""
    try:
        return _cut(" ".join(repr(value).split()))
    except Exception:  # of an integer with too many digits, or of the user's class
        return f"a {type(value).__name__}"


def _cut(text):
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
