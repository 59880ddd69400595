"""The learning signals against hand-computed values, and the estimators' gradient flow."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.estimators import estimate, relaxation, signals
from regan_tf.estimators.control_networks import ControlNetwork
from regan_tf.estimators.control_variate import ControlVariate
from regan_tf.estimators.estimate import estimate_gradient
from regan_tf.networks.noise import gumbel_noise
from regan_tf.spec import ESTIMATORS, EstimatorSpec
from tests import problems


class SignalTest(tf.test.TestCase):
    def test_every_estimator_has_a_signal_that_there_is(self):
        named = {traits.signal for traits in ESTIMATORS.values()}
        self.assertEqual(named - {None}, set(signals.SIGNALS))

    def test_hand_computed_signals(self):
        reward, control = tf.constant([[0.9], [0.2]]), tf.constant([[0.5], [0.3]])
        self.assertAllClose(signals.reinforce(reward, None), [[0.9], [0.2]])
        self.assertAllClose(signals.controlled(reward, control), [[0.4], [-0.1]])
        self.assertAllClose(signals.maximum_likelihood(reward, None), [[1.0], [1.0]])
        self.assertAllClose(
            signals.controlled(reward, tf.constant([[0.5, 0.1], [0.3, 0.0]])),
            [[0.4, 0.8], [-0.1, 0.2]],
        )
        # 2 (120 * 0.9 - 2) and 2 (120 * 0.2 + 1).
        self.assertAllClose(
            signals.reinvent(120 * reward, tf.constant([[2.0], [-1.0]])), [[212.0], [50.0]]
        )
        # Each row less the mean of the other two: 1 - 4.5, 3 - 3.5, 6 - 2.
        signal = tf.constant([[1.0], [3.0], [6.0]])
        self.assertAllClose(
            signals.leave_one_out(signal, tf.constant([[10 / 3]]), 3), [[-3.5], [-0.5], [4.0]]
        )


class FormTest(tf.test.TestCase, parameterized.TestCase):
    """One estimate against equations (5)-(12) written out term by term, with gradients taken one by
    one.
    """

    @parameterized.parameters("mle", "reinforce", "rebar", "relax")
    def test_estimate_is_the_equation(self, estimator):
        generator, discriminator = problems.networks(3, vocab_size=4, seq_len=3)
        network = ControlNetwork(4, filters=5)
        for variable in network.variables:
            variable.assign(tf.random.stateless_normal(variable.shape, [1, 2]))
        seed, batch_size, temperature, eta = tf.constant([4, 5]), 6, 0.7, 0.8
        spec = EstimatorSpec(estimator, temperature=temperature, eta=eta)
        data = tf.constant(np.random.default_rng(0).integers(0, 4, [batch_size, 3]), tf.int32)
        gumbel, uniform, *_ = estimate._noise(generator, batch_size, seed)

        def terms():
            tokens = data if estimator == "mle" else generator.unroll(gumbel).tokens
            log_prob = tf.reduce_sum(generator.log_prob(tokens), axis=1)
            distribution = relaxation.RelaxedTokens(temperature, generator(tokens))
            zs = distribution.unrelaxed(gumbel), distribution.conditional(tokens, uniform)
            hat = [network(z) if estimator == "relax" else 0.0 for z in zs]
            c = [
                eta * discriminator.probability(distribution.relax(z)) + h
                for z, h in zip(zs, hat, strict=True)
            ]
            reward = discriminator.probability(tf.one_hot(tokens, 4))
            return log_prob, reward, c[0], c[1]

        theta = [v.value for v in generator.trainable_variables]
        with tf.GradientTape(persistent=True) as tape:
            log_prob, reward, c, c_tilde = terms()
            signal = {"mle": tf.ones_like(reward), "reinforce": reward}.get(
                estimator, reward - c_tilde
            )
            score = tf.reduce_mean(tf.stop_gradient(signal) * log_prob)
            pathwise = tf.reduce_mean(c), tf.reduce_mean(c_tilde)
        expected = problems.flat(tape.gradient(score, theta))
        if spec.traits.relaxed:
            expected += problems.flat(tape.gradient(pathwise[0], theta)) - problems.flat(
                tape.gradient(pathwise[1], theta)
            )

        found, diagnostics = estimate_gradient(
            spec, generator, discriminator.probability, batch_size=batch_size, seed=seed,
            control=ControlVariate(spec, network), data=data,
        )  # fmt: skip
        self.assertAllClose(problems.flat(found), expected, rtol=1e-4, atol=1e-6)
        self.assertAllClose(diagnostics.reward, reward)

    def test_reward_carries_no_gradient_to_the_generator(self):
        generator, discriminator = problems.networks(3)
        theta = [v.value for v in generator.trainable_variables]
        with tf.GradientTape() as tape:
            tokens = generator.unroll(gumbel_noise([4, 2, 3], [0, 1])).tokens
            reward = tf.reduce_sum(discriminator.probability(tf.one_hot(tokens, 3)))
        self.assertAllEqual([g is None for g in tape.gradient(reward, theta)], [True] * len(theta))

    @parameterized.parameters("mle", "reinforce", "rebar")
    def test_without_a_control_network_nothing_is_trained_but_the_generator(self, estimator):
        generator, discriminator = problems.networks(0)
        _, diagnostics = estimate_gradient(
            estimator,
            generator,
            discriminator.probability,
            batch_size=2,
            seed=tf.constant([0, 0]),
            data=tf.zeros([2, 2], tf.int32),
        )
        self.assertEmpty(diagnostics.control_gradient)

    def test_a_half_has_the_mean_of_the_other_for_baseline(self):
        signal = tf.constant([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0], [6.0, 5.0]])
        sign = tf.constant([[1.0], [-1.0], [1.0], [-1.0]])  # means: (2, 0) and (4, 3)
        mean = tf.reduce_mean(signal, axis=0, keepdims=True)
        signed_mean = tf.reduce_mean(sign * signal, axis=0, keepdims=True)
        found = signals.other_half(signal, sign, mean, signed_mean)
        self.assertAllClose(found, [[-3, -3], [0, 1], [-1, -3], [4, 5]])
