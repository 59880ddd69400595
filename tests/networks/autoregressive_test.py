"""The generator protocol: a generator of one's own, and the fallbacks beside the fast paths."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.estimators import rewards
from regan_tf.estimators.control_variate import (
    FORMS,
    LearnedScalar,
    StepControlNetwork,
    feature_dim,
)
from regan_tf.estimators.estimate import learned
from regan_tf.estimators.rewards import DiscriminatorReward
from regan_tf.graphs import compiled
from tests import problems


class GRUGenerator(keras.layers.Layer):
    """A generator that has the protocol and nothing else."""

    def __init__(self, vocab_size, seq_len, units=5):
        super().__init__()
        self.vocab_size, self.seq_len, self.units = vocab_size, seq_len, units
        self.cell, self.logits = keras.layers.GRUCell(units), keras.layers.Dense(vocab_size)
        self.cell.build((None, vocab_size + 1))
        self.logits.build((None, units))
        self.built = True

    def initial_state(self, batch_size):
        return tf.zeros([batch_size, self.units])

    def step(self, inputs, state):
        rows = (
            tf.one_hot(inputs, self.vocab_size + 1)
            if inputs.dtype.is_integer
            else tf.pad(inputs, [[0, 0], [0, 1]])
        )
        hidden, (state,) = self.cell(rows, [state])
        return 2 * self.logits(hidden), state


class GeneratorOfOnesOwnTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("reinforce_loo", "rebar", "relax")
    def test_estimates_are_unbiased(self, estimator):
        keras.utils.set_random_seed(1)
        generator = GRUGenerator(3, 3)
        _, discriminator = problems.networks(2, 3, 3, reward_spread=3.0)
        reward = discriminator.probability
        network = (
            StepControlNetwork(feature_dim(generator, reward), 3, 8)
            if estimator == "relax"
            else None
        )

        def draw(seed):
            gradient, _ = regan_tf.estimate_gradient(
                estimator,
                generator,
                reward,
                batch_size=1024,
                seed=seed,
                leave_one_out=True,
                control_network=network,
            )
            return problems.flat(gradient)

        exact = problems.flat(regan_tf.exact_gradient(generator, reward))
        found = problems.Comparison(problems.batch_means(draw, 100), exact)
        self.assertLess(found.relative_noise, 0.03, str(found))
        self.assertTrue(found.is_unbiased(), str(found))

    @parameterized.parameters(
        *[
            (estimator, "step", 1) for estimator in ("mle", "reinforce", "straight_through")
        ],  # which use neither
        *itertools.product(["rebar"], FORMS, [1]),
        *itertools.product(["relax"], FORMS, [1, 2]),
    )
    @pytest.mark.slow
    def test_protocol_alone_gives_what_the_fast_paths_give(self, estimator, form, control_samples):
        generator, discriminator = problems.networks(2, 4, 3, spread=0.7)
        reward = DiscriminatorReward(discriminator)
        network = (
            regan_tf.ControlNetwork(4, 3)
            if form == "sequence"
            else StepControlNetwork(feature_dim(generator, reward), 4, 5)
        )
        network.head.kernel.assign(tf.random.stateless_normal(network.head.kernel.shape, [0, 1]))
        options = {
            "control_variate": form,
            "control_network": network,
            "row_gradients": True,
            "batch_size": 6,
            "seed": 5,
        }
        options["control_samples"] = control_samples
        options["data"] = tf.constant(np.random.default_rng(0).integers(0, 4, [6, 3]), tf.int32)
        fast, fast_diagnostics = regan_tf.estimate_gradient(estimator, generator, reward, **options)
        slow, slow_diagnostics = regan_tf.estimate_gradient(
            estimator, problems.Protocol(generator), reward, **options
        )
        self.assertAllClose(problems.flat(fast), problems.flat(slow), rtol=1e-4, atol=1e-6)
        for a, b in zip(
            fast_diagnostics.rows.squared_norms, slow_diagnostics.rows.squared_norms, strict=True
        ):
            self.assertAllClose(a, b, rtol=1e-4, atol=1e-7)
        self.assertAllClose(
            fast_diagnostics.rows.last_layer_first,
            slow_diagnostics.rows.last_layer_first,
            rtol=1e-4,
            atol=1e-7,
        )


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


class LearnedTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        form=["sequence", "step", "rollout"],
        loss=["batch", "per_example"],
        options=[{}, {"leave_one_out": True, "control_samples": 2}],
    )
    @pytest.mark.slow
    def test_gradient_of_the_variance_loss_matches_finite_differences(self, form, loss, options):
        generator, discriminator = problems.networks(3, 3, 3, dtype="float64")
        reward = DiscriminatorReward(discriminator)
        scalars = {"eta": LearnedScalar(0.8), "temperature": LearnedScalar(0.7, positive=True)}
        network = regan_tf.ControlNetwork(3, 2, dtype="float64")
        if form != "sequence":
            network = StepControlNetwork(feature_dim(generator, reward), 3, 4, dtype="float64")
        rng = np.random.default_rng(0)
        for variable in network.variables:
            variable.assign(rng.normal(size=variable.shape))

        def estimate():
            return regan_tf.estimate_gradient(
                "relax", generator, reward, batch_size=5, seed=3, control_variate=form,
                control_network=network, variance_loss=loss, row_gradients=True,
                **scalars, **options
            )  # fmt: skip

        @compiled
        def value():
            gradient, diagnostics = estimate()
            if loss == "batch":
                return tf.reduce_sum(problems.flat(gradient) ** 2)
            return tf.reduce_mean(tf.add_n(diagnostics.rows.squared_norms))

        found = estimate()[1].control_gradient
        variables = learned(network, **scalars)
        self.assertLen(found, len(variables))
        for variable, gradient in zip(variables, found, strict=True):
            direction, start = rng.normal(size=variable.shape), variable.numpy()
            step, values = (1e-2 if variable.dtype == "float32" else 1e-5), []
            for sign in (1, -1):
                variable.assign(start + sign * step * direction)
                values.append(float(value()))
            variable.assign(start)
            tolerance = 3e-3 if variable.dtype == "float32" else 1e-4
            self.assertAllClose(
                np.sum(gradient * direction),
                (values[0] - values[1]) / (2 * step),
                rtol=tolerance,
                atol=1e-7,
            )


class BadArgumentsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ({"estimator": "rebarr"}, "estimator='rebarr' is not allowed: it must be one of mle"),
        (
            {"control_variate": "steps"},
            "control_variate='steps' is not allowed: it must be one of sequence, step, rollout",
        ),
        (
            {"variance_loss": "per-example"},
            "variance_loss='per-example' is not allowed: it must be batch or per_example",
        ),
        ({"control_samples": 0}, "control_samples=0 is not allowed"),
        ({"temperature": 0.0}, "temperature=0.0 is not allowed: it must be above 0"),
        ({"estimator": "relax"}, "relax needs a control_network"),
        ({"estimator": "mle"}, "mle needs data"),
        (
            {"batch_size": 1, "leave_one_out": True},
            "batch_size=1 is not allowed with leave_one_out",
        ),
        (
            {"estimator": "straight_through", "leave_one_out": True},
            "leave_one_out needs a score term",
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
            regan_tf.estimate_gradient(
                arguments.pop("estimator"), generator, arguments.pop("reward"), **arguments
            )

    @parameterized.parameters(*FORMS)
    def test_a_reward_that_is_undefined_off_the_corners_serves_relax_of_c_hat_alone(self, form):
        generator, _ = problems.networks(2, 3, 3)

        def reward(rows):
            return tf.where(
                tf.reduce_all((rows == 0) | (rows == 1), axis=[1, 2]), rows[:, 0, 0], np.nan
            )

        network = (
            regan_tf.ControlNetwork(3)
            if form == "sequence"
            else StepControlNetwork(feature_dim(generator, reward), 3)
        )
        gradient, _ = regan_tf.estimate_gradient(
            "relax",
            generator,
            reward,
            batch_size=8,
            seed=0,
            eta=0,
            control_network=network,
            control_variate=form,
        )
        self.assertTrue(np.all(np.isfinite(problems.flat(gradient))))

    def test_a_reward_that_is_not_differentiable_serves_reinforce_and_relax_of_c_hat_alone(self):
        generator, _ = problems.networks(2, 3, 2)

        def reward(rows):
            return tf.cast(tf.argmax(rows[:, 0], axis=-1) == 1, tf.float32)

        network = StepControlNetwork(feature_dim(generator, reward), 3)
        for estimator in ("reinforce", "relax"):
            gradient, _ = regan_tf.estimate_gradient(
                estimator, generator, reward, batch_size=8, seed=0, eta=0, control_network=network
            )
            self.assertGreater(float(tf.norm(problems.flat(gradient))), 0)
