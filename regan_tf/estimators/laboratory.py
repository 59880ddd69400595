"""Estimators measured against each other at one fixed state: bias, variance and cost, from many
draws.
"""

import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from regan_tf.config import Config
from regan_tf.estimators.bias import BLOCKS, sign_flip_p
from regan_tf.estimators.control_variate import ControlVariate, form, slope
from regan_tf.estimators.critic import Critic, learn
from regan_tf.estimators.estimate import estimate_gradient
from regan_tf.estimators.exact import ENUMERABLE, exact_gradient
from regan_tf.estimators.last_update import LastUpdate
from regan_tf.estimators.reference import reference_gradient
from regan_tf.graphs import compiled, repeat
from regan_tf.networks import autoregressive
from regan_tf.networks.backprop import values
from regan_tf.networks.noise import gumbel_noise

_TIMED_CALLS = 20
_TURNS, _TURNS_SECONDS = 200, 5  # of two calls: the most, and after which no more than 20 are made


class Measurement(NamedTuple):
    """What many draws of one estimator show; P parameters, gradients of batches."""

    blocks: np.ndarray  # [BLOCKS, P], mean gradients of independent parts of the draws
    variance: np.ndarray  # [P], of one batch's gradient
    seconds: float  # of one estimate, the median, without the step that trains c
    # Of the batch furthest from the mean, in the sum of squared distances: 1/batches if all are
    # alike.
    largest_share: float
    # [BLOCKS], each an unbiased estimate of the variance's sum, independent of the others; NaN if a
    # block is one batch.
    block_variances: np.ndarray
    slope_p: float | None = None  # that c's slopes are right, see `slope_error`; None without c
    relative_seconds: float | None = None  # beside the call that was timed in turn, if there was


