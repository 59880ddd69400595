"""Unbiasedness against exact enumeration, the sequence form's bias, and the variance over rows."""

import contextlib
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.estimators import control_variate, estimate, signals, variance
from regan_tf.estimators.control_networks import ControlNetwork, StepControlNetwork
from regan_tf.estimators.control_variate import ControlVariate, feature_dim
from regan_tf.estimators.discriminator_rewards import DiscriminatorReward, PrefixLogitReward
from regan_tf.estimators.estimate import estimate_gradient
from regan_tf.estimators.exact import exact_gradient
from regan_tf.estimators.relaxation import RelaxedTokens
from regan_tf.estimators.rewards import PrefixReward
from regan_tf.graphs import compiled
from regan_tf.networks import autoregressive, noise, quasi_random, recurrence
from regan_tf.spec import FORMS, EstimatorSpec
from tests import problems

_BATCHES, _BATCH_SIZE = 60, 1024


def _compare(spec, generator, reward, network=None, batch_size=_BATCH_SIZE, batches=_BATCHES):
    control = ControlVariate(spec, network)

    def draw(seed):
        gradient, _ = estimate.estimate_gradient(
            spec, generator, reward, batch_size=batch_size, seed=seed, control=control
        )
        return problems.flat(gradient)

    exact = problems.flat(exact_gradient(generator, reward))
    return problems.Comparison(problems.batch_means(draw, batches), exact)


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
    "reinforce prefixes": {},
    "reinforce_loo prefixes": {},
    "reinforce_rollout prefixes": {"rollouts": 2},
    "reinforce_rollout": {"rollouts": 2},
    "rebar step": {"temperature": 0.5},
    "rebar step leave-one-out": {"leave_one_out": True},
    "rebar step plain reward": {"eta": 0.7},
    "rebar rollout": {"temperature": 0.7},
    "rebar rollout leave-one-out learned": {"leave_one_out": True},
    "relax step": {},
    "relax step leave-one-out learned": {"leave_one_out": True},
    "relax step of c_hat alone, plain reward": {"eta": 0},
    "rebar step independent": {"coupled": False},
    "relax step three draws": {"control_samples": 3, "leave_one_out": True},
    "relax rollout leave-one-out": {"leave_one_out": True},
}


def _arguments(name, settings, generator, discriminator):
    """The spec, reward and network that a name in the table above stands for."""
    estimator, *words = name.replace(",", "").split()
    reward = (PrefixLogitReward if "prefixes" in words else DiscriminatorReward)(discriminator)
    reward = discriminator.probability if "plain" in words else reward
    if words and words[0] in FORMS:
        settings = {"control_variate": words[0]} | settings
    if "learned" in words:
        settings |= {"learn_eta": True, "eta": 0.8, "learn_temperature": True, "temperature": 0.6}
    network = _step_network(generator, reward) if estimator == "relax" else None
    return EstimatorSpec(estimator, **settings), reward, network


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
        spec, reward, network = _arguments(name, _UNBIASED[name], *networks)
        found = _compare(spec, networks[0], reward, network)
        self.assertLess(found.relative_noise, 0.03, str(found))
        self.assertTrue(found.is_unbiased(), str(found))

    @parameterized.parameters(
        "reinforce_loo",
        "reinforce_rollout",
        "rebar step independent",
        "relax rollout leave-one-out",
    )
    def test_is_unbiased_where_tokens_are_many_and_drawn_by_inversion(self, name):
        with mock.patch.object(noise, "_FEW", 2):
            self._assert_is_unbiased(
                name, problems.networks(7, 4, 3, reward_spread=3.0, end_token=3)
            )

    @parameterized.parameters(("iid", False), ("sobol", False), ("iid", True))
    def test_z_given_its_token_is_that_of_gumbel_noise(self, sampling, planted):
        """In the sequence form, which both b and z enter; planted is noise that b is not of."""
        generator, discriminator = problems.networks(7, 4, 3, reward_spread=3.0, end_token=3)

        def mean_and_variance(sampling="iid"):
            @compiled
            def draw(seed):
                options = {"temperature": 0.5, "sampling": sampling, "batch_size": 500}
                reward = discriminator.probability
                gradient, _ = estimate_gradient("rebar", generator, reward, seed=seed, **options)
                return problems.flat(gradient)

            drawn = np.stack([draw(tf.constant([i, 1])) for i in range(60)])
            return drawn.mean(axis=0), drawn.var(axis=0, ddof=1) / 60

        expected, error = mean_and_variance()
        independent = mock.patch.object(estimate._Noise, "of_z", lambda noise, *_: noise.gumbel)
        with (
            mock.patch.object(noise, "_FEW", 2),
            independent if planted else contextlib.nullcontext(),
        ):
            found, other = mean_and_variance(sampling)
        moved = np.abs(expected) > 1e-6
        squared = ((found - expected) ** 2 / (error + other))[moved]
        self.assertEqual(np.mean(squared) > 2, planted, np.mean(squared))

    @parameterized.parameters("rebar", "relax")
    def test_sequence_form_is_unbiased_if_the_generator_ignores_its_prefix(self, estimator):
        generator, discriminator = problems.networks(2, 3, 3)
        problems.ignore_prefix(generator)
        spec = EstimatorSpec(estimator, temperature=0.7)
        found = _compare(spec, generator, discriminator.probability, _random_network(3))
        self.assertLess(found.relative_noise, 0.03, str(found))
        self.assertTrue(found.is_unbiased(), str(found))

    @parameterized.parameters("rebar", "relax", "straight_through", "reinmax")
    def test_sequence_form_and_straight_through_are_biased_for_an_lstm(self, estimator):
        generator, discriminator = problems.networks(2, 3, 3)
        spec = EstimatorSpec(estimator)
        found = _compare(spec, generator, discriminator.probability, _random_network(3))
        self.assertFalse(found.is_unbiased(), str(found))
        self.assertGreater(found.relative_bias, 5 * found.relative_noise, str(found))

    def test_reinmax_is_less_biased_than_straight_through(self):
        generator, discriminator = problems.networks(2, 3, 3)
        first, second = (
            _compare(EstimatorSpec(name), generator, discriminator.probability, batches=12)
            for name in ("straight_through", "reinmax")
        )
        self.assertLess(first.relative_noise + second.relative_noise, 0.05)
        self.assertLess(second.relative_bias, first.relative_bias - 0.15)


