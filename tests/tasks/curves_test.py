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


class OfMixtureTest(tf.test.TestCase):
    """Beside a law of three sequences of two tokens, by hand."""

    def setUp(self):
        super().setUp()
        self.law = np.array([0.5, 0.3, 0.2])
        self.cold, self.warm = np.array([0.9, 0.08, 0.02]), np.array([0.4, 0.3, 0.3])
        # Sequences as often as each law has them; a sequence's number is - log law, a token.
        of_sequence = -np.log(self.law) / 2
        counts = [(1_000 * q).astype(int) for q in (self.cold, self.warm)]
        self.x = np.stack([np.repeat(of_sequence, n) for n in counts], axis=1)
        tests = np.repeat(np.arange(3), (1_000 * self.law).astype(int))
        self.log_q = np.log(np.stack([self.cold, self.warm], axis=1))[tests]

    def test_it_is_the_mixture_with_that_mean(self):
        cold, warm = self.x.mean(axis=0)
        for share in (0.25, 0.6):
            level = share * cold + (1 - share) * warm
            value, error = curves.of_mixture(self.x, self.log_q, 2, (level,))[level]
            mixture = share * self.cold + (1 - share) * self.warm
            self.assertAllClose(value, -np.sum(self.law * np.log(mixture)) / 2, rtol=1e-6)
            self.assertBetween(error, 0.0005, 0.02)

    def test_of_no_cold_ones_it_is_the_warm_one(self):
        level = float(self.x[:, 1].mean())
        value, _ = curves.of_mixture(self.x, self.log_q, 2, (level,))[level]
        self.assertAllClose(value, -np.sum(self.law * np.log(self.warm)) / 2, rtol=1e-6)

    def test_outside_there_is_none(self):
        cold, warm = self.x.mean(axis=0)
        levels = float(cold) - 0.01, float(warm) + 0.01
        found = curves.of_mixture(self.x, self.log_q, 2, levels)
        self.assertEqual(found, dict.fromkeys(levels, (None, None)))


if __name__ == "__main__":
    tf.test.main()
