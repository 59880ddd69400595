"""The grammar, its pipeline and the metrics, against values worked out by hand."""

import math

import numpy as np
import scipy.stats
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.tasks import data, grammar


def _tokens(*texts):
    return np.array(
        [[grammar.VOCABULARY.symbols.index(s) for s in text] for text in texts], np.int32
    )


class GrammarTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(3, 4, 15)
    def test_sequences_start_with_x_and_alternate(self, seq_len):
        tokens = grammar.draw(500, seq_len, 0)
        self.assertEqual(tokens.shape, (500, seq_len))
        self.assertTrue(grammar.is_valid(tokens).all())
        self.assertAllEqual(tokens, grammar.draw(500, seq_len, 0))
        self.assertNotAllEqual(tokens, grammar.draw(500, seq_len, 1))

    def test_operators_are_uniform(self):
        counts = np.bincount(grammar.draw(10_000, 3, 0)[:, 1], minlength=5)
        self.assertEqual(counts[0], 0)
        self.assertGreater(scipy.stats.chisquare(counts[1:]).pvalue, 1e-3)

    def test_known_quantities(self):
        self.assertAlmostEqual(grammar.entropy(3), math.log(4))
        self.assertAlmostEqual(grammar.entropy(15), 7 * math.log(4))
        self.assertEqual(grammar.support(15), 4**7)
        self.assertEqual(grammar.VOCABULARY.to_text(_tokens("x+x", "x/x")), ["x+x", "x/x"])
        self.assertAllClose(
            grammar.symbol_frequencies(3), {"x": 2 / 3} | dict.fromkeys("+-*/", 1 / 12)
        )


class MinibatchesTest(tf.test.TestCase, parameterized.TestCase):
    def _order(self, steps, skip=0, seed=(0, 1), elements=4):
        rows = np.arange(20, dtype=np.int32)[:, np.newaxis]
        dataset = data.minibatches(rows, 3, steps, tf.constant(seed), skip)
        return np.array([b.numpy() for b in dataset.take(elements)])[..., 0]

    def test_an_epoch_reads_each_sequence_at_most_once_in_a_new_order(self):
        epochs = self._order(steps=6)
        self.assertEqual(epochs.shape, (4, 6, 3))
        for epoch in epochs:
            self.assertLen(set(epoch.ravel()), 18)
        self.assertNotAllEqual(epochs[0], epochs[1])
        self.assertNotAllEqual(epochs[0], self._order(steps=6, seed=(1, 1))[0])

    @parameterized.parameters(6, 4, 7)
    def test_entering_in_the_middle_gives_the_same_as_arriving_there(self, steps):
        self.assertAllEqual(
            self._order(steps, skip=3, elements=5), self._order(steps, elements=8)[3:]
        )


class MetricsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ("x+x", 1), ("+x+", 1), ("xx+", 0), ("x++", 0), ("xxx", 0),
        ("x/x*x", 3), ("x/xx*", 1), ("/x+x-x/x+x-x+x/", 13), ("/xxx/x+x/x*x-x-", 10),
    )  # fmt: skip
    def test_goodness_by_hand(self, text, expected):
        self.assertEqual(grammar.goodness(_tokens(text)), expected)

    def test_goodness_of_the_data_is_the_maximum(self):
        for seq_len, best in ((3, 1), (15, 13)):
            self.assertEqual(grammar.goodness(grammar.draw(100, seq_len, 0)), best)
            self.assertEqual(grammar.goodness_max(seq_len), best)

    def test_validity_wants_x_first(self):
        self.assertAllEqual(
            grammar.is_valid(_tokens("x+x", "+x+", "xx+", "x-x")),
            [True, False, False, True],
        )

    def test_distinct(self):
        # 3 valid of which 2 distinct; 4 draws of 4 equally likely are expected to give 4 (1 -
        # (3/4)^4) = 2.734375.
        self.assertAlmostEqual(grammar.distinct(_tokens("x+x", "x+x", "x-x", "+x+")), 2 / 2.734375)
        self.assertEqual(grammar.distinct(_tokens("+x+")), 0.0)
        self.assertAllClose(grammar.distinct(grammar.draw(10_000, 15, 0)), 1.0, atol=0.02)

    def test_unigram(self):
        self.assertAllClose(
            grammar.unigram(_tokens("x+x", "x-+")),
            {"x": 0.5, "+": 2 / 6, "-": 1 / 6, "*": 0.0, "/": 0.0},
        )
