"""The learning signals against hand-computed values, and the estimators' gradient flow."""

from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.estimators import estimate, relaxation, signals
from regan_tf.estimators.control_networks import ControlNetwork
from regan_tf.estimators.control_variate import ControlVariate
from regan_tf.estimators.discriminator_rewards import DiscriminatorReward
from regan_tf.estimators.estimate import estimate_gradient
from regan_tf.estimators.exact import exact_gradient
from regan_tf.networks.autoregressive import alive, teacher_force
from regan_tf.networks.noise import gumbel_noise
from regan_tf.spec import ESTIMATORS, EstimatorSpec
from tests import exact_mean, problems


class SignalTest(tf.test.TestCase):
    def test_every_estimator_has_a_signal_that_there_is(self):
        named = {traits.signal for traits in ESTIMATORS.values()}
        self.assertEqual(named - {None}, set(signals.SIGNALS))

    def test_hand_computed_signals(self):
        reward, control = tf.constant([[0.9], [0.2]]), tf.constant([[0.5], [0.3]])
        self.assertAllClose(signals.reinforce(reward, None), [[0.9], [0.2]])
        self.assertAllClose(signals.controlled(reward, control), [[0.4], [-0.1]])
        self.assertAllClose(signals.maximum_likelihood(reward, None), [[1.0], [1.0]])
        self.assertAllClose(
            signals.controlled(reward, tf.constant([[0.5, 0.1], [0.3, 0.0]])),
            [[0.4, 0.8], [-0.1, 0.2]],
        )
        # 2 (120 * 0.9 - 2) and 2 (120 * 0.2 + 1).
        self.assertAllClose(
            signals.reinvent(120 * reward, tf.constant([[2.0], [-1.0]])), [[212.0], [50.0]]
        )
        # Each row less the mean of the other two: 1 - 4.5, 3 - 3.5, 6 - 2.
        signal = tf.constant([[1.0], [3.0], [6.0]])
        self.assertAllClose(
            signals.leave_one_out(signal, tf.constant([[10 / 3]]), 3), [[-3.5], [-0.5], [4.0]]
        )


class FormTest(tf.test.TestCase, parameterized.TestCase):
    """One estimate against equations (5)-(12) written out term by term, with gradients taken one by
    one.
    """

    @parameterized.parameters("mle", "reinforce", "rebar", "relax")
    def test_estimate_is_the_equation(self, estimator):
        generator, discriminator = problems.networks(3, vocab_size=4, seq_len=3)
        network = ControlNetwork(4, filters=5)
        for variable in network.variables:
            variable.assign(tf.random.stateless_normal(variable.shape, [1, 2]))
        seed, batch_size, temperature, eta = tf.constant([4, 5]), 6, 0.7, 0.8
        spec = EstimatorSpec(estimator, temperature=temperature, eta=eta)
        data = tf.constant(np.random.default_rng(0).integers(0, 4, [batch_size, 3]), tf.int32)
        noise = estimate._noise(spec, generator, batch_size, seed)
        gumbel, uniform = noise.gumbel, noise.v

        def terms():
            tokens = data if estimator == "mle" else generator.unroll(gumbel).tokens
            log_prob = tf.reduce_sum(generator.log_prob(tokens), axis=1)
            distribution = relaxation.RelaxedTokens(temperature, generator(tokens))
            zs = distribution.unrelaxed(gumbel), distribution.conditional(tokens, uniform)
            hat = [network(z) if estimator == "relax" else 0.0 for z in zs]
            c = [
                eta * discriminator.probability(distribution.relax(z)) + h
                for z, h in zip(zs, hat, strict=True)
            ]
            reward = discriminator.probability(tf.one_hot(tokens, 4))
            return log_prob, reward, c[0], c[1]

        theta = [v.value for v in generator.trainable_variables]
        with tf.GradientTape(persistent=True) as tape:
            log_prob, reward, c, c_tilde = terms()
            signal = {"mle": tf.ones_like(reward), "reinforce": reward}.get(
                estimator, reward - c_tilde
            )
            score = tf.reduce_mean(tf.stop_gradient(signal) * log_prob)
            pathwise = tf.reduce_mean(c), tf.reduce_mean(c_tilde)
        expected = problems.flat(tape.gradient(score, theta))
        if spec.traits.relaxed:
            expected += problems.flat(tape.gradient(pathwise[0], theta)) - problems.flat(
                tape.gradient(pathwise[1], theta)
            )

        found, diagnostics = estimate_gradient(
            spec, generator, discriminator.probability, batch_size=batch_size, seed=seed,
            control=ControlVariate(spec, network), data=data,
        )  # fmt: skip
        self.assertAllClose(problems.flat(found), expected, rtol=1e-4, atol=1e-6)
        self.assertAllClose(diagnostics.reward, reward)

    def test_reward_carries_no_gradient_to_the_generator(self):
        generator, discriminator = problems.networks(3)
        theta = [v.value for v in generator.trainable_variables]
        with tf.GradientTape() as tape:
            tokens = generator.unroll(gumbel_noise([4, 2, 3], [0, 1])).tokens
            reward = tf.reduce_sum(discriminator.probability(tf.one_hot(tokens, 3)))
        self.assertAllEqual([g is None for g in tape.gradient(reward, theta)], [True] * len(theta))

    @parameterized.parameters("mle", "reinforce", "rebar")
    def test_without_a_control_network_nothing_is_trained_but_the_generator(self, estimator):
        generator, discriminator = problems.networks(0)
        _, diagnostics = estimate_gradient(
            estimator,
            generator,
            discriminator.probability,
            batch_size=2,
            seed=tf.constant([0, 0]),
            data=tf.zeros([2, 2], tf.int32),
        )
        self.assertEmpty(diagnostics.control_gradient)

    def test_a_half_has_the_mean_of_the_other_for_baseline(self):
        signal = tf.constant([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0], [6.0, 5.0]])
        sign = tf.constant([[1.0], [-1.0], [1.0], [-1.0]])  # means: (2, 0) and (4, 3)
        mean = tf.reduce_mean(signal, axis=0, keepdims=True)
        signed_mean = tf.reduce_mean(sign * signal, axis=0, keepdims=True)
        found = signals.other_half(signal, sign, mean, signed_mean)
        self.assertAllClose(found, [[-3, -3], [0, 1], [-1, -3], [4, 5]])


