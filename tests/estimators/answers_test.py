"""What a reward in Python may give, and who is to blame."""

import pickle

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.estimators.answers import RewardError, ask

_TEXTS = ["a", "bb", "c"]


def _fails_for_bb(texts):
    if "bb" in texts:
        raise ValueError("no\nbb, please")
    return [0.0] * len(texts)


_LINE = _fails_for_bb.__code__.co_firstlineno + 2  # which raises


def _fails_for_many(texts):
    if len(texts) > 1:
        raise MemoryError("too many")
    return [0.0]


def _yields_and_fails(texts):
    for text in texts:
        if text == "bb":
            raise KeyError("in a generator")
        yield 1.0


def _empties_its_list(texts):
    texts.clear()
    return [1.0]


class _Unprintable:
    def __repr__(self):
        raise ValueError("no text")


class AskTest(tf.test.TestCase, parameterized.TestCase):
    def test_numbers_and_components(self):
        self.assertEqual(
            ask(lambda texts: map(len, texts), ["a", "bb"]), [{"reward": 1.0}, {"reward": 2.0}]
        )
        several = regan_tf.text_reward(
            lambda texts: {"reward": np.ones(len(texts), np.float32), "length": map(len, texts)}
        )
        self.assertEqual(
            ask(several, ["a", "bb"]),
            [{"reward": 1.0, "length": 1.0}, {"reward": 1.0, "length": 2.0}],
        )

    @parameterized.parameters(
        (
            _fails_for_bb,
            rf"raised ValueError: no bb, please \(answers_test.py, line {_LINE}\), for 'bb'$",
        ),
        (
            _fails_for_many,
            r"raised MemoryError: too many \(.*\), for 3 sequences together, of which 'a' is the "
            "first, and not for any of them alone$",
        ),
        (_yields_and_fails, r"raised KeyError: 'in a generator' \(.*\), for 'bb'$"),
        (lambda texts: {"reward": (1 / 0 for _ in texts)}, "raised ZeroDivisionError: .*, for 'a'"),
        (_empties_its_list, "gave 1 numbers as reward for 3 sequences, the first of .* 'a'"),
        (lambda texts: [1, 10**400, 2], "gave 10{199}... as reward for 'bb': it must be a finite"),
        (lambda texts: [1, 10**9999, 2], "gave a int as reward for 'bb': it must be a finite"),
        (lambda texts: [1, _Unprintable(), 2], "gave a _Unprintable as reward for 'bb'"),
        (lambda texts: np.array(1.0), r"gave array\(1.\) as reward: it must be a list of 3"),
        (lambda texts: None, "gave None as reward: it must be a list of 3 numbers"),
        (lambda texts: 1.0, "gave 1.0 as reward: it must be a list of 3 numbers"),
        (lambda texts: "abc", "gave 'abc' as reward: it must be a list of 3 numbers"),
        (lambda texts: [1, 2], "gave 2 numbers as reward for 3 sequences, the first of .* 'a'"),
        (lambda texts: [1, None, 2], "gave None as reward for 'bb': it must be a finite number"),
        (lambda texts: [1, 2, float("nan")], "gave nan as reward for 'c'"),
        (lambda texts: [1, np.inf, 2], "gave inf as reward for 'bb'"),
        (
            lambda texts: {"reward": [1, None, 2], "valid": [True] * 3},
            "gave None as reward for 'bb': it must be a finite number",
        ),
        (
            lambda texts: {"reward": [1, 2, 3], "valid": [True, 1, False]},
            "gave 1 as valid for 'bb': it must be True or False",
        ),
        (
            lambda texts: {"reward": [1, 2, 3], "tokens": [1, 2, 3]},
            "gave tokens as a component: a call has its own",
        ),
        (lambda texts: {}, "gave a dict of nothing: it must have \"reward\", too"),
        (lambda texts: {"x": [1, 2, 3]}, "gave a dict of x: it must have \"reward\", too"),
        (lambda texts: {"reward": [1, 2, 3], "x": [1]}, "gave 1 numbers as x for 3 sequences"),
    )  # fmt: skip
    def test_who_is_to_blame_is_named(self, function, message):
        with self.assertRaisesRegex(RewardError, f"^{message}"):
            ask(regan_tf.text_reward(function), _TEXTS)

    def test_what_was_paid_for_in_search_of_who_is_to_blame_is_kept(self):
        asked = []

        @regan_tf.text_reward
        def reward(texts):
            asked.append(texts)
            if "c" in texts:
                raise ValueError("no c")
            return {"reward": [len(text) for text in texts], "one": [1] * len(texts)}

        with self.assertRaisesRegex(
            RewardError, r"raised ValueError: no c \(.*\), for 'c'$"
        ) as raised:
            ask(reward, _TEXTS)
        first = [{"reward": 1.0, "one": 1.0}, {"reward": 2.0, "one": 1.0}]
        self.assertEqual(raised.exception.answers, first)
        self.assertEqual(pickle.loads(pickle.dumps(raised.exception)).answers, first)
        self.assertEqual(asked, [_TEXTS, ["a"], ["bb"], ["c"]])
        with self.assertRaises(RewardError) as raised:
            ask(reward, ["c"])
        self.assertEqual(raised.exception.answers, [])
        self.assertLen(asked, 5)  # one is to blame without a second question

    def test_one_that_gives_nonsense_alone_is_to_blame(self):
        def reward(texts):
            if len(texts) > 1:
                raise MemoryError
            return [np.nan if texts == ["bb"] else 1.0]

        with self.assertRaisesRegex(RewardError, "^gave nan as reward for 'bb'") as raised:
            ask(reward, _TEXTS)
        self.assertEqual(raised.exception.answers, [{"reward": 1.0}])

    def test_the_numbers_beside_what_is_none_are_kept(self):
        given = {"reward": [1, None, np.inf, 4], "valid": [True, True, True, False]}
        with self.assertRaisesRegex(RewardError, "^gave None as reward for 'bb'") as raised:
            ask(regan_tf.text_reward(lambda texts: given), [*_TEXTS, "d"])
        expected = [{"reward": 1.0, "valid": 1.0}, None, None, {"reward": 0.0, "valid": 0.0}]
        self.assertEqual(raised.exception.answers, expected)

    def test_what_fails_for_many_together_was_answered_for_each_alone(self):
        with self.assertRaisesRegex(RewardError, "too many") as raised:
            ask(regan_tf.text_reward(_fails_for_many), _TEXTS)
        self.assertEqual(raised.exception.answers, [{"reward": 0.0}] * 3)
        many = [*_TEXTS] * 11
        with self.assertRaisesRegex(RewardError, "for 33 .* not for any of the first 32 alone"):
            ask(regan_tf.text_reward(_fails_for_many), many)

    def test_long_sequences_are_cut_in_messages(self):
        with self.assertRaisesRegex(RewardError, r"for 'x{199}\.\.\.: it must"):
            ask(regan_tf.text_reward(lambda texts: [np.nan]), ["x" * 10**6])

    def test_truth_values_are_numbers(self):
        found = ask(regan_tf.text_reward(lambda texts: np.array(texts) == "a"), _TEXTS)
        self.assertEqual([f["reward"] for f in found], [1.0, 0.0, 0.0])


if __name__ == "__main__":
    tf.test.main()
