"""`generate`: its law by enumeration, prompts, ends, seeds, and how often it is traced."""

import copy
import itertools
from unittest import mock

import keras
import numpy as np
import scipy.stats
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from examples.own_generator import GRUGenerator
from regan_tf.networks import generation
from tests import problems


def _kept(probabilities, sampler):
    """What a sampler makes of distributions [..., V], by definition."""
    order = np.argsort(-probabilities, axis=-1)
    rank = np.argsort(order, axis=-1)
    if isinstance(sampler, regan_tf.GreedySampler):
        keep = rank == 0
    elif isinstance(sampler, regan_tf.TopKSampler):
        keep = rank < sampler.k
    elif isinstance(sampler, regan_tf.TopPSampler):
        likelier = probabilities[..., np.newaxis, :] > probabilities[..., np.newaxis]
        keep = np.sum(likelier * probabilities[..., np.newaxis, :], axis=-1) < sampler.p
    else:
        keep = np.ones_like(probabilities)
    kept = keep * probabilities
    return kept / kept.sum(axis=-1, keepdims=True)


def _law(generator, sampler, temperature, prompt):
    """The probabilities of all sequences [V^T, T] that begin with a prompt."""
    size, length, end = generator.vocab_size, generator.seq_len, generator.end_token
    sequences = np.array(list(itertools.product(range(size), repeat=length)), np.int32)
    tempered = np.exp(generator(sequences).numpy().astype(np.float64) / temperature)
    tempered = _kept(tempered / tempered.sum(axis=-1, keepdims=True), sampler)
    chosen = np.take_along_axis(tempered, sequences[..., np.newaxis], axis=-1)[..., 0]
    chosen[:, : len(prompt)] = sequences[:, : len(prompt)] == prompt
    if end is not None:
        ended = np.cumsum(sequences == end, axis=1) - (sequences == end) > 0
        chosen = np.where(ended, sequences == end, chosen)
    return chosen.prod(axis=1)


class GenerateTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        (regan_tf.RandomSampler(), 1.0, [], None),
        (regan_tf.RandomSampler(0.6), 0.6, [2], 1),
        (regan_tf.TopKSampler(2), 1.0, [], 1),
        (regan_tf.TopKSampler(2), 1.7, [1], None),
        (regan_tf.TopPSampler(0.7), 1.0, [], None),
        (regan_tf.TopPSampler(0.8, temperature=1.5), 1.5, [0], 1),
    )
    def test_sequences_have_the_samplers_law(self, sampler, temperature, prompt, end_token):
        generator, _ = problems.networks(1, 3, 3, spread=0.7, end_token=end_token)
        law = _law(generator, sampler, temperature, prompt)
        self.assertAllClose(law.sum(), 1.0, rtol=1e-6)
        own = None if temperature == sampler.temperature else temperature
        tokens = generator.generate(prompt, num=30_000, sampler=sampler, temperature=own, seed=3)
        counts = np.bincount(tokens @ [9, 3, 1], minlength=27)
        self.assertAllEqual(counts[law == 0], np.zeros(np.sum(law == 0)))
        counts, law = counts[law > 0], law[law > 0]
        self.assertGreater(len(law), 2)
        self.assertGreater(scipy.stats.chisquare(counts, 30_000 * law / law.sum()).pvalue, 1e-3)

    def test_greedy_is_the_argmax_step_by_step(self):
        generator, _ = problems.networks(2, 5, 6)
        state, token, expected = generator.initial_state(1), tf.constant([5]), []
        for _ in range(6):
            logits, state = generator.step(token, state)
            token = tf.argmax(logits, axis=-1, output_type=tf.int32)
            expected.append(int(token[0]))
        for seed in (0, 1):
            found = generator.generate(num=2, sampler="greedy", seed=seed)
            self.assertAllEqual(found, [expected, expected])
        self.assertAllEqual(generator.generate(sampler="greedy", max_length=4), [expected[:4]])
        self.assertAllEqual(generator.generate(temperature=1e-40, seed=1), [expected])

    def test_each_prompt_begins_num_sequences_and_ended_ones_have_only_the_end(self):
        generator, _ = problems.networks(1, 4, 6, spread=0.7, end_token=3)
        prompts = [[2], [], [0, 1, 2], [1, 3], [0, 1, 2, 0, 1, 2]]
        tokens = generator.generate(prompts, num=200, seed=1)
        self.assertEqual((tokens.shape, tokens.dtype), ((1000, 6), np.int32))
        self.assertAllInRange(tokens, 0, 3)
        for prompt, rows in zip(prompts, np.split(tokens, 5), strict=True):
            self.assertAllEqual(rows[:, : len(prompt)], np.tile(prompt, [200, 1]))
            ended = np.logical_or.accumulate(rows == 3, axis=1)
            self.assertAllEqual(rows[ended], np.full(ended.sum(), 3))
        self.assertAllEqual(tokens[600:800, 1:], np.full([200, 5], 3))
        self.assertGreater(len(np.unique(tokens[:200], axis=0)), 10)

    def test_it_writes_what_complete_does(self):
        generator, _ = problems.networks(1, 4, 6, spread=0.7, end_token=3)
        seed = tf.random.experimental.stateless_split([5, 0], 2)[1]
        uniform = tf.random.stateless_uniform([500, 6], seed, 2.0**-53, 1, tf.float64)
        given = np.tile(np.array([2, -1, -1, -1, -1, -1], np.int32), [500, 1])
        expected, _ = generator.complete(given, uniform, tf.fill([500], 0.7))
        self.assertAllEqual(generator.generate([2], num=500, temperature=0.7, seed=5), expected)

    def test_seeds(self):
        generator, _ = problems.networks(1, 4, 6, spread=0.7)
        first = generator.generate(num=20, seed=1)
        self.assertAllEqual(generator.generate(num=20, seed=1), first)
        self.assertAllEqual(generator.generate(num=20, seed=[1, 0]), first)
        self.assertNotAllEqual(generator.generate(num=20, seed=2), first)
        keras.utils.set_random_seed(3)
        free = [generator.generate(num=20) for _ in range(2)]
        self.assertNotAllEqual(*free)
        keras.utils.set_random_seed(3)
        self.assertAllEqual(generator.generate(num=20), free[0])

    def test_many_rows_are_taken_in_parts(self):
        generator, _ = problems.networks(1, 4, 6)
        expected = generator.generate([[0], [1, 2]], num=7, seed=1)
        with mock.patch.object(generation, "AT_ONCE", 5 * 4):
            self.assertAllEqual(generator.generate([[0], [1, 2]], num=7, seed=1), expected)

    def test_it_is_traced_once_for_a_sampler_and_a_length(self):
        traces = []

        class Counting(regan_tf.TopKSampler):
            def get_next_token(self, probabilities, uniform):
                traces.append(self.k)
                return super().get_next_token(probabilities, uniform)

        generator, _ = problems.networks(1, 4, 6)
        generator.generate(sampler=Counting(2))
        once = len(traces)
        for i in range(1, 4):
            generator.generate([[1], [2, 3]], num=i, sampler=Counting(2), temperature=i, seed=i)
        self.assertLen(traces, once)
        generator.generate(sampler=Counting(3))
        generator.generate(sampler=Counting(2), max_length=5)
        self.assertEqual(traces, [2] * once + [3] * once + [2] * once)

    def test_a_sampler_of_ones_own(self):
        class Allowed(regan_tf.RandomSampler):
            def __init__(self, allowed, **kwargs):
                super().__init__(**kwargs)
                self.allowed = allowed

            def get_next_token(self, probabilities, uniform):
                tf.debugging.assert_near(tf.reduce_sum(probabilities, axis=-1), 1.0)
                return super().get_next_token(probabilities * self.allowed, uniform)

        generator, _ = problems.networks(1, 4, 6, spread=0.3)
        tokens = generator.generate([1], num=100, sampler=Allowed([1, 0, 0, 1]), seed=1)
        self.assertEqual(set(np.unique(tokens[:, 1:])), {0, 3})
        again = generator.generate([1], num=100, sampler=Allowed(np.array([1, 0, 0, 0])), seed=1)
        self.assertEqual(set(np.unique(again[:, 1:])), {0})
        changing = Allowed([1, 0, 0, 0])
        generator.generate(sampler=changing)
        changing.allowed[:] = [0, 0, 1, 0]
        self.assertEqual(set(np.unique(generator.generate(sampler=changing))), {2})
        with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "Allowed: all probabilities"):
            generator.generate(sampler=Allowed([0, 0, 0, 0]))

    def test_new_weights_are_used_and_copies_have_their_own(self):
        generator, _ = problems.networks(1, 4, 6)
        before = generator.generate(num=20, seed=1)
        copied = copy.deepcopy(generator)
        for variable in generator.variables:
            variable.assign(-variable.value)
        self.assertNotAllEqual(generator.generate(num=20, seed=1), before)
        self.assertAllEqual(copied.generate(num=20, seed=1), before)

    @parameterized.parameters((300, "float32"), (4, "float64"))
    def test_large_vocabularies_and_float64(self, vocab_size, dtype):
        generator, _ = problems.networks(1, vocab_size, 3, dtype=dtype)
        tokens = generator.generate([[1], [2]], num=3, sampler="top_p", seed=1)
        self.assertAllEqual(tokens[:, 0], [1, 1, 1, 2, 2, 2])
        self.assertAllInRange(tokens, 0, vocab_size - 1)

    def test_generators_of_ones_own_may_have_it(self):
        class Own(GRUGenerator, generation.Generates):
            pass

        keras.utils.set_random_seed(1)
        generator = Own(3, 3, units=5)
        tokens = generator.generate([1], num=3000, seed=1)
        logits, state = generator.step(tf.constant([3]), generator.initial_state(1))
        logits, _ = generator.step(tf.constant([1]), state)
        expected = tf.nn.softmax(logits[0]).numpy()
        found = np.bincount(tokens[:, 1], minlength=3) / 3000
        error = np.sqrt(expected * (1 - expected) / 3000)
        self.assertAllLess(np.abs(found - expected) / error, 4)

    @parameterized.parameters(
        ({"num": 0}, "num=0 is not allowed: it must be an int above 0"),
        ({"num": 1.5}, "num=1.5 is not allowed"),
        ({"max_length": 0}, "max_length=0 is not allowed: it must be an int above 0"),
        ({"max_length": 7}, "max_length=7 is not allowed: it must be at most T=6"),
        ({"max_length": 1, "prompts": [1, 2]}, r"prompts\[0\]=\[1, 2\] .* at most 1 tokens"),
        ({"prompts": [4]}, r"prompts\[0\]=\[4\] is not allowed: its tokens must be from 0 to 3"),
        ({"sampler": "nucleus"}, "sampler='nucleus' is not allowed"),
        ({"temperature": 0.0}, "temperature=0.0 is not allowed: it must be a number"),
        ({"temperature": float("inf")}, "temperature=inf is not allowed"),
    )
    def test_bad_arguments_are_named(self, options, message):
        generator, _ = problems.networks(1, 4, 6)
        with self.assertRaisesRegex(ValueError, message):
            generator.generate(**options)


if __name__ == "__main__":
    tf.test.main()
