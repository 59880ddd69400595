"""The forms in which prompts may be given."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.networks.prompts import padded


class PromptsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        (None, [[-1, -1, -1]]),
        ([], [[-1, -1, -1]]),
        ([2, 0], [[2, 0, -1]]),
        ((2, 0, 1), [[2, 0, 1]]),
        (np.array([1], np.uint8), [[1, -1, -1]]),
        ([[1], [2, 0], []], [[1, -1, -1], [2, 0, -1], [-1, -1, -1]]),
        ([np.array([1, 2])], [[1, 2, -1]]),
        (np.array([[1, 2], [0, 1]]), [[1, 2, -1], [0, 1, -1]]),
        (np.zeros([2, 0]), [[-1, -1, -1], [-1, -1, -1]]),
    )
    def test_one_or_several_of_any_length(self, prompts, expected):
        given = padded(prompts, 3, 3)
        self.assertAllEqual(given, expected)
        self.assertEqual(given.dtype, np.int32)

    def test_tensors(self):
        self.assertAllEqual(padded(tf.constant([[1, 2]]), 3, 3), [[1, 2, -1]])
        ragged = tf.ragged.constant([[1], [2, 0]])
        self.assertAllEqual(padded(ragged, 3, 3), [[1, -1, -1], [2, 0, -1]])

    def test_only_the_end_token_follows_the_end_token(self):
        self.assertAllEqual(padded([[0, 2, 2], [2]], 3, 3, end_token=2), [[0, 2, 2], [2, -1, -1]])
        with self.assertRaisesRegex(ValueError, r"prompts\[1\]=\[2, 0\] .* follow its end token 2"):
            padded([[0, 1], [2, 0]], 3, 3, end_token=2)

    @parameterized.parameters(
        ("ab", "prompts='ab' is not allowed: it must be tokens"),
        (["ab"], "prompts=.'ab'. is not allowed: it must be tokens"),
        (3, "prompts=3 is not allowed: it must be tokens"),
        ([0.5], r"prompts\[0\]=array\(\[0.5\]\) is not allowed: it must be a list of ints"),
        ([True], r"prompts\[0\]=array\(\[ True\]\) is not allowed"),
        ([[1], 2], r"prompts\[1\]=array\(2\) is not allowed"),
        ([[[1]]], r"prompts\[0\]=array\(\[\[1\]\]\) is not allowed"),
        ([[1], [0, 3]], r"prompts\[1\]=\[0, 3\] is not allowed: its tokens must be from 0 to 2"),
        ([[1, -1]], r"prompts\[0\]=\[1, -1\] is not allowed: its tokens must be from 0 to 2"),
        ([[1], [0] * 4], r"prompts\[1\]=\[0, 0, 0, 0\] .* it must have at most 3 tokens"),
    )
    def test_wrong_ones_are_named(self, prompts, message):
        with self.assertRaisesRegex(ValueError, message):
            padded(prompts, 3, 3)


if __name__ == "__main__":
    tf.test.main()
