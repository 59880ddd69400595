"""Generators that see a whole sequence at once: what they give by `step` and in one pass is one."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from examples.transformer import Transformer
from regan_tf.estimators.control_networks import ControlNetwork
from regan_tf.estimators.control_variate import ControlVariate, feature_dim
from regan_tf.graphs import compiled
from regan_tf.networks import autoregressive
from regan_tf.networks.noise import gumbel_noise, unit_interval
from regan_tf.spec import FORMS, EstimatorSpec
from tests import problems


def _transformer(vocab_size=3, seq_len=3, end_token=None, kind=Transformer):
    """With random weights far from their initial ones."""
    keras.utils.set_random_seed(1)
    generator = kind(vocab_size, seq_len, width=4, heads=2, blocks=1)
    generator.end_token = end_token
    rng = np.random.default_rng(1)
    for variable in generator.variables:
        variable.assign(0.7 * rng.normal(size=variable.shape))
    return generator


class OnePassTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        end_token=[None, 1],
        noise=[gumbel_noise([16, 7, 4], [0, 1]), unit_interval([16, 7], [0, 1])],
    )
    def test_sampling_one_pass_and_steps_agree(self, end_token, noise):
        generator = _transformer(4, 7, end_token)
        unrolled = autoregressive.unroll(generator, noise)
        by_step = autoregressive.unroll(problems.Protocol(generator), noise)
        self.assertAllEqual(unrolled.tokens, by_step.tokens)
        self.assertAllClose(unrolled.log_probs, by_step.log_probs, atol=1e-5)
        self.assertGreater(np.ptp(unrolled.log_probs.numpy()), 1)
        for read in (autoregressive.teacher_force, autoregressive.read_by_step):
            log_probs = read(generator, unrolled.tokens).log_probs
            self.assertAllClose(log_probs, unrolled.log_probs, atol=1e-5)
        for found, wanted in zip(
            tf.nest.flatten(generator.step_states(unrolled)),
            tf.nest.flatten(by_step.states),
            strict=True,
        ):
            self.assertAllClose(found, wanted, atol=1e-5)

    def test_generate_continues_prompts_by_its_cache(self):
        generator = _transformer(4, 7)
        tokens = generator.generate([[3, 1], []], num=2, sampler="greedy")
        self.assertAllEqual(tokens[:2, :2], [[3, 1]] * 2)
        likeliest = tf.argmax(generator.logits(tf.constant(tokens)), axis=-1)
        self.assertAllEqual(tokens[:2, 2:], likeliest[:2, 2:])
        self.assertAllEqual(tokens[2:], likeliest[2:])

    def test_the_graph_does_not_grow_with_the_length(self):
        def nodes(length):
            generator = Transformer(4, length)
            noise = gumbel_noise([2, length, 4], [0, 1])
            graph = (
                compiled(lambda g: generator.unroll(g).log_probs).get_concrete_function(noise).graph
            )
            found = graph.as_graph_def()
            return len(found.node) + sum(len(f.node_def) for f in found.library.function)

        self.assertAllClose(nodes(5), nodes(50), atol=10)

    @parameterized.parameters([[3]], [[3, 4]])
    def test_pullback_is_that_of_a_tape_and_its_rows_are_those_of_rows_alone(self, shape):
        generator = _transformer(4, 3)
        tokens = tf.constant(np.random.default_rng(0).integers(0, 4, [5, 3]), tf.int32)
        cotangent = tf.random.stateless_normal([5, *shape], [1, 2])
        theta = [v.value for v in generator.trainable_variables]
        with tf.GradientTape() as tape:
            log_probs = tf.nn.log_softmax(generator.logits(tokens))
            target = log_probs if len(shape) == 2 else autoregressive.chosen(log_probs, tokens)
        expected = [tf.convert_to_tensor(g) for g in tape.gradient(target, theta, cotangent)]
        unrolled = generator.teacher_force(tokens)
        found, rows = generator.pullback(unrolled, cotangent, row_gradients=True)
        self.assertAllClose(problems.flat(found), problems.flat(expected), rtol=1e-4, atol=1e-5)
        kernel = [v.path for v in generator.trainable_variables].index(generator.head.kernel.path)
        for j in range(5):
            row = generator.teacher_force(tokens[j : j + 1])
            alone, _ = generator.pullback(row, cotangent[j : j + 1])
            norms = [tf.reduce_sum(g**2) for g in alone]
            self.assertAllClose([n[j] for n in rows.squared_norms], norms, rtol=1e-4, atol=1e-6)
            self.assertAllClose(rows.last_layer_first[j], alone[kernel][0, 0], rtol=1e-4)


class EstimatesTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("reinforce_loo", "rebar", "relax")
    def test_are_unbiased(self, estimator):
        generator = _transformer()
        _, discriminator = problems.networks(2, 3, 3, reward_spread=3.0)
        reward = discriminator.probability
        of_control = {} if estimator == "reinforce_loo" else {"control_variate": "step"}
        spec = EstimatorSpec(estimator, leave_one_out=True, **of_control)
        control = ControlVariate.create(spec, generator, reward, units=8)
        if control.network:
            head = control.network.head.kernel
            head.assign(0.3 * tf.random.stateless_normal(head.shape, [0, 1]))

        def draw(seed):
            gradient, _ = regan_tf.estimate_gradient(
                spec, generator, reward, batch_size=1024, seed=seed, control=control
            )
            return problems.flat(gradient)

        exact = problems.flat(regan_tf.exact_gradient(generator, reward))
        found = problems.Comparison(problems.batch_means(draw, 40), exact)
        self.assertLess(found.relative_noise, 0.05, str(found))
        self.assertTrue(found.is_unbiased(), str(found))

    @parameterized.parameters(
        *[(name, "", "") for name in ("mle", "reinforce_rollout", "straight_through", "reinmax")],
        *itertools.product(["rebar"], FORMS, ["batch"]),
        ("relax", "sequence", "per_example"),
    )
    @pytest.mark.slow
    def test_are_those_of_steps_alone(self, estimator, form, loss):
        generator = _transformer(4, 3, end_token=3)
        _, discriminator = problems.networks(2, 4, 3, end_token=3)
        network = ControlNetwork(4, 3)
        network.head.kernel.assign(tf.random.stateless_normal(network.head.kernel.shape, [0, 1]))
        of_control = {"learn_eta": True, "learn_temperature": True, "variance_loss": loss}
        of_control = of_control | {"control_variate": form} if form else {}
        spec = EstimatorSpec(estimator, **of_control)
        data = tf.constant([[0, 1, 2], [3, 3, 3], [1, 0, 3], [2, 2, 2]])
        options = {"batch_size": 4, "seed": 5, "data": data}
        options["control"] = ControlVariate(spec, network)
        reward = discriminator.probability
        (at_once, of_one), (by_step, of_steps) = (
            regan_tf.estimate_gradient(spec, g, reward, **options)
            for g in (generator, problems.Protocol(generator))
        )
        self.assertAllClose(problems.flat(at_once), problems.flat(by_step), rtol=1e-3, atol=1e-5)
        for found, wanted in zip(of_one.control_gradient, of_steps.control_gradient, strict=True):
            self.assertAllClose(found, wanted, rtol=1e-3, atol=1e-5)


class _Leaking(Transformer):
    """Its logits at t see token t."""

    def logits_and_features(self, tokens):
        return super().logits_and_features(tf.roll(tokens, -1, axis=1))


class _Blind(Transformer):
    """Its steps do not know their position."""

    def step(self, inputs, state):
        logits, (_, caches) = super().step(inputs, (tf.zeros_like(state[0]), state[1]))
        return logits, (state[0], caches)


class _Telling(Transformer):
    """Its features at t see token t."""

    def logits_and_features(self, tokens):
        features = super().logits_and_features(tf.roll(tokens, -1, axis=1))[1]
        return super().logits_and_features(tokens)[0], features


class _Short(Transformer):
    """Gives no logits for the begin symbol."""

    def logits_and_features(self, tokens):
        logits, features = super().logits_and_features(tokens)
        return logits[:, 1:], features


class _Flat(Transformer):
    """Has one feature, and no axis for it."""

    def logits_and_features(self, tokens):
        logits, features = super().logits_and_features(tokens)
        return logits, features[:, :, 0]


class _Forbidding(Transformer):
    """Never writes token 0."""

    def _forbid(self, logits):
        return logits + tf.constant([-np.inf] + [0.0] * (self.vocab_size - 1))

    def logits_and_features(self, tokens):
        logits, features = super().logits_and_features(tokens)
        return self._forbid(logits), features

    def step(self, inputs, state):
        logits, state = super().step(inputs, state)
        return self._forbid(logits), state


class CheckTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        (_Leaking, "_Leaking: logits at position 2 change with tokens 2 to 4, counted from 0"),
        (_Telling, "_Telling: features at position 2 change with tokens 2 to 4, counted from 0"),
        (_Blind, "_Blind: logits and step disagree from position 1 on"),
        (_Short, r"_Short: logits of tokens \(2, 5\) have shape \(2, 4, 3\): .* \(2, 5, 3\)"),
        (_Flat, r"_Flat: features of tokens \(2, 5\) have shape \(2, 5\): .* \(2, 5, None\)"),
    )
    def test_a_wrong_pass_is_refused_also_in_a_graph(self, kind, message):
        generator = _transformer(3, 5, kind=kind)

        def estimate():
            return regan_tf.estimate_gradient(
                "rebar", generator, problems.many_plus, batch_size=4, seed=0
            )[0]

        for call in (lambda: regan_tf.check_generator(generator), estimate, compiled(estimate)):
            with self.assertRaisesRegex(ValueError, message):
                call()

    @parameterized.parameters(None, 0, 2)
    def test_a_right_one_passes(self, end_token):
        regan_tf.check_generator(_transformer(3, 20, end_token))
        regan_tf.check_generator(_transformer(1, 1, None if end_token is None else 0))

    def test_logits_may_be_infinite(self):
        regan_tf.check_generator(_transformer(3, 5, kind=_Forbidding))

    def test_weights_that_are_nan_are_not_the_generators_fault(self):
        generator = _transformer()
        generator.head.bias.assign([np.nan] * 3)
        regan_tf.check_generator(generator)


class _LogitsAlone(Transformer):
    logits_and_features = regan_tf.ParallelGenerator.logits_and_features

    def logits(self, tokens):
        return Transformer.logits_and_features(self, tokens)[0]


class FeaturesTest(tf.test.TestCase):
    def test_control_networks_read_the_features_or_the_logits(self):
        for kind, size in ((Transformer, 4), (_LogitsAlone, 3)):
            generator = _transformer(kind=kind)
            self.assertEqual(feature_dim(generator, problems.many_plus), size)
            spec = EstimatorSpec("relax", control_variate="step")
            control = ControlVariate.create(spec, generator, problems.many_plus)
            options = {"batch_size": 4, "seed": 0, "control": control}
            _, found = regan_tf.estimate_gradient(spec, generator, problems.many_plus, **options)
            self.assertGreater(float(tf.norm(problems.flat(found.control_gradient))), 0)


if __name__ == "__main__":
    tf.test.main()
