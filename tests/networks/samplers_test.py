"""The samplers' laws, without random numbers: on an even grid of (0, 1) instead of draws."""

import itertools

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.networks import samplers

_GRID = 20_000


def _law(sampler, probabilities):
    """How often each token is chosen when the random number takes all values: [V]."""
    uniform = (np.arange(_GRID) + 0.5) / _GRID
    tokens = sampler(np.tile(probabilities, [_GRID, 1]), tf.constant(uniform))
    assert tokens.dtype == tf.int32
    return np.bincount(tokens.numpy(), minlength=len(probabilities)) / _GRID


def _restricted(probabilities, tokens):
    kept = np.zeros_like(probabilities)
    kept[list(tokens)] = probabilities[list(tokens)]
    return kept / kept.sum()


def _random_rows(vocab_size, count):
    return np.random.default_rng(0).dirichlet(np.ones(vocab_size), count)


class SamplersTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(2, 7, 12, 35)
    def test_in_blocks_the_same_tokens_are_drawn(self, vocab_size):
        rng = np.random.default_rng(0)
        weights = rng.dirichlet(np.full(vocab_size, 0.3), 2_000) * 9
        weights[:, rng.integers(vocab_size)] = 0
        uniform = tf.constant(rng.random(2_000))
        found = samplers.inverted_in_blocks(tf.constant(weights), uniform)
        self.assertAllEqual(found, samplers.inverted(tf.constant(weights), uniform))
        single = samplers.inverted_in_blocks(tf.constant(weights, tf.float32), uniform)
        self.assertGreater(np.mean(single == found), 0.999)

    def test_random_draws_what_it_is_given_whatever_its_sum(self):
        for row in _random_rows(6, 10):
            self.assertAllClose(_law(regan_tf.RandomSampler(), 7 * row), row, atol=2 / _GRID)

    @parameterized.parameters(257, 300, 1_024, 1_051)
    def test_blocks_draw_what_the_whole_draws(self, vocab_size):
        rows = _random_rows(vocab_size, 40)
        rows[:20, -vocab_size // 2 :] = 0
        weights = tf.constant(np.repeat(rows, 200, axis=0))
        uniform = np.tile(np.linspace(0, 1 - 2**-53, 200), 40)
        found = samplers.inverted_in_blocks(weights, tf.constant(uniform))
        self.assertAllEqual(found, samplers.inverted(weights, tf.constant(uniform)))

    def test_greedy_takes_the_likeliest_and_the_first_of_equals(self):
        rows = [[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]
        chosen = regan_tf.GreedySampler()(tf.constant(rows, tf.float64), tf.constant([0.9, 0.9]))
        self.assertAllEqual(chosen, [1, 0])

    @parameterized.parameters(1, 2, 4)
    def test_top_k_draws_from_the_k_likeliest_in_proportion(self, k):
        for row in _random_rows(5, 10):
            expected = _restricted(row, np.argsort(-row)[:k])
            found = _law(regan_tf.TopKSampler(k), row)
            self.assertAllClose(found, expected, atol=2 / _GRID)
            self.assertAllEqual(found[expected == 0], np.zeros(5 - k))

    @parameterized.parameters(0.01, 0.3, 0.75, 0.97)
    def test_top_p_draws_from_the_smallest_set_that_reaches_p(self, p):
        for row in _random_rows(5, 10):
            sets = itertools.chain.from_iterable(
                itertools.combinations(range(5), n) for n in range(1, 6)
            )
            reaching = [tokens for tokens in sets if row[list(tokens)].sum() >= p]
            smallest = min(reaching, key=lambda tokens: (len(tokens), -row[list(tokens)].sum()))
            expected = _restricted(row, smallest)
            found = _law(regan_tf.TopPSampler(p), row)
            self.assertAllClose(found, expected, atol=2 / _GRID)
            self.assertAllEqual(found[expected == 0], np.zeros(5 - len(smallest)))

    def test_top_p_keeps_at_most_k_and_cuts_by_the_whole_distribution(self):
        row = np.array([0.1, 0.4, 0.2, 0.3])
        self.assertAllClose(
            _law(regan_tf.TopPSampler(0.95, k=2), row), [0, 4 / 7, 0, 3 / 7], atol=2 / _GRID
        )
        self.assertAllClose(_law(regan_tf.TopPSampler(0.35, k=2), row), [0, 1, 0, 0])

    def test_limits_are_the_whole_distribution_and_the_likeliest_token(self):
        for row in _random_rows(4, 5):
            greedy = _law(regan_tf.GreedySampler(), row)
            for narrow in (regan_tf.TopKSampler(1), regan_tf.TopPSampler(1e-9)):
                self.assertAllEqual(_law(narrow, row), greedy)
            for wide in (regan_tf.TopKSampler(4), regan_tf.TopKSampler(9), regan_tf.TopPSampler(1)):
                self.assertAllClose(_law(wide, row), row, atol=2 / _GRID)

    def test_a_token_of_weight_zero_is_never_drawn(self):
        weights = tf.constant([[0.0, 1.0, 0.0, 2.0, 0.0]], tf.float64)
        edge = [2.0**-53, 1 / 3 - 1e-15, 1 / 3 + 1e-15, 1 - 2.0**-53]
        drawn = samplers.inverted(tf.repeat(weights, 4, axis=0), tf.constant(edge, tf.float64))
        self.assertAllEqual(drawn, [1, 1, 3, 3])

    def test_names_give_kerashubs_defaults(self):
        self.assertIsInstance(samplers.get("greedy"), regan_tf.GreedySampler)
        self.assertIsInstance(samplers.get("random"), regan_tf.RandomSampler)
        self.assertEqual(samplers.get("top_k").k, 5)
        self.assertEqual((samplers.get("top_p").p, samplers.get("top_p").k), (0.1, None))
        own = regan_tf.TopKSampler(2, temperature=0.5)
        self.assertIs(samplers.get(own), own)

    def test_keys_tell_what_chooses_differently(self):
        class Own(regan_tf.RandomSampler):
            def __init__(self, rows):
                super().__init__()
                self.rows = rows

        for make in (
            lambda: regan_tf.TopKSampler(3),
            lambda: regan_tf.TopPSampler(0.3, 2, 0.7),
            lambda: Own((1, 2)),
        ):
            self.assertEqual(make().key(), make().key())
        kinds = [
            regan_tf.TopKSampler(3),
            regan_tf.TopKSampler(4),
            regan_tf.TopKSampler(3, 0.5),
            regan_tf.TopPSampler(0.3),
            regan_tf.RandomSampler(),
            regan_tf.GreedySampler(),
            Own((1, 2)),
            Own([1, 2]),  # cannot be hashed, and may change
        ]
        self.assertLen({sampler.key() for sampler in kinds}, len(kinds))
        self.assertIsNone(kinds[-1].key())

    @parameterized.parameters(
        (lambda: regan_tf.TopKSampler(0), "k=0 is not allowed: it must be an int above 0"),
        (lambda: regan_tf.TopKSampler(2.5), "k=2.5 is not allowed"),
        (
            lambda: regan_tf.TopPSampler(0.0),
            "p=0.0 is not allowed: it must be a number",
        ),
        (lambda: regan_tf.TopPSampler(1.1), "p=1.1 is not allowed"),
        (lambda: regan_tf.TopPSampler(float("nan")), "p=nan is not allowed"),
        (lambda: regan_tf.TopPSampler(0.5, k=-1), "k=-1 is not allowed"),
        (lambda: regan_tf.GreedySampler(0), "temperature=0 is not allowed: it must be a num"),
        (lambda: regan_tf.GreedySampler("hot"), "temperature='hot' is not allowed"),
        (lambda: regan_tf.TopPSampler("0.5"), "p='0.5' is not allowed"),
        (lambda: samplers.get("beam"), "sampler='beam' is not allowed: it must be one of greedy"),
    )
    def test_bad_arguments_are_named(self, make, message):
        with self.assertRaisesRegex(ValueError, message):
            make()

    def test_what_is_no_sampler_is_refused(self):
        for wrong in (3, regan_tf.TopKSampler):
            with self.assertRaisesRegex(TypeError, "must be a name or a Sampler"):
                samplers.get(wrong)
        with self.assertRaisesRegex(NotImplementedError, "Sampler must override get_next_token"):
            regan_tf.Sampler().get_next_token(None, None)


if __name__ == "__main__":
    tf.test.main()
