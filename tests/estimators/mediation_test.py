"""Cooperative training: estimates against enumeration, without noise."""

from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.estimators import estimate, penalty
from regan_tf.estimators.estimate import estimate_gradient
from regan_tf.estimators.penalty import Mediation, Penalty
from regan_tf.estimators.rewards import Told
from regan_tf.networks.autoregressive import alive, chosen, teacher_force
from tests import exact_mean, problems

_TOLERANCE = 1e-9


def _problem(length=3, end_token=None):
    """A generator, and a mediator that is neither it nor far from it."""
    sizes = {"vocab_size": 3, "seq_len": length, "end_token": end_token, "dtype": "float64"}
    generator, _ = problems.networks(7, spread=0.8, **sizes)
    mediator, _ = problems.networks(8, spread=0.8, **sizes)
    return generator, mediator


def _gradient(generator, objective):
    """Of objective(tokens, l, p), [N], summed over all sequences; p, [N], are their probabilities
    as numbers.
    """
    tokens, p = exact_mean.sequences(generator)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(objective(tokens, teacher_force(generator, tokens).log_probs, p))
    theta = [v.value for v in generator.trainable_variables]
    return problems.flat([tf.convert_to_tensor(g) for g in tape.gradient(value, theta)])


def _step_by_step(generator, mediator):
    """What cot is said to follow: written over each sequence and each token."""

    def objective(tokens, log_probs, p):
        log_m = teacher_force(mediator, tokens).log_probs
        summed = []
        for n, b in enumerate(tokens.numpy()):
            ends = np.flatnonzero(b == generator.end_token)
            for t in range(ends[0] + 1 if len(ends) else len(b)):
                ratio = tf.stop_gradient(log_m[n, t] - log_probs[n, t])
                summed.append(p[n] * tf.reduce_sum(tf.exp(log_probs[n, t]) * ratio))
        return tf.stack(summed)

    return _gradient(generator, objective)


def _log_prob(generator, tokens, log_probs):
    mask = alive(generator, tokens)
    of_tokens = chosen(log_probs, tokens)
    return tf.reduce_sum(of_tokens if mask is None else of_tokens * mask, axis=1)


def _whole(generator, mediator):
    """grad of - KL(p_theta || p_m) over whole sequences."""

    def objective(tokens, log_probs, _):
        of_mediator = _log_prob(mediator, tokens, teacher_force(mediator, tokens).log_probs)
        log_p = _log_prob(generator, tokens, log_probs)
        return tf.exp(log_p) * (of_mediator - log_p)

    return _gradient(generator, objective)


def _mean(estimator, generator, mediator, rows=1, **options):
    of_tokens = exact_mean.of_tokens(estimator, generator, None, mediator=mediator, **options)
    return exact_mean.mean(of_tokens, *exact_mean.batches(generator, rows))


class MeanTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(length=[2, 3], end_token=[None, 2])
    def test_cot_follows_the_divergence_of_each_step(self, length, end_token):
        generator, mediator = _problem(length, end_token)
        expected = _step_by_step(generator, mediator)
        self.assertAllClose(_mean("cot", generator, mediator), expected, atol=_TOLERANCE)

    @parameterized.product(length=[2, 3], end_token=[None, 2])
    def test_cot_unbiased_follows_the_divergence(self, length, end_token):
        """In batches of two rows, each the other's baseline."""
        generator, mediator = _problem(length, end_token)
        expected = _whole(generator, mediator)
        found = _mean("cot_unbiased", generator, mediator, rows=2)
        self.assertAllClose(found, expected, atol=_TOLERANCE)
        biased = _step_by_step(generator, mediator)
        self.assertGreater(tf.norm(biased - expected), 0.1 * tf.norm(expected))

    def test_of_the_mixture_it_follows_half_of_the_jensen_shannon_divergence(self):
        """Though the mediator is held: JSD = 1/2 KL(p_data || p_m) + 1/2 KL(p_theta || p_m)."""
        generator, data = _problem()

        def of_mixture(_, tokens, dtype):
            log_probs = [teacher_force(g, tokens).log_probs for g in (generator, data)]
            before = [tf.cumsum(chosen(x, tokens), axis=1, exclusive=True) for x in log_probs]
            joint = [x + y[..., tf.newaxis] for x, y in zip(log_probs, before, strict=True)]
            return tf.stop_gradient(tf.math.log_softmax(tf.reduce_logsumexp(joint, axis=0)))

        def jensen_shannon(tokens, log_probs, _):
            log_p = _log_prob(generator, tokens, log_probs)
            of_data = _log_prob(data, tokens, teacher_force(data, tokens).log_probs)
            log_m = tf.reduce_logsumexp([log_p, of_data], axis=0) - np.log(2)
            return (tf.exp(log_p) * (log_p - log_m) + tf.exp(of_data) * (of_data - log_m)) / 2

        with mock.patch.object(Mediation, "prior_log_probs", of_mixture):
            found = _mean("cot_unbiased", generator, data, rows=2)
        expected = -2 * _gradient(generator, jensen_shannon)
        self.assertAllClose(found, expected, atol=_TOLERANCE)

    def test_where_it_is_the_mediator_the_generator_stays(self):
        generator, _ = _problem()
        for estimator in ("cot", "cot_unbiased"):
            found, _ = estimate_gradient(
                estimator, generator, None, batch_size=8, seed=1, mediator=generator
            )
            self.assertAllClose(problems.flat(found), tf.zeros_like(problems.flat(found)))

    @parameterized.parameters("cot", "cot_unbiased")
    def test_sobol_points_have_the_same_mean(self, estimator):
        generator, mediator = _problem()
        expected = {"cot": _step_by_step, "cot_unbiased": _whole}[estimator](generator, mediator)
        options = {"batch_size": 512, "mediator": mediator, "sampling": "sobol"}

        def draw(seed):
            options["seed"] = seed
            return problems.flat(estimate_gradient(estimator, generator, None, **options)[0])

        found = problems.Comparison(problems.batch_means(draw, 40), expected)
        self.assertLess(found.relative_noise, 0.05, str(found))
        self.assertTrue(found.is_unbiased(), str(found))


