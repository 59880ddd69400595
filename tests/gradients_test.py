"""Unbiasedness against exact enumeration, the sequence form's bias, and the variance over rows."""

from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf import gradients
from regan_tf.control_variate import ControlNetwork
from tests import problems

_BATCHES, _BATCH_SIZE = 100, 2048


def _compare(estimator, generator, discriminator, **options):
    def draw(seed):
        gradient, _ = gradients.estimate_gradient(
            estimator, generator, discriminator.probability, batch_size=_BATCH_SIZE, seed=seed, **options
        )
        return problems.flat(gradient)

    exact = problems.flat(gradients.exact_gradient(generator, discriminator.probability))
    return problems.Comparison(problems.batch_means(draw, _BATCHES), exact)


def _random_network(vocab_size):
    network = ControlNetwork(vocab_size, filters=4)
    for variable in network.variables:
        variable.assign(0.3 * tf.random.stateless_normal(variable.shape, [3, 4]))
    return network


class UnbiasednessTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(shape=[(3, 2), (3, 3)], seed=[2, 3])
    def test_reinforce_is_unbiased(self, shape, seed):
        found = _compare("reinforce", *problems.networks(seed, *shape))
        self.assertLess(found.relative_noise, 0.03, str(found))
        self.assertTrue(found.is_unbiased(), str(found))

    @parameterized.parameters("rebar", "relax")
    def test_sequence_form_is_unbiased_if_the_generator_ignores_its_prefix(self, estimator):
        generator, discriminator = problems.networks(2, 3, 3)
        problems.ignore_prefix(generator)
        options = {"temperature": 0.7, "control_network": _random_network(3), "control_variate": "sequence"}
        found = _compare(estimator, generator, discriminator, **options)
        self.assertLess(found.relative_noise, 0.03, str(found))
        self.assertTrue(found.is_unbiased(), str(found))

    @parameterized.parameters("rebar", "relax")
    def test_sequence_form_is_biased_for_an_lstm(self, estimator):
        options = {"control_network": _random_network(3), "control_variate": "sequence"}
        found = _compare(estimator, *problems.networks(2, 3, 3), **options)
        self.assertFalse(found.is_unbiased(), str(found))
        self.assertGreater(found.relative_bias, 5 * found.relative_noise, str(found))


class ExactGradientTest(tf.test.TestCase):
    def test_matches_finite_differences_of_the_expected_reward(self):
        generator, discriminator = problems.networks(5, dtype="float64")
        sequences = np.array([[a, b] for a in range(3) for b in range(3)], np.int32)

        def expected_reward():
            probabilities = tf.exp(tf.reduce_sum(generator.log_prob(sequences), axis=1))
            self.assertAllClose(tf.reduce_sum(probabilities), 1.0)
            return float(tf.reduce_sum(probabilities * discriminator.probability(tf.one_hot(sequences, 3, dtype=tf.float64))))

        exact = gradients.exact_gradient(generator, discriminator.probability, chunk_size=4)
        for variable, gradient in zip(generator.trainable_variables, exact, strict=True):
            start, direction = variable.numpy(), np.random.default_rng(0).normal(size=variable.shape)
            variable.assign(start + 1e-5 * direction)
            above = expected_reward()
            variable.assign(start - 1e-5 * direction)
            below = expected_reward()
            variable.assign(start)
            self.assertAllClose(np.sum(gradient * direction), (above - below) / 2e-5, rtol=1e-5, atol=1e-9)

    def test_refuses_what_cannot_be_enumerated(self):
        generator, discriminator = problems.networks(0, 5, 15)
        with self.assertRaisesRegex(ValueError, r"5\^15 sequences are too many"):
            gradients.exact_gradient(generator, discriminator.probability)


class RowVarianceTest(tf.test.TestCase, parameterized.TestCase):
    """The variance from one backward pass, against a plain loop that gives each row a batch of its own."""

    @parameterized.product(estimator=["mle", "reinforce", "rebar", "relax"], length=[3, 12, 40])
    def test_equals_a_loop_over_rows(self, estimator, length):
        # Lengths on both sides of the ghost norm's threshold and of the unrolling limit.
        generator, discriminator = problems.networks(2, 4, length, hidden_dim=5, spread=0.5)
        batch_size, seed = 4, tf.constant([7, 8])
        data = tf.constant(np.random.default_rng(0).integers(0, 4, [batch_size, length]), tf.int32)
        options = {"control_network": _random_network(4), "control_variate": "sequence", "seed": seed}
        mean, diagnostics = gradients.estimate_gradient(
            estimator, generator, discriminator.probability, batch_size=batch_size, data=data, row_gradients=True, **options
        )
        gumbel, uniform, rest = gradients._noise(generator, batch_size, seed)
        rows = []
        for j in range(batch_size):
            one_row = gumbel[j : j + 1], uniform[j : j + 1], rest
            with mock.patch.object(gradients, "_noise", lambda *_, noise=one_row: noise):
                one, _ = gradients.estimate_gradient(
                    estimator, generator, discriminator.probability, batch_size=1, data=data[j : j + 1], **options
                )
            rows.append(one)
        flat_rows = np.array([problems.flat(row).numpy() for row in rows])
        first, every = gradients.log_variances(diagnostics.rows, mean)
        self.assertAllClose(problems.flat(mean), flat_rows.mean(axis=0), rtol=1e-3, atol=1e-5)
        self.assertAllClose(every, np.log(flat_rows.var(axis=0, ddof=1).mean()), rtol=1e-3, atol=1e-3)
        plotted = [row[[v.path for v in generator.trainable_variables].index("output/kernel")][0, 0] for row in rows]
        self.assertAllClose(first, np.log(np.var(plotted, ddof=1)), rtol=1e-3, atol=1e-3)
