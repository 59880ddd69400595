"""The discriminator's rewards: all that they say, against the discriminator itself."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.estimators import rewards
from regan_tf.estimators.discriminator_rewards import (
    DiscriminatorReward,
    PrefixLogitReward,
    PrefixProbabilityReward,
    SequenceReward,
    reward_of,
)
from regan_tf.estimators.estimate import estimate_gradient
from regan_tf.estimators.exact import exact_gradient
from regan_tf.networks import autoregressive
from regan_tf.networks.convolutional import ConvolutionalDiscriminator
from tests import exact_mean, problems


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


class PrefixProbabilityTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(None, 3)
    def test_each_token_gets_what_is_said_of_its_prefix(self, end_token):
        _, discriminator = problems.networks(1, 4, 5, end_token=end_token)
        tokens = tf.constant([[0, 1, 3, 2, 1], [3, 0, 0, 0, 0], [0, 1, 2, 1, 0], [0, 1, 2, 1, 3]])
        lengths = [5] * 4 if end_token is None else [3, 1, 5, 5]
        reward = PrefixProbabilityReward(discriminator)
        found = reward.of_steps(tokens).numpy()
        for t in range(5):
            is_alive = t < np.array(lengths)
            says = 2 * discriminator.probability(tokens[:, : t + 1]) - 1
            self.assertAllClose(found[:, t], np.where(is_alive, says, 0), atol=1e-5)
        self.assertAllClose(reward.of_tokens(tokens), found.sum(axis=1), atol=1e-5)
        self.assertAllClose(reward(tf.one_hot(tokens, 4)), found.sum(axis=1), atol=1e-5)

    @parameterized.parameters(None, 3)
    def test_all_is_told_at_once(self, end_token):
        _, discriminator = problems.networks(1, 4, 5, end_token=end_token)
        reward = PrefixProbabilityReward(discriminator)
        tokens = tf.constant([[0, 1, 2, 2, 1], [3, 0, 0, 0, 0], [0, 1, 2, 1, 3], [0, 1, 3, 0, 1]])
        found = reward.tell(tokens, 4, tf.float32, ahead=True)
        self.assertAllClose(found.reward, reward.of_tokens(tokens), atol=1e-5)
        self.assertAllClose(found.to_go, reward.to_go(tokens), atol=1e-5)
        self.assertAllClose(found.values[:1, 1:, 0], reward.of_steps(tokens)[:1, :-1], atol=1e-5)
        self.assertAllEqual(found.values[:, 0, 0], tf.zeros(4))
        # What the next token gets at once, which at the last step is all that is to go.
        gets = tf.gather(found.next_values, tokens, batch_dims=2)
        self.assertAllClose(gets[0], reward.of_steps(tokens)[0], atol=1e-5)
        self.assertAllClose(gets[2, -1], reward.to_go(tokens)[2, -1], atol=1e-5)
        self.assertEqual(reward.tell(tokens, 4, tf.float32).next_values.shape, [4, 5, 0])

    @parameterized.parameters(None, 3)
    def test_relaxed_rows_have_the_slope_that_a_tape_says(self, end_token):
        _, discriminator = problems.networks(1, 4, 5, end_token=end_token, dtype="float64")
        reward = PrefixProbabilityReward(discriminator)
        noise = tf.random.stateless_normal([2, 3, 5, 4], [0, 1], dtype=tf.float64)
        rows, step = tf.nn.softmax(noise[0]), 1e-6 * noise[1]
        with tf.GradientTape() as tape:
            tape.watch(rows)
            values = reward(rows)
        along = tf.reduce_sum(tape.gradient(values, rows) * step, axis=[1, 2])
        self.assertAllClose(1e6 * (reward(rows + step) - reward(rows - step)), 2e6 * along)


def _weights(discriminator, tokens, dense, discount, lengths):
    """R_t of the definition, [N, T], token by token."""
    length, rewards_of = tokens.shape[1], []
    for t in range(length):
        logit = discriminator(tokens[:, : t + 1]).numpy()
        before = discriminator(tokens[:, :t]).numpy() if t else 0
        earned = 2 / (1 + np.exp(-logit)) - 1 if dense else logit - before
        rewards_of.append(np.where(t < lengths, earned, 0))
    return np.stack(
        [sum(discount ** (s - t) * rewards_of[s] for s in range(t, length)) for t in range(length)],
        axis=1,
    )


class CausalTest(tf.test.TestCase, parameterized.TestCase):
    """What updates follow: by enumeration, without noise."""

    @parameterized.parameters(
        (False, 1.0, None), (False, 0.6, 2), (True, 1.0, 2), (True, 0.6, None), (True, 0.6, 2)
    )
    def test_a_token_is_weighed_by_its_own_and_later_rewards(self, dense, discount, end_token):
        generator, discriminator = problems.networks(
            7, 3, 3, reward_spread=3.0, end_token=end_token, dtype="float64"
        )
        reward = reward_of(discriminator, prefixes=True, dense=dense, discount=discount)
        tokens, p = exact_mean.sequences(generator)
        mask = autoregressive.alive(generator, tokens)
        lengths = np.full(len(p), 3) if mask is None else mask.numpy().sum(axis=1)
        weights = _weights(discriminator, tokens, dense, discount, lengths)
        self.assertAllClose(reward.of_tokens(tokens), weights[:, 0], atol=1e-9)
        theta = [v.value for v in generator.trainable_variables]
        with tf.GradientTape() as tape:
            log_probs = autoregressive.teacher_force(generator, tokens).log_probs
            log_p = autoregressive.masked(autoregressive.chosen(log_probs, tokens), mask)
            surrogate = tf.reduce_sum(p[:, tf.newaxis] * weights * log_p)
        followed = problems.flat([tf.convert_to_tensor(g) for g in tape.gradient(surrogate, theta)])
        estimate_of = exact_mean.of_tokens("reinforce_loo", generator, reward)
        found = exact_mean.mean(estimate_of, *exact_mean.batches(generator, 2))
        self.assertAllClose(found, followed, atol=1e-9)
        exact = problems.flat(exact_gradient(generator, reward))
        far = tf.norm(found - exact) / tf.norm(exact)
        if discount == 1:  # the gradient of E[R]
            self.assertLess(far, 1e-9)
        else:  # which this is not
            self.assertGreater(far, 0.05)

    def test_a_critic_is_told_of_the_dense_reward_and_of_no_discounted_one(self):
        _, discriminator = problems.networks(1, 4, 5)
        tokens = tf.constant([[0, 1, 3, 2, 1]])
        for discount, features in ((1.0, 8), (0.5, 0)):
            reward = reward_of(discriminator, prefixes=True, dense=True, discount=discount)
            told = rewards.tell(reward, tokens, 4, tf.float32, "prefix")
            self.assertEqual(told.features.shape, [1, 5, features])
            self.assertAllClose(told.to_go, reward.to_go(tokens), atol=1e-6)


class ConvolutionalTest(tf.test.TestCase, parameterized.TestCase):
    def _problem(self, end_token=None):
        generator, _ = problems.networks(7, 3, 3, end_token=end_token)
        discriminator = ConvolutionalDiscriminator(3, 3, 4, 5, end_token)
        rng = np.random.default_rng(0)
        for variable in discriminator.variables:
            variable.assign(rng.normal(size=variable.shape))
        return generator, discriminator, reward_of(discriminator)

    def test_a_critic_reads_nothing_of_it(self):
        _, discriminator, reward = self._problem()
        self.assertIs(type(reward), SequenceReward)
        tokens = tf.constant([[0, 1, 2], [2, 2, 0]])
        told = rewards.tell(reward, tokens, 3, tf.float32, "prefix")
        self.assertAllClose(told.reward, discriminator.probability(tokens))
        self.assertEqual([x.shape[-1] for x in told[1:4]], [0, 0, 0])

    @parameterized.parameters("step", "rollout")
    def test_control_variates_of_it_add_no_bias(self, form):
        generator, _, reward = self._problem(end_token=2)
        settings = {"control_variate": form, "leave_one_out": True}

        def draw(seed):
            gradient, _ = estimate_gradient(
                "rebar", generator, reward, batch_size=1024, seed=seed, **settings
            )
            return problems.flat(gradient)

        exact = problems.flat(exact_gradient(generator, reward))
        found = problems.Comparison(problems.batch_means(draw, 40), exact)
        self.assertLess(found.relative_noise, 0.05, str(found))
        self.assertTrue(found.is_unbiased(), str(found))


if __name__ == "__main__":
    tf.test.main()
