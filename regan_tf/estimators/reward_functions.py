"""Rewards that know no TensorFlow, functions of texts or of tokens: where they are found, and
processes in which they are asked.

No TensorFlow is imported here: worker processes load this module and the user's alone.
"""

import concurrent.futures
import difflib
import functools
import importlib
import importlib.util
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from regan_tf.config import UserError
from regan_tf.estimators.answers import ask, reason

_OF_GROUP = (signal.SIGINT, signal.SIGTERM)  # what ends a run, and is sent to its group


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
    where, colon, function = name.rpartition(":")
    form = "it must be module:function, importable from here, or file.py:function"
    if not colon:
        raise UserError(f"--reward={name} is not allowed: {form}")
    try:
        module = _from_file(where) if where.endswith(".py") else importlib.import_module(where)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        raise UserError(f"--reward={name} cannot be loaded ({reason(error)}): {form}") from None
    except Exception as error:  # whatever the user's module raises as it is loaded
        raise UserError(f"--reward={name} cannot be loaded: {reason(error)}") from error
    try:
        reward = getattr(module, function)
    except AttributeError as error:
        near = difflib.get_close_matches(function, vars(module), 1)
        hint = f": did you mean {near[0]}?" if near else ""
        # A module whose rewards are made by name says itself which names there are.
        made = str(error) if hasattr(module, "__getattr__") else f"{where} has no {function}{hint}"
        raise UserError(f"--reward={name} is not there: {made}") from None
    if not callable(reward):
        raise UserError(f"--reward={name} is not callable: it must be a function")
    return reward


def source(name: str) -> Path | None:
    """The file of the reward of that name, once it is loaded; None if it has none."""
    where = name.rpartition(":")[0]
    path = where if where.endswith(".py") else getattr(sys.modules.get(where), "__file__", None)
    return Path(path) if path and Path(path).exists() else None


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
