"""The three networks: against Keras' own LSTM, by enumeration, and within their conventions."""

import itertools

import keras
import numpy as np
import scipy.stats
import tensorflow as tf
from absl.testing import parameterized

from regan_tf import Discriminator, Generator
from regan_tf.estimators.control_variate import ControlNetwork
from regan_tf.graphs import compiled
from regan_tf.networks import autoregressive, lstm, recurrence
from regan_tf.networks.noise import for_drawing, gumbel_noise, token_noise
from tests import problems


class LSTMTest(tf.test.TestCase):
    def test_equals_keras_lstm(self):
        cell = lstm.LSTMCell(6)
        cell.build((None, 4))
        reference = keras.layers.LSTM(6, return_sequences=True)
        x = tf.random.stateless_normal([3, 5, 4], [0, 1])
        reference.build(x.shape)
        order = [0, 1, 3, 2]  # Keras has i, f, g, o; ours i, f, o, g

        def reordered(w):
            return tf.concat([tf.split(w.value, 4, axis=-1)[k] for k in order], axis=-1)

        for ours, theirs in zip(
            (cell.kernel, cell.recurrent_kernel, cell.bias), reference.weights, strict=True
        ):
            self.assertEqual(ours.shape, theirs.shape)
            ours.assign(reordered(theirs))

        def step(projected, state):
            state = cell.advance(projected, state)
            return state[0], state

        hidden, _ = recurrence.unroll(
            step, cell.initial_state(3), cell.project(tf.transpose(x, [1, 0, 2])), 5
        )
        self.assertAllClose(
            tf.transpose(recurrence.stack(hidden), [1, 0, 2]), reference(x), atol=1e-6
        )

    def test_forget_gate_starts_open(self):
        cell = lstm.LSTMCell(3)
        cell.build((None, 2))
        self.assertAllEqual(cell.bias, [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0])

    def test_loop_equals_unrolled_graph(self):
        generator, _ = problems.networks(0, 4, 20)
        noise = gumbel_noise([3, 20, 4], [1, 2])
        theta = [v.value for v in generator.trainable_variables]

        @tf.function
        def run():
            with tf.GradientTape() as tape:
                unrolled = generator.unroll(noise)
                total = tf.reduce_sum(unrolled.log_probs**2)
            return unrolled.tokens, unrolled.log_probs, problems.flat(tape.gradient(total, theta))

        graph = run()
        limit, recurrence.UNROLL_LIMIT = recurrence.UNROLL_LIMIT, 0
        try:
            loop = tf.function(run.python_function)()
        finally:
            recurrence.UNROLL_LIMIT = limit
        for a, b in zip(graph, loop, strict=True):
            self.assertAllClose(a, b, rtol=1e-4, atol=1e-4)


