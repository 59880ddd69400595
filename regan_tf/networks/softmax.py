"""The softmax of many logits, of which one token's log-probability is wanted, and its gradient."""

from typing import NamedTuple

import tensorflow as tf

from regan_tf.networks.autoregressive import chosen
from regan_tf.networks.noise import by_inversion


class OfTokens(NamedTuple):
    """What a softmax says of one token b in each place."""

    log_prob: tf.Tensor  # log p(b), [...], in nats
    minus_slope: tf.Tensor  # softmax - one_hot(b), the gradient of -log p(b) in the logits, [..., V]


def of_tokens(logits: tf.Tensor, tokens: tf.Tensor) -> OfTokens:
    """log p(b) and its gradient, without the log-softmax, which takes more than twice the time of a
    softmax. With v the likeliest token, of which p(v) >= 1 / V,

        log p(b) = l_b - l_v + log p(v)

    Args:
      logits: l, [..., V].
      tokens: b, int32 [...].
    Returns:
      OfTokens. Gradients flow through both to the logits.
    """
    size = logits.shape[-1]
    flat, places = tf.reshape(logits, [-1, size]), tf.reshape(tokens, [-1])
    probs, likeliest = tf.nn.softmax(flat), tf.argmax(flat, axis=-1, output_type=tf.int32)
    log_largest = tf.math.log(tf.gather(probs, likeliest, batch_dims=1))
    below = tf.gather(flat, places, batch_dims=1) - tf.gather(flat, likeliest, batch_dims=1)
    rows = tf.range(tf.shape(flat)[0])
    ones = tf.ones_like(places, flat.dtype)
    slope = tf.tensor_scatter_nd_sub(probs, tf.stack([rows, places], axis=1), ones)
    return OfTokens(
        tf.reshape(below + log_largest, tf.shape(tokens)), tf.reshape(slope, tf.shape(logits))
    )


def log_prob(logits: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
    """log p(b) of tokens int32 [B, T] under softmax(logits [B, T, V]): [B, T], differentiable."""
    if by_inversion(logits.shape[-1]):
        return of_tokens(logits, tokens).log_prob
    return chosen(tf.nn.log_softmax(logits), tokens)
