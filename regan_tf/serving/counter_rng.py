"""Threefry-2x32, a counter-based random generator in TensorFlow ops (Salmon et al. 2011, "Parallel
random numbers").

A served model needs randomness per row: TF Serving may put rows of several clients into one batch,
and a row's numbers must not depend on its neighbours. So a row's noise is a function of its own
seed and of a counter.

Words of 32 bits are int32, which wrap as unsigned ones do: other runtimes that read a SavedModel
have no uint32 arithmetic.
"""

import tensorflow as tf
from tensorflow import bitwise

_PARITY = 0x1BD11BDA
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_ROUNDS = 20


def threefry_2x32(key, counter):
    """The 20-round block function.

    Args:
      key, counter: pairs of int32 tensors whose shapes broadcast together.
    Returns:
      A pair of int32 tensors.
    """
    keys = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    x, y = counter[0] + keys[0], counter[1] + keys[1]
    for i in range(_ROUNDS // 4):
        for rotation in _ROTATIONS[i % 2]:
            x = x + y
            y = bitwise.left_shift(y, rotation) | _right_shift(y, 32 - rotation)
            y = y ^ x
        x = x + keys[(i + 1) % 3]
        y = y + keys[(i + 2) % 3] + (i + 1)
    return x, y


def _right_shift(word, bits):
    """As of an unsigned word: zeros come in."""
    return bitwise.right_shift(word, bits) & (2 ** (32 - bits) - 1)


def uniform_rows(keys, steps):
    """Uniform noise in (0, 1): row j of the result depends on keys[j] alone.

    Args:
      keys: int32 [B, 2].
      steps: T.
    Returns:
      float64 [B, T], see `to_uniform`.
    """
    key = (keys[:, 0, tf.newaxis], keys[:, 1, tf.newaxis])
    counter = tf.range(steps)[tf.newaxis]
    return to_uniform(*threefry_2x32(key, (counter, tf.zeros_like(counter))))


def to_uniform(high, low):
    """Random bits, two int32 words, as float64: multiples of 2^-52 moved up by half a step;
    neither 0 nor 1 occurs.
    """
    unsigned = tf.cast(high, tf.float64)
    unsigned = tf.where(high < 0, unsigned + 2.0**32, unsigned)
    low = tf.cast(_right_shift(low, 12), tf.float64)
    return (unsigned * 2.0**20 + low + 0.5) * 2.0**-52
