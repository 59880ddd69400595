"""The oracle's law against a NumPy evaluation and enumeration; its file, and what is wrong in
one.
"""

import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import stats

from regan_tf.config import Config, UserError
from regan_tf.tasks import oracle_law
from tests.tasks import oracles


def _config(**options):
    given = {"dataset": "oracle", "vocab_size": 6, "oracle_dim": 3} | options
    return Config(**given).resolved()


class LawTest(tf.test.TestCase):
    def test_it_is_the_lstm_of_its_parameters_that_begins_with_word_0(self):
        found = oracles.parameters(vocab_size=300, oracle_dim=8)
        tokens = np.random.default_rng(0).integers(300, size=[50, 12], dtype=np.int32)
        expected = oracles.log_prob_by_numpy(found, tokens)
        model = oracle_law.model_of(found, 12)
        self.assertAllClose(model.log_prob(tokens), expected, rtol=0, atol=1e-10)
        model.embedding.embeddings.assign(
            model.embedding.embeddings + tf.one_hot([300], 301)[0, :, None]
        )
        self.assertNotAllClose(model.log_prob(tokens), expected, atol=1e-3)

    def test_it_sums_to_one_over_all_sequences(self):
        log_probs = oracles.model().log_prob(oracles.SEQUENCES)
        self.assertAllClose(np.sum(np.exp(np.sum(log_probs, axis=1))), 1.0, rtol=1e-12)

    def test_data_are_drawn_from_it(self):
        model, size = oracles.model(), 20_000
        exact = np.exp(np.sum(model.log_prob(oracles.SEQUENCES), axis=1))
        ((tokens,), entropy, error) = oracle_law.data_of(model, [size], seed=0)
        counts = np.bincount(tokens @ [16, 4, 1], minlength=64)

        def p_value(expected):
            rare = expected * size < 5
            groups = np.where(rare, 64, np.arange(64))  # the rare ones together
            observed, theirs = (
                np.bincount(groups, x, minlength=65) for x in (counts, expected * size)
            )
            return stats.chisquare(observed[theirs > 0], theirs[theirs > 0]).pvalue

        self.assertGreater(p_value(exact), 1e-4)
        self.assertLess(p_value(0.95 * exact + 0.05 / 64), 1e-4)  # another law is found out
        true = -np.sum(exact * np.log(exact)) / oracles.T
        self.assertLess(abs(entropy - true), 5 * error)
        self.assertGreater(abs(1.02 * true - entropy), 5 * error)
        self.assertLess(error, np.std(np.log(exact)) / oracles.T / np.sqrt(size))

    def test_sets_follow_from_the_seed_each_by_its_own_stream(self):
        model = oracles.model()
        (first, second), *_ = oracle_law.data_of(model, [30, 20], seed=1)
        self.assertEqual((first.shape, second.shape, first.dtype), ((30, 3), (20, 3), np.int32))
        self.assertNotAllEqual(first[:20], second)
        (longer, again), *_ = oracle_law.data_of(model, [40, 20], seed=1)
        self.assertAllEqual(longer[:30], first)
        self.assertAllEqual(again, second)
        (other, _), *_ = oracle_law.data_of(model, [30, 20], seed=2)
        self.assertNotAllEqual(other, first)

    def test_drawn_parameters_follow_from_their_seed_and_have_the_scale(self):
        found = oracle_law.parameters(_config(vocab_size=500, oracle_scale=2.0))
        self.assertBetween(np.std(found["embeddings"]), 1.9, 2.1)
        again, other = (
            oracle_law.parameters(_config(vocab_size=500, oracle_scale=2.0, **o))
            for o in ({"seed": 5}, {"oracle_seed": 1})
        )
        self.assertEqual(oracle_law.digest(again), oracle_law.digest(found))
        self.assertNotEqual(oracle_law.digest(other), oracle_law.digest(found))

    def test_drawn_parameters_share_no_numbers_with_data_of_the_same_seed(self):
        found = oracle_law.parameters(_config(oracle_seed=7))["embeddings"]
        for stream in range(3):
            other = np.random.default_rng([7, stream]).standard_normal(found.shape)
            self.assertNotAllClose(found, other, atol=0.1)


class FileTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.file = Path(self.enterContext(tempfile.TemporaryDirectory())) / "oracle.npz"
        self.parameters = oracle_law.parameters(_config())

    def _read(self):
        return oracle_law.parameters(_config(oracle_file=str(self.file), oracle_dim=32))

    def test_it_is_read_as_it_was_drawn(self):
        np.savez_compressed(self.file, **self.parameters, more=np.zeros(3))
        self.assertEqual(oracle_law.digest(self._read()), oracle_law.digest(self.parameters))

    @parameterized.parameters(
        ({"Wi": None, "bo": None}, "lacks Wi, bo"),
        ({"bf": np.zeros(4)}, r"bf has shape \(4,\); .* must be \(3,\)"),
        ({"output_kernel": np.zeros([3, 7])}, r"output_kernel has shape \(3, 7\).* \(3, 6\)"),
        ({"embeddings": np.zeros(6)}, r"embeddings \(6,\) must be \[V, E\]"),
        ({"Uo": np.full([3, 3], np.nan)}, "Uo has a number that is not finite"),
        ({"bi": np.array(["a", "b", "c"])}, r"must be an \.npz of NumPy with arrays of numbers"),
        ({"bi": np.array([None, 1, 2])}, r"must be an \.npz of NumPy with arrays of numbers"),
    )
    def test_what_does_not_fit_is_refused(self, changed, message):
        kept = {k: v for k, v in (self.parameters | changed).items() if v is not None}
        np.savez(self.file, **kept)
        with self.assertRaisesRegex(UserError, f"--oracle_file={self.file}:? .*{message}"):
            self._read()

    @parameterized.parameters(b"", b"no archive", b"PK\x03\x04 half of one")
    def test_what_is_no_npz_is_refused(self, content):
        self.file.write_bytes(content)
        with self.assertRaisesRegex(UserError, f"--oracle_file={self.file} cannot be read"):
            self._read()

    def test_an_npy_is_refused(self):
        with open(self.file, "wb") as file:
            np.save(file, np.zeros(3))
        with self.assertRaisesRegex(UserError, f"--oracle_file={self.file} cannot be read"):
            self._read()

    def test_what_is_not_there_is_named(self):
        with self.assertRaisesRegex(UserError, "oracle.npz cannot be read: No such file"):
            self._read()


if __name__ == "__main__":
    tf.test.main()
