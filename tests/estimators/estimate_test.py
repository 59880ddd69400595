"""Unbiasedness against exact enumeration, the sequence form's bias, and the variance over rows."""

from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.estimators import estimate
from regan_tf.estimators.control_variate import (
    ControlNetwork,
    LearnedScalar,
    StepControlNetwork,
    feature_dim,
)
from regan_tf.estimators.exact import exact_gradient
from regan_tf.estimators.relaxation import RelaxedTokens
from regan_tf.estimators.rewards import DiscriminatorReward
from regan_tf.estimators.signals import ESTIMATORS
from regan_tf.networks import autoregressive, lstm
from tests import problems

_BATCHES, _BATCH_SIZE = 60, 1024


def _compare(estimator, generator, reward, **options):
    def draw(seed):
        gradient, _ = estimate.estimate_gradient(
            estimator, generator, reward, batch_size=_BATCH_SIZE, seed=seed, **options
        )
        return problems.flat(gradient)

    exact = problems.flat(exact_gradient(generator, reward))
    return problems.Comparison(problems.batch_means(draw, _BATCHES), exact)


def _random_network(vocab_size):
    network = ControlNetwork(vocab_size, filters=4)
    for variable in network.variables:
        variable.assign(0.3 * tf.random.stateless_normal(variable.shape, [3, 4]))
    return network


def _step_network(generator, reward):
    network = StepControlNetwork(feature_dim(generator, reward), generator.vocab_size, 8)
    for variable in network.variables:
        variable.assign(0.3 * tf.random.stateless_normal(variable.shape, [3, 4]))
    return network


_UNBIASED = {
    "reinforce": {},
    "reinforce_loo": {},
    "reinforce_rollout": {"rollouts": 2},
    "rebar step": {"temperature": 0.5},
    "rebar step leave-one-out": {"leave_one_out": True},
    "rebar step plain reward": {"plain": True, "eta": 0.7},
    "rebar rollout": {"control_variate": "rollout", "temperature": 0.7},
    "rebar rollout leave-one-out learned": {
        "control_variate": "rollout",
        "leave_one_out": True,
        "learned": True,
    },
    "relax step": {},
    "relax step leave-one-out learned": {"leave_one_out": True, "learned": True},
    "relax step of c_hat alone": {"eta": 0, "plain": True},
    "rebar step independent": {"coupled": False},
    "relax step three draws": {"control_samples": 3, "leave_one_out": True},
    "relax rollout leave-one-out": {"control_variate": "rollout", "leave_one_out": True},
}


def _arguments(name, options, generator, discriminator):
    """The call that a name in the table above stands for."""
    options = dict(options)
    reward = (
        discriminator.probability
        if options.pop("plain", False)
        else DiscriminatorReward(discriminator)
    )
    if options.pop("learned", False):
        options |= {"eta": LearnedScalar(0.8), "temperature": LearnedScalar(0.6, positive=True)}
    if name.startswith("relax"):
        options["control_network"] = _step_network(generator, reward)
    return name.split()[0], generator, reward, options


class UnbiasednessTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*_UNBIASED)
    def test_is_unbiased(self, name):
        self._assert_is_unbiased(name, problems.networks(7, 4, 3, reward_spread=3.0, end_token=3))

    @parameterized.parameters(
        *(name for name in _UNBIASED if "leave-one-out" in name or name.startswith("reinforce"))
    )
    @pytest.mark.slow
    def test_is_unbiased_over_four_steps(self, name):
        self._assert_is_unbiased(name, problems.networks(1, 2, 4, reward_spread=3.0))

    def _assert_is_unbiased(self, name, networks):
        estimator, generator, reward, options = _arguments(name, _UNBIASED[name], *networks)
        found = _compare(estimator, generator, reward, **options)
        self.assertLess(found.relative_noise, 0.03, str(found))
        self.assertTrue(found.is_unbiased(), str(found))

    @parameterized.parameters("rebar", "relax")
    def test_sequence_form_is_unbiased_if_the_generator_ignores_its_prefix(self, estimator):
        generator, discriminator = problems.networks(2, 3, 3)
        problems.ignore_prefix(generator)
        options = {
            "temperature": 0.7,
            "control_network": _random_network(3),
            "control_variate": "sequence",
        }
        found = _compare(estimator, generator, discriminator.probability, **options)
        self.assertLess(found.relative_noise, 0.03, str(found))
        self.assertTrue(found.is_unbiased(), str(found))

    @parameterized.parameters("rebar", "relax", "straight_through")
    def test_sequence_form_and_straight_through_are_biased_for_an_lstm(self, estimator):
        generator, discriminator = problems.networks(2, 3, 3)
        options = {"control_network": _random_network(3), "control_variate": "sequence"}
        found = _compare(estimator, generator, discriminator.probability, **options)
        self.assertFalse(found.is_unbiased(), str(found))
        self.assertGreater(found.relative_bias, 5 * found.relative_noise, str(found))


