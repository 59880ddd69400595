"""A law of sequences that is known: what data are drawn from, and generators compared with."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from regan_tf.graphs import compiled, repeat
from regan_tf.networks import samplers
from regan_tf.networks.generator import Generator

# Numbers of a kind that are made at once: few enough for a processor's cache, which halves the
# time of a step over a large vocabulary.
_AT_ONCE = 2**19


class Law(NamedTuple):
    """The law of the data, where it is known.

    Attributes:
      model: a Generator that has it, float64.
      test: int32 [M, T], sequences of it by which nothing is trained or chosen.
      entropy, entropy_error: of the law, in nats a token, and its standard error.
    """

    model: Generator
    test: np.ndarray
    entropy: float
    entropy_error: float


class Softmax:
    """softmax(logits / temperature), [B, V], and what is asked of it, in nats."""

    def __init__(self, logits: tf.Tensor, temperature: Any = 1.0):
        scaled = logits / tf.cast(temperature, logits.dtype)
        self._logits = scaled - tf.reduce_max(scaled, axis=-1, keepdims=True)
        self.weights = tf.exp(self._logits)  # of the tokens, the largest being 1
        self._total = tf.reduce_sum(self.weights, axis=-1)

    def log_prob(self, tokens: tf.Tensor) -> tf.Tensor:
        """log p of tokens, int32 [B] -> [B]."""
        return tf.gather(self._logits, tokens, axis=-1, batch_dims=1) - tf.math.log(self._total)

    def cross_entropy(self, other: "Softmax") -> tf.Tensor:
        """- sum_i p_i log q_i, where q is the other: [B]. With itself: the entropy."""
        mean = tf.einsum("bv,bv->b", self.weights, other._logits) / self._total
        return tf.math.log(other._total) - mean


def walk(models: Sequence[Generator], size: Any, step: Callable, numbers: int) -> tuple:
    """Sequences that are written or read, token by token, by several models at once, of which only
    the last state is kept.

    Args:
      models: Generators of one V and T, without an end token.
      size: B, a scalar tensor.
      step: maps t, int32, and each model's logits [B, V] to the token that all read next, int32
        [B], and to so many `numbers`, a list of [B].
    Returns:
      tokens int32 [B, T]; and the numbers' sums over t, float64 [B, numbers].
    """
    length = models[0].seq_len

    def body(t, previous, states, tokens, sums):
        steps = [model.step(previous, s) for model, s in zip(models, states, strict=True)]
        token, found = step(t, *(logits for logits, _ in steps))
        found = [tf.cast(x, tf.float64) for x in found]
        sums += tf.stack(found, axis=-1) if found else 0
        return token, [state for _, state in steps], tokens.write(t, token), sums

    start = (
        tf.fill([size], models[0].vocab_size),
        [model.initial_state(size) for model in models],
        tf.TensorArray(tf.int32, length, element_shape=[None]),
        tf.zeros([size, numbers], tf.float64),
    )
    _, _, tokens, sums = repeat(length, body, start)
    return tf.transpose(tokens.stack()), sums


def by_parts(function: Callable, rows: np.ndarray, vocab_size: int) -> list[np.ndarray]:
    """function(rows), a tuple of tensors that lead with the rows, over parts of them."""
    part = max(1, _AT_ONCE // vocab_size)
    found = [function(rows[i : i + part]) for i in range(0, len(rows), part)]
    return [np.concatenate(each) for each in zip(*found, strict=True)]


def writer(model: Generator) -> Callable:
    """A compiled function from uniform numbers, float64 [B, T] in [0, 1), and a temperature to what
    the model draws by inverting its distribution function: tokens int32 [B, T], and the sum of
    their conditional entropies, float64 [B, 1].

    The mean of these sums is the entropy of the model's law, as that of -log p is. Each of a sum's
    terms has less noise than the token's own -log p, since it is the mean over all that could stand
    there; that the sum has less noise is usual, and measured.
    """

    def write(uniform, temperature):
        def step(t, logits):
            p = Softmax(logits, temperature)
            return samplers.inverted_in_blocks(p.weights, uniform[:, t]), [p.cross_entropy(p)]

        return walk([model], tf.shape(uniform)[0], step, numbers=1)

    signature = [tf.TensorSpec([None, model.seq_len], tf.float64), tf.TensorSpec([], tf.float64)]
    return compiled(write, input_signature=signature)


def draw(model: Generator, uniform: np.ndarray) -> list[np.ndarray]:
    """Sequences of the model, by `writer`: int32 [N, T] and float64 [N, 1], from [N, T]."""
    write = writer(model)
    return by_parts(lambda u: write(u, 1.0), uniform, model.vocab_size)
