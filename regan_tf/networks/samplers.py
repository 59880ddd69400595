"""How the next token is chosen from the generator's distribution over tokens: the samplers of
`Generator.generate`, by the names that KerasHub gave them.
"""

import math
import numbers
from collections.abc import Hashable
from typing import Any

import numpy as np
import tensorflow as tf

from regan_tf.networks.noise import by_inversion

_NUMBER = (int, float, np.number)


def weights(logits: tf.Tensor, temperature: tf.Tensor) -> tf.Tensor:
    """exp(logits / temperature) up to a factor for each row, [B, V], the largest being 1: in
    float64, for rare tokens among many.

    Args:
      logits: [B, V].
      temperature: above 0, a scalar or [B, 1].
    """
    cold = (logits - tf.reduce_max(logits, axis=-1, keepdims=True)) / temperature
    return tf.exp(tf.cast(cold, tf.float64))


def inverted(weights: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Draws by inverting the distribution function: the token in which `uniform` falls when the
    tokens share (0, 1) in proportion to their weights.

    Args:
      weights: float64 [B, V], not negative; their sum is above 0.
      uniform: float64 [B], in (0, 1).
    Returns:
      int32 [B]; never a token of weight 0.
    """
    cumulated = tf.cumsum(weights, axis=-1)
    return tf.math.count_nonzero(
        cumulated <= uniform[:, tf.newaxis] * cumulated[:, -1:], axis=-1, dtype=tf.int32
    )


def inverted_in_blocks(weights: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """`inverted`, where V is large: first a block of about sqrt(V) tokens is drawn, then a token in
    it, and so few weights are cumulated, which takes far longer than a sum.

    Args:
      weights: [B, V], of any float type.
      uniform: float64 [B], in [0, 1).
    Returns:
      int32 [B]: the tokens of `inverted`, but for those whose boundary is within rounding.
    """
    size = math.isqrt(weights.shape[-1])
    padded = tf.pad(weights, [[0, 0], [0, -weights.shape[-1] % size]])
    blocks = tf.reshape(padded, [-1, padded.shape[-1] // size, size])
    sums = tf.cast(tf.reduce_sum(blocks, axis=-1), tf.float64)
    chosen = inverted(sums, uniform)
    before = _picked(tf.cumsum(sums, axis=-1, exclusive=True), chosen)
    rest = (uniform * tf.reduce_sum(sums, axis=-1) - before) / _picked(sums, chosen)
    block = tf.cast(tf.gather(blocks, chosen, batch_dims=1), tf.float64)
    # Below 1 by the last bit: from 1 on `inverted` finds nothing.
    return chosen * size + inverted(block, tf.clip_by_value(rest, 0, 1 - 2.0**-53))


def drawn(logits: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """A draw from softmax(logits [B, V]), int32 [B]: by the Gumbel-max trick, argmax(logits + g),
    from Gumbel noise g [B, V]; or from uniform noise, float64 [B], by `inverted`, for more than 256
    tokens by `inverted_in_blocks`.
    """
    if noise.shape.rank == 1 and by_inversion(logits.shape[-1]):
        return inverted_in_blocks(tf.nn.softmax(logits), noise)
    if noise.shape.rank == 1:
        return inverted(weights(logits, tf.ones([], logits.dtype)), noise)
    return tf.argmax(logits + noise, axis=-1, output_type=tf.int32)


class Sampler:
    """Chooses tokens. One of your own overrides `get_next_token`, as with KerasHub; what is random
    in it must come from the number that each row is given, so that a seed repeats it.

        class Allowed(regan_tf.RandomSampler):
            def __init__(self, allowed, **kwargs):
                super().__init__(**kwargs)
                self.allowed = allowed  # a tuple of V zeros and ones

            def get_next_token(self, probabilities, uniform):
                return super().get_next_token(probabilities * self.allowed, uniform)

    Args:
      temperature: divides the logits, above 0.
    Raises:
      ValueError: an argument is not allowed; the message names it.
    """

    def __init__(self, temperature: float = 1.0):
        self.temperature = positive(temperature, "temperature")

    def get_next_token(self, probabilities: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """The next token of every row, in a graph.

        Args:
          probabilities: float64 [B, V], at the temperature; each row sums to 1.
          uniform: float64 [B], in (0, 1): an independent random number for each row.
        Returns:
          int32 [B].
        """
        raise NotImplementedError(f"{type(self).__name__} must override get_next_token")

    def __call__(self, weights: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """`get_next_token` of weights [B, V] of any sum."""
        probabilities = weights / tf.reduce_sum(weights, axis=-1, keepdims=True)
        return tf.cast(self.get_next_token(probabilities, uniform), tf.int32)

    def key(self) -> Hashable | None:
        """Equal for samplers that choose alike; None for one whose attributes are not hashable."""
        key = (type(self), *sorted(vars(self).items()))
        try:
            hash(key)
        except TypeError:
            return None
        return key


class GreedySampler(Sampler):
    """The most likely token."""

    def get_next_token(self, probabilities: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """The argmax, whatever `uniform`; of equally likely tokens the first."""
        return tf.argmax(probabilities, axis=-1, output_type=tf.int32)


class RandomSampler(Sampler):
    """A draw from the distribution as it is."""

    def get_next_token(self, probabilities: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """Inverts the distribution function.

        Raises InvalidArgumentError where all probabilities of a row are 0.
        """
        least = tf.reduce_min(tf.reduce_max(probabilities, axis=-1))
        message = f"{type(self).__name__}: all probabilities of a sequence's next token are 0"
        with tf.control_dependencies([tf.debugging.assert_positive(least, message)]):
            return inverted(probabilities, uniform)


class TopKSampler(Sampler):
    """A draw from the k most likely tokens, in proportion to their probabilities (Fan et al. 2018).

    Args:
      k: above 0; of equally likely tokens the first count. From V on it is a RandomSampler.
      temperature: divides the logits, above 0.
    """

    def __init__(self, k: int = 5, temperature: float = 1.0):
        super().__init__(temperature)
        self.k = count(k, "k")

    def get_next_token(self, probabilities: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """Inverts the distribution function of the k likeliest."""
        likely, tokens = _most_likely(probabilities, self.k)
        return _picked(tokens, inverted(likely, uniform))


class TopPSampler(Sampler):
    """A draw from the smallest set of most likely tokens whose probability reaches p, in proportion
    to their probabilities (nucleus sampling, Holtzman et al. 2020). The token that reaches p is in
    it.

    Args:
      p: above 0, at most 1.
      k: no more than the k most likely tokens, which takes less time where V is large; None: all.
      temperature: divides the logits, above 0.
    """

    def __init__(self, p: float = 0.1, k: int | None = None, temperature: float = 1.0):
        super().__init__(temperature)
        if not (isinstance(p, _NUMBER) and 0 < p <= 1):
            raise ValueError(f"p={p!r} is not allowed: it must be a number above 0 and at most 1")
        self.p, self.k = p, None if k is None else count(k, "k")

    def get_next_token(self, probabilities: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """Inverts the distribution function of the smallest set."""
        likely, tokens = _most_likely(probabilities, self.k or probabilities.shape[-1])
        kept = tf.cumsum(likely, axis=-1, exclusive=True) < self.p
        return _picked(tokens, inverted(tf.where(kept, likely, 0), uniform))


_BY_NAME = {
    "greedy": GreedySampler,
    "random": RandomSampler,
    "top_k": TopKSampler,
    "top_p": TopPSampler,
}


def get(sampler: str | Sampler) -> Sampler:
    """The sampler of a name, with its defaults; or the one given.

    Raises ValueError for another name, TypeError for what is no Sampler.
    """
    if isinstance(sampler, str):
        if sampler not in _BY_NAME:
            raise ValueError(
                f"sampler={sampler!r} is not allowed: it must be one of {', '.join(_BY_NAME)}, or "
                "a Sampler"
            )
        return _BY_NAME[sampler]()
    if not isinstance(sampler, Sampler):
        raise TypeError(f"sampler={sampler!r} is not allowed: it must be a name or a Sampler")
    return sampler


def positive(value: Any, name: str) -> Any:
    """The value. Raises ValueError, which names it, unless it is finite and above 0."""
    if not (isinstance(value, _NUMBER) and np.isfinite(value) and value > 0):
        raise ValueError(f"{name}={value!r} is not allowed: it must be a number above 0")
    return value


def count(value: Any, name: str) -> int:
    """The value. Raises ValueError, which names it, unless it is an int above 0."""
    if not (isinstance(value, numbers.Integral) and int(value) > 0):
        raise ValueError(f"{name}={value} is not allowed: it must be an int above 0")
    return int(value)


def _most_likely(probabilities, k):
    """The k most likely tokens' probabilities, the highest first, and these tokens: [B, k] each."""
    return tf.math.top_k(probabilities, min(k, probabilities.shape[-1]))


def _picked(tokens, places):
    return tf.gather(tokens, places, axis=-1, batch_dims=1)
