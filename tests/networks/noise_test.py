"""Dropout's factors."""

import numpy as np
import tensorflow as tf

from regan_tf.networks.noise import kept


class KeptTest(tf.test.TestCase):
    def test_their_mean_is_1_and_as_many_are_dropped_as_is_asked_for(self):
        factors = kept([400, 250], 0.3, [1, 2], tf.float64).numpy()
        self.assertAllClose(np.unique(factors), [0, 1 / 0.7])
        # 1e5 of them: the standard deviation of the mean is 0.0021.
        self.assertNear(factors.mean(), 1, 0.01)
        self.assertNear(np.mean(factors == 0), 0.3, 0.007)

    def test_they_are_a_function_of_the_seed_each_unit_by_itself(self):
        factors = kept([60, 50], 0.5, [1, 2])
        self.assertAllEqual(factors, kept([60, 50], 0.5, [1, 2]))
        self.assertNotAllEqual(factors, kept([60, 50], 0.5, [1, 3]))
        for axis in (0, 1):
            shares = np.mean(factors.numpy() == 0, axis=axis)
            self.assertAllInRange(shares, 0.15, 0.85)
            self.assertGreater(np.std(shares), 0.03)


if __name__ == "__main__":
    tf.test.main()
