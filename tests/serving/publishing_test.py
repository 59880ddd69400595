"""The SavedModel: the live generator's distribution, row by row, in every loader and without Keras;
and how versions are published.
"""

import json
import os
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from absl.testing import parameterized
from tensorflow_serving.apis import prediction_log_pb2

from regan_tf.config import Config, UserError
from regan_tf.networks.convolutional import ConvolutionalDiscriminator
from regan_tf.serving import counter_rng, publishing
from regan_tf.serving.signatures import ServedModel
from regan_tf.tasks import grammar
from regan_tf.tasks.text import Vocabulary
from tests import problems

_LENGTH = 4

# Tokens are drawn by inverting a distribution function, which is rounded otherwise in another
# batch. So a token may change where its uniform number is within rounding (some 1e-6) of a boundary
# of that function; farther away it must not.
_MARGIN = 1e-5


def _published(directory, **kwargs):
    generator, discriminator = problems.networks(0, 5, _LENGTH, spread=0.7, **kwargs)
    return (
        publishing.publish(generator, discriminator, grammar.VOCABULARY, directory),
        generator,
        discriminator,
    )


def _generate(model, seeds, temperatures=1.0, prefixes=""):
    size = len(seeds)
    temperatures = np.broadcast_to(np.float32(temperatures), size)
    prefixes = np.broadcast_to(np.array(prefixes, object), size)
    return model.functions["generate"](
        tf.constant(seeds, tf.int64), tf.constant(temperatures), tf.constant(prefixes)
    )


def _served(seed=0, seq_len=_LENGTH, spread=0.7, directory=None, **kwargs):
    generator, discriminator = problems.networks(seed, 5, seq_len, spread=spread, **kwargs)
    vocabulary = pathlib.Path(directory) / "vocabulary.txt"
    vocabulary.write_text("\n".join(grammar.VOCABULARY.symbols) + "\n")
    return (
        ServedModel(generator, discriminator, grammar.VOCABULARY, str(vocabulary)),
        generator,
        discriminator,
    )


def _all_sequences(length):
    return (
        np.stack(np.meshgrid(*[np.arange(5)] * length, indexing="ij"), axis=-1)
        .reshape(-1, length)
        .astype(np.int32)
    )


def _exact_log_probs(generator, tokens, temperature):
    """log p of the tokens [N, T] at the temperature, in float64."""
    logits = generator(tokens.astype(np.int32)).numpy().astype(np.float64) / temperature
    log_probs = logits - scipy.special.logsumexp(logits, axis=-1, keepdims=True)
    return np.take_along_axis(log_probs, tokens[..., np.newaxis], axis=-1)[..., 0]


def _margins(generator, rows, seeds, temperatures, prefixes):
    """How far, at least, the uniform numbers of each row were from making another token: [N]."""
    temperatures = np.where(rows["valid"], temperatures, 1.0)[:, np.newaxis, np.newaxis]
    logits = generator(rows["tokens"]).numpy().astype(np.float64) / temperatures
    boundaries = np.cumsum(scipy.special.softmax(logits, axis=-1), axis=-1)[..., :-1]
    keys = tf.bitcast(tf.constant(seeds, tf.int64), tf.int32)
    uniform = counter_rng.uniform_rows(keys, generator.seq_len).numpy()
    margins = np.abs(uniform[..., np.newaxis] - boundaries).min(axis=-1)
    given = (
        np.arange(generator.seq_len) < np.array([len(prefix) for prefix in prefixes])[:, np.newaxis]
    )
    return np.where(given | ~rows["valid"].numpy()[:, np.newaxis], np.inf, margins).min(axis=-1)


def _word(number):
    return tf.bitcast(tf.constant(number, tf.uint32), tf.int32)


