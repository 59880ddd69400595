"""The softmax over many tokens, where of one of them the log-probability is wanted, and its
gradient.

Each pass over all logits counts here: one takes as long as a third of a product with the output
layer. So neither the log-softmax is formed, which takes more than twice the time of a softmax, nor
the gradient of log p(b) in the logits, one_hot(b) - p, but in products with p and with rows of b.
"""

from typing import NamedTuple

import tensorflow as tf

from regan_tf.networks import lstm
from regan_tf.networks.autoregressive import chosen
from regan_tf.networks.noise import by_inversion


class OfTokens(NamedTuple):
    """The softmax p of logits, and one token b in each place; leading axes [...] are the same."""

    tokens: tf.Tensor  # b, int32 [...]
    probs: tf.Tensor  # p, [..., V]
    log_prob: tf.Tensor  # log p(b), [...], in nats

    def minus_slope(self) -> tf.Tensor:
        """p - one_hot(b), the gradient of - log p(b) in the logits: [..., V]."""
        flat, tokens = _flat(self.probs), tf.reshape(self.tokens, [-1])
        places = tf.stack([tf.range(tf.size(tokens)), tokens], axis=1)
        ones = tf.ones_like(tokens, flat.dtype)
        return tf.reshape(tf.tensor_scatter_nd_sub(flat, places, ones), tf.shape(self.probs))

    def through(self, kernel: tf.Tensor) -> tf.Tensor:
        """(p - one_hot(b)) W^T, for W [X, V]: [..., X]."""
        of_tokens = tf.gather(tf.transpose(kernel), self.tokens)
        return lstm.product(self.probs, kernel, transpose=True) - of_tokens

    def weighed(self, x: tf.Tensor) -> tf.Tensor:
        """The sum over all places of x (outer) (p - one_hot(b)), for x [..., X]: [X, V]."""
        x, size = _flat(x), self.probs.shape[-1]
        of_tokens = tf.math.unsorted_segment_sum(x, tf.reshape(self.tokens, [-1]), size)
        return tf.matmul(x, _flat(self.probs), transpose_a=True) - tf.transpose(of_tokens)


def of_tokens(logits: tf.Tensor, tokens: tf.Tensor) -> OfTokens:
    """OfTokens of logits l [..., V] and tokens int32 [...]. With v the likeliest token, of which
    p(v) is at least 1 / V,

        log p(b) = l_b - l_v + log p(v)

    Gradients flow through p and log p(b) to the logits.
    """
    flat, places = _flat(logits), tf.reshape(tokens, [-1])
    probs, likeliest = tf.nn.softmax(flat), tf.argmax(flat, axis=-1, output_type=tf.int32)
    below = tf.gather(flat, places, batch_dims=1) - tf.gather(flat, likeliest, batch_dims=1)
    log_prob = below + tf.math.log(tf.gather(probs, likeliest, batch_dims=1))
    shape = tf.shape(logits)
    return OfTokens(tokens, tf.reshape(probs, shape), tf.reshape(log_prob, shape[:-1]))


def log_prob(logits: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
    """log p(b) of tokens int32 [B, T] under softmax(logits [B, T, V]): [B, T], differentiable."""
    if by_inversion(logits.shape[-1]):
        return of_tokens(logits, tokens).log_prob
    return chosen(tf.nn.log_softmax(logits), tokens)


def _flat(x):
    return tf.reshape(x, [-1, x.shape[-1]])
