"""Estimators measured against each other at one fixed state: bias, variance and cost, from many
draws.
"""

import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from regan_tf.config import ESTIMATORS, FORMS, Config, UserError
from regan_tf.estimators import rewards, signals
from regan_tf.estimators.control_variate import FORMS as FORM_FUNCTIONS
from regan_tf.estimators.control_variate import (
    Context,
    ControlNetwork,
    LearnedScalar,
    StepControlNetwork,
    feature_dim,
    float_or_tensor,
    slope,
)
from regan_tf.estimators.estimate import estimate_gradient, learned
from regan_tf.estimators.exact import ENUMERABLE, exact_gradient
from regan_tf.graphs import compiled, repeat
from regan_tf.networks import autoregressive, continuations
from regan_tf.networks.backprop import values
from regan_tf.networks.noise import gumbel_noise

BLOCKS = 20  # independent parts of the draws, from which standard errors are taken
BIAS_SEEN = 1e-3  # a bias is called seen where p is below
_FLIPS = 9_999
_TIMED_CALLS = 20


class Spec(NamedTuple):
    """One estimator to measure, as typed: estimator[:option...]."""

    name: str
    estimator: str
    form: str = "step"
    leave_one_out: bool = False
    learn_eta: bool = False
    learn_temperature: bool = False
    variance_loss: str = "batch"
    coupled: bool | None = None
    control_samples: int = 1

    @classmethod
    def parse(cls, text):
        """Reads a spec. Raises UserError, naming what is allowed."""
        estimator, *options = text.split(":")
        values = {"name": text, "estimator": estimator}
        for option in options:
            if option in FORMS:
                values["form"] = option
            elif option == "per_example":
                values["variance_loss"] = option
            elif option == "independent":
                values["coupled"] = False
            elif option.startswith("x") and option[1:].isdigit() and int(option[1:]):
                values["control_samples"] = int(option[1:])
            elif option in ("loo", "eta", "temperature"):
                values["leave_one_out" if option == "loo" else f"learn_{option}"] = True
            else:
                raise UserError(
                    f"--estimators: {text!r} has the unknown option {option!r}: {_OPTIONS}"
                )
        if estimator not in (*ESTIMATORS, REFERENCE) or estimator == "mle":
            raise UserError(
                f"--estimators: {text!r} names no estimator of the reward's gradient: {_OPTIONS}"
            )
        entry = signals.ESTIMATORS.get(estimator)
        of_control = set(values) - {"name", "estimator", "leave_one_out"}
        if of_control and not (entry and entry.relaxed):
            raise UserError(
                f"--estimators: {text!r} has options of a control variate, which only rebar and "
                f"relax have: {_OPTIONS}"
            )
        if "leave_one_out" in values and not (entry and entry.signal):
            raise UserError(
                f"--estimators: {text!r} has no learning signal to leave one out of: {_OPTIONS}"
            )
        return cls(**values)


REFERENCE = "reference"
_OPTIONS = (
    f"write ESTIMATOR[:OPTION...] with one of {', '.join(ESTIMATORS[1:])}, {REFERENCE}, and "
    f"options {', '.join(FORMS)}, loo, eta, temperature (learned), per_example, independent, x2, "
    "x4 ... (draws of z~)"
)


class Measurement(NamedTuple):
    """What many draws of one estimator show; P parameters, gradients of batches."""

    blocks: np.ndarray  # [BLOCKS, P], mean gradients of independent parts of the draws
    variance: np.ndarray  # [P], of one batch's gradient
    seconds: float  # of one estimate, the median, without the step that trains c
    # Of the batch furthest from the mean, in the sum of squared distances: 1/batches if all are
    # alike.
    largest_share: float
    slope_p: float | None = None  # that c's slopes are right, see `slope_error`; None without c