class Laboratory:
    """A generator and a reward, held fixed.

    Args:
      generator, reward: as for `estimate_gradient`.
      batch_size: of every estimate.
      seed: of all draws.
      control_steps: Adam steps by which what is learned in a control variate, or a critic, is
        trained, at this state, before measuring.
      control_learning_rate, critic_learning_rate: their rates.
      control_units, control_filters: sizes of relax's network, by default those of a run.
      critic_units: of a critic's hidden layers.
      generator_learning_rate: of the updates before a batch's last, see `LastUpdate`.
    """

    def __init__(
        self,
        generator,
        reward,
        *,
        batch_size,
        seed=0,
        control_steps=0,
        control_learning_rate=3e-3,
        critic_learning_rate=Config.critic_learning_rate,
        control_units=Config.control_units,
        control_filters=Config.control_filters,
        critic_units=Config.critic_units,
        generator_learning_rate=1e-2,
    ):
        self.generator, self.reward = generator, reward
        self._options = {"batch_size": batch_size}
        self._seed = seed
        self._control_steps = control_steps
        self._control_rate, self._critic_rate = control_learning_rate, critic_learning_rate
        self._units, self._filters = control_units, control_filters
        self._critic_units = critic_units
        self._generator_rate = generator_learning_rate

    @classmethod
    def of_experiment(cls, experiment, **options):
        """The state of an `Experiment`, with relax's network of its configuration's sizes."""
        options["control_units"] = experiment.config.control_units
        options["control_filters"] = experiment.config.control_filters
        options = {"critic_units": experiment.config.critic_units} | options
        return cls(experiment.generator, experiment.trainer.reward, **options)

    def measure(self, spec, draws, beside=None):
        """Trains the spec's control variate, then draws so many batches; a Measurement.

        beside: a call that `timed` gave, to be timed in turn with this estimate, so that a change
        of the machine's speed touches both.
        """
        estimate, context_of = self._estimator(spec)
        per_block = max(1, draws // BLOCKS)
        parameters = sum(v.shape.num_elements() for v in values(self.generator.trainable_variables))

        @compiled
        def block(number, centre):
            """Mean and mean square of a part of the draws, and that furthest from the centre."""

            def draw(i, first, second, furthest):
                g = estimate(tf.stack([self._seed + 1, number * per_block + i]))
                further = tf.norm(g - centre) > tf.norm(furthest - centre)
                return first + g, second + g**2, tf.where(further, g, furthest)

            zeros = tf.zeros([parameters], self.generator.compute_dtype)
            first, second, furthest = repeat(per_block, draw, (zeros, zeros, centre))
            return first / per_block, second / per_block, furthest

        # The mean is known only at the end: the first block's, which is drawn a second time, finds
        # the candidates for the furthest draw.
        centre = block(tf.constant(0), tf.zeros([parameters], self.generator.compute_dtype))[0]
        drawn = [block(tf.constant(k), centre) for k in range(BLOCKS)]
        means, squares, furthest = (np.array(x, np.float64) for x in zip(*drawn, strict=True))
        mean, count = means.mean(axis=0), BLOCKS * per_block
        variance = np.maximum(squares.mean(axis=0) - mean**2, 0) * count / (count - 1)
        largest = np.max(np.sum((furthest - mean) ** 2, axis=1))
        total = (count - 1) * variance.sum()
        share = float(min(largest / total, 1)) if total else 1 / count
        slope_p = self._slope_p(spec, context_of, per_block) if context_of else None
        seconds, relative = _timed(self._once(estimate), beside)
        within = _block_variances(means, squares, per_block)
        return Measurement(means, variance, seconds, share, within, slope_p, relative)

    def timed(self, spec):
        """One estimate, compiled: a function of its number, for `measure`'s `beside`."""
        return self._once(self._estimator(spec)[0])

    def _once(self, estimate):
        @compiled
        def once(number):
            return estimate(tf.stack([self._seed + 2, number]))

        once(tf.constant(0))
        return lambda k: once(tf.constant(k)).numpy()

    def exact(self):
        """The exact gradient, [P], or None where the sequences are too many to enumerate."""
        if self.generator.vocab_size**self.generator.seq_len > ENUMERABLE:
            return None
        return _flat(exact_gradient(self.generator, self.reward)).numpy().astype(np.float64)

    def _slope_p(self, spec, context_of, per_block):
        @compiled
        def block(number):
            def draw(i, total):
                seeds = tf.stack([self._seed + 3, number * per_block + i])
                seeds = tf.random.experimental.stateless_split(seeds, 2)
                context = context_of(seeds[0])
                noise = gumbel_noise(context.unrolled.log_probs.shape, seeds[1])
                error = slope_error(spec, noise, context)
                return (total + tf.reshape(tf.cast(error, tf.float32), [-1]),)

            zeros = tf.zeros([self.generator.seq_len * self.generator.vocab_size])
            (total,) = repeat(per_block, draw, (zeros,))
            return total / per_block

        return sign_flip_p(np.array([block(tf.constant(k)) for k in range(BLOCKS)], np.float64))

    def _estimator(self, spec):
        """From a seed the flat gradient, c trained; from a seed what c depends on, or None."""
        if spec is None:
            return self._reference, None
        control = ControlVariate.create(
            spec, self.generator, self.reward, self._filters, self._units
        )
        critic = None
        if spec.traits.critic:
            critic = Critic.create(spec, self.generator, self.reward, self._critic_units)

        def estimate(seed):
            given = {"seed": seed, "control": control, "critic": critic} | self._options
            return estimate_gradient(spec, self.generator, self.reward, **given)

        self._train(estimate, control, critic)
        if spec.updates_per_batch > 1:
            last = LastUpdate(spec, self.generator, self.reward, self._generator_rate, critic)
            return lambda seed: _flat(last.gradient(seed=seed, **self._options)), None

        def context_of(seed):
            shape = [self._options["batch_size"], self.generator.seq_len, self.generator.vocab_size]
            gumbel = gumbel_noise(shape, seed)
            unrolled = autoregressive.unroll(self.generator, gumbel)
            return control.context(spec, self.generator, self.reward, unrolled, gumbel)

        return lambda seed: _flat(estimate(seed)[0]), context_of if spec.traits.relaxed else None

    def _reference(self, seed):
        return _flat(reference_gradient(self.generator, self.reward, seed=seed, **self._options))

    def _train(self, estimate, control, critic):
        if not (control.variables or critic) or not self._control_steps:
            return
        of_control = self._optimizer(self._control_rate, control.variables)
        if critic:
            of_critic = self._optimizer(self._critic_rate, critic.trainable_variables)

        @compiled
        def train():
            def step(i):
                found = estimate(tf.stack([self._seed, i]))[1]
                if control.variables:
                    of_control.apply(found.control_gradient, control.variables)
                if critic:
                    mask = autoregressive.alive(self.generator, found.tokens)
                    learn(critic, of_critic, found.lesson, found.tokens, mask)
                return ()

            repeat(self._control_steps, step, ())

        train()

    def _optimizer(self, rate, variables):
        decay = keras.optimizers.schedules.CosineDecay(rate, self._control_steps)
        optimizer = keras.optimizers.Adam(decay)
        optimizer.build(variables)
        return optimizer


def slope_error(spec, noise, context):
    """dc/dz by automatic differentiation less its estimate by parts, mean over rows: [T, V].

    z = l + g with standard Gumbel g has E[dc/dz_i] = E[c (1 - e^-g_i)] for a continuous c. A c that
    jumps, or whose slopes lie where no draw falls, has not, as far as so many draws show.
    """
    c, slopes = slope(lambda z: form(spec)(z, context), context.unrolled.log_probs + noise)
    by_parts = tf.reshape(c, [c.shape[0], -1, 1]) * (1 - tf.exp(-noise))
    mask = autoregressive.alive(context.generator, context.unrolled.tokens)
    return tf.reduce_mean(autoregressive.masked(slopes - by_parts, mask), axis=0)


def _block_variances(means, squares, per_block):
    """Each block's total variance of one batch, [BLOCKS], from its means [BLOCKS, P]."""
    if per_block == 1:
        return np.full(len(means), np.nan)
    return np.sum(squares - means**2, axis=1) * per_block / (per_block - 1)


def _timed(call, beside=None):
    """The median seconds of a call, and of their ratios to the other's in the same turn."""
    if beside is None:
        return float(np.median([_seconds(call, k) for k in range(_TIMED_CALLS)])), None
    started, seconds = time.perf_counter(), list[list[float]]()
    while len(seconds) < _TIMED_CALLS or (
        len(seconds) < _TURNS and time.perf_counter() - started < _TURNS_SECONDS
    ):
        seconds.append([_seconds(each, len(seconds)) for each in (call, beside)])
    own, other = np.transpose(seconds)
    return float(np.median(own)), float(np.median(own / other))


def _seconds(call, k):
    started = time.perf_counter()
    call(k)
    return time.perf_counter() - started


def _flat(tensors):
    return tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)
