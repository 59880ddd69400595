"""The softmax over many tokens, against the log-softmax."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.networks import softmax
from regan_tf.networks.autoregressive import chosen

_V = 300


def _problem(dtype, spread=3.0):
    """Logits [4, 3, V] and tokens [4, 3]."""
    rng = np.random.default_rng(0)
    logits = tf.constant(spread * rng.normal(size=[4, 3, _V]), dtype)
    return logits, tf.constant(rng.integers(0, _V, [4, 3]), tf.int32)


class SoftmaxTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("float32", "float64")
    def test_log_prob_and_its_gradients_are_the_log_softmaxs(self, dtype):
        """Second derivatives, too."""
        logits, tokens = _problem(dtype)
        weight = tf.random.stateless_normal([4, 3], [1, 2], dtype=dtype)

        def differentiated(function):
            with tf.GradientTape() as outer:
                outer.watch(logits)
                with tf.GradientTape() as inner:
                    inner.watch(logits)
                    value = function(logits)
                    summed = tf.reduce_sum(weight * value)
                first = inner.gradient(summed, logits)
                squared = tf.reduce_sum(first**2)
            second = outer.gradient(squared, logits)
            return value, tf.convert_to_tensor(first), tf.convert_to_tensor(second)

        found = differentiated(lambda x: softmax.log_prob(x, tokens))
        expected = differentiated(lambda x: chosen(tf.nn.log_softmax(x), tokens))
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        for a, b in zip(found, expected, strict=True):
            self.assertGreater(np.max(np.abs(b)), 0.01)
            self.assertAllClose(a, b, rtol=tolerance, atol=tolerance)

    def test_the_log_prob_of_what_has_no_probability_in_floats_is_finite(self):
        """Logits differ by up to a thousand, and two are the largest."""
        logits, tokens = _problem("float32", spread=300.0)
        logits = tf.concat([logits, tf.reduce_max(logits, axis=-1, keepdims=True)], axis=-1)
        found = softmax.of_tokens(logits, tf.nn.softmax(logits), tokens)
        self.assertEqual(np.min(chosen(found.probs, tokens)), 0)
        exact = chosen(tf.nn.log_softmax(tf.cast(logits, tf.float64)), tokens)
        self.assertAllClose(found.log_prob, exact, rtol=1e-5)
        all_exact = tf.nn.log_softmax(tf.cast(logits, tf.float64))
        self.assertAllClose(found.log_probs(logits), all_exact, rtol=1e-5, atol=1e-4)

    @parameterized.parameters("float32", "float64")
    def test_products_are_those_of_the_whole_slope(self, dtype):
        logits, tokens = _problem(dtype)
        found = softmax.of_tokens(logits, tf.nn.softmax(logits), tokens)
        slope = tf.nn.softmax(logits) - tf.one_hot(tokens, _V, dtype=dtype)
        kernel = tf.random.stateless_normal([5, _V], [1, 2], dtype=dtype)
        x = tf.random.stateless_normal([4, 3, 5], [3, 4], dtype=dtype)
        self.assertAllClose(found.minus_slope(), slope, atol=1e-6)
        self.assertAllClose(found.through(kernel), tf.einsum("abv,xv->abx", slope, kernel))
        self.assertAllClose(found.weighed(x), tf.einsum("abx,abv->xv", x, slope), atol=1e-5)

    def test_places_alone_are_counted(self):
        logits, tokens = _problem("float64")
        places = tf.constant([1, 2, 5, 11])
        mask = np.zeros(12)
        mask[places] = 1
        mask = mask.reshape(4, 3)
        whole = softmax.of_tokens(logits, tf.nn.softmax(logits), tokens)
        given = softmax.at(places, logits)
        part = softmax.of_tokens(given, tf.nn.softmax(given), tokens, places)
        kernel = tf.random.stateless_normal([5, _V], [1, 2], dtype="float64")
        x = tf.random.stateless_normal([4, 3, 5], [3, 4], dtype="float64")
        self.assertAllClose(part.log_prob, mask * whole.log_prob)
        self.assertAllClose(part.log_probs(logits), tf.nn.log_softmax(logits))
        self.assertAllClose(part.minus_slope(), mask[..., np.newaxis] * whole.minus_slope())
        self.assertAllClose(part.through(kernel), mask[..., np.newaxis] * whole.through(kernel))
        self.assertAllClose(part.weighed(x), whole.weighed(mask[..., np.newaxis] * x))


if __name__ == "__main__":
    tf.test.main()
