"""What a reward may give, and its values after every prefix."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.estimators import rewards
from tests import problems


class _OfTokens(rewards.TokenReward):
    """A reward of NumPy's that is asked for hard tokens without their rows."""

    def of_tokens(self, tokens):
        return tf.numpy_function(
            lambda b: np.mean(b == 1, axis=1, dtype=np.float32), [tokens], tf.float32
        )

    def __call__(self, rows):
        raise AssertionError("the rows are not needed")


class ShapeTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(problems.many_plus_in_numpy, _OfTokens())
    def test_a_reward_without_a_static_shape_gives_the_gradient_of_one_with_it(self, reward):
        generator, _ = problems.networks(1, 3, 4, end_token=2)

        @tf.function
        def gradient(reward):
            return regan_tf.estimate_gradient(
                "reinforce_loo", generator, reward, batch_size=24, seed=0
            )[0]

        self.assertAllClose(
            problems.flat(gradient(reward)),
            problems.flat(gradient(problems.many_plus)),
            rtol=1e-4,
            atol=1e-6,
        )

    def test_a_shape_that_shows_only_when_it_runs_is_refused_then(self):
        @tf.function
        def values(rows):
            def reward(rows):
                return tf.numpy_function(lambda x: x[:, 0], [rows], tf.float32)

            return rewards.checked(reward, rows)

        with self.assertRaisesRegex(
            tf.errors.InvalidArgumentError, r"\[2,3\] is not compatible with expected shape \[2\]"
        ):
            values(tf.zeros([2, 4, 3]))


class PrefixTest(tf.test.TestCase):
    def test_plain_reward_gets_uniform_rows_after_the_prefix(self):
        tokens, last = tf.constant([[1, 0, 1]]), tf.constant([[[0.3, 0.7], [0.6, 0.4], [0.1, 0.9]]])
        seen = []
        values, features = rewards.prefix_values(
            lambda rows: seen.append(rows) or rows[:, 1, 0], tokens, last
        )
        expected = [
            [[0.3, 0.7], [0.5, 0.5], [0.5, 0.5]],
            [[0, 1], [0.6, 0.4], [0.5, 0.5]],
            [[0, 1], [1, 0], [0.1, 0.9]],
        ]
        self.assertAllClose(seen[0], expected)
        self.assertAllClose(values, [[0.5, 0.6, 1.0]])
        self.assertEqual(features.shape, [1, 3, 0])