_SIGN = tf.constant([[1.0], [-1.0], [1.0], [-1.0]])


class ScoreSizeTest(tf.test.TestCase):
    def test_hand_computed(self):
        probs = tf.constant([[[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]])
        # 0.3^2 + 0.2^2 + 0.1^2, and 0.7^2 + 0.2^2 + 0.9^2.
        found = signals.score_size(probs, tf.math.log(tf.constant([[0.7, 0.1]])))
        self.assertAllClose(found, [[0.14, 1.34]])

    def test_rounding_leaves_something_of_it_where_a_token_is_almost_certain(self):
        logits = np.array([[0.0, -x, -x - 1] for x in range(1, 15)])
        exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        exact = np.sum((exact - [1, 0, 0]) ** 2, axis=1)
        log_probs = tf.nn.log_softmax(tf.constant(logits[:, np.newaxis], tf.float32))
        found = signals.score_size(tf.exp(log_probs), log_probs[..., 0])[:, 0]
        self.assertAllInRange(found / exact, 0.5, 2.0)


class WeightedMeanTest(tf.test.TestCase):
    def test_hand_computed(self):
        signal = tf.constant([[1.0], [3.0], [6.0]])
        weight = tf.constant([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
        # (2 3 + 3 6) / 5, (1 1 + 3 6) / 4, (1 1 + 2 3) / 3. In the second step the third row alone
        # has a weight: the others have its signal, and it has their plain mean.
        expected = [[4.8, 6.0], [4.75, 6.0], [7 / 3, 2.0]]
        self.assertAllClose(signals.weighted_mean(signal, weight, None), expected)

    def test_hand_computed_in_halves(self):
        signal = tf.constant([[1.0], [2.0], [5.0], [6.0]])
        weight = tf.constant([[3.0, 0.0], [1.0, 1.0], [1.0, 0.0], [3.0, 0.0]])
        # (2 + 18) / 4 of the odd rows, (3 + 5) / 4 of the even ones; 2, and a plain mean of 3.
        expected = [[5.0, 2.0], [2.0, 3.0]] * 2
        self.assertAllClose(signals.weighted_mean(signal, weight, _SIGN), expected)

    def test_small_weights_count_beside_a_large_one(self):
        signal = tf.constant([[5.0], [1.0], [3.0]])
        found = signals.weighted_mean(signal, tf.constant([[2.0], [1e-12], [3e-12]]), None)
        self.assertAllClose(found, [[2.5], [5.0], [5.0]])

    def test_without_any_weight_it_is_the_plain_mean_and_has_its_gradient(self):
        signal = tf.constant([[1.0], [2.0], [5.0], [6.0]])
        for sign, expected, slope in (
            (None, [[13 / 3], [4.0], [3.0], [8 / 3]], [[0.0], [1 / 3], [1 / 3], [1 / 3]]),
            (_SIGN, [[4.0], [3.0], [4.0], [3.0]], [[0.0], [0.5], [0.0], [0.5]]),
        ):
            with tf.GradientTape() as tape:
                tape.watch(signal)
                mean = signals.weighted_mean(signal, tf.zeros_like(signal), sign)
                first = mean[0]
            self.assertAllClose(mean, expected)
            self.assertAllClose(tape.gradient(first, signal), slope)


def _critic(reading):
    """Any function."""
    weight = tf.random.stateless_normal([reading.features.shape[-1], 3], [5, 6], dtype=tf.float64)
    return tf.sin(tf.einsum("btf,fv->btv", reading.features, weight))


def _problem(vocab_size=3, seq_len=2, end_token=2):
    generator, discriminator = problems.networks(
        7, vocab_size, seq_len, reward_spread=3.0, end_token=end_token, dtype="float64"
    )
    return generator, DiscriminatorReward(discriminator)


class WeightedBaselineTest(tf.test.TestCase, parameterized.TestCase):
    """The mean over all batches is the exact gradient."""

    def _bias(self, estimator="reinforce_loo", sizes=(3, 2, 2), **settings):
        generator, reward = _problem(*sizes)
        spec = EstimatorSpec(estimator, baseline="weighted", **settings)
        given = {"critic": _critic} if spec.traits.critic else {}
        batches = (
            exact_mean.batches(generator, 3)
            if spec.sampling == "iid"
            else exact_mean.batches_in_halves(generator)
        )
        self.assertAllClose(tf.reduce_sum(batches[1]), 1.0)
        mean = exact_mean.mean(exact_mean.of_tokens(spec, generator, reward, **given), *batches)
        exact = problems.flat(exact_gradient(generator, reward))
        return float(tf.norm(mean - exact) / tf.norm(exact))

    @parameterized.product(
        case=[
            {},
            {"sizes": (2, 3, None)},
            {"estimator": "actor_critic"},
            {"estimator": "doubly_robust"},
        ],
        sampling=["iid", "sobol"],
    )
    def test_is_unbiased(self, case, sampling):
        self.assertLess(self._bias(**case, sampling=sampling), 1e-9)

    @parameterized.parameters("iid", "sobol")
    def test_the_mean_finds_a_baseline_with_the_own_row(self, sampling):
        def mutant(x, sign):
            del sign
            return tf.broadcast_to(tf.reduce_sum(x, axis=0, keepdims=True), tf.shape(x))

        with mock.patch.object(signals, "_sum_of_others", mutant):
            self.assertGreater(self._bias(sampling=sampling), 0.05)

    def test_the_mean_finds_rows_of_the_own_half(self):
        weighted_mean = signals.weighted_mean
        with mock.patch.object(
            signals, "weighted_mean", lambda signal, weight, _: weighted_mean(signal, weight, None)
        ):
            self.assertGreater(self._bias(sampling="sobol"), 0.05)

    @parameterized.parameters("iid", "sobol")
    def test_signal_is_the_formula(self, sampling):
        """Row by row, of rows that end and rows that do not."""
        generator, reward = _problem(3, 4, 2)
        _, found = estimate_gradient(
            "reinforce_loo", generator, reward, batch_size=8, seed=5, baseline="weighted",
            sampling=sampling,
        )  # fmt: skip
        kept = alive(generator, found.tokens).numpy()
        self.assertBetween(kept.sum(axis=0)[-1], 1, 7)
        p = np.exp(teacher_force(generator, found.tokens).log_probs)
        weight = kept * np.sum((np.eye(3)[found.tokens] - p) ** 2, axis=-1)
        r = found.reward.numpy()
        for j, t in np.argwhere(kept):
            others = [i for i in range(8) if (i != j if sampling == "iid" else (i - j) % 2)]
            w = weight[others, t]
            baseline = w @ r[others] / w.sum() if w.any() else r[others].mean()
            self.assertAllClose(found.signal[j, t], r[j] - baseline)

    def test_variance_is_lower_where_tokens_are_almost_certain(self):
        """The rare tokens alone have large scores, and 0 for reward; most rows have 1."""
        generator, _ = problems.networks(7, 3, 1)
        for variable in generator.variables:
            variable.assign(tf.zeros_like(variable))
        generator.output_layer.bias.assign([4.0, 0.0, 0.0])

        def variance_of(baseline):
            def draw(seed):
                options = {"batch_size": 128, "seed": seed, "baseline": baseline}
                found = estimate_gradient(
                    "reinforce_loo", generator, lambda x: x[:, 0, 0], **options
                )
                return problems.flat(found[0])

            return problems.batch_means(draw, 500).var(axis=0).sum()

        self.assertLess(variance_of("weighted"), 0.3 * variance_of("mean"))
