"""What the last of several updates with one batch is worth, beside the exact gradient."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from regan_tf.estimators import reuse
from regan_tf.estimators.critic import Reading
from regan_tf.estimators.estimate import estimate_gradient
from regan_tf.estimators.exact import exact_gradient
from regan_tf.estimators.rewards import Reward
from regan_tf.graphs import repeat
from regan_tf.networks.backprop import values
from regan_tf.networks.protocol import SequenceGenerator
from regan_tf.spec import EstimatorSpec


class LastUpdate:
    """Draws a batch, makes all its updates but the last, and says what that one would ascend.

        g_K(theta_K) - grad J(theta_K) + grad J(theta_1)

    for K = `updates_per_batch`: where the generator has gone by then, theta_K, differs from batch
    to batch, so g_K is compared with the exact gradient there; what is left is the error of g_K as
    an estimate of the gradient at theta_1. Steps are Adam's, from moments of 0. The generator is
    given back as it was.

    Args:
      spec: with updates_per_batch > 1.
      generator, reward: as for `estimate_gradient`; V^T sequences are enumerated at each draw.
      learning_rate: of the steps.
      critic: as for `estimate_gradient`.
    """

    def __init__(
        self,
        spec: EstimatorSpec,
        generator: SequenceGenerator,
        reward: Reward,
        learning_rate: float,
        critic: Callable[[Reading], tf.Tensor] | None = None,
    ):
        self._spec, self._generator, self._reward, self._critic = spec, generator, reward, critic
        self._optimizer = keras.optimizers.Adam(learning_rate)
        self._optimizer.build(generator.trainable_variables)

    def gradient(self, batch_size: int, seed: Any) -> list[tf.Tensor]:
        """As `estimate_gradient` gives one: a tensor for each of `trainable_variables`."""
        spec, generator = self._spec, self._generator
        moving = [*values(generator.trainable_variables), *values(self._optimizer.variables)]
        before = [tf.identity(variable) for variable in moving]
        here = exact_gradient(generator, self._reward)
        options = {"batch_size": batch_size, "seed": seed, "critic": self._critic}
        first, found = estimate_gradient(spec, generator, self._reward, **options)
        batch = reuse.Batch.of(found)

        def update(_, gradient):
            self._optimizer.apply([-g for g in gradient], generator.trainable_variables)
            return (reuse.further_gradient(spec, generator, batch)[0],)

        (last,) = repeat(spec.updates_per_batch - 1, update, (first,))
        there = exact_gradient(generator, self._reward)
        for variable, value in zip(moving, before, strict=True):
            variable.assign(value)
        return [g - b + a for g, b, a in zip(last, there, here, strict=True)]
