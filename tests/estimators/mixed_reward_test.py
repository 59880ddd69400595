"""J of a reward of one's own mixed with the discriminator's: estimates against enumeration, and the
parts.
"""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.estimators.control_variate import ControlVariate, feature_dim
from regan_tf.estimators.discriminator_rewards import DiscriminatorReward
from regan_tf.estimators.estimate import estimate_gradient
from regan_tf.estimators.exact import exact_gradient
from regan_tf.estimators.mixed_reward import MixedReward
from regan_tf.estimators.penalty import Penalty
from regan_tf.estimators.rewards import UnsuitableError
from regan_tf.networks.convolutional import ConvolutionalDiscriminator
from regan_tf.spec import EstimatorSpec
from regan_tf.tasks.text import Vocabulary
from tests import problems

_WEIGHT = 0.7
_STEP = {"control_variate": "step", "leave_one_out": True}


def _many_ones(rows):
    """The share of token 1, squared: smooth in the rows."""
    return tf.reduce_mean(rows[:, :, 1], axis=1) ** 2


@regan_tf.token_reward
def _many_ones_in_numpy(tokens):
    return np.mean(tokens == 1, axis=1) ** 2


def _black_box():
    return regan_tf.BlackBoxReward(_many_ones_in_numpy, Vocabulary(tuple("abcd"), end=3))


def _networks():
    return problems.networks(7, 4, 3, reward_spread=3.0, end_token=3)


class UnbiasednessTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        (EstimatorSpec("reinforce_loo"), _black_box),
        (EstimatorSpec("relax", eta=0, **_STEP), _black_box),
        (EstimatorSpec("rebar", **_STEP), lambda: _many_ones),
        (EstimatorSpec("rebar", control_variate="rollout", leave_one_out=True), lambda: _many_ones),
    )
    def test_is_unbiased(self, spec, own):
        generator, discriminator = _networks()
        reward = MixedReward(own(), discriminator, _WEIGHT)
        control = ControlVariate.create(spec, generator, reward)

        def draw(seed):
            gradient, _ = estimate_gradient(
                spec, generator, reward, batch_size=1024, seed=seed, control=control
            )
            return problems.flat(gradient)

        def written_out(rows):
            return 0.7 * _many_ones(rows) + 0.3 * discriminator.probability(rows)

        exact = problems.flat(exact_gradient(generator, written_out))
        found = problems.Comparison(problems.batch_means(draw, 60), exact)
        self.assertLess(found.relative_noise, 0.03, str(found))
        self.assertTrue(found.is_unbiased(), str(found))
        for part in (_many_ones, discriminator.probability):  # which the comparison tells apart
            other = problems.flat(exact_gradient(generator, part))
            self.assertGreater(tf.norm(exact - other), 0.3 * tf.norm(exact))


class PartsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("reinforce_loo", "straight_through")
    def test_they_are_measured_apart(self, estimator):
        generator, discriminator = _networks()
        reward = MixedReward(_many_ones, discriminator, _WEIGHT)
        _, diagnostics = estimate_gradient(estimator, generator, reward, batch_size=16, seed=1)
        own, of_discriminator = diagnostics.measured.values()
        self.assertEqual(list(diagnostics.measured), ["reward", "discriminator_reward"])
        rows = tf.one_hot(diagnostics.tokens, 4)
        self.assertAllEqual(own, _many_ones(rows))
        self.assertAllClose(of_discriminator, discriminator.probability(rows), rtol=1e-5)
        self.assertAllClose(diagnostics.reward, 0.7 * own + 0.3 * of_discriminator)

    def test_a_penalty_is_measured_beside_them(self):
        generator, discriminator = _networks()
        prior, _ = problems.networks(8, 4, 3, end_token=3)
        reward = MixedReward(_many_ones, discriminator, _WEIGHT)
        _, diagnostics = estimate_gradient(
            "reinforce", generator, reward, batch_size=4, seed=1, penalty=Penalty(prior, 0.1)
        )
        names = {"reward", "discriminator_reward", "prior_kl", "entropy"}
        self.assertEqual(set(diagnostics.measured), names)


class PrefixTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.generator, self.discriminator = _networks()
        self.tokens = self.generator.sample(3, 1)
        self.last = tf.nn.softmax(tf.random.stateless_normal([3, 3, 4], [0, 1]))

    def test_values_are_mixed_and_features_are_the_discriminators(self):
        alone = DiscriminatorReward(self.discriminator).prefixes(self.tokens, self.last)
        same = MixedReward(self.discriminator.probability, self.discriminator, 0.0)
        values, features = same.prefixes(self.tokens, self.last)
        self.assertAllClose(values, alone[0])
        self.assertAllEqual(features, alone[1])
        half = MixedReward(lambda rows: 3 + 0 * rows[:, 0, 0], self.discriminator, 0.5)
        self.assertAllClose(half.prefixes(self.tokens, self.last)[0], 1.5 + alone[0] / 2)

    def test_both_have_features(self):
        own = DiscriminatorReward(self.discriminator)
        reward = MixedReward(own, self.discriminator, 0.5)
        values, features = reward.prefixes(self.tokens, self.last)
        self.assertAllClose(values, own.prefixes(self.tokens, self.last)[0])
        self.assertAllEqual(reward.features(self.tokens, self.last), features)
        alone = feature_dim(self.generator, own)
        more = own.features(self.tokens, self.last).shape[-1]
        self.assertEqual(feature_dim(self.generator, reward), alone + more)

    def test_next_values_are_mixed_where_both_have_some(self):
        of_discriminator = DiscriminatorReward(self.discriminator)
        _, other = problems.networks(9, 4, 3, end_token=3)
        own = DiscriminatorReward(other)
        given = self.tokens, 4, tf.float32, True
        first, second = own.tell(*given), of_discriminator.tell(*given)
        found = MixedReward(own, self.discriminator, 0.7).tell(*given)
        for name in ("reward", "values", "next_values"):
            mixed = 0.7 * getattr(first, name) + 0.3 * getattr(second, name)
            self.assertAllClose(getattr(found, name), mixed)
        self.assertAllClose(found.features, tf.concat([first.features, second.features], axis=-1))
        alone = MixedReward(_black_box(), self.discriminator, 0.7).tell(*given)
        self.assertAllClose(alone.values, 0.3 * second.values)
        self.assertAllClose(alone.next_values, 0.3 * second.next_values)
        self.assertAllClose(alone.features, second.features)

    def test_a_reward_of_tokens_is_not_asked_for_values_that_it_has_not(self):
        reward = MixedReward(_black_box(), self.discriminator, 0.5)
        of_discriminator = DiscriminatorReward(self.discriminator)
        self.assertAllEqual(
            reward.features(self.tokens, self.last),
            of_discriminator.features(self.tokens, self.last),
        )
        convolutional = ConvolutionalDiscriminator(4, 3, 5)
        neither = MixedReward(_black_box(), convolutional, 0.5)
        self.assertEqual(neither.features(self.tokens, self.last).shape, (3, 3, 0))
        spec = EstimatorSpec("relax", eta=0, **_STEP)
        control = ControlVariate.create(spec, self.generator, neither)
        options = {"batch_size": 8, "seed": 1, "control": control}
        gradient, _ = estimate_gradient(spec, self.generator, neither, **options)
        self.assertGreater(tf.linalg.global_norm(gradient), 0)
        with self.assertRaisesRegex(UnsuitableError, "reads tokens, so it has no gradient"):
            reward(self.last)


if __name__ == "__main__":
    tf.test.main()
