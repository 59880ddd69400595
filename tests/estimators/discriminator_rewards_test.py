"""The discriminator's rewards: all that they say, against the discriminator itself."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.estimators import rewards
from regan_tf.estimators.discriminator_rewards import DiscriminatorReward, PrefixLogitReward
from regan_tf.networks import autoregressive
from tests import problems


class DiscriminatorTest(tf.test.TestCase, parameterized.TestCase):
    def test_fast_prefixes_are_the_discriminator_on_shortened_rows(self):
        _, discriminator = problems.networks(1, 4, 5)
        tokens = tf.constant(np.random.default_rng(0).integers(0, 4, [3, 5]), tf.int32)
        last = tf.nn.softmax(tf.random.stateless_normal([3, 5, 4], [0, 1]))
        values, features = DiscriminatorReward(discriminator).prefixes(tokens, last)
        self.assertEqual(features.shape, [3, 5, 8])
        for t in range(5):
            rows = tf.concat([tf.one_hot(tokens[:, :t], 4), last[:, t : t + 1]], axis=1)
            self.assertAllClose(values[:, t], discriminator.probability(rows), atol=1e-6)

    @parameterized.parameters(None, 3)
    def test_next_values_are_the_discriminator_on_each_next_token(self, end_token):
        _, discriminator = problems.networks(1, 4, 5, end_token=end_token)
        reward = DiscriminatorReward(discriminator)
        tokens = tf.constant(np.random.default_rng(0).integers(0, 3, [2, 5]), tf.int32)
        told = reward.tell(tokens, 4, tf.float32, ahead=True)
        for t in range(5):
            for token in range(4):
                next_one = tf.fill([2, 1], token)
                b = tf.concat([tokens[:, :t], next_one], axis=1)
                probability = discriminator.probability(b)
                self.assertAllClose(told.next_values[:, t, token], probability, atol=1e-6)

    @parameterized.parameters(-1, 3)
    def test_all_is_told_at_once(self, end_token):
        _, discriminator = problems.networks(1, 4, 5, end_token=None if end_token < 0 else 3)
        reward = DiscriminatorReward(discriminator)
        tokens = tf.constant([[0, 1, 2, 2, 1], [1, 3, 0, 2, 1], [0, 0, 0, 0, 3], [3, 3, 3, 3, 3]])
        found = reward.tell(tokens, 4, tf.float32, ahead=True)
        self.assertAllClose(found.reward, reward.of_tokens(tokens), atol=1e-6)
        self.assertEqual(reward.tell(tokens, 4, tf.float32).next_values.shape, [4, 5, 0])
        for t in range(1, 5):
            so_far = discriminator.probability(tokens[:, :t])
            goes_on = tf.reduce_all(tokens[:, :t] != end_token, axis=1)
            values = tf.boolean_mask(found.values[:, t, 0], goes_on)
            self.assertAllClose(values, tf.boolean_mask(so_far, goes_on), atol=1e-6)
        self.assertAllEqual(found.values[:, 0], found.values[::-1, 0])  # of nothing
        # What a PrefixReward without a faster way does; of nothing it says 0.
        slower = rewards.PrefixReward.tell(reward, tokens, 4, tf.float32, ahead=True)
        self.assertAllClose(found.values[:, 1:], slower.values[:, 1:], atol=1e-6)
        for name in ("reward", "features", "next_values"):
            self.assertAllClose(getattr(found, name), getattr(slower, name), atol=1e-6)


class PrefixLogitTest(tf.test.TestCase, parameterized.TestCase):
    def test_what_is_to_go_is_the_logit_less_that_of_the_prefix(self):
        _, discriminator = problems.networks(1, 4, 5)
        tokens = tf.constant(np.random.default_rng(0).integers(0, 4, [3, 5]), tf.int32)
        reward = PrefixLogitReward(discriminator)
        whole, to_go = discriminator(tokens), reward.to_go(tokens)
        self.assertAllClose(reward.of_tokens(tokens), whole, atol=1e-5)
        self.assertAllClose(to_go[:, 0], whole, atol=1e-5)
        for t in range(1, 5):
            self.assertAllClose(to_go[:, t], whole - discriminator(tokens[:, :t]), atol=1e-5)

    def test_it_ends_with_the_sequence(self):
        _, discriminator = problems.networks(1, 4, 5, end_token=3)
        tokens = tf.constant([[0, 1, 3, 2, 1], [3, 0, 0, 0, 0], [0, 1, 2, 1, 0]])
        reward = PrefixLogitReward(discriminator)
        whole, to_go = discriminator(tokens), reward.to_go(tokens)
        self.assertAllClose(to_go[:, 0], whole, atol=1e-5)
        last = whole[0] - discriminator(tokens[:1, :2])[0]
        self.assertAllClose(to_go[0, 2:], [last, 0, 0], atol=1e-5)
        self.assertAllClose(to_go[1, 1:], [0, 0, 0, 0], atol=1e-5)
        self.assertAllClose(to_go[2, 4], whole[2] - discriminator(tokens[2:, :4])[0], atol=1e-5)

    @parameterized.parameters(None, 3)
    def test_what_it_tells_of_beginnings_is_what_is_not_to_go_any_more(self, end_token):
        _, discriminator = problems.networks(1, 4, 5, end_token=end_token)
        tokens = tf.constant([[0, 1, 2, 2, 1], [3, 0, 0, 0, 0], [0, 1, 2, 1, 3], [0, 1, 3, 0, 1]])
        reward = PrefixLogitReward(discriminator)
        found, alive = reward.tell(tokens, 4, tf.float32, ahead=True), tf.ones([4, 5])
        alive = alive if end_token is None else autoregressive.alive(discriminator, tokens)
        self.assertAllClose(found.reward, reward.of_tokens(tokens), atol=1e-5)
        to_go = alive * (found.reward[:, tf.newaxis] - found.values[..., 0])
        self.assertAllClose(to_go, reward.to_go(tokens), atol=1e-5)
        self.assertAllClose(found.to_go, to_go, atol=1e-5)
        # At the last step the next value is all that is to go.
        last = tf.gather(found.next_values, tokens, batch_dims=2)[:, -1]
        self.assertAllClose(last[0], to_go[0, -1], atol=1e-5)

    def test_of_rows_it_is_the_logit(self):
        _, discriminator = problems.networks(1, 4, 5)
        tokens = tf.constant([[0, 1, 3, 2, 1]])
        of_rows = PrefixLogitReward(discriminator)(tf.one_hot(tokens, 4))
        self.assertAllClose(of_rows, discriminator(tokens), atol=1e-5)
