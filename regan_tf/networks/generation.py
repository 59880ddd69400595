"""Sequences that begin with prompts, for a user who calls `generate`, in the manner of KerasHub."""

import functools
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.random.experimental import stateless_split

from regan_tf.graphs import compiled
from regan_tf.networks import samplers
from regan_tf.networks.autoregressive import AT_ONCE, stateless
from regan_tf.networks.noise import unit_interval
from regan_tf.networks.prompts import padded
from regan_tf.networks.protocol import SequenceGenerator, end_token
from regan_tf.networks.writing import write_by_step

_COLDEST = 1e-30  # colder changes nothing, and would overflow


class Generates:
    """Gives `generate` to a SequenceGenerator that inherits from it. Ours does."""

    def generate(
        self: Any,
        prompts: Any = None,
        *,
        num: int = 1,
        max_length: int | None = None,
        sampler: str | samplers.Sampler = "random",
        temperature: float | None = None,
        seed: Any = None,
    ) -> np.ndarray:
        """Sequences of tokens that begin with prompts.

            generator.generate([[0, 1], [2]], num=3, sampler="top_p", temperature=0.8, seed=1)

        It is compiled once for each sampler and length. Another `num`, prompt or
        `temperature` asks for no new trace; another setting of a Sampler does, and at every call a
        Sampler with attributes that cannot be hashed.

        Args:
          prompts: tokens: one prompt, or several, which may differ in length; None: one that is
            empty. See `prompts.padded`.
          num: how many sequences for each prompt, above 0.
          max_length: of a sequence with its prompt, at most T, which it is by default.
          sampler: "greedy", "random", "top_k" (k=5), "top_p" (p=0.1), or a Sampler.
          temperature: divides the logits, above 0; None: the sampler's.
          seed: an int, or two: the same seed gives the same sequences. None: a new one at every
            call, from NumPy's global state, which `keras.utils.set_random_seed` sets.
        Returns:
          int32 [P num, max_length], for P prompts: the sequences of the first prompt, then those of
          the next. From its end token on, a sequence has only that.
        Raises:
          ValueError, TypeError: an argument is not allowed; the message names it.
        """
        sampler = samplers.get(sampler)
        samplers.count(num, "num")
        length = _checked_length(max_length, self.seq_len)
        cold = sampler.temperature if temperature is None else temperature
        cold = tf.constant(max(samplers.positive(cold, "temperature"), _COLDEST), tf.float64)
        given = padded(prompts, length, self.vocab_size, end_token(self))
        given = np.repeat(given, num, axis=0)
        seed = np.random.randint(2**31 - 1, size=2) if seed is None else stateless(seed)
        uniform = unit_interval(given.shape, stateless_split(seed, 2)[1])
        write, part = self._compiled_for(sampler, length), max(1, AT_ONCE // self.vocab_size)
        parts = [slice(i, i + part) for i in range(0, len(given), part)]
        return np.concatenate([write(given[rows], uniform[rows], cold) for rows in parts])

    def _compiled_for(self: Any, sampler, length):
        of_sampler = sampler.key()
        if (of_sampler, length) in self._compiled:
            return self._compiled[of_sampler, length]
        rows = [tf.TensorSpec([None, length], dtype) for dtype in (tf.int32, tf.float64)]
        write = compiled(
            functools.partial(_write, self, sampler),
            input_signature=[*rows, tf.TensorSpec([], tf.float64)],
        )
        if of_sampler is not None:
            self._compiled[of_sampler, length] = write
        return write

    @functools.cached_property
    def _compiled(self):
        return {}  # of which Keras knows nothing: it would track what an attribute holds


def _checked_length(max_length, seq_len):
    if max_length is None:
        return seq_len
    if samplers.count(max_length, "max_length") > seq_len:
        raise ValueError(f"max_length={max_length} is not allowed: it must be at most T={seq_len}")
    return int(max_length)


def _write(
    generator: SequenceGenerator,
    sampler: samplers.Sampler,
    given: tf.Tensor,
    uniform: tf.Tensor,
    temperature: tf.Tensor,
) -> tf.Tensor:
    """Continues int32 [B, T], -1 where nothing is given, by a random number [B, T] for each token.

    A loop even where T is small: unrolled, 120 steps take seconds to trace.
    """
    size, length = tf.shape(given)[0], given.shape[1]
    given, uniform = tf.transpose(given), tf.transpose(uniform)
    temperature = tf.cast(temperature, generator.compute_dtype)

    def draw(t, logits):
        drawn = sampler(samplers.weights(logits, temperature), uniform[t])
        return tf.where(given[t] < 0, drawn, given[t])

    return write_by_step(generator, size, length, draw)