class MutationTest(tf.test.TestCase, parameterized.TestCase):
    """The unbiasedness test finds the errors that the original code has."""

    def _is_unbiased(self, seed=3, end_token=None):
        generator, discriminator = problems.networks(
            seed, 4, 3, reward_spread=3.0, end_token=end_token
        )
        return _compare(
            "rebar", generator, DiscriminatorReward(discriminator), temperature=0.5
        ).is_unbiased()

    def test_it_passes_without_an_error(self):
        self.assertTrue(self._is_unbiased())

    def test_it_finds_a_sum_that_goes_on_after_the_end(self):
        self.assertTrue(self._is_unbiased(7, end_token=3))
        generator, discriminator = problems.networks(7, 4, 3, reward_spread=3.0, end_token=3)
        exact = exact_gradient(generator, DiscriminatorReward(discriminator))
        with (
            mock.patch.object(autoregressive, "masked", lambda x, mask: x),
            mock.patch(f"{__name__}.exact_gradient", return_value=exact),
        ):
            self.assertFalse(self._is_unbiased(7, end_token=3))

    def test_it_finds_a_wrong_sign_of_the_pathwise_terms(self):
        control = estimate.evaluate

        def mutant(*args):
            conditional, (slope, conditional_slope) = control(*args)
            return conditional, [-slope, -conditional_slope]

        with mock.patch.object(estimate, "evaluate", mutant):
            self.assertFalse(self._is_unbiased())

    def test_it_finds_a_wrong_sign_in_the_signal(self):
        mutant = ESTIMATORS["rebar"]._replace(signal=lambda reward, control: reward + control)
        with mock.patch.dict(ESTIMATORS, rebar=mutant):
            self.assertFalse(self._is_unbiased())

    def test_it_finds_a_conditional_on_another_token(self):
        conditional = RelaxedTokens.conditional
        with mock.patch.object(
            RelaxedTokens,
            "conditional",
            lambda law, b, v: conditional(law, tf.roll(b, 1, axis=0), v),
        ):
            self.assertFalse(self._is_unbiased())

    def test_it_finds_a_gumbel_vector_shared_by_all_steps(self):
        noise = estimate._noise

        def mutant(*args):
            gumbel, uniform, seed = noise(*args)
            return tf.broadcast_to(gumbel[:, :1], gumbel.shape), uniform, seed

        with mock.patch.object(estimate, "_noise", mutant):
            self.assertFalse(self._is_unbiased())


class ExactGradientTest(tf.test.TestCase):
    def test_matches_finite_differences_of_the_expected_reward(self):
        generator, discriminator = problems.networks(5, dtype="float64")
        sequences = np.array([[a, b] for a in range(3) for b in range(3)], np.int32)

        def expected_reward():
            probabilities = tf.exp(tf.reduce_sum(generator.log_prob(sequences), axis=1))
            self.assertAllClose(tf.reduce_sum(probabilities), 1.0)
            return float(
                tf.reduce_sum(
                    probabilities
                    * discriminator.probability(tf.one_hot(sequences, 3, dtype=tf.float64))
                )
            )

        exact = exact_gradient(generator, discriminator.probability, chunk_size=4)
        for variable, gradient in zip(generator.trainable_variables, exact, strict=True):
            start = variable.numpy()
            direction = np.random.default_rng(0).normal(size=variable.shape)
            variable.assign(start + 1e-5 * direction)
            above = expected_reward()
            variable.assign(start - 1e-5 * direction)
            below = expected_reward()
            variable.assign(start)
            self.assertAllClose(
                np.sum(gradient * direction), (above - below) / 2e-5, rtol=1e-5, atol=1e-9
            )

    def test_refuses_what_cannot_be_enumerated(self):
        generator, discriminator = problems.networks(0, 5, 15)
        with self.assertRaisesRegex(ValueError, r"5\^15 sequences are too many"):
            exact_gradient(generator, discriminator.probability)


class RowVarianceTest(tf.test.TestCase, parameterized.TestCase):
    """The variance from one backward pass, against a plain loop that gives each row a batch of its
    own.
    """

    @parameterized.product(
        estimator=["mle", "reinforce", "rebar", "relax"],
        case=[(3, False, 1), (12, False, None), (3, True, None), (12, True, 1)],
    )
    @pytest.mark.slow
    def test_equals_a_loop_over_rows(self, estimator, case):
        length, in_graph_loop, end_token = case
        # Lengths on both sides of the ghost norm's threshold.
        if in_graph_loop:
            self.enterContext(mock.patch.object(lstm, "UNROLL_LIMIT", 0))
        generator, discriminator = problems.networks(
            2, 4, length, hidden_dim=5, spread=0.5, end_token=end_token
        )
        batch_size, seed = 4, tf.constant([7, 8])
        data = tf.constant(np.random.default_rng(0).integers(0, 4, [batch_size, length]), tf.int32)
        options = {
            "control_network": _random_network(4),
            "control_variate": "sequence",
            "seed": seed,
        }
        mean, diagnostics = estimate.estimate_gradient(
            estimator,
            generator,
            discriminator.probability,
            batch_size=batch_size,
            data=data,
            row_gradients=True,
            **options,
        )
        gumbel, uniform, rest = estimate._noise(generator, batch_size, seed)
        rows = []
        for j in range(batch_size):
            one_row = gumbel[j : j + 1], uniform[j : j + 1], rest
            with mock.patch.object(estimate, "_noise", lambda *_, noise=one_row: noise):
                one, _ = estimate.estimate_gradient(
                    estimator,
                    generator,
                    discriminator.probability,
                    batch_size=1,
                    data=data[j : j + 1],
                    **options,
                )
            rows.append(one)
        flat_rows = np.array([problems.flat(row).numpy() for row in rows])
        first, every = estimate.log_variances(diagnostics.rows, mean)
        self.assertAllClose(problems.flat(mean), flat_rows.mean(axis=0), rtol=1e-3, atol=1e-5)
        self.assertAllClose(
            every, np.log(flat_rows.var(axis=0, ddof=1).mean()), rtol=1e-3, atol=1e-3
        )
        plotted = [
            row[[v.path for v in generator.trainable_variables].index("output/kernel")][0, 0]
            for row in rows
        ]
        self.assertAllClose(first, np.log(np.var(plotted, ddof=1)), rtol=1e-3, atol=1e-3)
