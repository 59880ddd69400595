"""Estimators with a critic against enumeration, planted errors, and what a critic learns."""

import tempfile
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from examples.transformer import Transformer
from regan_tf.config import Config
from regan_tf.estimators import critic as critics
from regan_tf.estimators import signals
from regan_tf.estimators.control_variate import ControlVariate
from regan_tf.estimators.critic import Critic, Lesson, Reading, fit, learn, read, rows_of
from regan_tf.estimators.discriminator_rewards import (
    DiscriminatorReward,
    PrefixLogitReward,
    PrefixProbabilityReward,
)
from regan_tf.estimators.estimate import estimate_gradient, lesson_of
from regan_tf.estimators.exact import exact_gradient
from regan_tf.estimators.laboratory import Laboratory
from regan_tf.estimators.mixed_reward import MixedReward
from regan_tf.estimators.notation import parse
from regan_tf.estimators.penalty import Penalty
from regan_tf.estimators.rewards import tell
from regan_tf.graphs import compiled, repeat
from regan_tf.networks.autoregressive import alive, chosen, masked, teacher_force
from regan_tf.spec import EstimatorSpec
from regan_tf.training import algorithm
from regan_tf.training.experiment import Experiment
from tests import exact_mean, problems


def _plain(reading):
    """A critic that is a plain function: random, and of the generator's state alone."""
    shape = [reading.features.shape[-1], 3]
    weight = tf.random.stateless_normal(shape, [5, 6], dtype=reading.features.dtype)
    return tf.sin(tf.einsum("btf,fv->btv", reading.features, weight))


def _seeing_ahead(reading):
    """Reads of b_<=t what it should of b_<t."""
    return _plain(Reading(*(tf.roll(x, -1, axis=1) for x in reading)))


def _observe(critic, reward, length=3):
    """R [B] as what is learned at every step, and what is read there."""
    reward = tf.constant(reward, critic.compute_dtype)
    target = tf.tile(reward[:, tf.newaxis], [1, length])
    widths = [0, *critic.widths[1:]]
    reading = Reading(*(tf.tile(target[..., tf.newaxis], [1, 1, width]) for width in widths))
    tokens = tf.zeros([len(reward), length], tf.int32)
    critic.observe(Lesson(reading, target, reward), tokens, None)


def _random(spec, generator, reward):
    """A critic with weights far from their initial ones."""
    critic = Critic.create(spec, generator, reward, units=6)
    for i, variable in enumerate(critic.trainable_variables):
        variable.assign(tf.random.stateless_normal(variable.shape, [i, 7], dtype=variable.dtype))
    _observe(critic, [0.1, 0.4, 0.9], generator.seq_len)
    return critic


def _trained(spec, generator, reward, steps=300, penalty=None):
    keras.utils.set_random_seed(3)
    critic = Critic.create(spec, generator, reward, units=16)
    optimizer = keras.optimizers.Adam(1e-2)
    optimizer.build(critic.trainable_variables)

    @compiled
    def train():
        def step(i):
            seed = tf.stack([i, 1])
            options = {"batch_size": 32, "seed": seed, "critic": critic, "penalty": penalty}
            _, found = estimate_gradient(spec, generator, reward, **options)
            mask = alive(generator, found.tokens)
            learn(critic, optimizer, found.lesson, found.tokens, mask)
            return ()

        repeat(steps, step, ())

    train()
    return critic


def _mean(generator, estimate_of):
    """The exact mean over all batches of two rows: their baselines are each other."""
    return exact_mean.mean(estimate_of, *exact_mean.batches(generator, 2))


def _bias(spec, generator, reward, critic, penalty=None):
    """||E[g_hat] - grad J|| / ||grad J||, nothing of it noise."""
    mean = _mean(
        generator, exact_mean.of_tokens(spec, generator, reward, critic=critic, penalty=penalty)
    )
    exact = problems.flat(exact_gradient(generator, reward, penalty=penalty))
    return float(tf.norm(mean - exact) / tf.norm(exact))


def _problem(vocab_size=3, seq_len=3, end_token=2):
    """A generator of float64, so that a bias is not rounding; and a reward."""
    generator, discriminator = problems.networks(
        7, vocab_size, seq_len, reward_spread=3.0, end_token=end_token, dtype="float64"
    )
    return generator, DiscriminatorReward(discriminator)


