"""Continuations keep their prefixes and follow the generator."""

import numpy as np
import scipy.stats
import tensorflow as tf

from regan_tf.networks import continuations
from regan_tf.networks.noise import gumbel_noise, unit_interval
from tests import problems


class ContinuationTest(tf.test.TestCase):
    def test_sampled_continuations_keep_the_prefix_and_have_the_generators_distribution(self):
        generator, _ = problems.networks(3, 3, 3, spread=0.7)
        tokens = tf.constant([[2, 0, 1]])
        noise = gumbel_noise([20_000, 1, 3, 3, 3], [0, 1])
        found = continuations.sampled(generator, tokens, noise).numpy()[:, 0]
        self.assertTrue(np.all(found[:, :, 0] == 2))
        self.assertTrue(np.all(found[:, 1:, 1] == 0))
        self.assertTrue(np.all(found[:, 2] == [2, 0, 1]))
        distribution = tf.exp(generator(tf.constant([[2, 0, 0]])))[0, 1].numpy().astype(np.float64)
        counts = np.bincount(found[:, 0, 1], minlength=3)
        self.assertGreater(
            scipy.stats.chisquare(counts, 20_000 * distribution / distribution.sum()).pvalue, 1e-3
        )
        replaced = continuations.sampled(generator, tokens, noise[:5], last=1).numpy()
        self.assertAllEqual(np.diagonal(replaced, axis1=2, axis2=3), np.ones([5, 1, 3]))
        self.assertTrue(np.all(replaced[:, :, 2, :2] == [2, 0]))

    def test_inverted_continuations_keep_the_prefix_and_have_the_generators_distribution(self):
        generator, _ = problems.networks(3, 3, 3, spread=0.7)
        tokens = tf.repeat([[2, 0, 1]], 20_000, axis=0)
        uniform = unit_interval([20_000, 3, 3], [0, 1])
        found = continuations.inverted(generator, tokens, uniform).numpy()
        self.assertTrue(np.all(found[:, :, 0] == 2))
        self.assertTrue(np.all(found[:, 1:, 1] == 0))
        self.assertTrue(np.all(found[:, 2] == [2, 0, 1]))
        for second in range(3):  # the last token's law, given what the continuation wrote before
            rows = found[found[:, 0, 1] == second]
            law = tf.exp(generator(tf.constant([[2, second, 0]])))[0, 2].numpy().astype(np.float64)
            counts = np.bincount(rows[:, 0, 2], minlength=3)
            expected = len(rows) * law / law.sum()
            self.assertGreater(scipy.stats.chisquare(counts, expected).pvalue, 1e-3)

    def test_nothing_but_the_end_follows_it_in_an_inverted_continuation(self):
        generator, _ = problems.networks(3, 3, 4, end_token=0, spread=0.7)
        tokens = tf.repeat([[2, 0, 0, 0], [2, 1, 1, 1]], 500, axis=0)
        found = continuations.inverted(generator, tokens, unit_interval([1_000, 4, 4], [0, 1]))
        ended = np.cumsum(found.numpy() == 0, axis=-1) > 0
        self.assertAllEqual(found.numpy()[ended], np.zeros(ended.sum()))
        self.assertGreater(np.mean(ended[500:, 0]), 0.1)

    def test_relaxed_continuation_of_a_cold_sample_is_the_sample(self):
        generator, _ = problems.networks(3, 4, 5, spread=0.7)
        noise = gumbel_noise([6, 5, 4], [0, 1])
        unrolled = generator.unroll(noise)
        rows = tf.nn.softmax((unrolled.log_probs + noise) / 1e-4)
        found = continuations.relaxed(generator, unrolled, rows, noise, 1e-4)
        hard = tf.one_hot(unrolled.tokens, 4)
        self.assertAllClose(found, tf.repeat(hard[:, tf.newaxis], 5, axis=1), atol=1e-3)

    def test_relaxed_continuation_keeps_the_hard_prefix_and_feeds_its_own_rows(self):
        generator, _ = problems.networks(3, 4, 3, spread=0.7)
        noise = gumbel_noise([2, 3, 4], [0, 1])
        unrolled = generator.unroll(noise)
        rows = tf.nn.softmax(tf.random.stateless_normal([2, 3, 4], [1, 1]))
        found = continuations.relaxed(generator, unrolled, rows, noise, 0.8)
        self.assertAllClose(found[:, 2, :2], tf.one_hot(unrolled.tokens[:, :2], 4))
        self.assertAllClose(tf.stack([found[:, t, t] for t in range(3)], axis=1), rows)
        _, state = generator.step(tf.fill([2], 4), generator.initial_state(2))
        logits, _ = generator.step(rows[:, 0], state)
        self.assertAllClose(
            found[:, 0, 1],
            tf.nn.softmax((tf.nn.log_softmax(logits) + noise[:, 1]) / 0.8),
            atol=1e-5,
        )
