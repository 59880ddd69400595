"""Texts as data: files, vocabularies, splits and metrics; BLEU against NLTK's own."""

import dataclasses
import pathlib

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from absl.testing import parameterized
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from regan_tf.cli import config_flags
from regan_tf.config import Config, UserError
from regan_tf.tasks import grammar, text_metrics
from regan_tf.tasks.data import Dataset
from regan_tf.tasks.registry import task_of
from regan_tf.tasks.text import Vocabulary


def _random_texts(size, seed, vocab_size=40, longest=12):
    """int64 [size, longest + 1] and lengths: Zipfian words, so that many n-grams are shared; the
    shortest have none.
    """
    rng = np.random.default_rng(seed)
    tokens = np.minimum(rng.zipf(1.3, [size, longest + 1]), vocab_size - 2) + 1
    lengths = rng.integers(0, longest + 1, size)
    tokens[np.arange(longest + 1) >= lengths[:, np.newaxis]] = 0
    return tokens, lengths


def _lists(tokens, lengths):
    return [row[:n].tolist() for row, n in zip(tokens, lengths, strict=True)]


class VocabularyTest(tf.test.TestCase, parameterized.TestCase):
    def test_most_frequent_first_the_rest_unknown_and_rows_end(self):
        vocabulary = Vocabulary.of(["b a b", "b c a c d", "<end> a  \tb"], " ", 4)
        self.assertEqual(vocabulary.symbols, ("<end>", "<unk>", "b", "a"))
        tokens = vocabulary.encode(["a b", "c <end> <unk> a", ""], 4)
        self.assertAllEqual(tokens, [[3, 2, 0, 0], [1, 1, 1, 3], [0, 0, 0, 0]])
        self.assertEqual(vocabulary.to_text(tokens), ["a b", "<unk> <unk> <unk> a", ""])
        self.assertAllEqual(vocabulary.lengths(tokens), [2, 4, 0])
        with self.assertRaisesRegex(ValueError, "not a text of 4 tokens"):
            vocabulary.encode(["a b a b a"], 4)

    def test_characters_of_several_scripts_are_kept_as_they_are(self):
        line = "naïve 日本語 Ωé 👩‍🔬"
        vocabulary = Vocabulary.of([line, line, "once"], "", 100)
        self.assertEqual(vocabulary.to_text(vocabulary.encode([line], 30)), [line])
        self.assertLen(vocabulary, 2 + len(set(line)))

    def test_a_match_of_the_pattern_is_one_token_and_the_rest_characters(self):
        lines = ["Clc%12[nH]C%1", "Cl[nH]%12", "[C[nH]C"]
        vocabulary = Vocabulary.of(lines, "", 100, r"\[[^\]]+\]|Cl|(%\d\d)")
        self.assertEqual(vocabulary.split(lines[0]), ["Cl", "c", "%12", "[nH]", "C", "%", "1"])
        self.assertEqual(vocabulary.split(lines[2]), ["[C[nH]", "C"])
        self.assertEqual(vocabulary.symbols, ("<end>", "<unk>", "%12", "C", "Cl", "[nH]"))
        self.assertEqual(vocabulary.to_text(vocabulary.encode(lines[1:2], 5)), lines[1:2])
        self.assertEqual(Vocabulary.from_json(vocabulary.to_json()), vocabulary)

    def test_a_vocabulary_from_before_patterns_is_read(self):
        old = '{"symbols": ["<end>", "<unk>", "a"], "separator": "", "end": 0, "unknown": 1}'
        self.assertEqual(
            Vocabulary.from_json(old), Vocabulary(("<end>", "<unk>", "a"), "", 0, 1, "")
        )

    def test_the_grammar_has_no_shorter_texts_and_no_unknown_symbols(self):
        self.assertAllEqual(grammar.VOCABULARY.encode(["x+x"], 3), [[0, 1, 0]])
        for wrong in ("x+", "xyx", "x+x+"):
            with self.assertRaises(ValueError):
                grammar.VOCABULARY.encode([wrong], 3)


class DoubtsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ([5.0, 4.0, 3.9], 0.2, ["from 4.000 to 3.900 a token .* raise --pretrain_epochs"]),
        ([5.0, 4.0, 3.99], 0.2, []),
        ([4.0, 4.1, 4.2], 0.2, []),
        ([4.0, 4.3, 4.1], 0.2, []),  # --pretrain_patience ended it
        ([], 0.2, []),
        ([4.0], 0.09, ["BLEU-2 of 0.09 against 0.20"]),
        ([5.0, 4.0], 0.0, ["--pretrain_epochs", "far from the training texts"]),
    )
    def test_pretraining_that_did_not_get_there_is_said(self, nll, bleu, expected):
        task = task_of(Config(dataset="pydoc").resolved())
        pretraining = [{"nll_per_token": value} for value in nll]
        doubts = task.doubts(pretraining, {"bleu_2": bleu}, {"bleu_2": 0.2})
        self.assertLen(doubts, len(expected))
        for doubt, pattern in zip(doubts, expected, strict=True):
            self.assertRegex(doubt, pattern)


class FilesTest(tf.test.TestCase, parameterized.TestCase):
    def _load(self, content, **options):
        path = pathlib.Path(self.get_temp_dir(), "texts.txt")
        path.write_bytes(content)
        config = Config(dataset="text", data_file=str(path), batch_size=2, **options)
        return task_of(config.resolved()).load()

    def test_many_unknown_tokens_are_said_with_what_to_do(self):
        lines = b"\n".join(b"one w%d" % i for i in range(20))
        self.assertRegex(
            self._load(lines).remarks[1],
            r"^warning: 50% of the held-out tokens are unknown.*: give more texts, or take --tok",
        )
        self.assertRegex(
            self._load(lines, vocab_size=3).remarks[1], r"samples: raise --vocab_size \(now 3\), or"
        )
        known = b"\n".join(b" ".join(b"ab"[i >> k & 1 :][:1] for k in range(4)) for i in range(16))
        self.assertLen(self._load(known).remarks, 1)

    @parameterized.parameters(
        (b"", "empty"),
        (b" \n\r\n\t\n", "empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x01", "not a text file: byte 8 is 0"),
        (b"good\nbad \xff\n", "not UTF-8: byte 9, in line 2, is 0xff"),
        (b"only one line\n", "too few different lines .1. to hold some out"),
        (b"same\n" * 50, "too few different lines .1."),
        (b"a " * 10**6, "no line of at most --seq_len=256 words"),
        (b"\n".join(b"<unk> " * i for i in range(20)), "no token but the unknown one: no word "),
    )
    def test_what_is_no_text_is_refused_with_the_cause(self, content, message):
        with self.assertRaisesRegex(UserError, f"--data_file=.*texts.txt (is|has) {message}"):
            self._load(content)

    def test_a_line_that_is_too_long_is_left_out_and_told_of(self):
        lines = [f"line number {i}" for i in range(30)]
        dataset = self._load(
            "\n".join([*lines, "x" * 10**6, "w " * 10**6]).encode(), tokens="char", seq_len=20
        )
        self.assertLen(dataset.real, 27)
        self.assertIn("2 texts of more than --seq_len=20 chars are left out", dataset.remarks)

    @parameterized.parameters(
        ("word", [f"a b c d {i % 40}" for i in range(50)], 5),
        ("char", [chr(97 + i % 26) for i in range(60)], 3),  # the shortest that there is
        ("word", ["a b c d"] * 100 + [f"a {i % 50}" for i in range(200)] + ["w " * 9], 4),
        ("word", ["w " * (1 + i % 300) for i in range(3000)], 256),
    )
    def test_without_seq_len_nearly_all_lines_fit(self, tokens, lines, expected):
        dataset = self._load("\n".join(lines).encode(), tokens=tokens)
        self.assertEqual(dataset.real.shape[1], expected)
        longer = sum(len(line.split() if tokens == "word" else line) > expected for line in lines)
        self.assertLessEqual(longer / len(lines), 0.01 if expected < 256 else 1)
        left_out = f"{longer} texts of more than --seq_len={expected} {tokens}s are left out"
        self.assertEqual(left_out in dataset.remarks, longer > 0)

    def test_what_the_data_decide_is_recorded(self):
        path = pathlib.Path(self.get_temp_dir(), "texts.txt")
        path.write_text("\n".join(f"a b c {i % 30}" for i in range(60)))
        config = Config(dataset="text", data_file=str(path), batch_size=2).resolved()
        self.assertEqual((config.estimator, config.pretrain_patience), ("reinforce_loo", 2))
        task = task_of(config)
        completed = task.completed(task.load())
        self.assertEqual((completed.seq_len, completed.heldout_size), (4, 3))
        self.assertNotIn(None, [getattr(completed, f.name) for f in dataclasses.fields(Config)])

    def test_length_and_vocabulary_follow_from_the_pattern(self):
        lines = "\n".join("Cl" * (2 + i % 3) + "C" * (i % 2) for i in range(60)).encode()
        dataset = self._load(lines, tokens="char", token_pattern="Cl", heldout_size=1)
        self.assertEqual(dataset.real.shape[1], 5)
        self.assertCountEqual(dataset.vocabulary.symbols[2:], ["Cl", "C"])

    @parameterized.parameters(
        ("[", {"tokens": "char"}, "is no regular expression: unterminated character set"),
        ("x*", {"tokens": "char"}, "is not allowed: it matches where there is no character"),
        (r"\b", {"tokens": "char"}, "is not allowed: it matches where there is no character"),
        ("Cl", {"tokens": "word"}, "contradicts --tokens=word: add --tokens=char"),
        ("Cl", {"tokens": "char", "dataset": "grammar"}, "contradicts --dataset=grammar"),
    )
    def test_a_bad_pattern_is_refused_at_once(self, pattern, options, message):
        with self.assertRaises(UserError) as caught:
            Config(**{"dataset": "pydoc", "token_pattern": pattern} | options)
        self.assertIn(f"--token_pattern={pattern} {message}", str(caught.exception))

    def test_a_pattern_that_a_served_model_could_not_read_is_refused(self):
        with self.assertRaisesRegex(
            UserError, r"(?s)C\(\?=l\) is not allowed: .* RE2.*\(\?="
        ) as caught:
            self._load(b"C\nCl\n" * 9, tokens="char", token_pattern="C(?=l)")
        self.assertNotIn("\n", str(caught.exception))

    def test_line_ends_and_byte_order_mark(self):
        lines = [f"word{i} and more" for i in range(20)]
        unix = self._load("\n".join(lines).encode())
        for other in (
            "\r\n".join(lines),
            "\r".join(lines),
            "\ufeff" + "\n".join(lines),
            "\n \n".join(lines) + "\n",
        ):
            dataset = self._load(other.encode())
            self.assertAllEqual(dataset.real, unix.real)
            self.assertEqual(dataset.vocabulary, unix.vocabulary)

    def test_held_out_lines_are_no_training_lines_and_the_same_for_every_seed(self):
        lines = [f"text {i % 60}" for i in range(120)]
        one, other = (self._load("\n".join(lines).encode(), seed=seed) for seed in (0, 1))
        self.assertAllEqual(one.heldout, other.heldout)
        self.assertLen(one.heldout, 6)
        texts = one.vocabulary.to_text(one.real)
        # Their numbers are in no training line.
        self.assertIn("<unk>", " ".join(one.vocabulary.to_text(one.heldout)))
        self.assertLen(texts, 108)  # equal lines stay together
        self.assertEqual(len(set(texts)), 54)

    def test_a_vocabulary_larger_than_the_text_is_what_occurs_twice(self):
        dataset = self._load(
            "\n".join(f"text {i} {i}" for i in range(20)).encode(), vocab_size=10**6
        )
        self.assertLen(dataset.vocabulary, 2 + 1 + 18)
        self.assertIn("21 tokens", dataset.remarks[0])
        self.assertRegex(dataset.remarks[0], "which [1-9].*% of the held-out tokens are")

    def test_fewer_texts_are_taken_from_all_over_the_file(self):
        lines = "\n".join(f"text number {i}" for i in range(1000)).encode()
        whole, part = self._load(lines), self._load(lines, data_size=100, heldout_size=100)
        self.assertLen(part.real, 100)
        self.assertLen(part.heldout, 100)
        self.assertEqual(part.sha256, whole.sha256)
        config = Config(dataset="text", data_file="x", batch_size=2).resolved()
        described = task_of(config).completed(part)
        self.assertEqual(
            (described.data_size, described.heldout_size, described.data_sha256),
            (100, 100, part.sha256),
        )

    def test_other_texts_than_the_recorded_ones_are_refused(self):
        lines = "\n".join(f"text {i}" for i in range(20)).encode()
        sha256 = self._load(lines).sha256
        self.assertEqual(self._load(lines, data_sha256=sha256).sha256, sha256)
        with self.assertRaisesRegex(
            UserError,
            "texts.txt: the texts are not those that the run began with; they have changed",
        ):
            self._load(lines + b"\nmore", data_sha256=sha256)
        with self.assertRaisesRegex(
            UserError, "--seq_len=1000000000000: the data do not fit into memory"
        ):
            self._load(lines, seq_len=10**12)

    def test_a_run_may_be_gone_on_with_without_naming_its_texts_digest(self):
        earlier = Config(dataset="pydoc", data_sha256="abc").resolved()
        config_flags.require_same(Config(dataset="pydoc").resolved(), earlier, "run")
        with self.assertRaisesRegex(UserError, "--data_sha256=xyz .there: --data_sha256=abc"):
            config_flags.require_same(
                Config(dataset="pydoc", data_sha256="xyz").resolved(), earlier, "run"
            )

    def test_python_help_is_a_corpus(self):
        dataset = task_of(Config(dataset="pydoc", seq_len=40).resolved()).load()
        self.assertGreater(len(dataset.real), 1_000)
        self.assertGreater(len(dataset.vocabulary), 1_000)

    @parameterized.parameters(
        ({"dataset": "text"}, "--dataset=text needs --data_file"),
        ({"data_file": "x"}, "--data_file=x needs --dataset=text (now grammar)"),
        ({"eval_file": "x"}, "--eval_file=x contradicts --dataset=grammar"),
        (
            {"metric": "bleu_4"},
            "--metric=bleu_4 contradicts --dataset=grammar: take one of goodness",
        ),
        (
            {"dataset": "pydoc", "metric": "goodness"},
            "--metric=goodness contradicts --dataset=pydoc: take one of nll",
        ),
        (
            {"dataset": "pydoc", "vocab_size": 2},
            "--vocab_size=2 is not allowed: it must be at least 3",
        ),
    )
    def test_flags_that_contradict(self, options, message):
        with self.assertRaises(UserError) as caught:
            Config(**options)
        self.assertStartsWith(str(caught.exception), message)

    def test_a_file_that_is_not_there(self):
        with self.assertRaisesRegex(
            UserError, "--data_file=/nowhere/x cannot be read: No such file"
        ):
            task_of(Config(dataset="text", data_file="/nowhere/x").resolved()).load()