def _ruling_out_a_second_end(generator):
    """The generator, with next to no probability of its end token after that."""
    found, step, end = problems.Protocol(generator), generator.step, generator.end_token

    def without(inputs, state):
        logits, state = step(inputs, state)
        is_over = tf.cast(inputs == end, logits.dtype)[:, tf.newaxis]
        return logits - 1e3 * is_over * tf.one_hot(end, generator.vocab_size), state

    found.step = without
    return found


class EndTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(estimator=["rebar", "relax"], form=["sequence", "step"])
    def test_what_is_impossible_after_the_end_leaves_gradients_finite(self, estimator, form):
        generator, discriminator = problems.networks(7, 4, 3, end_token=3)
        generator = _ruling_out_a_second_end(generator)
        spec, reward = EstimatorSpec(estimator, control_variate=form), discriminator.probability
        control = ControlVariate.create(spec, generator, reward)
        gradient, found = estimate_gradient(
            spec, generator, reward, batch_size=50, seed=0, control=control
        )
        self.assertTrue(np.any(found.tokens[:, 0] == 3))
        self.assertAllInRange(problems.flat([*gradient, *found.control_gradient]), -1e3, 1e3)


class MutationTest(tf.test.TestCase, parameterized.TestCase):
    """The unbiasedness test finds the errors that the original code has."""

    def _is_unbiased(self, seed=3, end_token=None):
        generator, discriminator = problems.networks(
            seed, 4, 3, reward_spread=3.0, end_token=end_token
        )
        spec = EstimatorSpec("rebar", control_variate="step", temperature=0.5)
        return _compare(spec, generator, DiscriminatorReward(discriminator)).is_unbiased()

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
        evaluate = control_variate.evaluate

        def mutant(*args):
            c_tilde, of_z, of_z_tilde = evaluate(*args)
            return c_tilde, -of_z, -of_z_tilde

        with mock.patch.object(control_variate, "evaluate", mutant):
            self.assertFalse(self._is_unbiased())

    def test_it_finds_a_baseline_that_has_read_the_token_itself(self):
        """logit D(b_<=t) in the place of logit D(b_<t)."""

        generator, discriminator = problems.networks(3, 4, 3, reward_spread=3.0)
        reward = PrefixLogitReward(discriminator)

        def shifted(tokens):
            logits, _ = discriminator.with_pullback(tokens, prefixes=True)
            return logits[:, -1:] - logits

        exact = exact_gradient(generator, reward)
        with (
            mock.patch.object(reward, "to_go", shifted),
            mock.patch(f"{__name__}.exact_gradient", return_value=exact),
        ):
            found = _compare(EstimatorSpec("reinforce_loo"), generator, reward)
        self.assertFalse(found.is_unbiased())

    def test_it_finds_a_wrong_sign_in_the_signal(self):
        with mock.patch.dict(signals.SIGNALS, {"R - c": lambda reward, control: reward + control}):
            self.assertFalse(self._is_unbiased())

    def test_it_finds_a_conditional_on_another_token(self):
        conditional = RelaxedTokens.conditional
        with mock.patch.object(
            RelaxedTokens,
            "conditional",
            lambda distribution, b, v: conditional(distribution, tf.roll(b, 1, axis=0), v),
        ):
            self.assertFalse(self._is_unbiased())

    def test_it_finds_a_gumbel_vector_shared_by_all_steps(self):
        noise = estimate._noise

        def mutant(*args):
            drawn = noise(*args)
            return drawn._replace(u=tf.broadcast_to(drawn.u[:, :1], drawn.u.shape))

        with mock.patch.object(estimate, "_noise", mutant):
            self.assertFalse(self._is_unbiased())


