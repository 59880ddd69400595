"""The generator protocol: a generator of one's own, and the fallbacks beside the fast paths."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from examples.own_generator import GRUGenerator
from regan_tf.estimators.control_networks import ControlNetwork, StepControlNetwork
from regan_tf.estimators.control_variate import ControlVariate, feature_dim
from regan_tf.estimators.discriminator_rewards import DiscriminatorReward
from regan_tf.networks import autoregressive
from regan_tf.networks.noise import gumbel_noise
from regan_tf.spec import FORMS, EstimatorSpec
from tests import problems


class GeneratorOfOnesOwnTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("reinforce_loo", "rebar", "relax")
    def test_estimates_are_unbiased(self, estimator):
        keras.utils.set_random_seed(1)
        generator = GRUGenerator(3, 3, units=5)
        generator.logits.kernel.assign(2 * generator.logits.kernel)  # far from an even distribution
        _, discriminator = problems.networks(2, 3, 3, reward_spread=3.0)
        reward = discriminator.probability
        form = "sequence" if estimator == "reinforce_loo" else "step"
        spec = EstimatorSpec(estimator, control_variate=form, leave_one_out=True)
        control = ControlVariate.create(spec, generator, reward, units=8)

        def draw(seed):
            gradient, _ = regan_tf.estimate_gradient(
                spec, generator, reward, batch_size=1024, seed=seed, control=control
            )
            return problems.flat(gradient)

        exact = problems.flat(regan_tf.exact_gradient(generator, reward))
        found = problems.Comparison(problems.batch_means(draw, 100), exact)
        self.assertLess(found.relative_noise, 0.03, str(found))
        self.assertTrue(found.is_unbiased(), str(found))

    @parameterized.parameters("straight_through", "reinmax")
    def test_masked_logits_leave_values_and_gradients_finite(self, estimator):
        inner, discriminator = problems.networks(2, 4, 3)
        generator = problems.Protocol(inner)

        def step(inputs, state):
            logits, state = inner.step(inputs, state)
            return tf.where([True, False, False, False], -np.inf, logits), state

        generator.step = step
        reward = DiscriminatorReward(discriminator)
        gradient, found = regan_tf.estimate_gradient(
            estimator, generator, reward, batch_size=8, seed=1
        )
        self.assertNotIn(0, found.tokens.numpy())
        self.assertAllInRange(problems.flat(gradient), -1e3, 1e3)
        self.assertGreater(tf.norm(problems.flat(gradient)), 0)

    @parameterized.parameters(
        *[
            (estimator, "sequence", 1)
            for estimator in ("mle", "reinforce", "straight_through", "reinmax")
        ],  # which use neither
        *itertools.product(["rebar"], FORMS, [1]),
        *itertools.product(["relax"], FORMS, [1, 2]),
    )
    @pytest.mark.slow
    def test_protocol_alone_gives_what_the_fast_paths_give(self, estimator, form, control_samples):
        generator, discriminator = problems.networks(2, 4, 3, spread=0.7)
        reward = DiscriminatorReward(discriminator)
        network = (
            ControlNetwork(4, 3)
            if form == "sequence"
            else StepControlNetwork(feature_dim(generator, reward), 4, 5)
        )
        network.head.kernel.assign(tf.random.stateless_normal(network.head.kernel.shape, [0, 1]))
        spec = EstimatorSpec(estimator, control_variate=form, control_samples=control_samples)
        options = {"row_gradients": True, "batch_size": 6, "seed": 5}
        options["control"] = ControlVariate(spec, network)
        options["data"] = tf.constant(np.random.default_rng(0).integers(0, 4, [6, 3]), tf.int32)
        fast, fast_diagnostics = regan_tf.estimate_gradient(spec, generator, reward, **options)
        slow, slow_diagnostics = regan_tf.estimate_gradient(
            spec, problems.Protocol(generator), reward, **options
        )
        self.assertAllClose(problems.flat(fast), problems.flat(slow), rtol=1e-4, atol=1e-6)
        for a, b in zip(
            fast_diagnostics.row_gradients.squared_norms,
            slow_diagnostics.row_gradients.squared_norms,
            strict=True,
        ):
            self.assertAllClose(a, b, rtol=1e-4, atol=1e-7)
        self.assertAllClose(
            fast_diagnostics.row_gradients.last_layer_first,
            slow_diagnostics.row_gradients.last_layer_first,
            rtol=1e-4,
            atol=1e-7,
        )


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


class _Counting:
    """Its logits depend on the token before alone; it has no state, or counts what it may read."""

    vocab_size, compute_dtype = 3, "float32"

    def __init__(self, seq_len, counts):
        self.seq_len, self.counts = seq_len, counts
        self.table = keras.Variable(np.random.default_rng(0).normal(size=[4, 3]), dtype="float32")
        self.trainable_variables = [self.table]

    def initial_state(self, batch_size):
        return (tf.fill([batch_size], self.seq_len),) if self.counts else ()

    def step(self, inputs, state):
        for left in state:
            tf.debugging.assert_positive(left, "all tokens have been read")
        rows = (
            tf.one_hot(inputs, 4) if inputs.dtype.is_integer else tf.pad(inputs, [[0, 0], [0, 1]])
        )
        return rows @ self.table.value, tuple(left - 1 for left in state)


class ReinMaxTest(tf.test.TestCase, parameterized.TestCase):
    def _mean_gradient(self, generator, slope, temperature=1.0):
        """Of a reward of one token with the slope dR/drow, over all tokens: exactly."""
        size = generator.vocab_size
        noise = 1e9 * tf.eye(size)[:, tf.newaxis]  # row i has token i
        theta = [v.value for v in generator.trainable_variables]
        with tf.GradientTape() as tape:
            unrolled, rows = autoregressive.straight_through(generator, noise, temperature, True)
            self.assertAllEqual(unrolled.tokens[:, 0], range(size))
            self.assertAllEqual(rows[:, 0], tf.eye(size))
            probabilities = tf.exp(unrolled.log_probs[:, 0])
            weights = tf.linalg.diag_part(probabilities)[:, tf.newaxis] * slope(tf.eye(size))
            target = tf.reduce_sum(tf.stop_gradient(weights) * rows[:, 0])
        return problems.flat(tape.gradient(target, theta, unconnected_gradients="zero"))

    @parameterized.parameters((1, True), (2, True), (3, False))
    def test_mean_is_exact_up_to_quadratic_rewards_of_one_token(self, degree, is_exact):
        generator, _ = problems.networks(2, 4, 1)
        rng = np.random.default_rng(0)
        table = tf.constant(rng.normal(size=[4, 4]) + 3 * rng.normal(size=[4, 1]), tf.float32)

        def reward(rows):
            return tf.reduce_sum((rows[:, 0] @ table + 0.5) ** degree, axis=-1)

        def slope(rows):
            return degree * (rows @ table + 0.5) ** (degree - 1) @ tf.transpose(table)

        exact = problems.flat(regan_tf.exact_gradient(generator, reward))
        found = self._mean_gradient(generator, slope)
        error = float(tf.norm(found - exact) / tf.norm(exact))
        self.assertEqual(error < 1e-5, is_exact, error)

    def test_gradient_of_a_token_is_the_formula(self):
        generator, _ = problems.networks(2, 3, 1)
        bias, slope, temperature = generator.output_layer.bias.value, [0.3, -1.0, 2.0], 0.6
        with tf.GradientTape() as tape:
            unrolled, rows = autoregressive.straight_through(
                generator, tf.constant([[[0.0, 1e9, 0.0]]]), temperature, True
            )
            target = tf.reduce_sum(rows * tf.constant(slope))
        p = np.exp(unrolled.log_probs[0, 0].numpy())
        tempered = p ** (1 / temperature) / np.sum(p ** (1 / temperature))
        middle = (np.array([0, 1, 0]) + tempered) / 2

        def jacobian(q):
            return np.diag(q) - np.outer(q, q)

        expected = (2 * jacobian(middle) - jacobian(p) / 2) @ slope
        self.assertAllClose(tape.gradient(target, bias), expected, atol=1e-6)


class EntriesTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(4, 300)  # by one-hot rows, and by scattering
    def test_tokens_entries_are_replaced_and_added_to(self, vocab_size):
        rng = np.random.default_rng(0)
        x, values = rng.normal(size=[2, 3, vocab_size]), rng.normal(size=[2, 3])
        tokens = rng.integers(0, vocab_size, [2, 3])
        places = *np.indices(tokens.shape), tokens
        replaced, added = x.copy(), x.copy()
        replaced[places] = values
        added[places] += values
        arguments = tf.constant(x), tf.constant(tokens, tf.int32), tf.constant(values)
        self.assertAllEqual(autoregressive.replaced(*arguments), replaced)
        self.assertAllEqual(autoregressive.added(*arguments), added)


class ProtocolTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(seq_len=[1, 3], counts=[False, True])
    def test_states_may_be_integers_or_none_and_no_more_than_t_steps_are_taken(
        self, seq_len, counts
    ):
        generator = _Counting(seq_len, counts)
        self.assertEqual(feature_dim(generator, problems.many_plus), int(counts))
        for estimator, form in (("straight_through", "sequence"), ("relax", "step")):
            spec = EstimatorSpec(estimator, control_variate=form)
            control = ControlVariate.create(spec, generator, problems.many_plus)
            gradient, _ = regan_tf.estimate_gradient(
                spec, generator, problems.many_plus, batch_size=8, seed=0, control=control
            )
            self.assertGreater(float(tf.norm(problems.flat(gradient))), 0)

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