class BleuTest(tf.test.TestCase, parameterized.TestCase):
    @pytest.mark.slow
    def test_equals_nltk_on_200_hypotheses_and_500_references(self):
        hypotheses, references = _random_texts(200, 0), _random_texts(500, 1)
        found = text_metrics.bleu(references, hypotheses)
        found_self = text_metrics.self_bleu(hypotheses)
        smoothing = SmoothingFunction(epsilon=0.1).method1
        listed, own = _lists(*references), _lists(*hypotheses)
        # All at once.
        options = {"weights": [(1 / n,) * n for n in (2, 3, 4, 5)], "smoothing_function": smoothing}
        expected = np.mean([sentence_bleu(listed, h, **options) for h in own], axis=0)
        expected_self = np.mean(
            [sentence_bleu(own[:i] + own[i + 1 :], h, **options) for i, h in enumerate(own)], axis=0
        )
        self.assertAllClose([found[n] for n in (2, 3, 4, 5)], expected, rtol=0, atol=1e-6)
        self.assertAllClose([found_self[n] for n in (2, 3, 4, 5)], expected_self, rtol=0, atol=1e-6)

    def test_equals_nltk_among_ten_thousand_references(self):
        hypotheses = _random_texts(2, 3, vocab_size=3_000)
        references = _random_texts(10_000, 2, vocab_size=3_000)
        options = {
            "weights": [(1 / n,) * n for n in (2, 5)],
            "smoothing_function": SmoothingFunction(epsilon=0.1).method1,
        }
        listed = _lists(*references)
        expected = np.mean(
            [sentence_bleu(listed, h, **options) for h in _lists(*hypotheses)], axis=0
        )
        found = text_metrics.bleu(references, hypotheses)
        self.assertAllClose([found[n] for n in (2, 5)], expected, rtol=0, atol=1e-6)

    def test_by_hand(self):
        # Two equal texts are each other's reference; the third shares one word of two with them.
        tokens, lengths = np.array([[1, 2], [1, 2], [1, 3]]), np.array([2, 2, 2])
        third = np.sqrt(0.5 * 0.1)  # precisions 1/2 and 0 of 1, which becomes 0.1
        self.assertAllClose(text_metrics.self_bleu((tokens, lengths))[2], (1 + 1 + third) / 3)


class TextMetricsTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        vocabulary = Vocabulary.of(["a b c d"] * 2, " ", 10)
        self.encode = lambda *lines: vocabulary.encode(lines, 4)
        dataset = Dataset(vocabulary, self.encode("a b", "a c", "b"), self.encode("a b", "c"))
        self.vocabulary = vocabulary
        self.metrics = text_metrics.TextMetrics(dataset)

    def test_by_hand(self):
        found = self.metrics.describe(self.encode("a b", "a a", "z", ""))
        self.assertEqual(found["samples"], 4)
        self.assertAllClose(found["length"], 5 / 4)
        self.assertAllClose(
            found["length_distance"], scipy.stats.wasserstein_distance([2, 2, 1, 0], [2, 1])
        )
        self.assertAllClose(
            [found["distinct_1"], found["distinct_2"], found["distinct_3"]], [3 / 5, 1.0, 0.0]
        )
        self.assertAllClose([found["unknown"], found["copied"]], [1 / 5, 1 / 4])
        # Held out: a, b, c once each. Samples: a three times, b once, the unknown token once. 0.5
        # is added to each of the four.
        p, q = np.array([1.5, 1.5, 1.5, 0.5]) / 5, np.array([3.5, 1.5, 0.5, 1.5]) / 7
        self.assertAllClose(found["kl_1"], np.sum(p * np.log(p / q)))
        self.assertAllClose(found["kl_1_reverse"], np.sum(q * np.log(q / p)))

    def test_an_unknown_token_matches_no_word(self):
        dataset = Dataset(self.vocabulary, self.encode("a b"), self.encode("x y z a", "b"))
        samples = self.encode("x y z a", "a b")
        found = text_metrics.TextMetrics(dataset).describe(samples)
        smoothing = SmoothingFunction(epsilon=0.1).method1
        expected = [
            sentence_bleu([["x", "y", "z", "a"], ["b"]], h, (0.5, 0.5), smoothing)
            for h in (["?", "?", "?", "a"], ["a", "b"])
        ]
        self.assertAllClose(found["bleu_2"], np.mean(expected))
        alone = text_metrics.TextMetrics(dataset).describe(self.encode("x y", "x y"))
        self.assertEqual(alone["self_bleu_2"], 0.0)

    def test_likelihood_counts_the_end_as_a_token(self):
        found = self.metrics.of_likelihood(10.0)  # two held-out texts, of 2 + 1 and 1 + 1 tokens
        self.assertAllClose(found["nll_per_token"], 2 * 10 / 5)
        self.assertAllClose(found["perplexity"], np.exp(4.0))

    def test_training_texts_are_as_good_as_they_can_be(self):
        texts = self.encode("a b", "a c", "b a")
        found = text_metrics.TextMetrics(Dataset(self.vocabulary, texts, texts)).ideal(3)
        self.assertAllClose(
            [found["kl_1"], found["kl_1_reverse"], found["length_distance"], found["bleu_2"]],
            [0, 0, 0, 1],
        )
        # All of the training texts.
        expected = self.metrics.describe(self.encode("a b", "a c", "b"))
        self.assertEqual(expected.pop("copied"), 1.0)  # of them that is no news
        found = self.metrics.ideal(3)
        self.assertIsNone(found.pop("copied"))
        self.assertAllClose(found, expected)

    @parameterized.parameters(np.int32, np.int64, np.uint8)
    def test_copies_are_counted_in_any_dtype(self, dtype):
        vocabulary = Vocabulary(("<end>", "<unk>", "a", "b", "c"), " ", 0, 1)
        real = np.array([[2, 3, 0], [3, 3, 2], [4, 2, 0]], np.int32)
        metrics = text_metrics.TextMetrics(Dataset(vocabulary, real, real))
        samples = np.array([[2, 3, 0], [3, 2, 2], [4, 2, 0], [2, 3, 0]], dtype)
        self.assertEqual(metrics.describe(samples)["copied"], 0.75)
