"""The softmax over many tokens, where of one of them the log-probability is wanted, and its
gradient.

Each pass over all logits counts here: one takes as long as a third of a product with the output
layer. So neither the log-softmax is formed, which takes more than twice the time of a softmax, nor
the gradient of log p(b) in the logits, one_hot(b) - p, but in products with p and with rows of b.
"""

from typing import NamedTuple

import tensorflow as tf

from regan_tf.networks import lstm
from regan_tf.networks.autoregressive import added, chosen
from regan_tf.networks.noise import by_inversion

# Above it float32 has its full precision, and to spare.
_RARE = 1e-30


class OfTokens(NamedTuple):
    """The softmax p of logits, and one token b in each place. With `places` there are N of them
    among all that the leading axes [...] are of, and what is not among them counts for nothing.
    """

    tokens: tf.Tensor  # b, int32 [...], or [N]
    probs: tf.Tensor  # p, [..., V], or [N, V]
    log_prob: tf.Tensor  # log p(b), [...], in nats; 0 elsewhere
    places: tf.Tensor | None = None  # int32 [N], in the leading axes made one; None: all

    def log_probs(self, logits: tf.Tensor) -> tf.Tensor:
        """l = log_softmax(logits [..., V]): where there are no `places`, one pass more than p."""
        if self.places is not None:
            return tf.nn.log_softmax(logits)
        of_tokens = tf.gather(logits, self.tokens, batch_dims=self.tokens.shape.rank)
        return logits - (of_tokens - self.log_prob)[..., tf.newaxis]

    def minus_slope(self) -> tf.Tensor:
        """p - one_hot(b), the gradient of - log p(b) in the logits: [..., V]."""
        ones = tf.ones_like(self.tokens, self.probs.dtype)
        return self._everywhere(added(self.probs, self.tokens, -ones))

    def through(self, kernel: tf.Tensor) -> tf.Tensor:
        """(p - one_hot(b)) W^T, for W [X, V]: [..., X]."""
        of_tokens = tf.gather(tf.transpose(kernel), self.tokens)
        return self._everywhere(lstm.product(self.probs, kernel, transpose=True) - of_tokens)

    def weighed(self, x: tf.Tensor) -> tf.Tensor:
        """The sum over all places of x (outer) (p - one_hot(b)), for x [..., X]: [X, V]."""
        x, size = _flat(at(self.places, x)), self.probs.shape[-1]
        of_tokens = tf.math.unsorted_segment_sum(x, tf.reshape(self.tokens, [-1]), size)
        return tf.matmul(x, _flat(self.probs), transpose_a=True) - tf.transpose(of_tokens)

    def _everywhere(self, x):
        if self.places is None:
            return x
        size, width = tf.size(self.log_prob), x.shape[-1]
        spread = tf.scatter_nd(self.places[:, tf.newaxis], x, [size, width])
        return tf.reshape(spread, tf.concat([tf.shape(self.log_prob), [width]], axis=0))


def of_tokens(
    logits: tf.Tensor, probs: tf.Tensor, tokens: tf.Tensor, places: tf.Tensor | None = None
) -> OfTokens:
    """OfTokens of logits l and their softmax p, [..., V], and tokens int32 [...]; or with `places`
    of l and p at these, [N, V], and tokens int32 [...]. Gradients flow through both to log p(b).
    """
    counted = tokens if places is None else tf.gather(tf.reshape(tokens, [-1]), places)
    log_prob = _log_prob(_flat(logits), _flat(probs), tf.reshape(counted, [-1]))
    if places is not None:
        log_prob = tf.scatter_nd(places[:, tf.newaxis], log_prob, [tf.size(tokens)])
    return OfTokens(counted, probs, tf.reshape(log_prob, tf.shape(tokens)), places)


def at(places: tf.Tensor | None, x: tf.Tensor) -> tf.Tensor:
    """The rows of x [..., X] at places int32 [N], the leading axes made one: [N, X]; None: x."""
    return x if places is None else tf.gather(_flat(x), places)


def log_prob(logits: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
    """log p(b) of tokens int32 [B, T] under softmax(logits [B, T, V]): [B, T], differentiable."""
    if by_inversion(logits.shape[-1]):
        return of_tokens(logits, tf.nn.softmax(logits), tokens).log_prob
    return chosen(tf.nn.log_softmax(logits), tokens)


def _log_prob(logits, probs, tokens):
    """log p(b) = l_b - l_v + log p(v), [N], with any token v whose p(v) a float can hold: b itself,
    or where it is too rare in one place, the likeliest of every place, which is one more pass.
    """
    of_tokens = tf.gather(probs, tokens, batch_dims=1)
    reference = tf.cond(
        tf.reduce_all(of_tokens > _RARE),
        lambda: tokens,
        lambda: tf.argmax(logits, axis=-1, output_type=tf.int32),
    )
    below = tf.gather(logits, tokens, batch_dims=1) - tf.gather(logits, reference, batch_dims=1)
    return below + tf.math.log(tf.gather(probs, reference, batch_dims=1))


def _flat(x):
    return tf.reshape(x, [-1, x.shape[-1]])
