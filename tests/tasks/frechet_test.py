"""Fréchet distances by hand, and of texts."""

import numpy as np
import pytest
import tensorflow as tf

from regan_tf.tasks import frechet
from regan_tf.tasks.data import Dataset
from regan_tf.tasks.text import Vocabulary


class DistanceTest(tf.test.TestCase):
    def test_normal_laws_of_one_basis_have_that_of_their_means_and_deviations(self):
        rng = np.random.default_rng(0)
        basis, _ = np.linalg.qr(rng.normal(size=(4, 4)))
        # Exactly white, so that means and covariances are those that are planted.
        white = rng.normal(size=(50, 4))
        white -= white.mean(axis=0)
        white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T
        means, deviations = rng.normal(size=(2, 4)), rng.uniform(0.1, 3, size=(2, 4))
        x, y = (white * deviations[:, np.newaxis] + means[:, np.newaxis]) @ basis
        expected = np.sum((means[0] - means[1]) ** 2) + np.sum((deviations[0] - deviations[1]) ** 2)
        self.assertAllClose(frechet.distance(x, y), expected)
        self.assertAllClose(frechet.distance(y, x), expected)
        self.assertAllClose(frechet.distance(x, x), 0.0, atol=1e-6)

    def test_one_dimension_and_fewer_samples_than_dimensions(self):
        x = np.array([[0.0], [2.0]])
        self.assertAllClose(frechet.distance(x, 3 * x + 1), (4 - 1) ** 2 + 2 * (3 - 1) ** 2)
        few = np.random.default_rng(1).normal(size=(2, 3, 10))
        self.assertGreater(frechet.distance(*few), 1)


class FrechetDistanceTest(tf.test.TestCase):
    def test_other_training_texts_are_nearer_than_what_means_something_else(self):
        pytest.importorskip("wordllama")  # not among the oldest versions
        animals = ("dog", "cat", "horse", "bird", "runs", "sleeps", "eats", "sings")
        courts = ("tax", "law", "bank", "court", "pays")
        vocabulary = Vocabulary(("a", "the", *animals, *courts), " ")
        rng = np.random.default_rng(0)

        def texts(nouns, size):
            columns = [rng.integers(2, size=size), rng.choice(nouns, size), rng.choice(nouns, size)]
            return np.stack(columns, axis=1)

        real = texts(range(2, 10), 400)
        judge = frechet.FrechetDistance(Dataset(vocabulary, real, real[:10]))
        (ideal,) = judge.ideal(200).values()
        self.assertLess(ideal, judge.describe(texts(range(10, 15), 200))["frechet"] / 5)
        self.assertLess(abs(ideal - judge.describe(texts(range(2, 10), 200))["frechet"]), ideal)


if __name__ == "__main__":
    tf.test.main()