def _penalty(**sizes):
    prior, _ = problems.networks(8, dtype="float64", **sizes)
    return Penalty(prior, prior_kl=0.4, entropy=0.25)


def _share_of_ones(rows):
    """A reward of one's own."""
    return tf.reduce_mean(rows[:, :, 1], axis=1) ** 2 + 0.3 * rows[:, 0, 0] * rows[:, -1, 1]


_DR, _AC = EstimatorSpec("doubly_robust"), EstimatorSpec("actor_critic")
_UNREAD = EstimatorSpec("doubly_robust", critics=2, critic_reads="nothing")
_NEXT = EstimatorSpec("doubly_robust", critic_reads="next")
_SIZES = {"vocab_size": 3, "seq_len": 3, "end_token": 2}


class UnbiasednessTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(
        ("doubly_robust", _DR, _random, (3, 3, 2)),
        ("unread", _UNREAD, _random, (3, 3, 2)),
        ("next", _NEXT, _random, (3, 3, 2)),
        ("of_a_large_vocabulary", _DR, _random, (5, 2, None)),
        ("trained", _DR, _trained, (2, 4, None)),
        ("actor_critic", _AC, _random, (3, 3, 2)),
        ("actor_critic_trained", _AC, _trained, (3, 2, None)),
    )
    def test_is_unbiased_for_any_critic(self, spec, critic_of, sizes):
        generator, reward = _problem(*sizes)
        critic = critic_of(spec, generator, reward)
        self.assertLess(_bias(spec, generator, reward, critic), 1e-9)

    @parameterized.parameters(_DR, _AC)
    def test_with_a_penalty_a_reward_of_ones_own_and_a_plain_function(self, spec):
        generator, _ = _problem()
        self.assertLess(_bias(spec, generator, _share_of_ones, _plain, _penalty(**_SIZES)), 1e-9)

    @parameterized.product(
        spec=(_DR, _AC, EstimatorSpec("doubly_robust", critic_reads="next")), end_token=(None, 2)
    )
    def test_where_tokens_are_weighed_by_what_is_to_come(self, spec, end_token):
        generator, discriminator = problems.networks(
            7, 3, 3, reward_spread=3.0, end_token=end_token, dtype="float64"
        )
        for reward in (PrefixLogitReward(discriminator), PrefixProbabilityReward(discriminator)):
            critic = _random(spec, generator, reward)
            self.assertLess(_bias(spec, generator, reward, critic), 1e-9)

    @parameterized.parameters(_DR, _AC)
    def test_for_generators_of_ones_own(self, spec):
        generator, reward = problems.Protocol(_problem()[0]), _problem()[1]
        self.assertLess(_bias(spec, generator, reward, _random(spec, generator, reward)), 1e-9)

    def test_for_a_generator_that_sees_all_positions_at_once(self):
        generator = Transformer(3, 2, width=4, heads=2, blocks=1)
        generator.end_token = None
        rng = np.random.default_rng(1)
        for variable in generator.variables:
            variable.assign(0.7 * rng.normal(size=variable.shape))
        critic = _random(_DR, generator, _share_of_ones)
        self.assertLess(_bias(_DR, generator, _share_of_ones, critic), 1e-4)

    @parameterized.parameters("step", "rollout")
    @pytest.mark.slow
    def test_together_with_relax(self, form):
        generator, discriminator = problems.networks(7, 4, 3, reward_spread=3.0, end_token=3)
        reward = DiscriminatorReward(discriminator)
        spec = EstimatorSpec("doubly_robust_relax", control_variate=form)
        critic = _trained(_DR, generator, reward)
        control = ControlVariate.create(spec, generator, reward, units=8)
        for variable in control.variables:
            variable.assign(0.3 * tf.random.stateless_normal(variable.shape, [3, 4]))

        def draw(seed):
            given = {"batch_size": 1024, "seed": seed, "control": control, "critic": critic}
            return problems.flat(estimate_gradient(spec, generator, reward, **given)[0])

        exact = problems.flat(exact_gradient(generator, reward))
        found = problems.Comparison(problems.batch_means(draw, 60), exact)
        self.assertLess(found.relative_noise, 0.03, str(found))
        self.assertTrue(found.is_unbiased(), str(found))


