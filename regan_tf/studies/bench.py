"""Estimators measured at one frozen state, each beside the truth and a yardstick."""

import functools

import numpy as np

from regan_tf.estimators.bias import compare
from regan_tf.estimators.laboratory import Laboratory
from regan_tf.estimators.notation import parse
from regan_tf.studies import comparison
from regan_tf.studies.pieces import Piece

YARDSTICK = "reinforce_loo"  # which variances and times are relative to
# What a mean is taken of where the exact gradient cannot be had. It is unbiased whatever its critic
# says, and far less noisy than the yardstick.
TRUTH = "doubly_robust@8000"
# What is so dear that it is drawn less often: by these factors.
_FEWER_DRAWS = {"reinforce_rollout:loo": 5}


def parse_entry(entry):
    """The spec of ESTIMATOR[:OPTION...][@STEPS], see `notation.parse`, and the number of steps
    that train what is learned, None where none is given. Raises ValueError.
    """
    text, at, steps = entry.partition("@")
    if at and not steps.isdigit():
        raise ValueError(f"{entry!r} has no number of steps after its @")
    spec = parse(text)
    if spec is None or spec.updates_per_batch > 1:
        raise ValueError(f"{entry!r} is not an estimate of one fresh batch")
    return spec, int(steps) if at else None


class Bench:
    """A state, and how it is measured there.

    Args:
      config: of an Experiment that comes to it.
      settings: a dict of `draws`, `truth_draws`, `control_steps`, `batch_size`, `seed`.
      truth: the path where a truth that is a long mean is kept.
    """

    def __init__(self, config, settings, truth):
        self._settings, self._truth = settings, Piece(truth, settings, self._long_mean)
        self._experiment, self.description = comparison.fresh_state(config)

    def measure(self, entry):
        """A dict of what the estimator shows, which JSON can hold."""
        spec, steps = parse_entry(entry)
        draws = self._settings["draws"] // _FEWER_DRAWS.get(entry, 1)
        beside = self._laboratory().timed(parse(YARDSTICK))
        found = self._laboratory(steps).measure(spec, draws, beside)
        return {
            **compare(found.blocks, *self._truths),
            "block_variances": found.block_variances.tolist(),
            "largest_share": found.largest_share,
            "slope_p": found.slope_p,
            "milliseconds": 1e3 * found.seconds,
            "relative_time": found.relative_seconds,
        }

    def describe(self):
        """What the state is, and, where the truth is a mean, whether as many batches of the
        yardstick agree with it.
        """
        truth, blocks = self._truths
        if blocks is None:
            return {"description": self.description, "truth": "exact"}
        other = self._laboratory(seed=20).measure(parse(YARDSTICK), self._settings["truth_draws"])
        agreement = compare(other.blocks, truth, blocks)
        return {"description": self.description, "truth": TRUTH, "agreement": agreement}

    def _laboratory(self, steps=None, seed=0):
        steps = self._settings["control_steps"] if steps is None else steps
        options = {"batch_size": self._settings["batch_size"], "control_steps": steps}
        seed += self._settings["seed"]
        return Laboratory.of_experiment(self._experiment, seed=seed, **options)

    @functools.cached_property
    def _truths(self):
        """The true gradient [P]; and None, or the blocks [BLOCKS, P] that it is the mean of."""
        exact = self._laboratory().exact()
        if exact is not None:
            return exact, None
        blocks = np.array(self._truth.result())
        return blocks.mean(axis=0), blocks

    def _long_mean(self):
        spec, steps = parse_entry(TRUTH)
        found = self._laboratory(steps, seed=10).measure(spec, self._settings["truth_draws"])
        return found.blocks.tolist()
