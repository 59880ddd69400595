"""The random numbers of a draw: uniform and Gumbel noise from a stateless seed; all else takes them
as arguments.
"""

import numpy as np
import tensorflow as tf


def uniform_noise(shape, seed, dtype=tf.float32):
    """Uniform noise in (0, 1): 0 becomes the smallest positive number, as log(0) would follow."""
    tiny = np.finfo(tf.as_dtype(dtype).as_numpy_dtype).tiny
    return tf.maximum(tf.random.stateless_uniform(shape, seed, dtype=dtype), tiny)


def kept(shape, dropped, seed, dtype=tf.float32):
    """Dropout's factors: 0 with the probability `dropped`, below 1, else 1 / (1 - dropped), so that
    their mean is 1.
    """
    is_kept = uniform_noise(shape, seed, dtype) >= dropped
    return tf.cast(is_kept, dtype) / (1 - dropped)


def unit_interval(shape, seed):
    """Uniform float64 noise in (0, 1), from 2^-53 on: what `Generator.complete` inverts."""
    return tf.random.stateless_uniform(shape, seed, 2.0**-53, 1, tf.float64)


def gumbel_noise(shape, seed, dtype=tf.float32):
    """Gumbel(0, 1) noise: one independent draw for each row, step and token."""
    return to_gumbel(uniform_noise(shape, seed, dtype))


def to_gumbel(u):
    """-log(-log u): Gumbel(0, 1) noise from uniform noise."""
    return -tf.math.log(-tf.math.log(u))