def _written_out(generator, reward, critic, constant):
    """The doubly robust estimate of tokens [2, T] as its formula, by automatic differentiation of

        sum_t signal_t log p(b_t | b_<t) + sum_i Q_t(i) p_t(i),

    where constant(Q) is what should keep the gradient from flowing into Q.
    """

    def of(tokens):
        theta = [v.value for v in generator.trainable_variables]
        with tf.GradientTape() as tape:
            unrolled = teacher_force(generator, tokens)
            log_p, p = chosen(unrolled.log_probs, tokens), tf.exp(unrolled.log_probs)
            told = tell(reward, tokens, 3, tf.float64, "prefix")
            mask, q = alive(generator, tokens), constant(critic(read(told, unrolled)))
            surprise = mask * (chosen(q, tokens) - tf.reduce_sum(p * q, axis=-1))
            later = tf.stack([tf.reduce_sum(surprise[:, t + 1 :], axis=1) for t in range(3)], 1)
            r = reward(tf.one_hot(tokens, 3, dtype=q.dtype))[:, tf.newaxis]
            signal = r - mask * chosen(q, tokens) - later
            ended = tf.cast(tf.reduce_sum(mask, axis=1, keepdims=True), tf.int32) - 1
            last = tf.gather(signal, ended, axis=1, batch_dims=1)
            other = tf.reverse(tf.where(mask > 0, signal, last), axis=[0])
            score = tf.stop_gradient(signal - other) * log_p
            loss = tf.reduce_sum(mask * (score + tf.reduce_sum(q * p, axis=-1))) / 2
        return problems.flat(tape.gradient(loss, theta))

    return of


class MutationTest(tf.test.TestCase, parameterized.TestCase):
    """The comparison finds what one could get wrong."""

    def _bias(self, critic=_plain):
        generator, reward = _problem()
        return _bias(_DR, generator, reward, critic)

    def test_it_finds_a_sum_that_begins_with_the_tokens_own_step(self):
        def mutant(q, value):
            return q + tf.cumsum(q - value, axis=1, reverse=True)

        with mock.patch.object(signals, "doubly_robust", mutant):
            self.assertGreater(self._bias(), 0.1)

    def test_it_finds_a_value_of_another_prefix(self):
        doubly_robust = signals.doubly_robust
        for shift in (1, -1):
            with mock.patch.object(
                signals, "doubly_robust", lambda q, v, by=shift: doubly_robust(q, tf.roll(v, by, 1))
            ):
                self.assertGreater(self._bias(), 0.1)

    def test_it_finds_a_critic_that_sees_the_token_it_judges(self):
        self.assertGreater(self._bias(_seeing_ahead), 0.1)

    def test_it_finds_what_is_not_masked_after_the_end(self):
        with mock.patch.object(critics, "masked", lambda x, mask: x):
            self.assertGreater(self._bias(), 0.01)

    def test_it_finds_a_gradient_that_leaks_into_the_critic(self):
        generator, reward = _problem()
        exact = problems.flat(exact_gradient(generator, reward))
        for constant, low, high in ((tf.stop_gradient, 0, 1e-9), (tf.identity, 0.1, np.inf)):
            mean = _mean(generator, _written_out(generator, reward, _plain, constant))
            self.assertBetween(float(tf.norm(mean - exact) / tf.norm(exact)), low, high)


class FormTest(tf.test.TestCase, parameterized.TestCase):
    def test_estimate_is_the_formula(self):
        """Batch by batch: so no gradient flows through the critic's features."""
        generator, reward = _problem()
        critic = _random(_DR, generator, reward)
        for tokens in ([[0, 1, 0], [1, 2, 2]], [[2, 2, 2], [0, 0, 2]]):
            found = exact_mean.of_tokens(_DR, generator, reward, critic=critic)(tf.constant(tokens))
            written_out = _written_out(generator, reward, critic, tf.stop_gradient)
            self.assertAllClose(found, written_out(tf.constant(tokens)), rtol=1e-7, atol=1e-9)

    def test_hand_computed_signal(self):
        q, value = tf.constant([[1.0, 2.0, 4.0]]), tf.constant([[0.5, 0.0, 1.0]])
        # 1 + (2 - 0) + (4 - 1), 2 + (4 - 1), 4.
        self.assertAllClose(signals.doubly_robust(q, value), [[6.0, 5.0, 4.0]])

    def test_a_critic_is_needed_and_only_where_there_is_one(self):
        generator, reward = _problem()
        options = {"batch_size": 2, "seed": 0}
        with self.assertRaisesRegex(ValueError, "'doubly_robust' needs a critic: pass critic="):
            estimate_gradient("doubly_robust", generator, reward, **options)
        with self.assertRaisesRegex(ValueError, "'reinforce' has no critic: pass none"):
            estimate_gradient("reinforce", generator, reward, critic=_plain, **options)

    def test_q_of_another_shape_is_refused(self):
        generator, reward = _problem()
        options = {"batch_size": 2, "seed": 0, "critic": lambda reading: reading.features}
        with self.assertRaisesRegex(ValueError, r"the critic gave shape \(2, 3, 16\): it must"):
            estimate_gradient("doubly_robust", generator, reward, **options)


