"""Rewards of one's own, and how a bad one is refused; their values after every prefix."""

import contextlib
import dataclasses
import io
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.config import Config, UserError
from regan_tf.estimators import rewards
from regan_tf.estimators.rewards import DiscriminatorReward
from regan_tf.training.experiment import Experiment
from tests import problems

_SMALL = {"data_size": 640, "heldout_size": 50, "embed_dim": 8, "generator_dim": 8}


class _OfTokens:
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


def _experiment(reward, **options):
    options = {
        "estimator": "reinforce_loo",
        "pretrain_epochs": 0,
        "eval_samples": 500,
        "batch_size": 64,
    } | options
    return Experiment(Config(reward=f"tests.problems:{reward}", **(_SMALL | options)).resolved())


class RefusalTest(tf.test.TestCase, parameterized.TestCase):
    """What ends a run with one line: at its start, where that can be."""

    @parameterized.parameters(
        ("in_eager_numpy", {}, r"failed in a graph.*: NotImplementedError: .*tf.numpy_function\)$"),
        (
            "with_python_if",
            {},
            "failed in a graph.*: OperatorNotAllowedInGraphError: "
            ".* decorate this function with @tf.function",
        ),
        ("failing", {}, "failed: ZeroDivisionError: no reward for 64 rows"),
        (
            "many_plus_in_numpy",
            {"estimator": "rebar"},
            "does not serve --estimator=rebar.*not differentiable.*continuous",
        ),
        ("nan_for_x", {}, "gave nan for a row of the data: it must be finite"),
        (
            "nan_in_relaxed_rows",
            {"estimator": "rebar"},
            "is not finite in relaxed rows.*--estimator=rebar",
        ),
    )
    def test_at_the_start(self, reward, options, message):
        with self.assertRaisesRegex(
            UserError, f"^--reward=tests.problems:{reward} {message}"
        ) as caught:
            _experiment(reward, **options)
        self.assertNotIn("\n", str(caught.exception))

    @parameterized.parameters(
        (
            "failing_for_many_plus",
            "the update with --reward=tests.problems:failing_for_many_plus failed: "
            "ZeroDivisionError: no",
        ),
        (
            "nan_for_many_plus",
            "--reward=tests.problems:nan_for_many_plus gave nan: it must be finite",
        ),
    )
    def test_at_an_update(self, reward, message):
        experiment = _experiment(reward)
        experiment.measure_start()
        with self.assertRaisesRegex(UserError, f"^at adversarial iteration 1 {message}") as caught:
            experiment.iterate()
        self.assertNotIn("\n", str(caught.exception))
        self.assertNotIn("smaller learning rates", str(caught.exception))

    def test_errors_that_are_not_the_rewards_are_left_alone(self):
        experiment = _experiment("many_plus")
        experiment.config = dataclasses.replace(experiment.config, distribution="multi_worker")
        lost = mock.Mock(side_effect=tf.errors.UnavailableError(None, None, "lost"))
        with (
            mock.patch.object(experiment.trainer, "update_generator", lost),
            self.assertRaises(tf.errors.UnavailableError),
        ):
            experiment.iterate()

    @parameterized.parameters(
        ("many_plus_in_numpy", "reinforce_loo"), ("with_python_if_compiled", "rebar")
    )
    def test_what_makes_a_function_fit_for_a_graph_makes_it_a_reward(self, reward, estimator):
        experiment = _experiment(reward, estimator=estimator)
        experiment.measure_start()
        self.assertTrue(np.isfinite(experiment.iterate()["reward"]))


class DiscontinuityTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        case=[
            ("many_plus", False), ("with_kinks", False), ("smooth network", False),
            ("kinked network", False), ("with_jumps", True),
        ],
        temperature=[1.0, 0.3],
    )  # fmt: skip
    def test_jumps_are_found_and_kinks_are_none(self, case, temperature):
        (name, jumps), rng = case, np.random.default_rng(0)
        reward = getattr(problems, name, None)
        if reward is None:
            first, second = (
                tf.constant(rng.normal(size=shape), tf.float32) for shape in ([20, 16], [16, 1])
            )
            activation = tf.nn.relu if name == "kinked network" else tf.tanh

            def reward(rows):
                return tf.squeeze(activation(tf.reshape(rows, [-1, 20]) @ first) @ second, -1)

        missed = rewards.discontinuity(
            reward, rng.integers(0, 5, [50, 4]).astype(np.int32), 5, temperature
        )
        # Half and twice the limit: what is measured does not rest on rounding.
        (self.assertGreater if jumps else self.assertLess)(
            missed, (2 if jumps else 0.5) * rewards.JUMPS
        )

    @parameterized.parameters(
        ("with_jumps", "rebar", True),
        ("with_kinks", "rebar", False),
        ("with_jumps", "reinforce", False),
    )
    def test_a_run_begins_with_a_warning_where_it_matters(self, reward, estimator, warned):
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            _experiment(reward, estimator=estimator)
        pattern = (
            r"warning: --reward=tests.problems:with_jumps does not change as .* misses \d+% .*\n"
            if warned
            else ""
        )
        self.assertRegex(stderr.getvalue(), f"^{pattern}$")


class PrefixTest(tf.test.TestCase):
    def test_fast_prefixes_are_the_discriminator_on_shortened_rows(self):
        _, discriminator = problems.networks(1, 4, 5)
        tokens = tf.constant(np.random.default_rng(0).integers(0, 4, [3, 5]), tf.int32)
        last = tf.nn.softmax(tf.random.stateless_normal([3, 5, 4], [0, 1]))
        values, features = DiscriminatorReward(discriminator).prefixes(tokens, last)
        self.assertEqual(features.shape, [3, 5, 8])
        for t in range(5):
            rows = tf.concat([tf.one_hot(tokens[:, :t], 4), last[:, t : t + 1]], axis=1)
            self.assertAllClose(values[:, t], discriminator.probability(rows), atol=1e-6)

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