class Laboratory:
    """A generator and a reward, held fixed.

    Args:
      generator, reward: as for `estimate_gradient`.
      batch_size, temperature, eta: of every estimate.
      seed: of all draws.
      control_steps: Adam steps by which what is learned in a control variate is trained, at this
        state, before measuring.
      control_learning_rate: their rate.
      control_units, control_filters: sizes of relax's network, by default those of a run.
    """

    def __init__(
        self,
        generator,
        reward,
        *,
        batch_size,
        temperature=1.0,
        eta=1.0,
        seed=0,
        control_steps=0,
        control_learning_rate=3e-3,
        control_units=Config.control_units,
        control_filters=Config.control_filters,
    ):
        self.generator, self.reward = generator, reward
        self._options = {"batch_size": batch_size}
        self._scalars = {"temperature": temperature, "eta": eta}
        self._seed = seed
        self._control_steps = control_steps
        self._control_rate = control_learning_rate
        self._units, self._filters = control_units, control_filters

    @classmethod
    def of_experiment(cls, experiment, **options):
        """The state of an `Experiment`, with relax's network of its configuration's sizes."""
        options["control_units"] = experiment.config.control_units
        options["control_filters"] = experiment.config.control_filters
        return cls(experiment.generator, experiment.trainer.reward, **options)

    def measure(self, spec, draws):
        """Trains the spec's control variate, then draws so many batches; a Measurement."""
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

        @compiled
        def once(number):
            return estimate(tf.stack([self._seed + 2, number]))

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
        once(tf.constant(0))
        seconds = _median_seconds(lambda k: once(tf.constant(k)).numpy())
        return Measurement(means, variance, seconds, share, slope_p)

    def exact(self):
        """The exact gradient, [P], or None where the sequences are too many to enumerate."""
        if self.generator.vocab_size**self.generator.seq_len > ENUMERABLE:
            return None
        return _flat(exact_gradient(self.generator, self.reward)).numpy().astype(np.float64)

    def control_network(self, form):
        """A new network of relax for one of FORMS."""
        if form == "sequence":
            return ControlNetwork(self.generator.vocab_size, self._filters)
        features = feature_dim(self.generator, self.reward)
        return StepControlNetwork(features, self.generator.vocab_size, self._units)

    def _slope_p(self, spec, context_of, per_block):
        @compiled
        def block(number):
            def draw(i, total):
                seeds = tf.stack([self._seed + 3, number * per_block + i])
                seeds = tf.random.experimental.stateless_split(seeds, 2)
                context = context_of(seeds[0])
                noise = gumbel_noise(context.unrolled.log_probs.shape, seeds[1])
                error = slope_error(FORM_FUNCTIONS[spec.form], noise, context)
                return (total + tf.reshape(tf.cast(error, tf.float32), [-1]),)

            zeros = tf.zeros([self.generator.seq_len * self.generator.vocab_size])
            (total,) = repeat(per_block, draw, (zeros,))
            return total / per_block

        return sign_flip_p(np.array([block(tf.constant(k)) for k in range(BLOCKS)], np.float64))

    def _estimator(self, spec):
        """From a seed the flat gradient, c trained; from a seed what c depends on, or None."""
        if spec.estimator == REFERENCE:
            return self._reference, None
        learn = {"temperature": spec.learn_temperature, "eta": spec.learn_eta}
        scalars = {
            n: LearnedScalar(v, positive=n == "temperature") if learn[n] else v
            for n, v in self._scalars.items()
        }
        network = self.control_network(spec.form) if spec.estimator == "relax" else None

        def estimate(seed):
            return estimate_gradient(
                spec.estimator,
                self.generator,
                self.reward,
                seed=seed,
                control_variate=spec.form,
                leave_one_out=spec.leave_one_out,
                control_network=network,
                variance_loss=spec.variance_loss,
                coupled=spec.coupled,
                control_samples=spec.control_samples,
                **scalars,
                **self._options,
            )

        self._train(estimate, learned(network, **{k: scalars[k] for k in ("eta", "temperature")}))

        def context_of(seed):
            shape = [self._options["batch_size"], self.generator.seq_len, self.generator.vocab_size]
            gumbel = gumbel_noise(shape, seed)
            unrolled = autoregressive.unroll(self.generator, gumbel)
            values = {n: float_or_tensor(v, gumbel.dtype) for n, v in scalars.items()}
            return Context(self.generator, self.reward, network, unrolled, gumbel, **values)

        relaxed = signals.ESTIMATORS[spec.estimator].relaxed
        return lambda seed: _flat(estimate(seed)[0]), context_of if relaxed else None

    def _reference(self, seed):
        return _flat(reference_gradient(self.generator, self.reward, seed=seed, **self._options))

    def _train(self, estimate, variables):
        if not variables or not self._control_steps:
            return
        decay = keras.optimizers.schedules.CosineDecay(self._control_rate, self._control_steps)
        optimizer = keras.optimizers.Adam(decay)
        optimizer.build(variables)

        @compiled
        def train():
            def step(i):
                optimizer.apply(estimate(tf.stack([self._seed, i]))[1].control_gradient, variables)
                return ()

            repeat(self._control_steps, step, ())

        train()


def slope_error(form, noise, context):
    """dc/dz by automatic differentiation less its estimate by parts, mean over rows: [T, V].

    z = l + g with standard Gumbel g has E[dc/dz_i] = E[c (1 - e^-g_i)] for a continuous c. A c that
    jumps, or whose slopes lie where no draw falls, has not, as far as so many draws show.
    """
    c, slopes = slope(lambda z: form(z, context), context.unrolled.log_probs + noise)
    by_parts = tf.reshape(c, [c.shape[0], -1, 1]) * (1 - tf.exp(-noise))
    mask = autoregressive.alive(context.generator, context.unrolled.tokens)
    return tf.reduce_mean(autoregressive.masked(slopes - by_parts, mask), axis=0)


