"""A curve read at a level of one coordinate, with the error of that."""

import numpy as np
import tensorflow as tf

from regan_tf.tasks import curves

_TEMPERATURES = (0.4, 0.6, 0.8, 1.0, 1.2)


def _rows(means, size, noise, seed):
    rng = np.random.default_rng(seed)
    return np.array(means) + noise * rng.standard_normal([size, 1])


class AtLevelsTest(tf.test.TestCase):
    def test_it_is_between_the_points(self):
        t = np.array(_TEMPERATURES)
        x, y = (_rows(means, 50, 0.0, 0) for means in (6 + 2 * t, 8 + (t - 1) ** 2))
        found = curves.at_levels(t, x, y, (7, 7.6, 8, 8.3))
        for level, (value, error) in found.items():
            self.assertAllClose(value, 8 + ((level - 6) / 2 - 1) ** 2, atol=0.003)
            self.assertAllClose(error, 0.0, atol=1e-9)

    def test_at_a_point_it_is_the_points(self):
        x, y = (_rows(m, 4, 0.0, 0) for m in ([5, 6, 7, 8, 9], [9, 8, 7.5, 7.2, 7.4]))
        self.assertAllClose(curves.at_levels(_TEMPERATURES, x, y, (8,))[8][0], 7.2)

    def test_outside_there_is_none(self):
        x, y = (_rows(m, 4, 0.0, 0) for m in ([5, 6, 7, 8, 9], [9, 8, 7.5, 7.2, 7.4]))
        found = curves.at_levels(_TEMPERATURES, x, y, (4.9, 9.1))
        self.assertEqual(found, {4.9: (None, None), 9.1: (None, None)})

    def test_near_the_edge_the_value_has_no_error(self):
        x, y = _rows([5, 6, 7, 8, 9], 100, 1.0, 0), _rows([9, 8, 7.5, 7.2, 7.4], 100, 1.0, 1)
        level = float(x.mean(axis=0)[-1]) - 0.01  # which half of the resampled curves miss
        value, error = curves.at_levels(_TEMPERATURES, x, y, (level,))[level]
        self.assertBetween(value, 7, 8)
        self.assertIsNone(error)

    def test_of_several_crossings_the_hottest_counts(self):
        x, y = (_rows(m, 4, 0.0, 0) for m in ([5, 7, 6, 7, 8], [1, 2, 3, 4, 5]))
        self.assertAllClose(curves.at_levels(_TEMPERATURES, x, y, (7,))[7][0], 4.0)

    def test_the_error_has_the_noise_of_both(self):
        # y falls by 2 for each of x: the error is that of y + 2 x, as they are independent.
        t, size, found = np.array(_TEMPERATURES), 400, []
        for seed in range(12):
            x, y = _rows(5 * t, size, 0.5, seed), _rows(20 - 10 * t, size, 1.0, 100 + seed)
            found.append(curves.at_levels(t, x, y, (4,))[4])
        values, errors = np.array(found).T
        expected = np.hypot(1.0, 2 * 0.5) / np.sqrt(size)
        self.assertAllClose(np.mean(errors), expected, rtol=0.1)
        self.assertBetween(np.std(values) / expected, 0.45, 1.7)
        self.assertAllClose(np.mean(values), 12.0, atol=4 * expected / np.sqrt(12))


if __name__ == "__main__":
    tf.test.main()
