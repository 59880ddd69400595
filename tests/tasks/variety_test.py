"""Variety of samples, against sets."""

import itertools

import numpy as np
import tensorflow as tf

from regan_tf.tasks.text import Vocabulary
from regan_tf.tasks.variety import Variety

_VOCABULARY = Vocabulary(("<end>", *"abcde"), end=0)


def _diversity(texts):
    """By its definition."""
    sets = [{t[i : i + n] for n in (1, 2, 3) for i in range(len(t) - n + 1)} for t in texts]
    similar = [
        len(a & b) / len(a | b) if a | b else 1.0 for a, b in itertools.combinations(sets, 2)
    ]
    return 1 - np.mean(similar)


class VarietyTest(tf.test.TestCase):
    def test_against_the_definitions(self):
        rng = np.random.default_rng(0)
        tokens = rng.integers(0, 6, [60, 7]).astype(np.int32)
        tokens[:5] = 0
        texts = _VOCABULARY.to_text(tokens)
        tokens = _VOCABULARY.encode(texts, 7)
        found = Variety(_VOCABULARY, tokens[10:20]).describe(tokens)
        self.assertAllClose(found["diversity"], _diversity(texts))
        self.assertEqual(found["unique"], len(set(texts)) / 60)
        known = set(texts[10:20])
        self.assertEqual(found["novel"], sum(text not in known for text in texts) / 60)

    def test_of_a_collapsed_generator(self):
        tokens = np.tile(np.array([1, 2, 3, 0], np.int64), [600, 1])
        found = Variety(_VOCABULARY, tokens[:1].astype(np.int32)).describe(tokens)
        self.assertEqual(found, {"unique": 1 / 600, "novel": 0.0, "diversity": 0.0})

    def test_of_empty_samples(self):
        found = Variety(_VOCABULARY, np.ones([2, 4], np.int32)).describe(np.zeros([3, 4], np.int32))
        self.assertEqual(found, {"unique": 1 / 3, "novel": 1.0, "diversity": 0.0})