class CounterTest(tf.test.TestCase, parameterized.TestCase):
    # The vectors published with Salmon et al. 2011 (Random123, kat_vectors) for threefry2x32 with
    # 20 rounds.
    @parameterized.parameters(
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    )
    def test_published_vectors(self, key, counter, expected):
        words = [[_word(w) for w in pair] for pair in (key, counter)]
        found = [int(w) % 2**32 for w in counter_rng.threefry_2x32(*words)]
        self.assertAllEqual(found, expected)

    def test_rows_are_uniform_and_independent_of_their_neighbours(self):
        keys = tf.bitcast(tf.constant([5, -3, 2**52, 0], tf.int64), tf.int32)
        rows = counter_rng.uniform_rows(keys, 2000).numpy()
        self.assertAllEqual(rows[2:3], counter_rng.uniform_rows(keys[2:3], 2000))
        for row in rows:
            self.assertGreater(scipy.stats.kstest(row, "uniform").pvalue, 1e-3)
        self.assertLess(np.abs(np.corrcoef(rows) - np.eye(4)).max(), 0.1)
        self.assertTrue(np.all((rows > 0) & (rows < 1)))

    def test_ends_of_the_interval_are_left_out(self):
        words = tf.stack([_word(w) for w in (0, 2**32 - 1, 2**31)])
        uniform = counter_rng.to_uniform(words, words).numpy()
        self.assertAllEqual(uniform, [2.0**-53, 1 - 2.0**-53, 0.5 + 2.0**-33 + 2.0**-53])


