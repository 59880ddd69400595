"""What a reward may give; and other inputs that were taken wrongly."""

import contextlib
import io
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from absl.testing import parameterized

import regan_tf
from regan_tf.estimators import rewards
from regan_tf.estimators.relaxation import RelaxedTokens
from regan_tf.networks import autoregressive
from regan_tf.networks.noise import gumbel_noise
from regan_tf.tasks.data import Dataset
from regan_tf.tasks.text import Vocabulary
from regan_tf.tasks.text_metrics import TextMetrics
from tests import problems


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
