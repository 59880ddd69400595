"""The record of a reward's calls: its file, the best of them, and PMO's area under their curve."""

import json

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.estimators import calls


def _calls(rewards, first=1, length=3):
    """Calls of the tokens [n, 0, 0], whose texts are str(n)."""
    record = calls.Calls(vocab_size=300)
    for n, reward in enumerate(rewards, start=first):
        (row,) = record.packed(np.array([[n] + [0] * (length - 1)]))
        record.add(str(n), row, {"size": n / 2, "reward": reward}, iteration=n // 2)
    return record


def _lines(numbers, reward=0.25):
    """Lines of calls of the texts str(n), which have the numbers n."""
    return [
        json.dumps({"call": n, "iteration": 1, "text": str(n), "tokens": [n], "reward": reward})
        + "\n"
        for n in numbers
    ]


class CallsTest(tf.test.TestCase):
    def test_a_file_has_all_of_them(self):
        record = calls.Calls(vocab_size=300)
        texts, rows = ["a\n", "ö", "'"], record.packed(np.array([[1, 299], [2, 0], [256, 3]]))
        rewards = [0.1, -1 / 3, 0.0]
        for i, (text, row, reward) in enumerate(zip(texts, rows, rewards, strict=True)):
            valid = float(i < 2)
            answer = {"reward": reward, "valid": valid, "size": 1.5 if valid else np.nan}
            record.add(text, row, answer, iteration=i)
        lines = [calls.line(record.record(i)) for i in range(3)]
        self.assertEqual(
            list(calls.read(lines))[::2],
            [
                {"call": 1, "iteration": 0, "text": "a\n", "tokens": [1, 299], "reward": 0.1}
                | {"valid": True, "size": 1.5},
                {"call": 3, "iteration": 2, "text": "'", "tokens": [256, 3], "reward": 0.0}
                | {"valid": False, "size": None},
            ],
        )
        again = calls.Calls(vocab_size=300)
        self.assertEqual(again.load(lambda: lines, 3), {})
        self.assertEqual([calls.line(again.record(i)) for i in range(3)], lines)
        self.assertAllEqual(again.tokens([2, 0]), [[256, 3], [1, 299]])
        self.assertEqual(again.places(["'", "a\n"]), [2, 0])

    def test_of_tokens_there_is_no_text(self):
        record = calls.Calls(vocab_size=5)
        (row,) = record.packed(np.array([[4, 0, 1]]))
        record.add(row, row, {"reward": 2.0}, iteration=1)
        found = {"call": 1, "iteration": 1, "tokens": [4, 0, 1], "reward": 2.0}
        self.assertEqual(record.record(0), found)
        again = calls.Calls(vocab_size=5)
        again.load(lambda: [calls.line(found)], 1)
        self.assertIn(row, again)

    def test_what_the_run_has_not_counted_is_known_but_no_call(self):
        record = calls.Calls(vocab_size=300)
        others = record.load(lambda: _lines([1, 2, 3, 4]), 2)
        self.assertLen(record, 2)
        self.assertEqual(others, {"3": {"reward": 0.25}, "4": {"reward": 0.25}})

    def test_the_last_line_of_a_number_counts(self):
        # Killed after 4 calls, of which the checkpoint had 1; then others came second and third.
        second = [_lines([n])[0].replace('"call": 7', '"call": 2') for n in (7,)]
        lines = [*_lines([1, 2, 3, 4]), *second, *_lines([3])]
        record = calls.Calls(vocab_size=300)
        others = record.load(lambda: lines, 3)
        self.assertEqual(record.places(["1", "7", "3"]), [0, 1, 2])
        self.assertCountEqual(others, ["2", "4"])
        self.assertEqual([r["text"] for r in calls.made(lines, 3)], ["1", "7", "3"])

    def test_half_a_last_line_is_left_out_and_calls_that_lack_are_told_of(self):
        lines = _lines([1, 2, 3])
        lines[2] = lines[2][:-5]
        record = calls.Calls(vocab_size=300)
        self.assertEqual(record.load(lambda: lines, 2), {})
        with self.assertRaisesRegex(ValueError, "it has 2 of the 3 calls"):
            calls.Calls(vocab_size=300).load(lambda: lines, 3)
        with self.assertRaisesRegex(ValueError, "it has 2 of the 3 calls"):
            calls.made(lines, 3)


class BestTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(0, 1, 3, 7, 8, 20)
    def test_best_first_and_ties_in_their_order(self, count):
        rewards = np.array([0.5, 1.0, 0.5, -2.0, 1.0, 0.5, 0.25, 1.0])
        expected = sorted(range(8), key=lambda i: (-rewards[i], i))[:count]
        self.assertAllEqual(calls.best_first(rewards, count), expected)

    def test_means_of_the_best_or_of_as_many_as_there_are(self):
        rewards = np.random.default_rng(0).normal(size=57)
        ordered = np.sort(rewards)[::-1]
        self.assertAllClose(
            calls.top_means(rewards),
            {"top_1": ordered[0], "top_10": ordered[:10].mean(), "top_100": ordered.mean()},
        )
        self.assertEqual(
            calls.top_means(rewards[:0]), dict.fromkeys(("top_1", "top_10", "top_100"))
        )

    @parameterized.parameters((250, 250), (250, 0), (250, 1000), (300, 300), (40, 100), (500, 250))
    def test_area_by_its_definition(self, made, budget):
        rewards = np.random.default_rng(1).uniform(size=made)
        until = budget or made

        def mean(calls_made):  # of the ten best of the first ones
            return np.sort(rewards[: min(calls_made, made)])[::-1][:10].mean()

        points = [*range(100, min(made, until), 100), min(made, until)]
        heights = [0.0] + [mean(n) for n in points]
        curve = np.interp(np.linspace(0, until, 200_001), [0, *points], heights)
        self.assertAllClose(calls.auc_top(rewards, 10, budget), curve.mean(), atol=1e-5)

    def test_area_of_no_calls_and_of_a_constant(self):
        self.assertTrue(np.isnan(calls.auc_top(np.zeros(0), 10, 100)))
        # Half of the first hundred calls is lost to the rise from 0.
        self.assertAllClose(calls.auc_top(np.full(1000, 2.0), 10, 1000), 2 * (1 - 0.05))


if __name__ == "__main__":
    tf.test.main()
