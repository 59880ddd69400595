"""The main job from Python: what `python -m regan_tf.main` does, as a function."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from regan_tf.cli import command
from regan_tf.config import Config, UserError
from regan_tf.training import run
from regan_tf.training.callbacks import Callback
from regan_tf.training.trained import TrainedRun, load_run


def train(
    config: Config | None = None, *, callbacks: Sequence[Callback] = (), **settings: Any
) -> TrainedRun:
    """Trains a generator as Algorithm 1 says, or goes on with a run, and returns it.

        run = regan_tf.train(estimator="reinforce_loo", iterations=50, workdir="runs/mine")

    Everything about the run is kept in `workdir`. Ctrl-C ends it with a checkpoint behind it: the
    run as it then is comes back, and the same call goes on. TensorFlow's ops are made deterministic
    in this process and its random seed is set; `threads` counts only where TensorFlow has not
    computed anything yet.

    Args:
      config: a Config; by default that of no flags.
      callbacks: called as the run goes.
      **settings: fields of Config, which are the flags of `python -m regan_tf.main`.
    Raises:
      UserError: a setting is not allowed, or the directory, a checkpoint, the data or the reward do
        not serve; NotFiniteError if a loss or a gradient is not finite. What a callback raises
        ends the run, too.
    """
    try:
        resolved = dataclasses.replace(config or Config(), **settings).resolved()
    except UserError as error:
        raise UserError(re.sub(r"--(\w)", r"\1", str(error))) from None
    resolved = dataclasses.replace(resolved, workdir=run.directory(resolved))
    command.start_tensorflow(resolved.threads, resolved.precision)
    run.run(resolved, callbacks=callbacks)
    return load_run(resolved.workdir)
