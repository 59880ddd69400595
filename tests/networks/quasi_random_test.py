"""Points in halves: each uniform by itself, each half even, the halves independent."""

import numpy as np
import scipy.stats
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.networks import quasi_random

_KINDS = ("sobol", "lhs")


def _sets(kind, size, dims, count):
    """So many sets, [count, size, dims]."""

    @tf.function
    def draw():
        return tf.map_fn(
            lambda i: quasi_random.in_halves(kind, size, dims, tf.stack([i, 3])),
            tf.range(count),
            fn_output_signature=tf.float64,
        )

    return draw().numpy()


class PointsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(kind=_KINDS, size=[4, 10])
    def test_each_coordinate_of_each_point_is_uniform(self, kind, size):
        points = _sets(kind, size, 3, 2000)
        self.assertAllInRange(points, 0.0, 1.0, open_lower_bound=True, open_upper_bound=True)
        values = [scipy.stats.kstest(x, "uniform").pvalue for x in points.reshape(2000, -1).T]
        self.assertGreater(min(values) * len(values), 1e-3)

    @parameterized.parameters(*_KINDS)
    def test_coordinates_of_a_point_are_uncorrelated(self, kind):
        points = _sets(kind, 8, 4, 2000)
        found = np.corrcoef(points[:, 5].T)[np.triu_indices(4, 1)]
        self.assertAllLess(np.abs(found), 4.5 / np.sqrt(2000))

    @parameterized.parameters(("sobol", 16), ("lhs", 16), ("lhs", 10))
    def test_each_half_has_one_point_in_each_interval(self, kind, intervals):
        size = 2 * intervals
        for half in np.moveaxis(_sets(kind, size, 5, 3).reshape(3, -1, 2, 5), 2, 0):
            for column in np.moveaxis(half, 1, 2).reshape(-1, intervals):
                self.assertAllEqual(np.sort(np.int64(column * intervals)), np.arange(intervals))

    def test_a_half_of_sobol_points_has_one_in_each_square_too(self):
        for half in np.moveaxis(_sets("sobol", 32, 2, 3).reshape(3, -1, 2, 2), 2, 0):
            for points in half:
                squares = np.int64(points * 4) @ [4, 1]
                self.assertAllEqual(np.sort(squares), np.arange(16))

    @parameterized.parameters(*_KINDS)
    def test_rows_of_different_halves_are_independent_and_of_one_half_are_not(self, kind):
        points = _sets(kind, 8, 1, 4000)[:, :, 0]
        # Whether two are in the same quarter, where a half has one in each.
        quarters = np.int64(points * 4)
        together = np.mean(quarters[:, :, np.newaxis] == quarters[:, np.newaxis], axis=0)
        rows = np.arange(8)
        same_half = (rows[:, np.newaxis] + rows) % 2 == 0
        others = same_half & (rows[:, np.newaxis] != rows)
        self.assertAllEqual(together[others], np.zeros(others.sum()))
        self.assertAllClose(
            together[~same_half], np.full(32, 0.25), atol=4.5 * np.sqrt(0.1875 / 4000)
        )

    def test_signs_tell_the_halves_apart(self):
        signs = quasi_random.signs(6, tf.float64)
        self.assertAllEqual(signs, [[1], [-1], [1], [-1], [1], [-1]])
