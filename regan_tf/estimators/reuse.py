"""Further updates with a batch whose rewards are known: PPO's clipped surrogate.

Where a reward is dear, its calls and not the generator's updates are what a run costs. The batch
was drawn from an earlier generator, so what it says of the present one is biased: the clip bounds
by how much.
"""

from typing import NamedTuple

import tensorflow as tf

from regan_tf import replicas
from regan_tf.networks import autoregressive
from regan_tf.networks.autoregressive import chosen, masked
from regan_tf.networks.backprop import with_pullback
from regan_tf.networks.protocol import SequenceGenerator


class Batch(NamedTuple):
    """What a batch leaves for further updates, as it was when it was drawn."""

    tokens: tf.Tensor  # b, int32 [B, T]
    signal: tf.Tensor  # A, what weighs each token, [B, T]
    log_prob: tf.Tensor  # log p_old(b_t | b_<t), [B, T]


class Distance(NamedTuple):
    """How far the generator has left a batch; scalars."""

    clipped: tf.Tensor  # share of the tokens that are clipped
    kl: tf.Tensor  # mean of -log r over the tokens, which estimates KL(p_old || p); nats a token


def surrogate_gradient(
    generator: SequenceGenerator, batch: Batch, clip: float
) -> tuple[list[tf.Tensor], Distance]:
    """The gradient of PPO's clipped surrogate, to be ascended.

        L = 1/B sum_j sum_t min(r_jt A_jt, clip(r_jt, 1 - eps, 1 + eps) A_jt),
        r_t = p(b_t | b_<t) / p_old(b_t | b_<t),
        grad L = 1/B sum_j sum_t r_jt A_jt grad log p(b_jt | b_j<t) 1[not clipped]

    A token is clipped where r > 1 + eps and A > 0, or r < 1 - eps and A < 0. Where the generator is
    still the one that drew the batch, r = 1 and this is the score-function estimate; elsewhere it
    is biased, since r weighs a token but not the tokens before it, and by the clip. With an end
    token the sum over t ends there. Schulman et al. 2017, equation (7).

    Args:
      generator: p, a SequenceGenerator.
      batch: this replica's rows, drawn from p_old.
      clip: eps > 0.
    Returns:
      One tensor for each of `generator.trainable_variables`; and Distance.
    """
    unrolled, pullback = with_pullback(
        generator, lambda: autoregressive.teacher_force(generator, batch.tokens)
    )
    mask = autoregressive.alive(generator, batch.tokens)
    log_ratio = chosen(unrolled.log_probs, batch.tokens) - batch.log_prob
    ratio, signal = tf.exp(log_ratio), batch.signal
    is_clipped = ((ratio > 1 + clip) & (signal > 0)) | ((ratio < 1 - clip) & (signal < 0))
    weights = tf.where(is_clipped, tf.zeros_like(signal), ratio * signal)
    summed, _ = pullback(masked(weights, mask))
    gradient = replicas.mean([g / batch.tokens.shape[0] for g in summed])
    return gradient, Distance(*_means([tf.cast(is_clipped, ratio.dtype), -log_ratio], mask))


def _means(figures, mask):
    """Over the tokens of all sequences."""
    parts = [tf.ones_like(figures[0]), *figures]
    count, *sums = replicas.mean([tf.reduce_sum(masked(x, mask)) for x in parts])
    return [x / count for x in sums]
