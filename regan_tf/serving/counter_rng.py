"""Threefry-2x32, a counter-based random generator in TensorFlow ops (Salmon et al. 2011, "Parallel
random numbers").

A served model needs randomness per row: TF Serving may put rows of several clients into one batch,
and a row's numbers must not depend on its neighbours. So a row's noise is a function of its own
seed and of a counter.
"""

import tensorflow as tf

_PARITY = 0x1BD11BDA
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_ROUNDS = 20


def threefry_2x32(key, counter):
    """The 20-round block function.

    Args:
      key, counter: pairs of uint32 tensors whose shapes broadcast together.
    Returns:
      A pair of uint32 tensors.
    """
    keys = (key[0], key[1], key[0] ^ key[1] ^ tf.constant(_PARITY, tf.uint32))
    x, y = counter[0] + keys[0], counter[1] + keys[1]
    for i in range(_ROUNDS // 4):
        for rotation in _ROTATIONS[i % 2]:
            x = x + y
            y = tf.bitwise.left_shift(y, tf.constant(rotation, tf.uint32)) | tf.bitwise.right_shift(
                y, tf.constant(32 - rotation, tf.uint32)
            )
            y = y ^ x
        x = x + keys[(i + 1) % 3]
        y = y + keys[(i + 2) % 3] + tf.constant(i + 1, tf.uint32)
    return x, y


def uniform_rows(seeds, steps):
    """Uniform noise in (0, 1): row j of the result depends on seeds[j] alone.

    Args:
      seeds: int64 [B].
      steps: T.
    Returns:
      float64 [B, T], see `to_uniform`.
    """
    bits = tf.bitcast(seeds, tf.uint32)  # [B, 2]
    key = (bits[:, 0, tf.newaxis], bits[:, 1, tf.newaxis])
    counter = tf.cast(tf.range(steps), tf.uint32)[tf.newaxis]
    return to_uniform(*threefry_2x32(key, (counter, tf.zeros_like(counter))))


def to_uniform(high, low):
    """Random bits, two uint32 words, as float64: multiples of 2^-52 moved up by half a step;
    neither 0 nor 1 occurs.
    """
    low = tf.bitwise.right_shift(low, tf.constant(12, tf.uint32))
    return (tf.cast(high, tf.float64) * 2.0**20 + tf.cast(low, tf.float64) + 0.5) * 2.0**-52
