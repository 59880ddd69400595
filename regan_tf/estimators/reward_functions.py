"""Rewards that know no TensorFlow, functions of texts or of tokens: where they are found, and how
they are asked, here or in processes of their own.

No TensorFlow is imported here: worker processes load this module and the user's alone.
"""

import concurrent.futures
import copy
import functools
import importlib
import importlib.util
import multiprocessing
import multiprocessing.connection
import numbers
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regan_tf.config import UserError
from regan_tf.estimators.calls import NOT_COMPONENTS

_LONGEST_SHOWN = 200  # characters of a sequence in a message
_OF_GROUP = (signal.SIGINT, signal.SIGTERM)  # what ends a run, and is sent to its group
_ASKED_ALONE = 32  # sequences, to find which one makes a reward fail: it may be slow


class RewardError(Exception):
    """A reward raised something, or gave what is no reward: the message has the sequence.

    Attributes:
      answers: of the first ones of the sequences, which were asked for alone.
    """

    def __init__(self, message: str, answers: Sequence[dict[str, float]] = ()):
        super().__init__(message)
        self.answers = list(answers)


class PythonReward:
    """A function of sequences, many at once; called, it is that function.

    Attributes:
      reads: "texts", a list of strings; or "tokens", int32 [N, T] in NumPy.
    """

    def __init__(self, function: Callable, reads: str):
        if not callable(function):
            raise TypeError(f"{function!r} is not a function: it must map {reads} to numbers")
        functools.update_wrapper(self, function)
        self._function, self.reads = function, reads

    def __call__(self, sequences: Any) -> Any:
        return self._function(sequences)


def text_reward(function: Callable[[list[str]], Sequence[float]]) -> PythonReward:
    """Says that a reward reads texts: from N strings to N numbers.

        @regan_tf.text_reward
        def short(texts):
            return [1 / (1 + len(text)) for text in texts]

    It may give a dict of such lists instead, of which "reward" is the reward and the others are
    components, which a run records. If one of them is "valid", booleans, what is not valid has
    reward 0, whatever stands there: None is allowed. It has no gradient, so it serves reinforce and
    its kin, and relax with eta=0. It must give the same number for the same text: a run asks once.
    """
    return PythonReward(function, "texts")


def token_reward(function: Callable[[Any], Sequence[float]]) -> PythonReward:
    """Says that a reward reads tokens, as `text_reward` does of texts: from int32 [N, T], in NumPy,
    to N numbers.
    """
    return PythonReward(function, "tokens")


def load(name: str) -> Callable:
    """The reward `module:function`, or `file.py:function`. Raises UserError if there is none."""
    where, _, function = name.rpartition(":")
    try:
        module = _from_file(where) if where.endswith(".py") else importlib.import_module(where)
        reward = getattr(module, function)
    except Exception as error:  # whatever the user's module raises as it is loaded
        raise UserError(
            f"--reward={name} cannot be loaded ({type(error).__name__}: {error}): it must be "
            "module:function, importable from here, or file.py:function"
        ) from None
    if not callable(reward):
        raise UserError(f"--reward={name} is not callable: it must be a function")
    return reward


def _from_file(path):
    """The module of a file, by a name that no other has; what lies beside it can be imported."""
    directory = str(Path(path).resolve().parent)
    if directory not in sys.path:
        sys.path.append(directory)
    name = f"_reward_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[name] = module  # so that what it defines can be pickled
    try:
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    except BaseException:
        del sys.modules[name]
        raise
    return module


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
    try:
        things = iter(column)
    except TypeError:
        return column
    return list(things)


def _blamed(function, sequences, error):
    """The RewardError of the first sequence for which the function fails alone; else of the first
    one, with the error that it raised for all.
    """
    answers, culprit = [], sequences[0]
    for i in range(min(len(sequences), _ASKED_ALONE) if len(sequences) > 1 else 0):
        alone = sequences[i : i + 1]
        try:
            answers += _rows(_given(function, alone), alone)
        except RewardError as own:
            return RewardError(str(own), answers)
        except Exception as own:
            culprit, error = sequences[i], own
            break
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return RewardError(f"raised {reason}, for {shown(culprit)}", answers)


def _rows(given, sequences):
    """What was given as dicts of floats, one a sequence; the reward of what is not valid is 0."""
    if "reward" not in given:
        names = ", ".join(map(str, given)) or "nothing"
        raise RewardError(f'gave a dict of {names}: it must have "reward", too')
    if taken := [name for name in given if name in NOT_COMPONENTS]:
        raise RewardError(f"gave {taken[0]} as a component: a call has its own, give another name")
    for name, column in given.items():
        _check_one_each(name, column, sequences)
    valid = _booleans(given.get("valid", [True] * len(sequences)), sequences)
    found = {name: _numbers(name, values, sequences, valid) for name, values in given.items()}
    found["reward"] = [r if v else 0.0 for r, v in zip(found["reward"], valid, strict=True)]
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


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


def _numbers(name, values, sequences, valid):
    """The list as floats; what is none is NaN where the sequence is not valid."""
    found = [_number(value) for value in values]
    for number, value, sequence, is_valid in zip(found, values, sequences, valid, strict=True):
        if is_valid and np.isnan(number):
            raise RewardError(
                f"gave {_described(value)} as {name} for {shown(sequence)}: it must be a finite "
                "number"
            )
    return found


def _number(value):
    """As a float; NaN if it is no finite number."""
    try:
        number = float(value) if isinstance(value, numbers.Real | np.bool_) else np.nan
    except OverflowError:  # an integer beyond all floats
        return np.nan
    return number if np.isfinite(number) else np.nan


def _booleans(values, sequences):
    """The list as it is, of True and False alone."""
    for value, sequence in zip(values, sequences, strict=True):
        if not isinstance(value, bool | np.bool_):
            raise RewardError(
                f"gave {_described(value)} as valid for {shown(sequence)}: it must be True or False"
            )
    return values


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


def pool(workers: int) -> concurrent.futures.ProcessPoolExecutor:
    """Processes for `ask_by_name`, started."""
    context = multiprocessing.get_context("spawn")
    made = concurrent.futures.ProcessPoolExecutor(workers, context, _end_with_parent)
    # What ends a run's group is for the run, which ends its step: they ignore it from their first
    # moment on.
    is_main = threading.current_thread() is threading.main_thread()
    before = {n: signal.signal(n, signal.SIG_IGN) for n in _OF_GROUP if is_main}
    try:
        for _ in range(workers):
            made.submit(int)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return made


def ask_by_name(name: str, sequences: Sequence) -> list[dict[str, float]]:
    """`ask` of the reward `module:function` or `file.py:function`, in a process of a `pool`."""
    return ask(_load_once(name), sequences)


_load_once = functools.cache(load)


def _end_with_parent():
    """Ends a process of a pool when the run is killed: nothing else would tell it. What is sent to
    the run's whole group does not reach it from here on.
    """
    os.setpgrp()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which a pool ends what is left of it
    parent = multiprocessing.parent_process()

    def watch():
        multiprocessing.connection.wait([parent.sentinel])  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
