"""The convolutional discriminator: against its equations, a tape, and its conventions."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.networks import autoregressive
from regan_tf.networks.convolutional import ConvolutionalDiscriminator, filters_of_widths
from regan_tf.networks.noise import kept

_V, _T = 4, 5


def _discriminator(end_token=None, vocab_size=_V):
    keras.utils.set_random_seed(0)
    found = ConvolutionalDiscriminator(vocab_size, _T, 3, 6, end_token, dtype="float64")
    rng = np.random.default_rng(0)
    for variable in found.variables:
        variable.assign(0.5 * rng.normal(size=variable.shape))
    return found


def _tokens(rows=6, vocab_size=_V):
    return tf.constant(np.random.default_rng(1).integers(0, vocab_size, [rows, _T]), tf.int32)


def _relaxed(rows=3):
    return tf.nn.softmax(tf.random.stateless_normal([rows, _T, _V], [0, 1], dtype=tf.float64))


def _logit_of_one(network, tokens):
    """By the equations, in NumPy; tokens: up to their end."""
    x = np.zeros([_T, 6])
    x[: len(tokens)] = network.embedding.embeddings.numpy()[tokens]
    pooled = []
    for convolution in network.convolutions:
        kernel, bias = (v.numpy() for v in convolution.weights)
        width = len(kernel)
        starts = range(min(len(tokens), _T - width + 1))
        found = [np.einsum("ke,kef->f", x[t : t + width], kernel) + bias for t in starts]
        pooled.append(np.maximum(found, 0).max(axis=0))
    h = np.concatenate(pooled)
    (w, b), (w_gate, b_gate), (w_head, b_head) = (
        [v.numpy() for v in layer.weights]
        for layer in (network.highway.changed, network.highway.gate, network.head)
    )
    gate = 1 / (1 + np.exp(-(h @ w_gate + b_gate)))
    h = gate * np.maximum(h @ w + b, 0) + (1 - gate) * h
    return (h @ w_head + b_head)[0]


class ConvolutionalDiscriminatorTest(tf.test.TestCase, parameterized.TestCase):
    def test_with_100_filters_they_are_those_of_seqgan(self):
        widths = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20]
        sizes = [100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160]
        self.assertEqual(filters_of_widths(20, 100), dict(zip(widths, sizes, strict=True)))
        self.assertEqual(filters_of_widths(15, 32)[15], 51)
        self.assertEqual(list(filters_of_widths(14, 32)), widths[:10])

    def test_it_is_what_its_equations_say(self):
        network, tokens = _discriminator(), _tokens()
        expected = [_logit_of_one(network, row) for row in tokens.numpy()]
        self.assertAllClose(network(tokens), expected, atol=1e-9)
        self.assertAllClose(network.probability(tokens), tf.sigmoid(expected), atol=1e-9)
        self.assertGreater(np.std(expected), 0.1)

    @parameterized.parameters(_V, 300)  # on both sides of lstm.ONE_HOT_LIMIT
    def test_tokens_are_read_as_one_hot_rows_are(self, vocab_size):
        tokens = _tokens(vocab_size=vocab_size)
        for end_token in (None, int(tokens[0, 2])):
            network = _discriminator(end_token, vocab_size)
            rows = tf.one_hot(tokens, vocab_size, dtype=tf.float64)
            self.assertAllClose(network(rows), network(tokens), atol=1e-9)

    def test_what_follows_the_end_counts_for_nothing(self):
        network = _discriminator(end_token=3)
        tokens = tf.constant([[0, 1, 3, 2, 1], [3, 0, 0, 0, 0], [0, 1, 2, 1, 3], [0, 1, 2, 1, 0]])
        lengths = [3, 1, 5, 5]
        expected = [
            _logit_of_one(network, row[:n]) for row, n in zip(tokens.numpy(), lengths, strict=True)
        ]
        self.assertAllClose(network(tokens), expected, atol=1e-9)
        others = tf.constant([[0, 1, 3, 0, 0], [3, 3, 2, 1, 3]])
        self.assertAllClose(network(others), expected[:2], atol=1e-9)

    @parameterized.parameters(None, 3)
    def test_relaxed_rows_have_the_slope_that_a_tape_says(self, end_token):
        network, rows = _discriminator(end_token), _relaxed()
        step = 1e-6 * tf.random.stateless_normal(rows.shape, [2, 3], dtype=tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(rows)
            logits = network(rows)
        along = tf.reduce_sum(tape.gradient(logits, rows) * step, axis=[1, 2])
        self.assertAllClose(1e6 * (network(rows + step) - network(rows - step)), 2e6 * along)
        self.assertGreater(np.abs(along).min(), 1e-8)

    def test_hard_rows_have_the_slope_of_not_ending(self):
        """The mask is a product, in which a factor may be 0."""
        network = _discriminator(end_token=3)
        rows = tf.one_hot([[0, 3, 1, 3, 2]], _V, dtype=tf.float64)
        step = tf.random.stateless_normal(rows.shape, [2, 3], dtype=tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(rows)
            alive = autoregressive.alive(network, rows)
        self.assertAllEqual(alive, [[1, 1, 0, 0, 0]])
        of_alive = tape.jacobian(alive, rows)
        along = tf.einsum("atbsv,bsv->at", of_alive, step)
        moved = [autoregressive.alive(network, rows + s * 1e-5 * step) for s in (1, -1)]
        self.assertAllClose((moved[0] - moved[1]) / 2e-5, along, atol=1e-6)
        self.assertNotAllClose(along[0, 2], 0.0)

    @parameterized.product(end_token=[None, 3], dropped=[0.0, 0.5])
    def test_the_gradient_in_the_weights_is_a_tapes(self, end_token, dropped):
        network, tokens = _discriminator(end_token), _tokens(3)
        factors = kept([3, network.head_units], dropped, [1, 2], tf.float64) if dropped else None
        cotangent = tf.constant([0.3, -1.0, 2.0], tf.float64)
        phi = [v.value for v in network.trainable_variables]
        with tf.GradientTape() as tape:
            logits = network(tf.one_hot(tokens, _V, dtype=tf.float64), factors)
        found_logits, pullback = network.with_pullback(tokens, kept=factors)
        self.assertAllClose(found_logits, logits, atol=1e-9)
        expected = tape.gradient(logits, phi, cotangent)
        for a, b in zip(pullback(cotangent), expected, strict=True):
            self.assertAllClose(a, tf.convert_to_tensor(b), atol=1e-9)
        self.assertEqual(dropped > 0, bool(np.abs(network(tokens) - logits).max() > 1e-3))

    def test_it_has_no_verdicts_on_prefixes(self):
        with self.assertRaisesRegex(ValueError, "prefixes=True is not allowed"):
            _discriminator().with_pullback(_tokens(), prefixes=True)

    def test_at_the_start_it_lets_most_of_its_convolutions_pass(self):
        network = ConvolutionalDiscriminator(_V, _T, 3)
        self.assertAllClose(network.highway.gate.bias, -2.0 * tf.ones(network.head_units))
        self.assertEqual(network.head_units, 3 + 6 + 6 + 6 + 6)
