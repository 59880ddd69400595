"""Gradient estimates of J(theta) = E[R(b)]: from samples, by every estimator; exactly, by enumeration; their variance."""

import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from regan_tf import relaxation
from regan_tf.estimators import ESTIMATORS
from regan_tf.generator import chosen


class Diagnostics(NamedTuple):
    """What an estimate leaves behind besides the gradient."""

    tokens: tf.Tensor  # int32 [B, T]
    reward: tf.Tensor  # [B]
    log_variance: tf.Tensor | None  # of the rows' gradients in the first parameter of the last layer
    log_variance_all: tf.Tensor | None  # log of their mean variance over all parameters
    control_gradient: list  # of ||g_hat||^2 with respect to the control network's trainable variables (equation 19)


def estimate_gradient(
    estimator,
    generator,
    reward,
    *,
    batch_size,
    seed,
    temperature=1.0,
    eta=1.0,
    control_network=None,
    data=None,
    row_variance=False,
):
    """One draw of g_hat: Algorithm 1, lines 6-12 and 14.

        g_hat = 1/B sum_j [ sum_t signal_jt grad log p(b_jt | b_j<t)  +  grad c(z_j)  -  grad c(z~_j) ]

    with c(z) = eta R(s_lambda(z)) + c_hat_phi(z), equation (10). In c the prefix is held fixed, as in the paper: for a
    generator that reads its own samples this makes rebar and relax biased (BUILD_NOTES.md).

    Args:
      estimator: a name in `estimators.ESTIMATORS`.
      generator: a `Generator`.
      reward: maps rows [B, T, V] to [B]; differentiable in relaxed rows where the estimator has a control variate.
      batch_size: B.
      seed: a stateless seed, int32 [2].
      temperature, eta: lambda and eta.
      control_network: c_hat_phi, a Keras model [B, T, V] -> [B]; relax needs it.
      data: real tokens int32 [B, T]; mle needs them.
      row_variance: also measure the variance over the batch's rows.
    Returns:
      The gradient of J, to be ascended: one tensor for each of `generator.trainable_variables`; and Diagnostics.
    """
    entry = ESTIMATORS[estimator]
    theta = _values(generator)
    phi = _values(control_network) if entry.network else []
    taps = generator.zero_taps(batch_size) if row_variance else ()
    gumbel, uniform = _noise(generator, batch_size, seed)

    with tf.GradientTape(watch_accessed_variables=False) as variance_tape:
        variance_tape.watch(phi)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch((theta, taps))
            unrolled = generator.teacher_force(data, taps) if entry.on_data else generator.unroll(gumbel, taps)
            log_prob = chosen(unrolled.log_probs, unrolled.tokens)
            controls = []  # c(z), c(z~)
            if entry.relaxed:
                law = relaxation.RelaxedTokens(temperature, unrolled.log_probs)
                z = tf.concat([law.unrelaxed(gumbel), law.conditional(unrolled.tokens, uniform)], axis=0)
                c = eta * reward(law.relax(z))
                controls = tf.split(c + control_network(z) if entry.network else c, 2)
        rewards = reward(tf.one_hot(unrolled.tokens, generator.vocab_size, dtype=log_prob.dtype))
        # The signal weighs the score, it is not differentiated: none of its gradient reaches theta, all of it phi.
        signal = entry.signal(rewards, controls[1] if controls else None)
        weights = [tf.broadcast_to(signal, tf.shape(log_prob))]
        weights += [sign * tf.ones_like(c) for sign, c in zip((1, -1), controls, strict=False)]
        summed, cotangents = tape.gradient([log_prob, *controls], (theta, taps), output_gradients=weights)
        gradient = [tf.convert_to_tensor(g) / batch_size for g in summed]
        squared_norm = tf.add_n([tf.reduce_sum(g**2) for g in gradient])

    variances = log_variances(generator.row_gradients(unrolled, cotangents), gradient) if row_variance else (None, None)
    return gradient, Diagnostics(unrolled.tokens, rewards, *variances, variance_tape.gradient(squared_norm, phi))


def _values(model):
    return [v.value for v in model.trainable_variables]


def _noise(generator, batch_size, seed):
    """Independent Gumbel g and uniform v, each [B, T, V]: all the randomness of one estimate."""
    shape = [batch_size, generator.seq_len, generator.vocab_size]
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    dtype = generator.compute_dtype
    return relaxation.gumbel(shape, seeds[0], dtype), relaxation.uniform(shape, seeds[1], dtype)


def log_variances(rows, mean_gradient):
    """Log of the variance over rows of the gradient of one row, in nats.

    Args:
      rows: `generator.RowGradients` g_j of B >= 2 rows.
      mean_gradient: their mean over j, one tensor a variable.
    Returns:
      The log variance of the first parameter of the last layer (figures 4b and 5b), and the log of the mean variance over
      all parameters: 1/P sum_p var_j(g_jp) = (sum_j ||g_j||^2 - B ||mean||^2) / ((B - 1) P). Both with B - 1.
    """
    batch_size = tf.cast(tf.shape(rows.last_layer_first)[0], rows.last_layer_first.dtype)
    bessel = batch_size / (batch_size - 1)
    parameters = sum(g.shape.num_elements() for g in mean_gradient)
    mean_square = tf.reduce_mean(tf.add_n(rows.squared_norms))
    square_mean = tf.add_n([tf.reduce_sum(g**2) for g in mean_gradient])
    variance_all = bessel * (mean_square - square_mean) / parameters
    variance_first = bessel * tf.math.reduce_variance(rows.last_layer_first)
    tiny = np.finfo(batch_size.dtype.as_numpy_dtype).tiny
    return tf.math.log(tf.maximum(variance_first, tiny)), tf.math.log(tf.maximum(variance_all, tiny))


def exact_gradient(generator, reward, chunk_size=4096):
    """grad J by enumeration of all V^T sequences b: grad sum_b p(b) R(b). No randomness.

    Args:
      generator: a `Generator`; V^T may be up to 1e6.
      reward: maps one-hot rows [N, T, V] to [N].
      chunk_size: N, sequences per pass.
    Returns:
      One tensor for each of `generator.trainable_variables`.
    Raises:
      ValueError: V^T > 1e6.
    """
    vocab_size, length = generator.vocab_size, generator.seq_len
    if vocab_size**length > 10**6:
        raise ValueError(f"{vocab_size}^{length} sequences are too many to enumerate (at most 1e6): lower seq_len or vocab_size")
    theta = _values(generator)

    @tf.function(reduce_retracing=True)
    def chunk_gradient(tokens):
        rewards = reward(tf.one_hot(tokens, vocab_size, dtype=generator.compute_dtype))
        with tf.GradientTape() as tape:
            expected = tf.reduce_sum(tf.exp(tf.reduce_sum(generator.log_prob(tokens), axis=1)) * rewards)
        return [tf.convert_to_tensor(g) for g in tape.gradient(expected, theta)]

    sequences = itertools.product(range(vocab_size), repeat=length)
    total = None
    while chunk := list(itertools.islice(sequences, chunk_size)):
        part = chunk_gradient(tf.constant(np.array(chunk, np.int32)))
        total = part if total is None else [a + b for a, b in zip(total, part, strict=True)]
    return total
