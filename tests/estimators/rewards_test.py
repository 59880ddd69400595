"""Rewards of one's own, and how a bad one is refused; and other inputs that were taken wrongly."""

import contextlib
import dataclasses
import io
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from absl.testing import parameterized

import regan_tf
from regan_tf.config import Config, UserError
from regan_tf.estimators import rewards
from regan_tf.estimators.relaxation import RelaxedTokens
from regan_tf.networks import autoregressive
from regan_tf.networks.noise import gumbel_noise
from regan_tf.tasks.data import Dataset
from regan_tf.tasks.text import Vocabulary
from regan_tf.tasks.text_metrics import TextMetrics
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


class TemperatureTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(0, -1.0, float("nan"), np.float32(0), np.float64(-1))
    def test_no_kind_of_number_that_is_not_above_0_is_taken(self, value):
        generator, discriminator = problems.networks(2, 3, 2)
        for temperature in (value, tf.constant(value)):
            with self.assertRaisesRegex(
                ValueError, "temperature=.* is not allowed: it must be above 0"
            ):
                regan_tf.estimate_gradient(
                    "rebar",
                    generator,
                    discriminator.probability,
                    batch_size=4,
                    seed=0,
                    temperature=temperature,
                )

    def test_tensors_are_taken_also_where_their_value_is_not_known_yet(self):
        generator, discriminator = problems.networks(2, 3, 2)

        @tf.function
        def gradient(temperature):
            return regan_tf.estimate_gradient(
                "rebar",
                generator,
                discriminator.probability,
                batch_size=4,
                seed=0,
                temperature=temperature,
            )[0]

        for found in (gradient(0.5), gradient(np.float32(0.5))):
            self.assertAllClose(problems.flat(gradient(tf.constant(0.5))), problems.flat(found))


class _LSTMGenerator(keras.layers.LSTM):
    """Keeps the protocol, and inherits an attribute `unroll` that is none of its methods."""

    vocab_size, seq_len = 3, 3

    def __init__(self):
        super().__init__(5)
        self.logits = keras.layers.Dense(self.vocab_size)
        self.build((None, None, self.vocab_size + 1))
        self.logits.build((None, 5))

    def initial_state(self, batch_size):
        return tf.zeros([batch_size, 5]), tf.zeros([batch_size, 5])

    def step(self, inputs, state):
        rows = (
            tf.one_hot(inputs, self.vocab_size + 1)
            if inputs.dtype.is_integer
            else tf.pad(inputs, [[0, 0], [0, 1]])
        )
        hidden, state = self.cell(rows, list(state))
        return self.logits(hidden), tuple(state)


class ProtocolTest(tf.test.TestCase):
    def test_an_attribute_that_is_no_method_is_not_taken_for_one(self):
        generator = _LSTMGenerator()
        self.assertFalse(generator.unroll)
        generator.teacher_force = generator.pullback = None
        unrolled = autoregressive.unroll(generator, gumbel_noise([4, 3, 3], [0, 1]))
        forced = autoregressive.teacher_force(generator, unrolled.tokens)
        self.assertAllClose(forced.log_probs, unrolled.log_probs, atol=1e-5)
        gradient, _ = regan_tf.estimate_gradient(
            "rebar", generator, problems.many_plus, batch_size=8, seed=0
        )
        self.assertGreater(float(tf.norm(problems.flat(gradient))), 0)


class RelaxedTokensTest(tf.test.TestCase):
    def test_tfp_finds_its_parameters_without_a_warning(self):
        with (
            mock.patch.object(logging, "warning") as absl,
            contextlib.redirect_stderr(io.StringIO()) as stderr,
        ):
            law = RelaxedTokens(0.5, tf.random.stateless_normal([2, 3], [0, 1]))
            self.assertEqual(law.batch_shape, [2])
            self.assertAllEqual(law[1].logits, law.logits[1])
            self.assertAllClose(
                law.copy(temperature=2.0).relax(law.logits), tf.nn.softmax(law.logits / 2)
            )
        absl.assert_not_called()
        self.assertEqual(stderr.getvalue(), "")


class TextMetricsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(np.int32, np.int64, np.uint8)
    def test_copies_are_counted_in_any_dtype(self, dtype):
        vocabulary = Vocabulary(("<end>", "<unk>", "a", "b", "c"), " ", 0, 1)
        real = np.array([[2, 3, 0], [3, 3, 2], [4, 2, 0]], np.int32)
        metrics = TextMetrics(Dataset(vocabulary, real, real))
        samples = np.array([[2, 3, 0], [3, 2, 2], [4, 2, 0], [2, 3, 0]], dtype)
        self.assertEqual(metrics.describe(samples)["copied"], 0.75)
