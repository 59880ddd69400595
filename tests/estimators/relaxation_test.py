"""The distributions of z and z~, and their gradients."""

import contextlib
import io
from unittest import mock

import numpy as np
import scipy.special
import scipy.stats
import tensorflow as tf
from absl import logging
from absl.testing import parameterized

from regan_tf.estimators.relaxation import RelaxedTokens
from regan_tf.networks.noise import gumbel_noise, uniform_noise

_LOGITS = np.log([0.1, 0.6, 0.25, 0.05]).astype(np.float32)


def _draw(size, seed=0):
    """z, z~ given z's own argmax, and that argmax, over `size` rows of the distribution above."""
    logits = tf.tile(_LOGITS[np.newaxis], [size, 1])
    distribution = RelaxedTokens(1.0, logits)
    z = distribution.unrelaxed(gumbel_noise([size, 4], [seed, 1]))
    tokens = tf.argmax(z, axis=-1, output_type=tf.int32)
    return (
        distribution,
        z,
        distribution.conditional(tokens, uniform_noise([size, 4], [seed, 2])),
        tokens,
    )


class RelaxationTest(tf.test.TestCase, parameterized.TestCase):
    def _assert_argmax(self, z, tokens):
        """To rounding, which makes another of a row in a million."""
        of_tokens = tf.gather(z, tokens, axis=-1, batch_dims=1)
        self.assertAllClose(of_tokens, tf.reduce_max(z, axis=-1), atol=1e-5, rtol=0)
        self.assertGreater(np.mean(tf.argmax(z, axis=-1, output_type=tf.int32) == tokens), 0.9999)

    def test_argmax_of_z_has_the_categorical_distribution(self):
        _, _, _, tokens = _draw(20_000)
        counts = np.bincount(tokens, minlength=4)
        self.assertGreater(
            scipy.stats.chisquare(counts, 20_000 * np.array([0.1, 0.6, 0.25, 0.05])).pvalue, 1e-3
        )

    def test_argmax_of_conditional_is_always_the_given_token(self):
        rows = np.random.default_rng(0).normal(size=[50_000, 5]).astype(np.float32) * 5
        distribution = RelaxedTokens(1.0, tf.nn.log_softmax(rows))
        tokens = np.random.default_rng(1).integers(0, 5, 50_000).astype(np.int32)
        z = distribution.conditional(tokens, uniform_noise([50_000, 5], [0, 1]))
        self._assert_argmax(z, tokens)

    def test_conditional_with_the_token_integrated_out_has_the_distribution_of_z(self):
        _, z, z_tilde, _ = _draw(20_000)
        for i in range(4):
            self.assertGreater(
                scipy.stats.ks_2samp(z[:, i], z_tilde[:, i]).pvalue, 1e-3, f"coordinate {i}"
            )
        gaps = [
            np.sort(x, axis=1)[:, -1] - np.sort(x, axis=1)[:, -2]
            for x in (z.numpy(), z_tilde.numpy())
        ]
        self.assertGreater(scipy.stats.ks_2samp(*gaps).pvalue, 1e-3)

    def test_conditional_given_one_token_has_the_distribution_of_z_with_that_argmax(self):
        _, z, z_tilde, tokens = _draw(40_000)
        _, other, _, other_tokens = _draw(40_000, seed=5)
        for token in (0, 1):
            for i in range(4):
                found, expected = z_tilde[tokens == token][:, i], other[other_tokens == token][:, i]
                self.assertGreater(
                    scipy.stats.ks_2samp(found, expected).pvalue,
                    1e-3,
                    f"token {token}, coordinate {i}",
                )
        # The test can fail.
        self.assertLess(scipy.stats.ks_2samp(z_tilde[tokens == 0][:, 0], z[:, 0]).pvalue, 1e-3)

    def test_noise_given_a_token_drawn_without_it_is_gumbel_noise_that_gives_that_token(self):
        rng, size = np.random.default_rng(0), 20_000
        tokens = rng.choice(4, size, p=np.exp(_LOGITS) / np.exp(_LOGITS).sum()).astype(np.int32)
        logits = tf.Variable(tf.tile(_LOGITS[np.newaxis], [size, 1]))
        with tf.GradientTape() as tape:
            distribution = RelaxedTokens(1.0, logits)
            gumbel = distribution.gumbel_given(tokens, uniform_noise([size, 4], [0, 1]))
        self.assertIsNone(tape.gradient(gumbel, logits))
        self._assert_argmax(logits + gumbel, tokens)
        for i in range(4):
            self.assertGreater(scipy.stats.kstest(gumbel[:, i], "gumbel_r").pvalue, 1e-3)
        independent = np.abs(np.corrcoef(np.exp(-np.exp(-gumbel.numpy())).T) - np.eye(4))
        self.assertLess(independent.max(), 4 / np.sqrt(size))

    @parameterized.parameters(0.1, 1.0, 5.0)
    def test_relaxed_z_has_the_distribution_of_tfps_own_sampler(self, temperature):
        # In logarithms, and between coordinates: s(z) and log s(z) round to exactly 1 and 0, each
        # implementation in its own rows.
        distribution = RelaxedTokens(temperature, tf.tile(_LOGITS[np.newaxis], [20_000, 1]))
        z = distribution.unrelaxed(gumbel_noise([20_000, 4], [3, 4]))
        other = RelaxedTokens(1.25 * temperature, distribution.logits)
        ours, theirs, others = (
            log - np.roll(log, 1, axis=1)
            for log in (
                tf.nn.log_softmax(z / temperature).numpy(),
                distribution.distribution.sample(seed=[5, 6]).numpy(),  # TFP's own, in log space
                other.distribution.sample(seed=[5, 6]).numpy(),
            )
        )
        for i in range(4):
            self.assertGreater(scipy.stats.ks_2samp(ours[:, i], theirs[:, i]).pvalue, 1e-3)
            # The test can fail.
            self.assertLess(scipy.stats.ks_2samp(ours[:, i], others[:, i]).pvalue, 1e-3)
        self.assertAllClose(
            distribution.relax(z),
            scipy.special.softmax(z.numpy().astype(np.float64) / temperature, axis=1),
            atol=1e-4,
        )

    def test_hand_computed_conditional(self):
        # p = (1/4, 3/4), b = 1, v = (1/2, 1/e): z~_1 = -log 1 = 0, z~_0 = -log(ln 2 / (1/4) + 1).
        distribution = RelaxedTokens(1.0, tf.math.log([[0.25, 0.75]]))
        z = distribution.conditional(
            tf.constant([1]), tf.constant([[0.5, np.exp(-1.0)]], tf.float32)
        )
        self.assertAllClose(z, [[-np.log(4 * np.log(2) + 1), 0.0]], rtol=1e-6)

    def test_gradients_match_finite_differences(self):
        weights = np.random.default_rng(0).normal(size=[3, 4])
        noise = gumbel_noise([3, 4], [1, 1], tf.float64), uniform_noise([3, 4], [2, 1], tf.float64)

        def value(logits, which):
            distribution = RelaxedTokens(0.7, tf.nn.log_softmax(logits))
            z = (
                distribution.unrelaxed(noise[0])
                if which == "z"
                else distribution.conditional(tf.constant([0, 1, 3]), noise[1])
            )
            return tf.reduce_sum(weights * distribution.relax(z))

        logits = np.random.default_rng(1).normal(size=[3, 4])
        for which in ("z", "z~"):
            theory, numeric = tf.test.compute_gradient(
                lambda x, which=which: value(x, which), [tf.constant(logits)]
            )
            self.assertAllClose(theory[0], numeric[0], atol=1e-6)
            self.assertGreater(np.abs(theory[0]).max(), 1e-2)

    def test_extreme_logits_stay_finite(self):
        logits = tf.Variable([[0.0, -120.0, -1e4]])
        with tf.GradientTape() as tape:
            distribution = RelaxedTokens(1.0, logits)
            noise = tf.constant([[0.5, np.finfo(np.float32).tiny, 0.999]])  # the least there is
            z = distribution.conditional(tf.constant([0]), noise)
        gradient = tape.gradient(z, logits)
        self.assertAllEqual(tf.math.is_finite(z), tf.ones_like(z, tf.bool))
        self.assertAllClose(gradient, [[0.0, 1.0, 1.0]])  # z~_i is l_i plus noise there

    def test_noise_is_never_zero_or_infinite(self):
        self.assertGreater(tf.reduce_min(uniform_noise([1_000_000], [0, 1])), 0.0)
        self.assertAllInRange(gumbel_noise([1_000_000], [0, 1]), -6.0, 30.0)


class RelaxedTokensTest(tf.test.TestCase):
    def test_tfp_finds_its_parameters_without_a_warning(self):
        with (
            mock.patch.object(logging, "warning") as absl,
            contextlib.redirect_stderr(io.StringIO()) as stderr,
        ):
            distribution = RelaxedTokens(0.5, tf.random.stateless_normal([2, 3], [0, 1]))
            self.assertEqual(distribution.batch_shape, [2])
            self.assertAllEqual(distribution[1].logits, distribution.logits[1])
            self.assertAllClose(
                distribution.copy(temperature=2.0).relax(distribution.logits),
                tf.nn.softmax(distribution.logits / 2),
            )
        absl.assert_not_called()
        self.assertEqual(stderr.getvalue(), "")