def reference_gradient(generator, reward, *, batch_size, seed, rollouts=4):
    """The control variate c_t = E[R | b_<=t], with its sum over step t's tokens taken analytically:
    unbiased, and costly.

        g_hat = sum_t [ (R - Q_t(b_t)) grad log p(b_t | b_<t)  +  sum_i Q_t(i) grad p(i | b_<t) ],
        Q_t(i) = E[R | b_<t, i]

    Q by Monte Carlo, `rollouts` continuations for each (t, i), independent of b_>=t: T V times a
    sampling pass each.
    """
    theta = values(generator.trainable_variables)
    length, vocab_size = generator.seq_len, generator.vocab_size
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(theta)
        unrolled = autoregressive.unroll(
            generator, gumbel_noise([batch_size, length, vocab_size], seeds[0])
        )
        log_prob = autoregressive.chosen(unrolled.log_probs, unrolled.tokens)
        probs = tf.exp(unrolled.log_probs)
    mask = autoregressive.alive(generator, unrolled.tokens)
    noise = gumbel_noise([rollouts, vocab_size, batch_size, length, length, vocab_size], seeds[1])
    tokens = [
        continuations.sampled(generator, unrolled.tokens, noise[:, i], last=i)
        for i in range(vocab_size)
    ]
    tokens = tf.stack(tokens, axis=1)
    rows = tf.one_hot(tf.reshape(tokens, [-1, length]), vocab_size)
    q = tf.reduce_mean(
        tf.reshape(rewards.checked(reward, rows), [rollouts, vocab_size, batch_size, length]),
        axis=0,
    )
    q = tf.transpose(q, [1, 2, 0])
    score = rewards.checked(reward, tf.one_hot(unrolled.tokens, vocab_size))[:, tf.newaxis]
    weights = [score - autoregressive.chosen(q, unrolled.tokens), q]
    summed = tape.gradient(
        [log_prob, probs], theta, [autoregressive.masked(w, mask) for w in weights]
    )
    return [tf.convert_to_tensor(g) / batch_size for g in summed]


def compare(measurement, truth, truth_blocks=None):
    """Bias and size of a measured gradient beside the truth.

    Args:
      measurement: a Measurement.
      truth: [P].
      truth_blocks: [BLOCKS, P] if the truth is itself a mean of draws, else None: exact.
    Returns:
      A dict: `bias` relative to the truth's norm, the square root of an unbiased estimate of its
      square (0 where that is negative); `bias_error`, the bias that noise alone would show; `p`,
      the p-value of no bias (see `sign_flip_p`), and `bias_seen`, whether it is below BIAS_SEEN;
      `cosine` and `norm_ratio` of the mean gradient to the truth.
    """
    difference = measurement.blocks - (truth if truth_blocks is None else truth_blocks)
    count, total = len(difference), difference.sum(axis=0)
    # E[d_k . d_l] for independent blocks k != l is the squared bias: no noise adds to it. Its error
    # by the jackknife.
    square_sum = np.sum(difference**2)
    squared_bias = (total @ total - square_sum) / (count * (count - 1))
    left_out = [
        (((total - d) @ (total - d)) - (square_sum - d @ d)) / ((count - 1) * (count - 2))
        for d in difference
    ]
    error = np.sqrt((count - 1) * np.var(left_out))
    norm, mean = np.linalg.norm(truth), measurement.blocks.mean(axis=0)
    p = sign_flip_p(difference)
    return {
        "bias": float(np.sqrt(max(squared_bias, 0)) / norm),
        "bias_error": float(np.sqrt(error) / norm),
        "p": p,
        "bias_seen": p < BIAS_SEEN,
        "cosine": float(mean @ truth / (np.linalg.norm(mean) * norm)),
        "norm_ratio": float(np.linalg.norm(mean) / norm),
    }


def sign_flip_p(differences):
    """How often chance shows as large a bias: one-sided, a randomisation test, uniform under none.

    Without a bias, and with a law symmetric about 0, blocks with flipped signs are as likely as
    they
    are: the sum over k != l of d_k . d_l is compared with itself after random flips. No law of the
    noise is assumed beyond that, heavy tails included.

    Args:
      differences: [K, P], of K independent blocks from the truth; 1-D for a single number.
    Returns:
      (1 + flips that show as much) / (1 + flips): at least 1e-4, and 1 where all differences are 0.
    """
    differences = np.reshape(differences, [len(differences), -1])
    gram = differences @ differences.T
    np.fill_diagonal(gram, 0)

    def statistic(signs, axis):
        return np.sum((signs @ gram) * signs, axis=axis)

    signs = (np.ones(len(gram)),)
    options = {"n_resamples": _FLIPS, "vectorized": True, "rng": np.random.default_rng(0)}
    options |= {"permutation_type": "samples", "alternative": "greater"}
    return float(stats.permutation_test(signs, statistic, **options).pvalue)


def _median_seconds(call):
    times = []
    for k in range(_TIMED_CALLS):
        started = time.perf_counter()
        call(k)
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def _flat(tensors):
    return tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)
