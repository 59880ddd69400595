"""J with a divergence from a prior and an entropy: estimates against enumeration, and what is
measured.
"""

import itertools
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.estimators import estimate, penalty, signals
from regan_tf.estimators.control_variate import ControlVariate
from regan_tf.estimators.discriminator_rewards import DiscriminatorReward
from regan_tf.estimators.estimate import estimate_gradient
from regan_tf.estimators.exact import exact_gradient
from regan_tf.estimators.penalty import Penalty, Terms
from regan_tf.spec import EstimatorSpec
from tests import problems

_BATCHES, _BATCH_SIZE = 60, 1024
_WEIGHTS = {"prior_kl": 0.4, "entropy": 0.25}
_UNBIASED = {
    "reinforce": EstimatorSpec("reinforce"),
    "reinforce_loo": EstimatorSpec("reinforce_loo"),
    "reinforce_rollout": EstimatorSpec("reinforce_rollout", rollouts=2),
    "rebar step": EstimatorSpec("rebar", control_variate="step", temperature=0.5),
    "rebar rollout": EstimatorSpec("rebar", control_variate="rollout", leave_one_out=True),
    "reinvent": EstimatorSpec("reinvent", sigma=3.0),
    "reinvent leave-one-out": EstimatorSpec("reinvent", sigma=3.0, leave_one_out=True),
    "relax step": EstimatorSpec("relax", control_variate="step", eta=0, leave_one_out=True),
}


def _problem(end_token=None, length=3, dtype="float32"):
    """A generator, a prior that is neither it nor far from it, and a reward."""
    sizes = {"vocab_size": 3, "seq_len": length, "end_token": end_token, "dtype": dtype}
    generator, discriminator = problems.networks(7, reward_spread=3.0, **sizes)
    prior, _ = problems.networks(8, **sizes)
    for variable, other in zip(prior.variables, generator.variables, strict=True):
        variable.assign(0.5 * variable.value + 0.7 * other.value)
    return generator, prior, DiscriminatorReward(discriminator)


def _compare(spec, end_token=None):
    generator, prior, reward = _problem(end_token)
    kept, objective, scale = Penalty(prior, **_WEIGHTS), Penalty(prior, **_WEIGHTS), 1.0
    if spec.estimator == "reinvent":
        kept, objective, scale = Penalty(prior), Penalty(prior, 1 / spec.sigma), 2 * spec.sigma
    control = ControlVariate.create(spec, generator, reward)

    def draw(seed):
        gradient, _ = estimate_gradient(
            spec, generator, reward,
            batch_size=_BATCH_SIZE, seed=seed, control=control, penalty=kept,
        )  # fmt: skip
        return problems.flat(gradient)

    exact = scale * problems.flat(exact_gradient(generator, reward, penalty=objective))
    return problems.Comparison(problems.batch_means(draw, _BATCHES), exact)


class UnbiasednessTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(("reinforce_loo", None), *((name, 2) for name in _UNBIASED))
    def test_is_unbiased(self, name, end_token):
        found = _compare(_UNBIASED[name], end_token)
        self.assertLess(found.relative_noise, 0.03, str(found))
        self.assertTrue(found.is_unbiased(), str(found))

    def test_the_penalty_is_most_of_this_gradient(self):
        """So that an error in it could not hide behind the reward's."""
        generator, prior, reward = _problem()
        kept = Penalty(prior, **_WEIGHTS)
        with_it = problems.flat(exact_gradient(generator, reward, penalty=kept))
        without = problems.flat(exact_gradient(generator, reward))
        self.assertGreater(tf.norm(with_it - without), 0.5 * tf.norm(with_it))


class MutationTest(tf.test.TestCase, parameterized.TestCase):
    """The comparison finds what one could get wrong."""

    def _is_unbiased(self, end_token=None):
        return _compare(_UNBIASED["reinforce_loo"], end_token).is_unbiased()

    def test_it_finds_later_costs_that_are_left_out(self):
        with mock.patch.object(estimate, "later", tf.zeros_like):
            self.assertFalse(self._is_unbiased())

    def test_it_finds_a_cost_without_its_own_gradient(self):
        terms = Penalty.terms

        def mutant(*args):
            cost, measured = terms(*args)
            return Terms(tf.stop_gradient(cost), measured)

        with mock.patch.object(Penalty, "terms", mutant):
            self.assertFalse(self._is_unbiased())

    def test_it_finds_a_ratio_to_the_prior_that_is_upside_down(self):
        def mutant(reward, log_ratio):
            return 2 * (reward + log_ratio)

        spec = _UNBIASED["reinvent leave-one-out"]
        with mock.patch.dict(signals.SIGNALS, {spec.traits.signal: mutant}):
            self.assertFalse(_compare(spec, 2).is_unbiased())

    def test_it_finds_costs_after_the_end(self):
        with mock.patch.object(penalty, "masked", lambda x, mask: x):
            self.assertFalse(self._is_unbiased(end_token=2))

    def test_it_finds_a_prior_that_reads_one_token_too_late(self):
        prior_log_probs = Penalty.prior_log_probs
        with mock.patch.object(
            Penalty, "prior_log_probs", lambda *args: tf.roll(prior_log_probs(*args), 1, axis=1)
        ):
            self.assertFalse(self._is_unbiased())


class ExactGradientTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(None, 2)
    def test_matches_finite_differences_of_the_definition(self, end_token):
        generator, prior, reward = _problem(end_token, length=2, dtype="float64")
        pairs = itertools.product(range(3), repeat=2)
        b = np.array([p for p in pairs if p[0] != end_token or p[1] == end_token], np.int32)

        def objective():
            log_p, log_prior = (g.log_prob(b).numpy().sum(axis=1) for g in (generator, prior))
            p = np.exp(log_p)
            self.assertAllClose(np.sum(p), 1.0)
            expected = np.sum(p * reward(tf.one_hot(b, 3, dtype=tf.float64)))
            divergence, entropy = np.sum(p * (log_p - log_prior)), -np.sum(p * log_p)
            return expected - 0.4 * divergence + 0.25 * entropy

        exact = exact_gradient(generator, reward, penalty=Penalty(prior, **_WEIGHTS))
        for variable, gradient in zip(generator.trainable_variables, exact, strict=True):
            start = variable.numpy()
            direction = np.random.default_rng(0).normal(size=variable.shape)
            variable.assign(start + 1e-5 * direction)
            above = objective()
            variable.assign(start - 1e-5 * direction)
            below = objective()
            variable.assign(start)
            slope = (above - below) / 2e-5
            self.assertAllClose(np.sum(gradient * direction), slope, rtol=1e-5, atol=1e-8)

    def test_it_is_0_at_the_law_that_the_documents_give(self):
        """p(b) ~ exp((R(b) + beta log p_0(b)) / (beta + alpha)): for this R that is p_theta."""
        generator, prior, discriminator = _problem(2)
        beta, alpha = _WEIGHTS["prior_kl"], _WEIGHTS["entropy"]

        def reward(rows):
            b = tf.argmax(rows, axis=-1, output_type=tf.int32)
            log_p, log_prior = (tf.reduce_sum(g.log_prob(b), axis=1) for g in (generator, prior))
            return tf.stop_gradient((beta + alpha) * log_p - beta * log_prior)

        kept = Penalty(prior, **_WEIGHTS)
        there = problems.flat(exact_gradient(generator, reward, penalty=kept))
        elsewhere = problems.flat(exact_gradient(generator, discriminator, penalty=kept))
        self.assertLess(tf.norm(there), 1e-5 * tf.norm(elsewhere))


class Masked(problems.Protocol):
    """Never writes token 1: its logit is `floor`."""

    def __init__(self, generator, floor):
        super().__init__(generator)

        def step(inputs, state):
            logits, state = generator.step(inputs, state)
            return tf.where([True, False, True], logits, floor), state

        self.step = step


class MaskedLogitsTest(tf.test.TestCase, parameterized.TestCase):
    def _found(self, floor):
        """Gradient, and what is measured, where what cannot be has log p = floor."""
        generator, prior, reward = _problem(2)
        masked, options = Masked(generator, floor), {"batch_size": 32, "seed": 1}
        kept = Penalty(Masked(prior, floor), **_WEIGHTS)
        estimate, found = estimate_gradient(
            "reinforce_loo", masked, reward, penalty=kept, **options
        )
        return [problems.flat(estimate), *found.measured.values()]

    def test_tokens_that_cannot_be_add_nothing(self):
        """As if their logits were finite, and too small for p to be above 0."""
        for found, expected in zip(self._found(-np.inf), self._found(-1e4), strict=True):
            self.assertNotAllClose(expected, tf.zeros_like(expected))
            self.assertAllClose(found, expected, rtol=1e-4, atol=1e-5)


class MeasuredTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(None, 2)
    def test_divergence_and_entropy_are_those_of_enumeration(self, end_token):
        generator, prior, reward = _problem(end_token)
        triples = np.array(list(itertools.product(range(3), repeat=3)), np.int32)
        kept = [not np.any((b[:-1] == end_token) & (b[1:] != end_token)) for b in triples]
        b = triples[kept]
        log_p, log_prior = (g.log_prob(b).numpy().sum(axis=1) for g in (generator, prior))
        _, diagnostics = estimate_gradient(
            "reinforce", generator, reward, batch_size=8192, seed=1, penalty=Penalty(prior)
        )
        p = np.exp(log_p)
        expected = {"prior_kl": np.sum(p * (log_p - log_prior)), "entropy": -np.sum(p * log_p)}
        self.assertEqual(diagnostics.measured.keys(), expected.keys())
        for name, value in expected.items():
            found = diagnostics.measured[name].numpy()
            self.assertLess(abs(found.mean() - value), 4 * found.std() / np.sqrt(8192), name)
            self.assertLess(found.std() / np.sqrt(8192), 0.02 * value, name)

    def test_a_generator_is_at_no_distance_from_itself(self):
        generator, _, reward = _problem(2)
        _, diagnostics = estimate_gradient(
            "reinforce", generator, reward, batch_size=32, seed=1, penalty=Penalty(generator)
        )
        self.assertAllClose(diagnostics.measured["prior_kl"], np.zeros(32), atol=1e-6)


class NoPenaltyTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("reinforce_loo", "rebar step")
    def test_weights_of_0_change_no_bit(self, name):
        generator, prior, reward = _problem(2)
        spec, options = _UNBIASED[name], {"batch_size": 16, "seed": 3}
        without, before = estimate_gradient(spec, generator, reward, **options)
        for kept in (Penalty(), Penalty(prior)):
            found, after = estimate_gradient(spec, generator, reward, penalty=kept, **options)
            self.assertAllEqual(problems.flat(found), problems.flat(without))
            self.assertAllEqual(after.signal, before.signal)
        self.assertEmpty(before.measured)

    def test_the_gradient_of_the_entropy_alone_needs_no_prior(self):
        generator, _, reward = _problem()
        options = {"batch_size": 16, "seed": 3}
        _, diagnostics = estimate_gradient(
            "reinforce", generator, reward, penalty=Penalty(entropy=0.1), **options
        )
        self.assertEqual(list(diagnostics.measured), ["entropy"])

    def test_a_weight_may_be_a_tensor(self):
        generator, prior, reward = _problem()

        @tf.function
        def gradient(weight):
            return problems.flat(
                estimate_gradient(
                    "reinforce", generator, reward, batch_size=8, seed=1,
                    penalty=Penalty(prior, weight),
                )[0]
            )  # fmt: skip

        expected, _ = estimate_gradient(
            "reinforce", generator, reward, batch_size=8, seed=1, penalty=Penalty(prior, 0.3)
        )
        self.assertAllClose(gradient(tf.constant(0.3)), problems.flat(expected))


class BadArgumentsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ({"prior_kl": -1.0}, "prior_kl=-1.0 is not allowed: it must be at least 0"),
        ({"entropy": float("nan")}, "entropy=nan is not allowed: it must be a finite number"),
        ({"prior_kl": 0.1}, "prior_kl=0.1 is not allowed: it needs a prior"),
    )
    def test_weights(self, weights, message):
        with self.assertRaisesRegex(ValueError, f"^{message}$"):
            Penalty(**weights)

    @parameterized.parameters("mle", "straight_through", "reinmax")
    def test_estimators_without_a_signal_of_their_samples(self, estimator):
        generator, prior, reward = _problem()
        message = f"entropy=0.1 contradicts estimator='{estimator}', which has no learning signal"
        with self.assertRaisesRegex(ValueError, message):
            estimate_gradient(
                estimator, generator, reward, batch_size=4, seed=0,
                data=tf.zeros([4, 3], tf.int32), penalty=Penalty(prior, entropy=0.1),
            )  # fmt: skip

    @parameterized.parameters(
        ({}, "estimator='reinvent' needs a prior: pass penalty=Penalty"),
        ({"penalty": Penalty()}, "estimator='reinvent' needs a prior: pass penalty=Penalty"),
        (
            {"penalty": Penalty(entropy=0.1)},
            "estimator='reinvent' needs a prior: pass penalty=Penalty",
        ),
        ({"sigma": 0.0}, "sigma=0.0 is not allowed: it must be above 0"),
        (
            {"estimator": "rebar", "sigma": 60.0},
            "sigma=60.0 contradicts estimator='rebar', which has none; reinvent has",
        ),
    )
    def test_of_reinvent(self, changes, message):
        generator, _, reward = _problem()
        arguments = {"estimator": "reinvent", "batch_size": 4, "seed": 0} | changes
        with self.assertRaisesRegex(ValueError, message):
            estimate_gradient(arguments.pop("estimator"), generator, reward, **arguments)

    def test_reinvent_has_no_weights(self):
        generator, prior, reward = _problem()
        message = "prior_kl=0.1 contradicts estimator='reinvent', which keeps to the prior"
        with self.assertRaisesRegex(ValueError, message):
            estimate_gradient(
                "reinvent", generator, reward, batch_size=4, seed=0, penalty=Penalty(prior, 0.1)
            )

    def test_a_prior_of_other_sequences(self):
        generator, _, reward = _problem()
        for prior, message in (
            (_problem(2)[1], "the penalty's prior has end_token=2: .* the generator's, None"),
            (_problem(length=2)[1], "the penalty's prior has seq_len=2: .* the generator's, 3"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                estimate_gradient(
                    "reinforce", generator, reward, batch_size=4, seed=0, penalty=Penalty(prior)
                )


if __name__ == "__main__":
    tf.test.main()