class GeneratorTest(tf.test.TestCase, parameterized.TestCase):
    def test_probabilities_of_all_sequences_sum_to_one(self):
        generator, _ = problems.networks(1, 3, 4)
        sequences = np.array(list(itertools.product(range(3), repeat=4)), np.int32)
        self.assertAllClose(
            tf.reduce_sum(tf.exp(tf.reduce_sum(generator.log_prob(sequences), axis=1))),
            1.0,
            rtol=1e-5,
        )

    @parameterized.parameters((1.0, None), (0.5, None), (0.5, 1))
    def test_samples_have_the_distribution_of_log_prob(self, temperature, end_token):
        generator, _ = problems.networks(1, 3, 3, spread=0.7, end_token=end_token)
        sequences = np.array(list(itertools.product(range(3), repeat=3)), np.int32)
        log_probs = generator(sequences).numpy().astype(np.float64) / temperature
        log_probs -= np.log(np.exp(log_probs).sum(axis=-1, keepdims=True))
        log_probs = np.take_along_axis(log_probs, sequences[..., np.newaxis], axis=-1)[..., 0]
        if end_token is not None:  # after the end token there is only itself, for sure
            ended = np.cumsum(sequences == end_token, axis=1) - (sequences == end_token) > 0
            log_probs = np.where(ended, np.where(sequences == end_token, 0, -np.inf), log_probs)
        distribution = np.exp(log_probs.sum(axis=1))
        self.assertAllClose(distribution.sum(), 1.0, rtol=1e-6)
        tokens = generator.sample(30_000, 5, temperature).numpy()
        counts = np.bincount(tokens @ [9, 3, 1], minlength=27)
        self.assertAllEqual(counts[distribution == 0], np.zeros(np.sum(distribution == 0)))
        counts, distribution = counts[distribution > 0], distribution[distribution > 0]
        self.assertGreater(
            scipy.stats.chisquare(counts, 30_000 * distribution / distribution.sum()).pvalue, 1e-3
        )
        unrolled = autoregressive.unroll(
            problems.Protocol(generator), gumbel_noise([50, 3, 3], [1, 2])
        )
        own = generator.unroll(gumbel_noise([50, 3, 3], [1, 2]))
        self.assertAllEqual(unrolled.tokens, own.tokens)

    @parameterized.parameters(None, 1)
    def test_samples_from_uniform_noise_have_the_law_of_the_generator(self, end_token):
        generator, _ = problems.networks(1, 3, 2, end_token=end_token)
        grid = (np.arange(200) + 0.5) / 200
        noise = tf.constant(list(itertools.product(grid, repeat=2)), tf.float64)
        tokens = generator.unroll(noise).tokens.numpy()
        sequences = np.array(list(itertools.product(range(3), repeat=2)), np.int32)
        expected = np.exp(generator.log_prob(sequences).numpy().sum(axis=1))
        if end_token is not None:
            expected[(sequences[:, 0] == end_token) & (sequences[:, 1] != end_token)] = 0
        found = np.bincount(tokens @ [3, 1], minlength=9) / len(tokens)
        self.assertAllClose(found, expected, atol=4 / 200)
        self.assertAllClose(found.reshape(3, 3).sum(1), expected.reshape(3, 3).sum(1), atol=2 / 200)
        by_step = autoregressive.unroll(problems.Protocol(generator), noise[::7])
        self.assertAllEqual(by_step.tokens, tokens[::7])

    @parameterized.product(vocab_size=[4, 300], end_token=[None, 1])
    def test_what_is_written_and_read_to_the_ends_is_what_the_whole_pass_gives(
        self, vocab_size, end_token
    ):
        generator, _ = problems.networks(3, vocab_size, 6, end_token=end_token, dtype="float64")
        generator.output_layer.bias.assign(np.eye(vocab_size)[1] * np.log(vocab_size / 3))
        noise = for_drawing(token_noise([40, 6], vocab_size, [0, 1], tf.float64), vocab_size)
        expected = generator.unroll(noise, 0.8).tokens
        if end_token is not None:
            self.assertBetween(np.mean(expected == end_token), 0.2, 0.9)
        tokens = compiled(lambda: generator.write(noise, 0.8))()
        self.assertAllEqual(tokens, expected)
        for temperature in (None, 0.8):
            found = compiled(lambda t=temperature: generator.read(tokens, t))()
            self.assertAllClose(found, generator.log_prob(tokens, temperature), rtol=1e-12)
        nobody_ends = tf.zeros([2, 6], tf.int32)
        self.assertAllClose(generator.read(nobody_ends), generator.log_prob(nobody_ends))

    def test_log_prob_of_a_shorter_sequence_is_that_of_its_tokens_and_its_end(self):
        generator, _ = problems.networks(1, 3, 4, end_token=2)
        tokens = tf.constant([[0, 1, 2, 2], [2, 2, 2, 2], [0, 1, 0, 1]])
        raw = generator(tokens).numpy()
        expected = [
            [raw[0, 0, 0], raw[0, 1, 1], raw[0, 2, 2], 0],
            [raw[1, 0, 2], 0, 0, 0],
            raw[2, range(4), [0, 1, 0, 1]],
        ]
        self.assertAllClose(generator.log_prob(tokens), expected)

    def test_step_by_step_equals_teacher_forcing_and_unrolling(self):
        generator, _ = problems.networks(2, 4, 5)
        unrolled = generator.unroll(gumbel_noise([6, 5, 4], [0, 1]))
        self.assertAllClose(generator(unrolled.tokens), unrolled.log_probs, atol=1e-5)
        for soft in (False, True):
            state, inputs, logits = generator.initial_state(6), tf.fill([6], 4), []
            for t in range(5):
                step_logits, state = generator.step(inputs, state)
                logits.append(tf.nn.log_softmax(step_logits))
                inputs = tf.one_hot(unrolled.tokens[:, t], 4) if soft else unrolled.tokens[:, t]
            self.assertAllClose(tf.stack(logits, axis=1), unrolled.log_probs, atol=1e-5)

    def test_large_vocabulary_is_read_by_gather_with_the_same_result(self):
        keras.utils.set_random_seed(0)
        large, small = Generator(300, 4, 8, 8), Generator(299, 4, 8, 8)
        self.assertEqual(large.sample(5, 1).shape, [5, 4])
        tokens = tf.constant([[0, 298, 7, 250]])
        state = large.initial_state(1)
        for t in range(4):
            logits, state = large.step(
                tf.constant([300]) if t == 0 else tf.one_hot(tokens[:, t - 1], 300), state
            )
            self.assertAllClose(tf.nn.log_softmax(logits), large(tokens)[:, t], atol=1e-6)
        self.assertEqual(small.sample(2, 0).shape, [2, 4])

    def test_same_seed_same_sample_and_begin_symbol_is_never_written(self):
        generator, _ = problems.networks(2, 4, 5)
        first = generator.sample(500, 3)
        again = generator.sample(500, 3)
        other = generator.sample(500, 4)
        self.assertAllEqual(first, again)
        self.assertNotAllEqual(first, other)
        self.assertEqual(first.dtype, tf.int32)
        self.assertAllInRange(first, 0, 3)

    def test_works_with_unknown_batch_size(self):
        generator, _ = problems.networks(2, 4, 5)
        log_prob = tf.function(
            generator.log_prob, input_signature=[tf.TensorSpec([None, 5], tf.int32)]
        )
        for size in (1, 7):
            self.assertEqual(log_prob(generator.sample(size, 0)).shape, [size, 5])


