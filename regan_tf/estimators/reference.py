"""An estimate with the best control variate there is, by brute force: what a learned one could
reach.
"""

from typing import Any

import tensorflow as tf

from regan_tf.estimators import rewards
from regan_tf.estimators.rewards import Reward
from regan_tf.networks import autoregressive, continuations
from regan_tf.networks.backprop import values
from regan_tf.networks.noise import gumbel_noise
from regan_tf.networks.protocol import SequenceGenerator


def reference_gradient(
    generator: SequenceGenerator, reward: Reward, *, batch_size: int, seed: Any, rollouts: int = 4
) -> list[tf.Tensor]:
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
