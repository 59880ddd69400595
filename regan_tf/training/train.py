"""The main job from Python: what `python -m regan_tf.main` does, as a function."""

import contextlib
import dataclasses
import difflib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from regan_tf.cli import command, config_flags
from regan_tf.config import Config, UserError
from regan_tf.training import run
from regan_tf.training.callbacks import Callback
from regan_tf.training.trained import TrainedRun, load_run

_NAMES = [field.name for field in dataclasses.fields(Config)]


def train(
    config: Config | None = None,
    *,
    reward: str | Callable = "",
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> TrainedRun:
    """Trains a generator as Algorithm 1 says, or goes on with a run, and returns it.

        run = regan_tf.train(estimator="reinforce_loo", iterations=50, workdir="runs/mine")

    Everything about the run is kept in `workdir`. Ctrl-C ends it with a checkpoint behind it: the
    run as it then is comes back, and the same call goes on. In this process TensorFlow's ops are
    made deterministic, its random seed is set, and its products are of the run's `precision`;
    `threads` counts only where TensorFlow has not computed anything yet.

    Args:
      config: a Config; by default that of no flags.
      reward: as the flag names it; or the function itself, of which its name is recorded.
      callbacks: called as the run goes.
      **settings: fields of Config, which are the flags of `python -m regan_tf.main`.
    Raises:
      UserError: a setting is not allowed, or the directory, a checkpoint, the data or the reward do
        not serve; NotFiniteError, which is one, if a loss or a gradient is not finite. TypeError: a
        callback is none, or there is no such setting. What a callback raises ends the run, too.
    """
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks has {callback!r}: each must be a regan_tf.Callback")
    for name in settings.keys() - set(_NAMES):
        near = " or ".join(difflib.get_close_matches(name, _NAMES))
        hint = f": did you mean {near}?" if near else ""
        raise TypeError(f"train() has no setting {name!r}{hint}")
    own_reward = reward if callable(reward) else None
    if own_reward:
        reward = _name_of(reward)
    if reward:
        settings["reward"] = reward
    with _naming_arguments():
        given = {name: getattr(config, name) for name in _NAMES} if config else {}
        resolved = config_flags.resolved(given | settings)
        resolved = dataclasses.replace(resolved, workdir=run.directory(resolved))
        command.start_tensorflow(resolved.threads, resolved.precision)
        run.run(resolved, callbacks=callbacks, own_reward=own_reward)
    return load_run(resolved.workdir)


def _name_of(reward):
    """Where a function is found again: in its module or, of a script, in its file."""
    module = sys.modules.get(reward.__module__)
    file = getattr(module, "__file__", None) if reward.__module__ == "__main__" else None
    name = getattr(reward, "__qualname__", type(reward).__name__)
    return f"{file or reward.__module__}:{name}"


@contextlib.contextmanager
def _naming_arguments():
    """Messages name flags; here they are arguments, but in a command that a message ends with."""
    try:
        yield
    except UserError as error:
        words, *commands = re.split(r"(?=python -m )", str(error), maxsplit=1)
        words = re.sub(rf"(?<![\w-])--(?=({'|'.join(_NAMES)})\b)", "", words)
        raise type(error)("".join([words, *commands])) from None