class DiscriminatorTest(tf.test.TestCase):
    def test_what_follows_the_end_counts_for_nothing(self):
        _, discriminator = problems.networks(0, 4, 5, end_token=3)
        _, fixed = problems.networks(0, 4, 5)
        tokens = tf.constant([[0, 3, 3, 3, 3], [0, 3, 1, 2, 0], [0, 1, 2, 0, 1], [0, 1, 2, 0, 3]])
        logits = discriminator(tokens)
        self.assertAllClose(logits[0], fixed(tokens[:1, :2])[0], rtol=1e-6)
        self.assertAllClose(logits[1], logits[0], rtol=1e-6)
        self.assertAllClose(logits[2:], fixed(tokens[2:]), rtol=1e-6)
        rows = tf.one_hot(tokens, 4)
        self.assertAllClose(discriminator(rows), logits, rtol=1e-6)
        with tf.GradientTape() as tape:
            tape.watch(rows)
            relaxed = discriminator(0.9 * rows + 0.025)
        gradient = tape.gradient(relaxed, rows)
        self.assertTrue(np.all(np.abs(gradient) > 0) and np.all(np.isfinite(gradient)))

    def test_reads_rows_in_order_and_gradients_reach_relaxed_rows(self):
        discriminator = Discriminator(4, 8)
        rows = tf.nn.softmax(tf.random.stateless_normal([3, 6, 4], [0, 1]))
        with tf.GradientTape() as tape:
            tape.watch(rows)
            logits = discriminator(rows)
        self.assertEqual(logits.shape, [3])
        self.assertNotAllClose(logits, discriminator(rows[:, ::-1]))
        self.assertTrue(np.all(np.abs(tape.gradient(logits, rows)).sum(axis=-1) > 0))
        self.assertAllClose(discriminator.probability(rows), tf.sigmoid(logits))


class ControlNetworkTest(tf.test.TestCase):
    def test_starts_at_zero_and_then_depends_on_every_step(self):
        network = ControlNetwork(4)
        z = tf.random.stateless_normal([3, 6, 4], [0, 1])
        self.assertAllEqual(network(z), [0.0, 0.0, 0.0])
        network.head.kernel.assign(tf.random.stateless_normal([32, 1], [1, 1]))
        with tf.GradientTape() as tape:
            tape.watch(z)
            c = network(z)
        self.assertTrue(np.all(np.abs(tape.gradient(c, z)).sum(axis=-1) > 0))
