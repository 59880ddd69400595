"""Uniform points that fill the unit cube more evenly than independent ones, from a stateless seed.

Each point by itself is uniform in the cube; those of a set depend on each other. A batch has two
sets that are independent, its halves: what one knows of its mean is then a baseline for the other.
"""

import numpy as np
import tensorflow as tf
from tensorflow.random.experimental import stateless_split

from regan_tf.networks.noise import unit_interval

_BITS = 52  # of a coordinate: with half a unit more it is still an exact float64


def sobol(size: int, dims: int, seed: tf.Tensor) -> tf.Tensor:
    """The first points of a Sobol sequence, all shifted by the same random bits (a digital shift,
    Matousek 1998), others in each dimension: float64 [size, dims], in (0, 1).

        u_jd = (x_jd xor shift_d + 1/2) / 2^52

    The sequence is a constant of the graph. A power of two is the best size.
    """
    from scipy.stats import qmc  # it takes most of a second to load, which other runs do without

    sequence = qmc.Sobol(dims, scramble=False, bits=_BITS)
    points = sequence.random_base2((size - 1).bit_length())[:size]
    shift = tf.random.stateless_uniform([dims], seed, 0, 2**_BITS, tf.int64)
    shifted = tf.bitwise.bitwise_xor(tf.constant(np.int64(points * 2.0**_BITS)), shift)
    return (tf.cast(shifted, tf.float64) + 0.5) / 2.0**_BITS


def latin_hypercube(size: int, dims: int, seed: tf.Tensor) -> tf.Tensor:
    """In each dimension one point in each of `size` equal intervals, in random order, anywhere in
    it (McKay et al. 1979): float64 [size, dims], in (0, 1).
    """
    of_order, of_place = tf.unstack(stateless_split(seed, 2))
    interval = tf.transpose(tf.argsort(unit_interval([dims, size], of_order)))
    place = unit_interval([size, dims], of_place)
    return tf.minimum((tf.cast(interval, tf.float64) + place) / size, 1 - 2.0**-53)


_SETS = {"sobol": sobol, "lhs": latin_hypercube}


def in_halves(sampling: str, size: int, dims: int, seed: tf.Tensor) -> tf.Tensor:
    """Two independent sets of points, in turn: float64 [size, dims], in (0, 1).

    Args:
      sampling: "sobol" or "lhs".
      size: an even number.
      dims: of the cube.
      seed: a stateless seed, [2].
    """
    halves = [_SETS[sampling](size // 2, dims, s) for s in tf.unstack(stateless_split(seed, 2))]
    return tf.reshape(tf.stack(halves, axis=1), [size, dims])


def signs(size: int, dtype: tf.DType) -> tf.Tensor:
    """Which half a row of `in_halves` is of: 1 or -1, [size, 1]."""
    return tf.cast(1 - 2 * (tf.range(size) % 2), dtype)[:, tf.newaxis]