@pytest.mark.slow
class LoadersTest(tf.test.TestCase, parameterized.TestCase):
    """One export, read by every loader in a process of its own, in which there is no Keras."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.path, cls.generator, cls.discriminator = _published(
            os.path.join(tf.compat.v1.test.get_temp_dir(), f"loaders-{os.getpid()}/model")
        )
        cls.requests = {
            "serving_default": {
                "seed": [1, 2, 2**52],
                "temperature": [1, 0.5, -1],
                "prefix": ["", "x+", ""],
            },
            "generate_tokens": {
                "seed": [[1, 0], [2, 0], [0, 2**20]],
                "temperature": [1, 0.5, -1],
                "prefix": [[-1] * 4, [0, 1, -1, -1], [-1] * 4],
            },
            "score": {"text": ["x+x+", "x", "xé+x"]},
            "score_tokens": {"tokens": [[0, 1, 2, 3], [4, 4, 4, 4], [0, 0, 0, 5]]},
            "discriminate": {"tokens": [[0, 1, 2, 3], [4, 4, 4, 4], [0, 0, 0, 5]]},
        }

    def _assert_live(self, answers):
        tokens = np.array(answers["serving_default"]["tokens"])
        self.assertAllEqual(answers["serving_default"]["valid"], [True, True, False])
        self.assertEqual(
            answers["serving_default"]["text"], [*grammar.VOCABULARY.to_text(tokens[:2]), ""]
        )
        drawn = [
            _exact_log_probs(self.generator, tokens[i : i + 1], t)[0]
            for i, t in ((0, 1.0), (1, 0.5))
        ]
        drawn[1][:2] = 0  # the prefix was given
        self.assertAllEqual(tokens[1, :2], [0, 1])
        self.assertAllClose(
            answers["serving_default"]["token_log_probs"], [*drawn, np.zeros(4)], rtol=1e-4
        )
        self.assertAllClose(
            answers["serving_default"]["log_prob"], [*np.sum(drawn, axis=1), 0], rtol=1e-4
        )
        self.assertAllEqual(answers["generate_tokens"]["tokens"], tokens)
        for signature, scored in (
            ("score", [[0, 1, 0, 1]]),
            ("score_tokens", [[0, 1, 2, 3], [4, 4, 4, 4]]),
        ):
            exact = _exact_log_probs(self.generator, np.array(scored), 1.0).sum(axis=1)
            self.assertAllClose(
                answers[signature]["log_prob"], [*exact, *np.zeros(3 - len(exact))], rtol=1e-4
            )
            self.assertAllEqual(
                answers[signature]["valid"], [True] * len(exact) + [False] * (3 - len(exact))
            )
        real = self.discriminator.probability(tf.one_hot([[0, 1, 2, 3], [4, 4, 4, 4]], 5))
        self.assertAllClose(answers["discriminate"]["p_real"], [*real, 0], rtol=1e-4)
        self.assertAllEqual(answers["discriminate"]["valid"], [True, True, False])

    def _run_without_keras(self, command, **kwargs):
        blocked = pathlib.Path(self.get_temp_dir()) / "blocked"
        (blocked / "keras").mkdir(parents=True, exist_ok=True)
        (blocked / "keras/__init__.py").write_text("raise ImportError('not to be had here')")
        environment = os.environ | {"PYTHONPATH": f"{blocked}:{os.getcwd()}"}
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, **kwargs
        )
        self.assertEqual(result.returncode, 0, result.stderr[-2000:])
        return result

    @parameterized.parameters("new", "old", "cpp")
    def test_loader(self, loader):
        result = self._run_without_keras(
            [sys.executable, "-m", "tests.loaders", loader, self.path],
            input=json.dumps(self.requests),
        )
        self._assert_live(json.loads(result.stdout.splitlines()[-1]))

    def test_saved_model_cli(self):
        directory = pathlib.Path(self.get_temp_dir())
        dtypes = {"seed": np.int64, "temperature": np.float32, "prefix": np.bytes_}
        inputs = self.requests["serving_default"]
        np.savez(
            directory / "inputs.npz",
            **{name: np.array(inputs[name], dtype) for name, dtype in dtypes.items()},
        )
        arguments = ";".join(f"{name}={directory}/inputs.npz[{name}]" for name in dtypes)
        command = [
            pathlib.Path(sys.executable).parent / "saved_model_cli",
            "run",
            "--dir",
            self.path,
            "--tag_set",
            "serve",
        ]
        command += [
            "--signature_def",
            "serving_default",
            "--inputs",
            arguments,
            "--outdir",
            directory,
        ]
        self._run_without_keras(command)
        live = _generate(
            ServedModel(
                self.generator, None, grammar.VOCABULARY, str(self.path / "assets/vocabulary.txt")
            ),
            *inputs.values(),
        )
        self.assertAllEqual(np.load(directory / "tokens.npy"), live["tokens"])

    def test_weights_are_stored_once(self):
        names = [
            name for name, _ in tf.train.list_variables(str(self.path / "variables/variables"))
        ]
        weights = [name for name in names if name.startswith("weights/")]
        self.assertLen(weights, len(self.generator.variables) + len(self.discriminator.variables))
        self.assertCountEqual(names, [*weights, "_CHECKPOINTABLE_OBJECT_GRAPH"])
        size = sum(
            v.value.shape.num_elements()
            for v in self.generator.variables + self.discriminator.variables
        )
        self.assertLess(
            (self.path / "variables/variables.data-00000-of-00001").stat().st_size, 4 * size + 8192
        )

    def test_vocabulary_is_an_asset(self):
        self.assertEqual((self.path / "assets/vocabulary.txt").read_text(), "x\n+\n-\n*\n/\n")

    def test_warm_up_requests_are_prediction_logs_that_can_be_run(self):
        records = tf.data.TFRecordDataset(
            str(self.path / "assets.extra/tf_serving_warmup_requests")
        )
        requests = [
            prediction_log_pb2.PredictionLog.FromString(r.numpy()).predict_log.request
            for r in records
        ]
        signatures = tf.saved_model.load(str(self.path)).signatures
        self.assertCountEqual([r.model_spec.signature_name for r in requests], signatures)
        for request in requests:
            self.assertEqual(request.model_spec.name, "model")
            inputs = {
                name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()
            }
            self.assertTrue(
                np.all(signatures[request.model_spec.signature_name](**inputs)["valid"])
            )


class TextModelTest(tf.test.TestCase, parameterized.TestCase):
    """Texts that end: text in, text out, prefixes continued."""

    def _published(self, tokens):
        generator, discriminator = problems.networks(3, 6, 5, spread=0.7, end_token=0)
        symbols, separator, pattern = {
            "word": (("a", "cat", "sat", "naïve"), " ", ""),
            "char": (("a", " ", "\t", "日"), "", ""),
            "pattern": (("C", "Cl", "[nH]", "日"), "", r"(\[[^\]]+\])|Cl|Br"),
        }[tokens]
        vocabulary = Vocabulary(("<end>", "<unk>", *symbols), separator, 0, 1, pattern)
        return (
            publishing.publish(
                generator, discriminator, vocabulary, f"{self.get_temp_dir()}/{tokens}"
            ),
            generator,
            vocabulary,
        )

    @parameterized.parameters(
        ("word", "a cat", "a cat sat", "a dog  a\t<end>"),
        ("char", "a ", " 日\ta", "abc "),
        ("pattern", "Cl[nH]", "日CClC[nH]", "[n[H]l"),
    )
    @pytest.mark.slow
    def test_every_text_is_generated_and_scored_with_its_end(self, tokens, prefix, other, unknown):
        path, generator, vocabulary = self._published(tokens)
        served = tf.saved_model.load(str(path)).signatures
        size = 200
        rows = served["generate"](
            seed=tf.range(size, dtype=tf.int64),
            temperature=tf.ones(size),
            prefix=tf.constant([prefix, ""] * (size // 2)),
        )
        found, texts = rows["tokens"].numpy(), [row.decode() for row in rows["text"].numpy()]
        self.assertTrue(np.all(rows["valid"]))
        self.assertEqual(texts, vocabulary.to_text(found))
        self.assertAllEqual(found[::2, :2], vocabulary.encode([prefix] * (size // 2), 5)[:, :2])
        self.assertTrue(all(row.startswith(prefix) for row in texts[::2]))
        lengths = vocabulary.lengths(found)
        # All lengths occur, from the empty text to T tokens.
        self.assertAllEqual(np.unique(lengths[1::2]), np.arange(6))
        exact = generator.log_prob(found).numpy()
        exact[::2, :2] = 0
        self.assertAllClose(rows["token_log_probs"], exact, rtol=1e-4)

        plain = ["", prefix, other, unknown, "a " * 6]
        scores = served["score"](text=tf.constant(plain))
        self.assertAllEqual(scores["valid"], [True] * 4 + [False])
        expected = generator.log_prob(vocabulary.encode(plain[:4], 5)).numpy().sum(axis=1)
        self.assertAllClose(scores["log_prob"], [*expected, 0], rtol=1e-4)
        self.assertIn(1, vocabulary.encode([unknown], 5))

    def test_prompts_are_split_by_the_pattern_as_in_training(self):
        path, _, vocabulary = self._published("pattern")
        generate = tf.saved_model.load(str(path)).signatures["generate"]
        prefixes = [
            "",
            "ClC",
            "CCCCC",
            "[nH",
            "[日]Br",
            "C\nC",
            "\0[\0]C",
            "[nH]" * 5,
            "Cl" * 6,
            "C" * 99,
        ]
        rows = generate(
            seed=tf.zeros(len(prefixes) + 1, tf.int64),
            temperature=tf.ones(len(prefixes) + 1),
            prefix=tf.constant([*prefixes, b"\xffCl\xe6"]),
        )
        lengths = [len(vocabulary.split(prefix)) for prefix in prefixes]
        self.assertAllEqual(rows["valid"], [*(length <= 5 for length in lengths), True])
        for prefix, length, found in zip(prefixes, lengths, rows["tokens"].numpy(), strict=False):
            if length <= 5:
                self.assertAllEqual(found[:length], vocabulary.encode([prefix], 5)[0, :length])
        self.assertAllEqual(rows["tokens"][-1, :3], vocabulary.encode(["?Cl?"], 5)[0, :3])

    def test_what_stands_after_the_end_is_not_scored(self):
        path, _, _ = self._published("word")
        served = tf.saved_model.load(str(path)).signatures
        tokens = tf.constant([[2, 3, 0, 0, 0], [2, 3, 0, 4, 1], [2, 3, 4, 0, 0]])
        for signature, output in (("score_tokens", "log_prob"), ("discriminate", "p_real")):
            answers = served[signature](tokens=tokens)
            self.assertTrue(np.all(answers["valid"]))
            self.assertAllClose(answers[output][0], answers[output][1], rtol=1e-5)
            self.assertNotAllClose(answers[output][0], answers[output][2], rtol=1e-3)


class LawTest(tf.test.TestCase, parameterized.TestCase):
    def _model(self, seed=0, seq_len=_LENGTH, **kwargs):
        return _served(seed, seq_len, directory=self.get_temp_dir(), **kwargs)

    @parameterized.parameters(1.0, 0.5, 2.0)
    def test_samples_have_the_exact_distribution(self, temperature):
        model, generator, _ = self._model(1, 3, spread=0.5)
        size = 100_000
        tokens = _generate(model, np.arange(size), temperature)["tokens"].numpy()
        sequences = _all_sequences(3)
        expected = size * np.exp(_exact_log_probs(generator, sequences, temperature).sum(axis=1))
        counts = np.bincount(tokens @ [25, 5, 1], minlength=125)
        frequent = expected > 5
        counts = [*counts[frequent], counts[~frequent].sum() + 1e-9]
        expected = np.array([*expected[frequent], expected[~frequent].sum() + 1e-9])
        self.assertGreater(
            scipy.stats.chisquare(counts, expected / expected.sum() * np.sum(counts)).pvalue, 1e-3
        )

    def test_a_prefix_is_continued_by_the_conditional_distribution(self):
        model, generator, _ = self._model(1, 3, spread=0.5)
        tokens = _generate(model, np.arange(40_000), 1.0, "x*")["tokens"].numpy()
        self.assertAllEqual(np.unique(tokens[:, :2], axis=0), [[0, 3]])
        distribution = np.exp(
            _exact_log_probs(generator, np.array([[0, 3, i] for i in range(5)]), 1.0)[:, 2]
        )
        self.assertGreater(
            scipy.stats.chisquare(
                np.bincount(tokens[:, 2], minlength=5), 40_000 * distribution
            ).pvalue,
            1e-3,
        )

    @parameterized.parameters(4, 32)
    @pytest.mark.slow
    def test_rows_are_the_same_in_any_batch(self, hidden_dim):
        model, generator, _ = self._model(0, 15, spread=0.4, hidden_dim=hidden_dim)
        rng, size = np.random.default_rng(0), 1024
        seeds = rng.integers(-(2**53), 2**53, size)
        temperatures = rng.choice([0.3, 1.0, 2.5, np.nan, -1.0], size).astype(np.float32)
        prefixes = rng.choice(np.array(["", "x+x", "x" * 15, "y", "x" * 16, "é"], object), size)
        together = _generate(model, seeds, temperatures, prefixes)
        clear = _margins(generator, together, seeds, temperatures, prefixes) > _MARGIN
        self.assertGreater(np.mean(clear), 0.99)
        texts = tf.where(together["valid"], together["text"], "?")
        scores = model.functions["score"](texts)
        for partition in range(3):
            order = rng.permutation(size)
            cuts = np.sort(rng.choice(size, 30, replace=False))
            parts = [p for p in np.split(order, [1, 2, *cuts[cuts > 2]]) if len(p)]
            for part in parts if partition else [order, *np.array_split(order[:40], 40)]:
                apart = _generate(model, seeds[part], temperatures[part], prefixes[part])
                self.assertAllEqual(apart["valid"], together["valid"].numpy()[part])
                self._assert_same_rows(
                    {k: v[clear[part]] for k, v in apart.items()}, together, part[clear[part]]
                )
                self._assert_same_rows(
                    model.functions["score"](tf.gather(texts, part)), scores, part
                )

    @pytest.mark.slow
    def test_tokens_and_texts_are_the_same_at_every_padded_size(self):
        """Rows are padded to a multiple of 16, and the last ones are where bits differ."""
        model, generator, _ = self._model(0, 8, spread=0.4, hidden_dim=32)
        sizes = range(16, 2048 + 1, 16)
        seeds = np.arange(sizes[-1])
        together = _generate(model, seeds)
        margins = _margins(generator, together, seeds, np.ones(len(seeds)), [""] * len(seeds))
        clear = margins > _MARGIN
        self.assertGreater(np.mean(clear), 0.99)
        for size in sizes:
            for last in (size, size - 15):  # whole, and padded by as many as there can be
                rows = np.arange(last - 2, last) if last > 1 else np.arange(1)
                apart = _generate(model, seeds[:last])
                kept = rows[clear[rows]]
                self._assert_same_rows(
                    {k: tf.gather(v, kept) for k, v in apart.items()}, together, kept
                )

    def _assert_same_rows(self, found, whole, rows):
        """What is promised of a row in any batch: the same tokens, text and validity, and nearly
        the same numbers.
        """
        for name, value in found.items():
            expected = whole[name].numpy()[rows]
            if value.dtype.is_floating:
                self.assertAllClose(value, expected, rtol=1e-5, atol=1e-6, msg=name)
            else:
                self.assertAllEqual(value, expected, name)

    def test_bad_rows_are_marked_and_disturb_no_other(self):
        model, generator, _ = self._model()
        good = ([7, 8], [1.0, 0.5], ["", "x+"])
        bad = [
            (1, np.inf, ""),
            (2, -np.inf, ""),
            (3, np.nan, ""),
            (4, 0.0, ""),
            (5, -1.0, ""),
            (6, 1.0, "a"),
            (7, 1.0, "x" * 5),
        ]
        bad += [(8, 1.0, "\0"), (9, 1.0, "x\n"), (10, 1.0, " x")]
        seeds, temperatures, prefixes = (
            list(a) + list(b) for a, b in zip(good, zip(*bad, strict=True), strict=True)
        )
        mixed, alone = _generate(model, seeds, temperatures, prefixes), _generate(model, *good)
        self.assertAllEqual(mixed["valid"], [True] * 2 + [False] * len(bad))
        self.assertGreater(_margins(generator, alone, *good).min(), _MARGIN)
        self._assert_same_rows(alone, mixed, slice(2))
        for value in mixed.values():
            self.assertAllEqual(value[2:], tf.zeros_like(value[2:]))  # of strings: empty

    def test_text_that_is_not_utf_8_is_invalid(self):
        model, _, _ = self._model()
        self.assertAllEqual(
            model.functions["score"](tf.constant([b"x+x+", b"x\xff+x", b""]))["valid"],
            [True, False, False],
        )

    def test_extreme_temperatures(self):
        model, generator, _ = self._model(spread=1.5)
        cold = _generate(model, np.arange(50), 1.2e-38)
        self.assertAllEqual(cold["tokens"], tf.argmax(generator(cold["tokens"]), axis=-1))
        self.assertAllEqual(cold["log_prob"], np.zeros(50))
        hot = _generate(model, np.arange(50), 3e38)
        self.assertAllClose(hot["token_log_probs"], np.full([50, _LENGTH], -np.log(5)))

    def test_an_empty_batch(self):
        model, _, _ = self._model()
        self.assertAllEqual(_generate(model, [], [], [])["tokens"].shape, [0, _LENGTH])
        self.assertAllEqual(
            model.functions["score"](tf.constant([], tf.string))["valid"].shape, [0]
        )


class PublishingTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ({"estimator": "reinforce"}, True),
        ({"estimator": "mle"}, True),
        ({"estimator": "mle", "d_steps": 0}, False),
        ({"estimator": "cot"}, False),
        ({"estimator": "reinforce", "reward": "a:b"}, False),
        ({"estimator": "reinforce", "reward": "a:b", "reward_weight": 0.5}, True),
    )
    def test_a_discriminator_that_was_never_trained_is_left_out(self, options, has_one):
        models, progress = mock.Mock(config=Config(**options).resolved()), mock.Mock()
        with mock.patch.object(publishing, "publish") as publish:
            publishing.publish_run(models, progress, "last", {}, "run", "directory")
        _, discriminator, *_ = publish.call_args.args
        self.assertIs(discriminator, models.discriminator if has_one else None)

    def test_versions_grow_and_are_never_overwritten(self):
        directory = pathlib.Path(self.get_temp_dir()) / "model"
        generator, _ = problems.networks(0, 5, 3)
        (directory / "7").mkdir(parents=True)
        (directory / "7/kept").touch()
        with ThreadPoolExecutor() as pool:  # two exports at once
            paths = list(
                pool.map(
                    lambda _: publishing.publish(generator, None, grammar.VOCABULARY, directory),
                    range(2),
                )
            )
        self.assertCountEqual([p.name for p in paths], ["8", "9"])
        self.assertCountEqual(os.listdir(directory), ["7", "8", "9"])
        self.assertEqual(os.listdir(directory / "7"), ["kept"])
        self.assertNotIn("discriminate", tf.saved_model.load(str(paths[0])).signatures)

    def test_convolutions_are_served_as_they_are(self):
        generator, _ = problems.networks(0, 5, _LENGTH)
        discriminator = ConvolutionalDiscriminator(5, _LENGTH, 3)
        path = publishing.publish(
            generator, discriminator, grammar.VOCABULARY, self.get_temp_dir() + "/cnn"
        )
        served = tf.saved_model.load(str(path)).signatures["discriminate"]
        found = served(tokens=tf.constant([[0, 1, 2, 3], [4, 4, 4, 4], [0, 0, 0, 5]]))
        real = discriminator.probability(tf.constant([[0, 1, 2, 3], [4, 4, 4, 4]]))
        self.assertAllClose(found["p_real"], [*real, 0], rtol=1e-5)
        self.assertAllEqual(found["valid"], [True, True, False])

    def test_what_killed_exports_left_is_removed_but_not_what_one_is_writing(self):
        directory = pathlib.Path(self.get_temp_dir()) / "left"
        for name in (".writing-killed", ".writing-alive"):
            (directory / name).mkdir(parents=True)
            (directory / name / "saved_model.pb").write_text("half")
        generator, _ = problems.networks(0, 5, 3)
        with publishing._locked(directory / ".writing-alive"):
            publishing.publish(generator, None, grammar.VOCABULARY, directory)
        self.assertCountEqual(os.listdir(directory), [".writing-alive", "1"])

    def test_manifest(self):
        generator, _ = problems.networks(0, 5, 3)
        path = publishing.publish(
            generator, None, grammar.VOCABULARY, self.get_temp_dir(), {"run": "runs/a"}
        )
        manifest = json.loads((path / publishing.MANIFEST).read_text())
        self.assertEqual(manifest["run"], "runs/a")
        self.assertEqual(manifest["versions"]["tensorflow"], tf.__version__)
        self.assertEqual(
            int(manifest["fingerprint"]),
            tf.saved_model.experimental.read_fingerprint(str(path)).saved_model_checksum,
        )

    def test_unfit_networks_are_refused_and_leave_nothing(self):
        directory = self.get_temp_dir()
        generator, _ = problems.networks(0, 5, 3)
        generator.output_layer.bias.assign([np.nan] * 5)
        with self.assertRaisesRegex(UserError, "not fit to be served: .* is not finite"):
            publishing.publish(generator, None, grammar.VOCABULARY, directory)
        self.assertEmpty(os.listdir(directory))

    def test_a_version_that_is_not_the_live_networks_is_refused(self):
        directory = self.get_temp_dir()
        generator, _ = problems.networks(0, 5, 3)
        save = publishing._save

        def save_and_change(*arguments):
            served = save(*arguments)
            generator.output_layer.bias.assign_add([1e-3, 0, 0, 0, 0])
            return served

        with (
            mock.patch.object(publishing, "_save", save_and_change),
            self.assertRaisesRegex(RuntimeError, "is not what the live"),
        ):
            publishing.publish(generator, None, grammar.VOCABULARY, directory)
        self.assertEmpty(os.listdir(directory))

    def test_unservable_functions_are_refused(self):
        directory = pathlib.Path(self.get_temp_dir())
        for i, function in enumerate(
            [
                tf.function(tf.sin, jit_compile=True),
                lambda x: tf.py_function(np.sin, [x], tf.float32),
            ]
        ):
            module = tf.Module()
            module.served = tf.function(
                function, input_signature=[tf.TensorSpec([None], tf.float32)]
            )
            tf.saved_model.save(module, str(directory / str(i)), signatures=module.served)
            with self.assertRaisesRegex(
                RuntimeError, "asks for XLA|op EagerPyFunc cannot be served"
            ):
                publishing.require_servable(directory / str(i))

    def test_unwritable_directory_is_refused(self):
        generator, _ = problems.networks(0, 5, 3)
        with self.assertRaisesRegex(UserError, "--export_dir: /dev/null/x cannot be written"):
            publishing.publish(generator, None, grammar.VOCABULARY, "/dev/null/x")
