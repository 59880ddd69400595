"""Intervals, on data whose law is known."""

import numpy as np
import tensorflow as tf
from scipy import stats

from regan_tf.studies.statistics import ratio_of_means

_BLOCKS, _FREEDOM = 20, 9  # as ten batches a block make it where one parameter has all the variance
_RATIO = 3.0


def _variances(rng, size):
    """Sample variances of normal data whose true one is 1."""
    return rng.chisquare(_FREEDOM, size) / _FREEDOM


class RatioOfMeansTest(tf.test.TestCase):
    def test_it_covers_the_ratio_of_variances_as_often_as_it_says(self):
        rng, covered, trials = np.random.default_rng(0), 0, 2000
        for _ in range(trials):
            ratio, low, high = ratio_of_means(
                _RATIO * _variances(rng, _BLOCKS), _variances(rng, _BLOCKS)
            )
            self.assertBetween(ratio, low, high)
            covered += low < _RATIO < high
        self.assertBetween(covered / trials, 0.935, 0.965)  # 3 standard errors

    def test_it_is_as_wide_as_the_exact_interval(self):
        # The sum of chi-squares is one: the ratio has the law F.
        rng = np.random.default_rng(1)
        widths = []
        for _ in range(200):
            _, low, high = ratio_of_means(_variances(rng, _BLOCKS), _variances(rng, _BLOCKS))
            widths.append(np.log(high / low))
        law = stats.f(_BLOCKS * _FREEDOM, _BLOCKS * _FREEDOM)
        self.assertAllClose(np.mean(widths), np.log(law.ppf(0.975) / law.ppf(0.025)), rtol=0.07)

    def test_the_noise_of_both_widens_it(self):
        rng = np.random.default_rng(2)
        noisy, exact = _variances(rng, _BLOCKS), np.ones(_BLOCKS)
        _, low, high = ratio_of_means(noisy, exact)
        self.assertAllClose(ratio_of_means(exact, noisy)[1:], [1 / high, 1 / low])
        _, lower, higher = ratio_of_means(noisy, _variances(rng, _BLOCKS))
        self.assertGreater(higher / lower, high / low)

    def test_without_noise_there_is_no_interval(self):
        self.assertEqual(ratio_of_means(np.full(5, 6.0), np.full(5, 2.0)), (3.0, 3.0, 3.0))
        self.assertEqual(ratio_of_means(np.zeros(5), np.full(5, 2.0)), (0.0, 0.0, 0.0))


if __name__ == "__main__":
    tf.test.main()
