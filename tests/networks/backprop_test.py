"""Back-propagation by hand, against a tape."""

from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.networks import autoregressive, recurrence
from regan_tf.networks.noise import kept, unit_interval
from tests import problems


class ByHandTest(tf.test.TestCase, parameterized.TestCase):
    """On both sides of the limits."""

    def _problem(self, vocab_size, in_graph_loop, end_token=None):
        """A generator, a discriminator and tokens [3, 6]."""
        if in_graph_loop:
            self.enterContext(mock.patch.object(recurrence, "UNROLL_LIMIT", 0))
        tokens = tf.constant(np.random.default_rng(0).integers(0, vocab_size, [3, 6]), tf.int32)
        return *problems.networks(
            0, vocab_size, 6, dtype="float64", spread=0.5, end_token=end_token
        ), tokens

    @parameterized.product(vocab_size=[4, 300], in_graph_loop=[False, True])
    def test_generator(self, vocab_size, in_graph_loop):
        generator, _, tokens = self._problem(vocab_size, in_graph_loop)
        cotangent = tf.random.stateless_normal([3, 6, vocab_size], [1, 2], dtype=tf.float64)
        theta = [v.value for v in generator.trainable_variables]
        with tf.GradientTape() as tape:
            log_probs = generator(tokens)
        expected = tape.gradient(log_probs, theta, cotangent)
        found, rows = generator.pullback(
            generator.teacher_force(tokens), cotangent, row_gradients=True
        )
        for a, b in zip(found, expected, strict=True):
            self.assertAllClose(a, tf.convert_to_tensor(b), rtol=1e-9, atol=1e-9)
        chosen, weights = tf.one_hot(tokens, vocab_size, dtype=tf.float64), cotangent[..., 0]
        of_tokens, _ = generator.pullback(generator.teacher_force(tokens), weights)
        dense, _ = generator.pullback(
            generator.teacher_force(tokens), chosen * weights[..., tf.newaxis]
        )
        self.assertAllClose(problems.flat(of_tokens), problems.flat(dense), rtol=1e-9)
        for j in range(3):
            alone, _ = generator.pullback(
                generator.teacher_force(tokens[j : j + 1]), cotangent[j : j + 1]
            )
            self.assertAllClose(
                [n[j] for n in rows.squared_norms], [tf.reduce_sum(g**2) for g in alone], rtol=1e-9
            )

    @parameterized.parameters(
        ("float32", None, False),
        ("float32", 1, False),
        ("float64", None, False),
        ("float64", 1, True),
    )
    def test_many_tokens_log_prob(self, dtype, end_token, in_graph_loop):
        """Of samples and of tokens given: log p, its gradient and the rows' are the tape's, and
        differentiable in the cotangent, as those of all log-probabilities are.
        """
        if in_graph_loop:
            self.enterContext(mock.patch.object(recurrence, "UNROLL_LIMIT", 0))
        generator, _ = problems.networks(0, 300, 3, dtype=dtype, spread=0.5, end_token=end_token)
        generator.output_layer.bias.assign_add(6 * tf.one_hot(1, 300, dtype=dtype))  # rows end
        sampled = generator.unroll(unit_interval([4, 3], [1, 2]))
        tokens, theta = sampled.tokens, [v.value for v in generator.trainable_variables]
        mask = autoregressive.alive(generator, tokens)
        cotangent = tf.random.stateless_normal([4, 3], [1, 2], dtype=dtype)
        cotangent = autoregressive.masked(cotangent, mask)
        one_hot = tf.one_hot(tokens, 300, dtype=dtype)
        with tf.GradientTape(persistent=True) as tape:
            log_prob = tf.reduce_sum(generator(tokens) * one_hot, axis=-1)
            by_row = tf.unstack(tf.reduce_sum(log_prob * cotangent, axis=1))
        tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-9}
        of_rows = [[tf.convert_to_tensor(g) for g in tape.gradient(x, theta)] for x in by_row]
        counted = autoregressive.masked(log_prob, mask)
        self.assertEqual(np.min(counted != 0), end_token is None)
        for unrolled in (sampled, generator.teacher_force(tokens)):
            self.assertAllClose(autoregressive.log_prob(unrolled), counted, **tolerance)
            self._assert_rows(generator, unrolled, cotangent, of_rows, tolerance)
            self._assert_same_slopes(generator, unrolled, cotangent, one_hot, tolerance)
        self.assertAllClose(generator.log_prob(tokens), counted, **tolerance)

    def _assert_rows(self, generator, unrolled, cotangent, of_rows, tolerance):
        """The gradient and its rows' figures are those of the rows' gradients."""
        found, rows = generator.pullback(unrolled, cotangent, row_gradients=True)
        for a, *b in zip(found, *of_rows, strict=True):
            self.assertAllClose(a, tf.add_n(b), **tolerance)
        for j, gradient in enumerate(of_rows):
            norms = [tf.reduce_sum(g**2) for g in gradient]
            self.assertAllClose([n[j] for n in rows.squared_norms], norms, **tolerance)
            self.assertAllClose(rows.last_layer_first[j], gradient[4][0, 0], **tolerance)

    def _assert_same_slopes(self, generator, unrolled, cotangent, one_hot, tolerance):
        """What is differentiated in the cotangent of the tokens alone, and of all."""

        def slope(of_all):
            with tf.GradientTape() as tape:
                tape.watch(cotangent)
                given = one_hot * cotangent[..., tf.newaxis] if of_all else cotangent
                gradient, rows = generator.pullback(unrolled, given, row_gradients=True)
                figures = tf.add_n([tf.reduce_sum(g**3) for g in gradient])
                figures += tf.reduce_sum(tf.add_n(rows.squared_norms) * rows.last_layer_first)
            return tape.gradient(figures, cotangent)

        counted = tf.cast(cotangent != 0, cotangent.dtype)  # not what follows an end
        self.assertGreater(np.max(np.abs(slope(True))), 0.1)
        self.assertAllClose(slope(False), counted * slope(True), **tolerance)

    @parameterized.product(vocab_size=[4, 300], in_graph_loop=[False, True])
    def test_generator_with_dropout(self, vocab_size, in_graph_loop):
        """The tape's generator is written once more here, step by step, with the same masks."""
        generator, _, tokens = self._problem(vocab_size, in_graph_loop)
        of_embedded, of_hidden = masks = generator.dropout_masks([3, 6], 0.4, [1, 2])
        read, theta = generator.tokens_read(tokens), generator.trainable_variables
        output = generator.output_layer
        with tf.GradientTape() as tape:
            state, logits = generator.initial_state(3), []
            for t in range(6):
                embedded = of_embedded[t] * tf.gather(generator.embedding.embeddings.value, read[t])
                state = generator.cell.advance(generator.cell.project(embedded), state)
                shown = of_hidden[t] * state[0]
                logits.append(shown @ output.kernel.value + output.bias.value)
            log_probs = tf.nn.log_softmax(tf.stack(logits, axis=1))
        cotangent = tf.random.stateless_normal([3, 6, vocab_size], [1, 2], dtype=tf.float64)
        expected = tape.gradient(log_probs, [v.value for v in theta], cotangent)
        unrolled = generator.teacher_force(tokens, masks)
        self.assertAllClose(unrolled.log_probs, log_probs, rtol=1e-9)
        found, rows = generator.pullback(unrolled, cotangent, row_gradients=True)
        for a, b in zip(found, expected, strict=True):
            self.assertAllClose(a, tf.convert_to_tensor(b), rtol=1e-9, atol=1e-9)
        for j in range(3):
            own = [mask[:, j : j + 1] for mask in masks]
            alone = generator.teacher_force(tokens[j : j + 1], own)
            gradient, _ = generator.pullback(alone, cotangent[j : j + 1])
            norms = [tf.reduce_sum(g**2) for g in gradient]
            self.assertAllClose([n[j] for n in rows.squared_norms], norms, rtol=1e-9)
            self.assertAllClose(rows.last_layer_first[j], gradient[4][0, 0], rtol=1e-9)

    @parameterized.product(vocab_size=[4, 300], in_graph_loop=[False, True], end_token=[None, 1])
    def test_discriminator(self, vocab_size, in_graph_loop, end_token):
        _, discriminator, tokens = self._problem(vocab_size, in_graph_loop, end_token)
        cotangent = tf.constant([0.3, -1.0, 2.0], tf.float64)
        phi = [v.value for v in discriminator.trainable_variables]
        with tf.GradientTape() as tape:
            logits = discriminator(tf.one_hot(tokens, vocab_size, dtype=tf.float64))
        found_logits, pullback = discriminator.with_pullback(tokens)
        self.assertAllClose(found_logits, logits, rtol=1e-9)
        self.assertAllClose(discriminator(tokens), logits, rtol=1e-9)
        for a, b in zip(pullback(cotangent), tape.gradient(logits, phi, cotangent), strict=True):
            self.assertAllClose(a, b, rtol=1e-9, atol=1e-9)

    @parameterized.product(vocab_size=[4, 300], in_graph_loop=[False, True], end_token=[None, 1])
    def test_discriminator_of_every_prefix(self, vocab_size, in_graph_loop, end_token):
        """An end token ends no prefix: the tape's discriminator knows of none."""
        _, discriminator, tokens = self._problem(vocab_size, in_graph_loop, end_token)
        discriminator.end_token = None
        cotangent = tf.random.stateless_normal([3, 6], [1, 2], dtype=tf.float64)
        phi = [v.value for v in discriminator.trainable_variables]
        with tf.GradientTape() as tape:
            logits = tf.stack([discriminator(tokens[:, : t + 1]) for t in range(6)], axis=1)
        discriminator.end_token = end_token
        found_logits, pullback = discriminator.with_pullback(tokens, prefixes=True)
        self.assertAllClose(found_logits, logits, rtol=1e-9)
        for a, b in zip(pullback(cotangent), tape.gradient(logits, phi, cotangent), strict=True):
            self.assertAllClose(a, tf.convert_to_tensor(b), rtol=1e-9, atol=1e-9)

    @parameterized.product(prefixes=[False, True], end_token=[None, 1])
    def test_discriminator_with_units_left_out(self, prefixes, end_token):
        _, discriminator, tokens = self._problem(4, False, end_token)
        factors = kept([3, discriminator.head_units], 0.5, [1, 2], tf.float64)
        self.assertEqual(len(np.unique(factors)), 2)
        phi = [v.value for v in discriminator.trainable_variables]
        mask = autoregressive.alive(discriminator, tokens)
        last = tf.fill([3], 5) if mask is None else tf.cast(tf.reduce_sum(mask, 1), tf.int32) - 1
        with tf.GradientTape() as tape:
            _, states = discriminator.so_far(tf.pad(tokens, [[0, 0], [0, 1]]))
            hidden = states[:, 1:, : discriminator.head_units]  # after each token
            logits = discriminator.head(factors[:, tf.newaxis] * hidden)[..., 0]
            logits = logits if prefixes else tf.gather(logits, last, axis=1, batch_dims=1)
        cotangent = tf.random.stateless_normal(logits.shape, [1, 2], dtype=tf.float64)
        found_logits, pullback = discriminator.with_pullback(tokens, prefixes, factors)
        self.assertAllClose(found_logits, logits, rtol=1e-9)
        for a, b in zip(pullback(cotangent), tape.gradient(logits, phi, cotangent), strict=True):
            self.assertAllClose(a, tf.convert_to_tensor(b), rtol=1e-9, atol=1e-9)


class ByTapeTest(tf.test.TestCase):
    def test_row_gradients_are_taken_in_parts_where_they_are_large(self):
        generator, discriminator = problems.networks(2, 4, 3, spread=0.7)
        options = {"batch_size": 7, "seed": 5, "row_gradients": True}
        whole = regan_tf.estimate_gradient(
            "reinforce", problems.Protocol(generator), discriminator.probability, **options
        )[1].row_gradients
        parameters = sum(v.shape.num_elements() for v in generator.trainable_variables)
        with mock.patch.object(autoregressive, "AT_ONCE", 3 * parameters):
            parts = regan_tf.estimate_gradient(
                "reinforce", problems.Protocol(generator), discriminator.probability, **options
            )[1].row_gradients
        self.assertAllClose(parts.squared_norms, whole.squared_norms, rtol=1e-5)
        self.assertAllClose(parts.last_layer_first, whole.last_layer_first, rtol=1e-5)
