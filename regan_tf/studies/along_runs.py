"""An estimator's variance along a run of Algorithm 1, beside that of reinforce_loo at the same
generators.
"""

import dataclasses
import itertools

import numpy as np
import tensorflow as tf

from regan_tf.config import Config, UserError
from regan_tf.estimators import variance
from regan_tf.estimators.estimate import estimate_gradient
from regan_tf.graphs import compiled
from regan_tf.studies import grid
from regan_tf.training import algorithm
from regan_tf.training.experiment import Experiment

_STREAM = 100  # of the second estimates; the run's own are below
_FEW_SAMPLES = 100  # an evaluation: nothing of it is read


def config_of(name, spec, seed, iterations):
    """The Config of a run: the configuration of that name with another estimator, so many
    iterations of one update, and no evaluation after its first.

    Args:
      name: of a flagfile, as `--flagfile` takes it.
      spec: an EstimatorSpec.
    Raises:
      UserError: there is none.
    """
    try:
        base = grid.config_of([f"--flagfile={name}"])
    except UserError as error:
        raise UserError(f"--runs={name} is not allowed: {error}") from None
    fields = {field.name for field in dataclasses.fields(Config)}
    options = {k: v for k, v in dataclasses.asdict(spec).items() if k in fields}
    options |= {"seed": seed, "iterations": iterations, "g_steps": 1, "track_variance": True}
    options |= {"eval_every": iterations, "eval_samples": _FEW_SAMPLES, "patience": 0}
    return dataclasses.replace(base, **options).resolved()


def variances(config):
    """Runs it, and measures at each update, before the generator moves, the variance over rows of
    two estimates: the run's own, and one of reinforce_loo with a seed of its own, which moves
    nothing. The run is the same as without it, bit for bit.

    What is learned, a control variate or a critic, is learned in the run, as it is set there.

    Returns:
      A dict of two lists, a number an update: `own` and `yardstick`, the mean variance of all
      parameters, of one row.
    """
    experiment = Experiment(config)
    steps = algorithm.regan(experiment)
    for _ in itertools.takewhile(lambda record: not _is_start(record), steps):
        pass
    yardstick = _yardstick(experiment)
    found = {"own": [], "yardstick": []}
    for update in range(config.iterations):
        found["yardstick"].append(float(np.exp(yardstick(tf.constant(update)))))
        found["own"].append(float(np.exp(next(steps)["log_variance_all"])))
    return found


def _is_start(record):
    return record is not None and record["phase"] == "adversarial"


def _yardstick(experiment):
    """The log variance of reinforce_loo at the networks as they are, a function of the update."""
    stream = tf.constant([experiment.config.seed, _STREAM])

    @compiled
    def measure(update):
        gradient, found = estimate_gradient(
            "reinforce_loo",
            experiment.generator,
            experiment.trainer.reward,
            batch_size=experiment.config.batch_size,
            seed=tf.random.experimental.stateless_fold_in(stream, update),
            penalty=experiment.trainer.penalty,
            row_gradients=True,
        )
        return variance.log_variances(found.row_gradients, gradient)[1]

    return measure


def ratio(found):
    """The mean variance of the run's own estimates in units of reinforce_loo's, without the first
    tenth of the updates, in which what is learned begins; found: of `variances`.
    """
    first = len(found["own"]) // 10
    return float(np.mean(found["own"][first:]) / np.mean(found["yardstick"][first:]))
