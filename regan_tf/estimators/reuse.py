"""Sequences whose rewards are known, used again: a batch for further updates, by PPO's clipped
surrogate; the best of all so far beside each batch.

Where a reward is dear, its calls and not the generator's updates are what a run costs. What is used
again was drawn from an earlier generator, so what it says of the present one is biased.
"""

from typing import NamedTuple

import tensorflow as tf

from regan_tf import replicas
from regan_tf.estimators import signals
from regan_tf.estimators.estimate import Diagnostics
from regan_tf.estimators.penalty import Penalty
from regan_tf.networks import autoregressive
from regan_tf.networks.autoregressive import chosen, masked
from regan_tf.networks.backprop import with_pullback
from regan_tf.networks.protocol import SequenceGenerator
from regan_tf.spec import EstimatorSpec


class Batch(NamedTuple):
    """What a batch leaves for further updates, as it was when it was drawn."""

    tokens: tf.Tensor  # b, int32 [B, T]
    reward: tf.Tensor  # R, [B]
    signal: tf.Tensor  # A, what weighs each token, [B, T]
    log_prob: tf.Tensor  # log p_old(b_t | b_<t), [B, T]

    @classmethod
    def of(cls, found: Diagnostics) -> "Batch":
        """Of what an estimate left behind."""
        return cls(found.tokens, found.reward, found.signal, found.log_prob)


class Distance(NamedTuple):
    """How far the generator has left a batch; scalars."""

    clipped: tf.Tensor  # share of the tokens that are clipped
    kl: tf.Tensor  # mean of -log r over the tokens, which estimates KL(p_old || p); nats a token


class Replayed(NamedTuple):
    """Sequences that were evaluated before, of whatever generator."""

    tokens: tf.Tensor  # b, int32 [N, T]
    reward: tf.Tensor  # R, [N]
    weight: tf.Tensor  # 1; or 0 where there is none in this place, [N]


def further_gradient(
    spec: EstimatorSpec, generator: SequenceGenerator, batch: Batch, penalty: Penalty | None = None
) -> tuple[list[tf.Tensor], Distance]:
    """The gradient of a further update with a batch, to be ascended: that of PPO's clipped
    surrogate,

        L = 1/B sum_j sum_t min(r_jt A_jt, clip(r_jt, 1 - eps, 1 + eps) A_jt),
        r_t = p(b_t | b_<t) / p_old(b_t | b_<t),
        grad L = 1/B sum_j sum_t r_jt A_jt grad log p(b_jt | b_j<t) 1[not clipped]

    A token is clipped where r > 1 + eps and A > 0, or r < 1 - eps and A < 0. Where the generator is
    still the one that drew the batch, r = 1 and this is the score-function estimate; elsewhere it
    is biased, since r weighs a token but not the tokens before it, and by the clip. With an end
    token the sum over t ends there. Schulman et al. 2017, equation (7).

    For reinvent it is that of its own loss, with the present generator's log p(b), of which no
    sample need be; nothing is clipped, and no row has the others' mean for baseline.

    Args:
      spec: of the estimate; its `clip` is eps.
      generator: p, a SequenceGenerator.
      batch: this replica's rows, drawn from p_old.
      penalty: that of the estimate. Its costs after a token are in A; - h_t, of the present
        generator, is added to the sum over t.
    Returns:
      One tensor for each of `generator.trainable_variables`; and Distance.
    """
    tokens = batch.tokens
    unrolled, pullback = with_pullback(
        generator, lambda: autoregressive.teacher_force(generator, tokens)
    )
    log_probs, mask = unrolled.log_probs, autoregressive.alive(generator, tokens)
    of_prior = penalty and penalty.prior_log_probs(tokens, log_probs.dtype)
    log_prob = autoregressive.log_prob(unrolled)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(log_probs)
        cost = penalty.terms(log_probs, of_prior, mask).cost if penalty else None
    log_ratio = log_prob - batch.log_prob
    if spec.traits.reads_prior:
        weights = _of_reinvent(spec, batch.reward, log_prob - chosen(of_prior, tokens), mask)
        is_clipped = tf.zeros_like(weights)
    else:
        weights, is_clipped = _clipped(tf.exp(log_ratio), batch.signal, spec.clip)
    if cost is not None:
        of_cost = tape.gradient(cost, log_probs, -tf.ones_like(cost))
        weights = autoregressive.added(of_cost, tokens, weights)
    summed, _ = pullback(masked(weights, mask))
    gradient = replicas.mean([g / tokens.shape[0] for g in summed])
    return gradient, Distance(*_means([is_clipped, -log_ratio], mask))


def replay_gradient(
    spec: EstimatorSpec,
    generator: SequenceGenerator,
    replayed: Replayed,
    baseline: tf.Tensor,
    batch_size: int,
    penalty: Penalty | None = None,
) -> list[tf.Tensor]:
    """What good sequences of before add to the gradient, to be ascended: self-imitation.

        1/B sum_j (R_j - baseline)_+ sum_t grad log p(b_jt | b_j<t)

    The generator is drawn to what it, or an earlier one, wrote with a better reward than now. It is
    biased: the sequences are no sample of p. Oh et al. 2018, equation (2), without its critic. For
    reinvent they are as many more terms of its loss.

    Args:
      spec: of the estimate.
      generator: p, a SequenceGenerator.
      replayed: all of them, on every replica.
      baseline: the present batch's mean reward, a scalar.
      batch_size: B, of the batch that they are added to.
      penalty: that of the estimate; for reinvent's prior alone.
    Returns:
      One tensor for each of `generator.trainable_variables`.
    """
    tokens, reward = replayed.tokens, replayed.reward
    unrolled, pullback = with_pullback(
        generator, lambda: autoregressive.teacher_force(generator, tokens)
    )
    log_prob, mask = autoregressive.log_prob(unrolled), autoregressive.alive(generator, tokens)
    of_prior = penalty and penalty.prior_log_probs(tokens, log_prob.dtype)
    if spec.traits.reads_prior:
        signal = _of_reinvent(spec, reward, log_prob - chosen(of_prior, tokens), mask)
    else:
        better = tf.nn.relu(reward - baseline)[:, tf.newaxis]
        signal = tf.broadcast_to(better, tf.shape(log_prob))
    weights = replayed.weight[:, tf.newaxis] * signal / batch_size
    return pullback(masked(weights, mask))[0]


def _clipped(ratio, signal, clip):
    """What weighs grad log p in the surrogate's gradient, and 1 where nothing does; [B, T]."""
    is_clipped = ((ratio > 1 + clip) & (signal > 0)) | ((ratio < 1 - clip) & (signal < 0))
    weights = tf.where(is_clipped, tf.zeros_like(signal), ratio * signal)
    return weights, tf.cast(is_clipped, ratio.dtype)


def _of_reinvent(spec, reward, log_ratio, mask):
    """Its signal for each token, from R [B] and log p / p_0 of the tokens, [B, T]."""
    of_sequences = tf.reduce_sum(masked(log_ratio, mask), axis=1, keepdims=True)
    signal = signals.reinvent(spec.sigma * reward[:, tf.newaxis], of_sequences)
    return tf.broadcast_to(signal, tf.shape(log_ratio))


def _means(figures, mask):
    """Over the tokens of all sequences."""
    parts = [tf.ones_like(figures[0]), *figures]
    count, *sums = replicas.mean([tf.reduce_sum(masked(x, mask)) for x in parts])
    return [x / count for x in sums]
