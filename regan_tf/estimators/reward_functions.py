"""Rewards that know no TensorFlow, functions of texts or of tokens: where they are found, and how
they are asked, here or in processes of their own.

No TensorFlow is imported here: worker processes load this module and the user's alone.
"""

import concurrent.futures
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
_ASKED_ALONE = 32  # sequences, to find which one makes a reward fail: it may be slow


class RewardError(Exception):
    """A reward raised something, or gave what is no reward: the message has the sequence."""


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
        found = function(sequences)
    except Exception as error:
        culprit, error = _blamed(function, sequences, error)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise RewardError(f"raised {reason}, for {shown(culprit)}") from None
    lists = _columns(found if isinstance(found, dict) else {"reward": found}, sequences)
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _columns(given, sequences):
    """What was given, by name, as lists of floats; the reward of what is not valid is 0."""
    if "reward" not in given:
        names = ", ".join(map(str, given)) or "nothing"
        raise RewardError(f'gave a dict of {names}: it must have "reward", too')
    if taken := [name for name in given if name in NOT_COMPONENTS]:
        raise RewardError(f"gave {taken[0]} as a component: a call has its own, give another name")
    lists = {name: _listed(name, values, sequences) for name, values in given.items()}
    valid = _booleans(lists.get("valid", [True] * len(sequences)), sequences)
    found = {name: _numbers(name, values, sequences, valid) for name, values in lists.items()}
    found["reward"] = [r if v else 0.0 for r, v in zip(found["reward"], valid, strict=True)]
    return found


def _blamed(function, sequences, error):
    """The first sequence for which the function fails alone, with its error; else the first."""
    for i in range(min(len(sequences), _ASKED_ALONE)):
        try:
            function(sequences[i : i + 1])
        except Exception as own:
            return sequences[i], own
    return sequences[0], error


def _listed(name, values, sequences):
    """What was given as a list, one thing a sequence."""
    try:
        given = list(values)
    except TypeError:
        raise RewardError(
            f"gave {values!r} as {name}: it must be a list of {len(sequences)} numbers"
        ) from None
    if len(given) != len(sequences):
        raise RewardError(
            f"gave {len(given)} numbers as {name} for {len(sequences)} sequences, the first of "
            f"which is {shown(sequences[0])}: it must give one each"
        )
    return given


def _numbers(name, values, sequences, valid):
    """The list as floats; what is none is NaN where the sequence is not valid."""
    found = []
    for value, sequence, is_valid in zip(values, sequences, valid, strict=True):
        is_number = isinstance(value, numbers.Real | np.bool_) and np.isfinite(float(value))
        if is_valid and not is_number:
            raise RewardError(
                f"gave {value!r} as {name} for {shown(sequence)}: it must be a finite number"
            )
        found.append(float(value) if is_number else np.nan)
    return found


def _booleans(values, sequences):
    """The list as it is, of True and False alone."""
    for value, sequence in zip(values, sequences, strict=True):
        if not isinstance(value, bool | np.bool_):
            raise RewardError(
                f"gave {value!r} as valid for {shown(sequence)}: it must be True or False"
            )
    return values


def shown(sequence: Any) -> str:
    """A text, or tokens, as a message has them."""
    text = repr(sequence if isinstance(sequence, str) else np.asarray(sequence).tolist())
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def pool(workers: int) -> concurrent.futures.ProcessPoolExecutor:
    """Processes for `ask_by_name`, started."""
    context = multiprocessing.get_context("spawn")
    made = concurrent.futures.ProcessPoolExecutor(workers, context, _end_with_parent)
    # Ctrl-C is for the run, which ends its step: they ignore it from their first moment on.
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        made.submit(int)
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)
    return made


def ask_by_name(name: str, sequences: Sequence) -> list[dict[str, float]]:
    """`ask` of the reward `module:function` or `file.py:function`, in a process of a `pool`."""
    return ask(_load_once(name), sequences)


_load_once = functools.cache(load)


def _end_with_parent():
    """Ends a process of a pool when the run is killed: nothing else would tell it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch():
        multiprocessing.connection.wait([parent.sentinel])  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