class SamplingTest(tf.test.TestCase, parameterized.TestCase):
    """Rows that depend on each other: in small batches, where a wrong baseline would show."""

    def _found(self, name, sampling):
        networks = problems.networks(7, 4, 3, reward_spread=3.0, end_token=3)
        spec, reward, network = _arguments(name, _UNBIASED[name], *networks)
        spec = EstimatorSpec.of(spec, sampling=sampling)
        return _compare(spec, networks[0], reward, network, batch_size=8, batches=2000)

    @parameterized.product(name=["reinforce", "reinforce_loo"], sampling=["sobol", "lhs"])
    def test_is_unbiased(self, name, sampling):
        self._assert_is_unbiased(name, sampling)

    @parameterized.parameters("sobol", "lhs")
    @pytest.mark.slow
    def test_a_control_variate_is_unbiased(self, sampling):
        self._assert_is_unbiased("relax step leave-one-out learned", sampling)

    def _assert_is_unbiased(self, name, sampling):
        found = self._found(name, sampling)
        self.assertLess(found.relative_noise, 0.03, str(found))
        self.assertTrue(found.is_unbiased(), str(found))

    @parameterized.parameters("sobol", "lhs")
    def test_it_finds_the_mean_of_rows_that_are_not_independent(self, sampling):
        def mutant(signal, sign, mean, signed_mean):
            del sign, signed_mean
            return signals.leave_one_out(signal, mean, 8)

        with mock.patch.object(signals, "other_half", mutant):
            self.assertFalse(self._found("reinforce_loo", sampling).is_unbiased())

    def test_it_finds_halves_that_share_a_seed(self):
        with mock.patch.object(
            quasi_random, "stateless_split", lambda seed, _: tf.stack([seed] * 2)
        ):
            self.assertFalse(self._found("reinforce_loo", "sobol").is_unbiased())

    def test_variance_is_lower_than_that_of_independent_rows(self):
        generator, discriminator = problems.networks(7, 4, 3, reward_spread=3.0)
        reward = DiscriminatorReward(discriminator)

        def variance_of(sampling):
            def draw(seed):
                options = {"batch_size": 32, "seed": seed, "sampling": sampling}
                return problems.flat(
                    estimate.estimate_gradient("reinforce_loo", generator, reward, **options)[0]
                )

            return problems.batch_means(draw, 1000).var(axis=0).sum()

        self.assertLess(variance_of("sobol"), 0.7 * variance_of("iid"))


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
            self.enterContext(mock.patch.object(recurrence, "UNROLL_LIMIT", 0))
        generator, discriminator = problems.networks(
            2, 4, length, hidden_dim=5, spread=0.5, end_token=end_token
        )
        batch_size, seed = 4, tf.constant([7, 8])
        data = tf.constant(np.random.default_rng(0).integers(0, 4, [batch_size, length]), tf.int32)
        spec = EstimatorSpec(estimator)
        options = {"seed": seed, "control": ControlVariate(spec, _random_network(4))}
        mean, diagnostics = estimate.estimate_gradient(
            spec,
            generator,
            discriminator.probability,
            batch_size=batch_size,
            data=data,
            row_gradients=True,
            **options,
        )
        noise = estimate._noise(spec, generator, batch_size, seed)
        rows = []
        for j in range(batch_size):
            one_row = noise._replace(u=noise.u[j : j + 1], v=noise.v[j : j + 1])
            with mock.patch.object(estimate, "_noise", lambda *_, noise=one_row: noise):
                one, _ = estimate.estimate_gradient(
                    spec,
                    generator,
                    discriminator.probability,
                    batch_size=1,
                    data=data[j : j + 1],
                    **options,
                )
            rows.append(one)
        flat_rows = np.array([problems.flat(row).numpy() for row in rows])
        first, every = variance.log_variances(diagnostics.row_gradients, mean)
        self.assertAllClose(problems.flat(mean), flat_rows.mean(axis=0), rtol=1e-3, atol=1e-5)
        self.assertAllClose(
            every, np.log(flat_rows.var(axis=0, ddof=1).mean()), rtol=1e-3, atol=1e-3
        )
        plotted = [
            row[[v.path for v in generator.trainable_variables].index("output/kernel")][0, 0]
            for row in rows
        ]
        self.assertAllClose(first, np.log(np.var(plotted, ddof=1)), rtol=1e-3, atol=1e-3)


class FusedTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ("rebar sequence", None, {"learn_temperature": True}),
        ("relax step", 1, {"variance_loss": "per_example"}),
    )
    @pytest.mark.slow
    def test_equals_unrolled(self, name, end_token, settings):
        """Loops that XLA compiles give the same estimate, and the same for the control variate."""
        estimator, form = name.split()
        spec = EstimatorSpec(estimator, control_variate=form, **settings)
        generator, discriminator = problems.networks(2, 4, 6, spread=0.5, end_token=end_token)
        reward = DiscriminatorReward(discriminator)
        networks = {"sequence": _random_network(4), "step": _step_network(generator, reward)}
        control = ControlVariate(spec, networks[form] if spec.traits.has_c_hat else None)

        def draw(seed):
            gradient, diagnostics = estimate.estimate_gradient(
                spec, generator, reward, batch_size=8, seed=seed, control=control
            )
            return problems.flat(gradient), problems.flat(diagnostics.control_gradient)

        expected = compiled(draw)(tf.constant([1, 2]))
        self.enterContext(mock.patch.object(recurrence, "_FUSED_FROM", 0))
        for a, b in zip(compiled(draw)(tf.constant([1, 2])), expected, strict=True):
            largest = np.max(np.abs(b))
            self.assertGreater(largest, 1e-5)
            self.assertAllClose(a / largest, b / largest, atol=1e-3)


class TemperatureTest(tf.test.TestCase, parameterized.TestCase):
    def _gradient(self, generator, discriminator, temperature):
        options = {"batch_size": 4, "seed": 0, "temperature": temperature}
        return estimate.estimate_gradient("rebar", generator, discriminator.probability, **options)[
            0
        ]

    @parameterized.parameters(0, -1.0, float("nan"), np.float32(0), np.float64(-1))
    def test_no_kind_of_number_that_is_not_above_0_is_taken(self, value):
        generator, discriminator = problems.networks(2, 3, 2)
        for temperature in (value, tf.constant(value)):
            with self.assertRaisesRegex(
                ValueError, "temperature=.* is not allowed: it must be (above 0|a finite number)"
            ):
                self._gradient(generator, discriminator, temperature)

    def test_tensors_are_taken_also_where_their_value_is_not_known_yet(self):
        generator, discriminator = problems.networks(2, 3, 2)

        @tf.function
        def gradient(temperature):
            return self._gradient(generator, discriminator, temperature)

        for found in (gradient(0.5), gradient(np.float32(0.5))):
            self.assertAllClose(problems.flat(gradient(tf.constant(0.5))), problems.flat(found))


class _AtCorners:
    """A reward that is NaN in relaxed rows."""

    def __call__(self, rows):
        return tf.where(
            tf.reduce_all((rows == 0) | (rows == 1), axis=[1, 2]), rows[:, 0, 0], np.nan
        )


class _PrefixesAtCorners(_AtCorners, PrefixReward):
    def prefixes(self, tokens, last_rows):
        return np.nan * last_rows[..., 0], tf.zeros_like(last_rows)


class BadArgumentsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ({"estimator": "rebarr"}, "estimator='rebarr' is not allowed: it must be one of mle"),
        (
            {"control_variate": "steps"},
            "control_variate='steps' is not allowed: it must be one of sequence, step, rollout",
        ),
        (
            {"variance_loss": "per-example"},
            "variance_loss='per-example' is not allowed: it must be one of batch, per_example",
        ),
        ({"control_samples": 0}, "control_samples=0 is not allowed"),
        ({"temperature": 0.0}, "temperature=0.0 is not allowed: it must be above 0"),
        ({"estimator": "relax"}, "estimator='relax' .* pass control=ControlVariate.create"),
        ({"learn_eta": True}, "estimator='rebar' .* pass control=ControlVariate.create"),
        ({"estimator": "mle"}, "'mle' needs data"),
        (
            {"batch_size": 1, "leave_one_out": True},
            "batch_size=1 is not allowed: leave-one-out needs at least 2 rows",
        ),
        (
            {"estimator": "straight_through", "leave_one_out": True},
            "leave_one_out=True contradicts estimator='straight_through'",
        ),
        (
            {"baseline": "weighted"},
            "baseline='weighted' contradicts leave_one_out=False, without which there is no",
        ),
        (
            {"estimator": "reinforce", "control_variate": "step"},
            "control_variate='step' contradicts estimator='reinforce'",
        ),
        (
            {"sampling": "sobol", "control_variate": "step", "batch_size": 5},
            "batch_size=5 is not allowed: sampling=sobol needs an even number of rows, at least 4",
        ),
        (
            {"sampling": "lhs", "control_variate": "step", "batch_size": 2},
            "batch_size=2 is not allowed: sampling=lhs needs an even number of rows, at least 4",
        ),
        (
            {"sampling": "sobol", "estimator": "straight_through"},
            "sampling='sobol' contradicts estimator='straight_through', which needs the Gumbel",
        ),
        (
            {"sampling": "lhs", "estimator": "mle"},
            "sampling='lhs' contradicts estimator='mle', which samples nothing",
        ),
        (
            {"eta": 0, "learn_temperature": True},
            "learn_temperature=True contradicts eta=0",
        ),
        ({"reward": lambda rows: rows[:, 0]}, r"the reward gave shape \(4, 3\).*one float a row"),
        ({"reward": lambda rows: tf.argmax(rows[:, 0], axis=-1)}, "the reward gave shape .* int64"),
        (
            {"reward": lambda rows: tf.cast(tf.argmax(rows[:, 0], axis=-1), tf.float32)},
            "not differentiable .* relax with eta=0",
        ),
    )
    def test_are_named_with_the_way_out(self, changes, message):
        generator, discriminator = problems.networks(2, 3, 2)
        arguments = {
            "estimator": "rebar",
            "reward": discriminator.probability,
            "batch_size": 4,
            "seed": 0,
        } | changes
        with self.assertRaisesRegex(ValueError, message):
            estimate.estimate_gradient(
                arguments.pop("estimator"), generator, arguments.pop("reward"), **arguments
            )

    @parameterized.product(form=FORMS, reward=[_AtCorners(), _PrefixesAtCorners()])
    def test_a_reward_that_is_undefined_off_the_corners_serves_relax_of_c_hat_alone(
        self, form, reward
    ):
        generator, _ = problems.networks(2, 3, 3)
        spec = EstimatorSpec("relax", control_variate=form, eta=0)
        control = ControlVariate.create(spec, generator, reward)
        gradient, _ = estimate.estimate_gradient(
            spec, generator, reward, batch_size=8, seed=0, control=control
        )
        self.assertTrue(np.all(np.isfinite(problems.flat(gradient))))

    def test_a_reward_that_is_not_differentiable_serves_reinforce_and_relax_of_c_hat_alone(self):
        generator, _ = problems.networks(2, 3, 2)

        def reward(rows):
            return tf.cast(tf.argmax(rows[:, 0], axis=-1) == 1, tf.float32)

        of_c_hat = EstimatorSpec("relax", control_variate="step", eta=0)
        for spec in (EstimatorSpec("reinforce"), of_c_hat):
            control = ControlVariate.create(spec, generator, reward)
            gradient, _ = estimate.estimate_gradient(
                spec, generator, reward, batch_size=8, seed=0, control=control
            )
            self.assertGreater(float(tf.norm(problems.flat(gradient))), 0)