class MutationTest(tf.test.TestCase):
    """The comparison finds what one could get wrong."""

    def _error(self, estimator="cot", expected=_step_by_step, end_token=2):
        generator, mediator = _problem(end_token=end_token)
        expected = expected(generator, mediator)
        rows = 2 if estimator == "cot_unbiased" else 1
        found = _mean(estimator, generator, mediator, rows)
        return tf.norm(found - expected) / tf.norm(expected)

    def test_it_finds_a_mediator_of_another_prefix(self):
        prior_log_probs = Penalty.prior_log_probs
        with mock.patch.object(
            Penalty, "prior_log_probs", lambda *args: tf.roll(prior_log_probs(*args), 1, axis=1)
        ):
            self.assertGreater(self._error(), 0.05)

    def test_it_finds_what_comes_after_the_end(self):
        with mock.patch.object(penalty, "masked", lambda x, mask: x):
            self.assertGreater(self._error("cot_unbiased", _whole), 0.05)
        with mock.patch.object(estimate.autoregressive, "alive", return_value=None):
            self.assertGreater(self._error(), 0.05)

    def test_it_finds_a_reward_that_is_followed(self):
        def credit(spec, generator, reward, b, *_):
            told = Told(1e3 * tf.reduce_sum(tf.cast(b, tf.float64), axis=1), (), (), ())
            return told, told.reward[:, tf.newaxis], {}

        with mock.patch.object(estimate, "_credit", credit):
            self.assertGreater(self._error("cot_unbiased", _whole, None), 0.05)

    def test_it_finds_later_divergences_that_are_left_out(self):
        with mock.patch.object(estimate, "later", tf.zeros_like):
            self.assertGreater(self._error("cot_unbiased", _whole), 0.05)


class DiagnosticsTest(tf.test.TestCase, parameterized.TestCase):
    def test_what_is_measured(self):
        generator, mediator = _problem(end_token=2)
        options = {"batch_size": 16, "seed": 3, "mediator": mediator}
        _, found = estimate_gradient("cot", generator, None, row_gradients=True, **options)
        self.assertEqual(found.measured.keys(), {"mediator_kl", "entropy"})
        self.assertAllEqual(found.signal, tf.zeros([16, 3], tf.float64))
        self.assertAllEqual(found.reward, tf.zeros([16], tf.float64))
        # Its mean over all sequences is the divergence of the laws.
        tokens, p = exact_mean.sequences(generator)
        measured = (
            Mediation(mediator)
            .terms(
                teacher_force(generator, tokens).log_probs,
                teacher_force(mediator, tokens).log_probs,
                alive(generator, tokens),
            )
            .measured["mediator_kl"]
        )
        log_m = _log_prob(mediator, tokens, teacher_force(mediator, tokens).log_probs)
        expected = tf.reduce_sum(p * (tf.math.log(p) - log_m))
        self.assertAllClose(tf.reduce_sum(p * measured), expected, rtol=1e-9)

    def test_another_generator_may_be_either(self):
        generator, mediator = _problem()
        options = {"batch_size": 16, "seed": 3}
        found = [
            estimate_gradient("cot", one, None, mediator=other, **options)[0]
            for one, other in (
                (generator, mediator),
                (problems.Protocol(generator), problems.Protocol(mediator)),
            )
        ]
        self.assertAllClose(problems.flat(found[0]), problems.flat(found[1]), rtol=1e-9)

    @parameterized.parameters("cot", "cot_unbiased")
    def test_what_does_not_fit_is_refused(self, estimator):
        generator, mediator = _problem()
        longer, _ = _problem(length=4)
        options = {"batch_size": 4, "seed": 0}
        for given, message in (
            ({}, f"'{estimator}' needs a mediator: pass mediator="),
            ({"mediator": longer}, "the mediator has seq_len=4: it must be the generator's, 3"),
            (
                {"mediator": mediator, "penalty": Penalty(mediator)},
                f"'{estimator}' follows its mediator alone: no penalty",
            ),
        ):
            with self.assertRaisesRegex(ValueError, message):
                estimate_gradient(estimator, generator, None, **options, **given)
        with self.assertRaisesRegex(ValueError, "'reinforce' has no mediator: pass none"):
            estimate_gradient("reinforce", generator, len, mediator=mediator, **options)


if __name__ == "__main__":
    tf.test.main()