class AllActionsTest(tf.test.TestCase):
    spec = EstimatorSpec("all_actions_biased", critic_reads="next")

    def test_is_biased_with_a_random_critic(self):
        generator, reward = _problem(end_token=None)
        self.assertGreater(_bias(self.spec, generator, reward, _plain), 0.1)

    def test_is_not_with_the_exact_q(self):
        generator, reward = _problem(seq_len=2, end_token=None)
        tokens, p = exact_mean.sequences(generator)
        r = tf.reshape(reward.of_tokens(tokens), [3, 3])
        p = tf.reshape(p, [3, 3])
        first = tf.reduce_sum(p * r, axis=1) / tf.reduce_sum(p, axis=1)  # E[R | b_1]

        def exact_q(reading):  # at the last step the reward's own values are R
            shape, last = tf.shape(reading.next_values[:, :1]), reading.next_values[:, 1:]
            return tf.concat([tf.broadcast_to(first, shape), last], axis=1)

        self.assertLess(_bias(self.spec, generator, reward, exact_q), 1e-9)


class NetworkTest(tf.test.TestCase, parameterized.TestCase):
    """A Critic by itself."""

    def _critic(self, vocab_size=3, networks=1, width=0):
        critic = Critic(4, 3, vocab_size, 6, networks, width > 0, width > 0, dtype="float64")
        for i, variable in enumerate(critic.trainable_variables):
            variable.assign(tf.random.stateless_normal(variable.shape, [i, 7], dtype="float64"))
        _observe(critic, [0.1, 0.4, 0.9])
        shapes = [2, 3, 4], [2, 3, int(width > 0)], [2, 3, width]
        reading = Reading(*(tf.random.stateless_normal(x, [1, 2], dtype="float64") for x in shapes))
        return critic, reading

    @parameterized.parameters((3, 3, None), (3, 0, 1), (300, 0, None))  # which gathers tokens
    def test_the_error_is_that_of_q_at_the_tokens(self, vocab_size, width, end):
        critic, reading = self._critic(vocab_size, width=width)
        tokens, target = (
            tf.constant([[0, 1, 1], [vocab_size - 1, 2, 0]]),
            tf.ones([2, 3], "float64"),
        )
        mask = None if end is None else tf.constant([[1.0, 1, 0], [1, 1, 1]], tf.float64)
        found = critic.error(critic.exercise(Lesson(reading, target, target[:, 0]), tokens, mask))
        squares = (tf.gather(critic(reading), tokens, batch_dims=2) - target).numpy() ** 2
        squares = squares.ravel() if end is None else squares[mask.numpy() == 1]
        self.assertAllClose(found, squares.mean() / np.var([0.1, 0.4, 0.9]), rtol=1e-9)

    def test_several_networks_are_averaged_and_learn_each_by_itself(self):
        both, reading = self._critic(networks=2)
        lesson = Lesson(reading, tf.ones([2, 3], tf.float64), tf.ones([2], tf.float64))
        exercise = both.exercise(lesson, tf.zeros([2, 3], tf.int32), None)
        parts = []
        for network in both.networks:
            alone, _ = self._critic()
            weights = alone.networks[0].variables
            for variable, value in zip(weights, network.variables, strict=True):
                variable.assign(value)
            parts.append((alone(reading), alone.error(exercise)))
        (one, of_one), (other, of_other) = parts
        self.assertNotAllClose(one, other)
        self.assertAllClose(both(reading), (one + other) / 2)
        self.assertAllClose(both.error(exercise), of_one + of_other)

    def test_it_starts_at_the_rewards_mean_and_at_the_end_at_what_the_reward_says(self):
        critic, reading = Critic(4, 3, 3, 6, 1, True, True), self._critic(width=3)[1]
        _observe(critic, [1.0, 2.0, 6.0])
        reading = Reading(*(tf.cast(x, tf.float32) for x in reading))
        q = critic(reading)
        self.assertAllClose(q[:, :2], np.full([2, 2, 3], 3.0))
        self.assertAllClose(q[:, 2], reading.next_values[:, 2], atol=1e-5)

    def test_hand_computed_mean_and_deviation(self):
        critic = Critic(4, 3, 3)
        for reward, mean, deviation in (
            ([], 0.0, 1.0),  # before anything was observed
            ([1.0, 2.0, 3.0], 2.0, np.sqrt(2 / 3)),
            # (0.9 (0.1 2/3) + 0.1 4) / (0.9 0.1 + 0.1)
            ([3.0, 7.0], 5.0, np.sqrt((0.06 + 0.4) / 0.19)),
        ):
            if reward:
                _observe(critic, reward)
            self.assertAllClose(critic.means[:, 0], [mean] * 3)
            self.assertAllClose(critic._deviations(), [deviation] * 2)

    def test_hand_computed_means_of_targets_that_end(self):
        critic = Critic(4, 3, 3)
        target, mask = [[1.0, 5.0, 9.0], [3.0, 7.0, 9.0]], [[1.0, 1, 0], [1, 0, 0]]
        reading, reward = Reading(*[tf.zeros([2, 3, 0])] * 3), tf.constant([1.0, 3.0])
        lesson = Lesson(reading, tf.constant(target), reward)
        critic.observe(lesson, tf.zeros([2, 3], tf.int32), tf.constant(mask))
        self.assertAllClose(critic.means[:2, 0], [2.0, 5.0])
        # Of the first step (-1)^2 and 1^2, of the second 0^2; nothing of the third.
        self.assertAllClose(critic._deviations(), [1.0, np.sqrt(2 / 3)])

    def test_before_it_has_learned_it_is_right_at_the_end_for_any_reward_that_tells(self):
        spec = EstimatorSpec("doubly_robust", critic_reads="next")
        generator, discriminator = problems.networks(7, 4, 5, dtype="float64")
        discriminator.head.bias.assign([-6.0])  # so R is far from what the last token adds
        mixed = MixedReward(lambda rows: 9 + rows[:, -1, 1], discriminator, 0.5)
        of_last = DiscriminatorReward(discriminator), PrefixLogitReward(discriminator), mixed
        of_last += (PrefixProbabilityReward(discriminator),)
        tokens = generator.sample(64, 1)
        for reward in of_last:
            critic = Critic.create(spec, generator, reward)
            given = spec, critic, generator, reward, tokens
            lesson, mask = lesson_of(*given), alive(generator, tokens)
            critic.observe(lesson, tokens, mask)
            q, expected = chosen(critic(lesson.reading), tokens)[:, -1], lesson.target[:, -1]
            if reward is mixed:  # its own part says nothing of beginnings
                expected -= 0.5 * tf.cast(tokens[:, -1] == 1, tf.float64)
                expected += tf.reduce_mean(q - expected)
            self.assertAllClose(q, expected, atol=1e-9)

    @parameterized.parameters(0.0, 0.7, -1e4)
    def test_equal_rewards_are_not_divided_by_0(self, value):
        critic = Critic(4, 3, 3)
        reading = Reading(tf.ones([16, 3, 4]), *[tf.zeros([16, 3, 0])] * 2)
        tokens, optimizer = tf.zeros([16, 3], tf.int32), keras.optimizers.Adam(1e-2)
        optimizer.build(critic.trainable_variables)
        for _ in range(3):
            _observe(critic, [value] * 16)
            lesson = Lesson(reading, tf.fill([16, 3], value), tf.fill([16], value))
            fit(critic, optimizer, critic.exercise(lesson, tokens, None))
        self.assertAllClose(critic.means[:, 0], [value] * 3)
        self.assertAllClose(critic._deviations(), [1.0, 1.0])
        self.assertAllClose(critic(reading), tf.fill([16, 3, 3], value))

    def test_a_file_has_all_of_it(self):
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "critic.keras"
        critic, reading = self._critic(networks=2, width=3)
        critic.save(path)
        self.assertAllClose(keras.models.load_model(path)(reading), critic(reading))


class RowsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters((48, 32), (100, 32), (7, 3), (5, 8))
    def test_all_rows_are_seen_before_any_is_seen_thrice(self, rows, size):
        steps = -(-rows // size)
        seen = np.concatenate(
            [rows_of(tf.range(rows), tf.constant(i), size).numpy() for i in range(steps)]
        )
        counts = np.bincount(seen, minlength=rows)
        self.assertEqual((counts.min(), len(counts)), (1, rows))
        self.assertLessEqual(counts.max(), 2)


class LessonTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(None, 2)
    def test_both_targets_have_one_mean_and_one_of_them_less_variance(self, end_token):
        """Given b_<=t: their means over all sequences that begin so are E[R | b_<=t]."""
        generator, reward = _problem(end_token=end_token)
        critic = _trained(_DR, generator, reward)
        (tokens, p), kept = (
            exact_mean.sequences(generator),
            alive(generator, exact_mean.sequences(generator)[0]),
        )
        p = p.numpy()
        targets = {}
        for target in ("reward", "doubly_robust"):
            spec = EstimatorSpec("doubly_robust", critic_target=target)
            given = spec, critic, generator, reward, tokens, reward.of_tokens(tokens)
            targets[target] = masked(lesson_of(*given).target, kept).numpy()
        variance = dict.fromkeys(targets, 0.0)
        for t in range(3):
            beginnings = tokens.numpy()[:, : t + 1]
            for beginning in np.unique(beginnings, axis=0):
                of_it = np.all(beginnings == beginning, axis=1)
                means = []
                for name, values in targets.items():
                    x, weight = values[of_it, t], p[of_it] / p[of_it].sum()
                    means.append(weight @ x)
                    variance[name] += p[of_it].sum() * (weight @ (x - means[-1]) ** 2)
                self.assertAllClose(*means, atol=1e-9)
        self.assertLess(variance["doubly_robust"], 0.1 * variance["reward"])

    def test_a_penaltys_later_costs_are_taken_from_it(self):
        generator, _ = _problem()
        tokens, kept = exact_mean.sequences(generator)[0], _penalty(**_SIZES)
        reward = _share_of_ones(tf.one_hot(tokens, 3, dtype=tf.float64))
        spec = EstimatorSpec("doubly_robust", critic_target="reward")
        target = lesson_of(spec, _plain, generator, _share_of_ones, tokens, reward, kept).target
        log_probs = teacher_force(generator, tokens).log_probs
        of_prior = kept.prior_log_probs(tokens, tf.float64)
        cost = kept.terms(log_probs, of_prior, alive(generator, tokens)).cost
        expected = [reward - tf.reduce_sum(cost[:, t + 1 :], axis=1) for t in range(3)]
        self.assertAllClose(target, tf.stack(expected, axis=1))

    @pytest.mark.slow
    @parameterized.parameters(0.0, 0.1, 1.0)
    def test_costs_that_outweigh_the_reward_do_not_hide_it(self, entropy):
        """A generator that is almost uniform, so that nothing but those costs tells one step from
        another.
        """
        generator, discriminator = problems.networks(7, 4, 8, reward_spread=3.0)
        for variable in generator.variables:
            variable.assign(0.3 * variable)
        reward, penalty = DiscriminatorReward(discriminator), Penalty(entropy=entropy)
        critic = _trained(_DR, generator, reward, penalty=penalty)

        def total_variance(spec, **options):
            def draw(seed):
                given = {"batch_size": 32, "seed": seed, "penalty": penalty} | options
                return problems.flat(estimate_gradient(spec, generator, reward, **given)[0])

            return float(np.sum(np.var(problems.batch_means(draw, 200), axis=0)))

        before, after = total_variance("reinforce_loo"), total_variance(_DR, critic=critic)
        self.assertLess(after, 0.2 * before)

    @pytest.mark.slow
    def test_what_is_learned_lowers_the_variance(self):
        """At the state of `compare` at length 3, where prefixes make up little of it."""
        options = {"seq_len": 3, "pretrain_learning_rate": 3e-3, "d_steps": 390}
        experiment = Experiment(Config(**options).resolved())
        algorithm.warm_up(experiment)
        lab = Laboratory.of_experiment(experiment, batch_size=128, control_steps=300)
        names = "reinforce_loo", "doubly_robust"
        before, after = (lab.measure(parse(name), 400).variance.sum() for name in names)
        self.assertLess(after, 0.05 * before)


if __name__ == "__main__":
    tf.test.main()
