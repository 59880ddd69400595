"""The exact gradient of J(theta) = E[R(b)], by enumeration of all sequences: what estimates are
judged by.
"""

import itertools

import numpy as np
import tensorflow as tf

from regan_tf.estimators import rewards
from regan_tf.estimators.penalty import Penalty
from regan_tf.estimators.rewards import Reward
from regan_tf.graphs import compiled
from regan_tf.networks import autoregressive
from regan_tf.networks.autoregressive import chosen
from regan_tf.networks.backprop import values
from regan_tf.networks.protocol import SequenceGenerator, end_token

# V^T up to which all sequences are enumerated.
ENUMERABLE = 10**6


@tf.autograph.experimental.do_not_convert
def exact_gradient(
    generator: SequenceGenerator,
    reward: Reward,
    chunk_size: int = 4096,
    penalty: Penalty | None = None,
) -> list[tf.Tensor]:
    """grad J by enumeration of all sequences b. No randomness.

        J = sum_b p(b) [R(b) - beta (log p(b) - log p_0(b)) - alpha log p(b)]

    Args:
      generator: a `Generator`; V^T may be up to ENUMERABLE.
      reward: maps one-hot rows [N, T, V] to [N].
      chunk_size: N, sequences per pass.
      penalty: has beta, alpha and p_0; None: both weights are 0.
    Returns:
      One tensor for each of `generator.trainable_variables`.
    Raises:
      ValueError: V^T > ENUMERABLE.
    """
    vocab_size, length = generator.vocab_size, generator.seq_len
    if vocab_size**length > ENUMERABLE:
        raise ValueError(
            f"{vocab_size}^{length} sequences are too many to enumerate (at most {ENUMERABLE}): "
            "lower seq_len or vocab_size, "
            "or take a long mean of reinforce_loo"
        )
    theta = values(generator.trainable_variables)

    @compiled(reduce_retracing=True)
    def chunk_gradient(tokens):
        scores = rewards.of_tokens(reward, tokens, vocab_size, generator.compute_dtype)
        with tf.GradientTape() as tape:
            log_prob = _log_prob(generator, tokens)
            if penalty:
                scores -= _cost(penalty, log_prob, tokens)
            expected = tf.reduce_sum(tf.exp(log_prob) * scores)
        return [tf.convert_to_tensor(g) for g in tape.gradient(expected, theta)]

    end = end_token(generator)
    sequences = (
        b
        for b in itertools.product(range(vocab_size), repeat=length)
        if all(after == end or before != end for before, after in itertools.pairwise(b))
    )
    total = [tf.zeros_like(v) for v in theta]
    while chunk := list(itertools.islice(sequences, chunk_size)):
        part = chunk_gradient(tf.constant(np.array(chunk, np.int32)))
        total = [a + b for a, b in zip(total, part, strict=True)]
    return total


def _log_prob(generator, tokens):
    """log p of whole sequences, int32 [N, T] -> [N]."""
    log_prob = chosen(autoregressive.teacher_force(generator, tokens).log_probs, tokens)
    mask = autoregressive.alive(generator, tokens)
    return tf.reduce_sum(autoregressive.masked(log_prob, mask), axis=1)


def _cost(penalty, log_prob, tokens):
    """What the penalty takes from the reward of whole sequences, [N]: its own sums over tokens,
    which estimates rest on, are not used.
    """
    weights = penalty.weights
    cost = weights.entropy * log_prob
    if penalty.prior is not None:
        cost += weights.prior_kl * (log_prob - _log_prob(penalty.prior, tokens))
    # A sequence that cannot be adds nothing: the limit of p log p is 0.
    return tf.where(log_prob > -np.inf, cost, tf.zeros_like(cost))
