"""A run read back from its directory, moved, and without the texts that it learned from."""

import itertools
import json
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.config import Config, UserError
from regan_tf.training import run
from regan_tf.training.workdir import Workdir
from tests.training import small
from tests.training.small import SMALL

_SIZES = {"embed_dim": 4, "generator_dim": 4, "discriminator_dim": 4, "export_generator": "none"}


def _finished(directory, **options):
    config = SMALL | _SIZES | {"workdir": str(directory), "iterations": 1} | options
    run.run(Config(**config).resolved())


class TrainedRunTest(tf.test.TestCase, parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        _finished(cls.directory / "grammar")
        texts = cls.directory / "texts.txt"
        words = itertools.product(("one", "two"), ("red", "blue", "sky"), ("end", "stop", "go"))
        lines = [" ".join(triple) for triple in words] * 5
        texts.write_text("\n".join(lines), encoding="utf-8")
        options = {"data_size": None, "heldout_size": None, "batch_size": 16, "seq_len": 4}
        _finished(cls.directory / "first", dataset="text", data_file=str(texts), **options)
        texts.unlink()
        shutil.move(cls.directory / "first", cls.directory / "text")

    def _run(self, name):
        return regan_tf.load_run(self.directory / name)

    @parameterized.parameters(("grammar", "x+"), ("text", "two red"))
    def test_it_samples_after_a_prefix_and_scores_what_it_sampled(self, name, prefix):
        loaded = self._run(name)
        options = {"prefix": prefix, "seed": 3, "temperature": 0.7}
        texts = loaded.sample(6, **options)
        self.assertTrue(all(text.startswith(prefix) for text in texts), texts)
        self.assertEqual(texts, loaded.sample(6, **options))
        self.assertNotEqual(loaded.sample(20, seed=1), loaded.sample(20, seed=2))
        tokens = loaded.sample_tokens(6, **options)
        self.assertEqual(loaded.vocabulary.to_text(tokens), texts)
        expected = loaded.generator.log_prob(tokens).numpy().sum(axis=1)
        self.assertAllClose(loaded.score(texts), expected)

    def test_prefixed_samples_have_the_generators_distribution(self):
        loaded = self._run("grammar")
        tokens = loaded.sample_tokens(4000, prefix="x", temperature=0.5)
        frequencies = np.bincount(tokens[:, 1], minlength=5) / 4000
        logits = loaded.generator(np.zeros([1, 3], np.int32))[0, 1]
        self.assertAllClose(frequencies, tf.nn.softmax(logits / 0.5), atol=0.04)

    def test_samplers_by_name_or_instance(self):
        loaded = self._run("grammar")
        generator = loaded.generator
        self.assertAllEqual(loaded.sample_tokens(9, seed=2), generator.sample(9, 2))
        greedy = loaded.sample_tokens(4, sampler="greedy", prefix="x")
        self.assertAllEqual(greedy, np.tile(generator.generate([0], sampler="greedy"), [4, 1]))
        sampler = regan_tf.TopKSampler(2, temperature=2.0)
        for temperature in (None, 0.5):
            options = {"sampler": sampler, "temperature": temperature, "seed": 4}
            self.assertAllEqual(
                loaded.sample_tokens(9, **options), generator.generate(num=9, **options)
            )
        texts = loaded.sample(9, sampler="top_p", prefix="x+", seed=1)
        self.assertEqual({text[:2] for text in texts}, {"x+"})

    @parameterized.parameters(
        ({"num": 0}, "num=0 is not allowed"),
        ({"num": 0, "prefix": "x"}, "num=0 is not allowed"),
        ({"sampler": "beam"}, "sampler='beam' is not allowed"),
        ({"temperature": 0.0}, "temperature=0.0 is not allowed"),
        ({"temperature": float("nan")}, "temperature=nan is not allowed"),
        ({"prefix": "x?"}, "prefix='x.' is not allowed: '.' is not in the run's vocabulary"),
        ({"prefix": "x+x+"}, "prefix='x.x.' is not allowed: it must have at most 3 tokens"),
        ({"generator": "worst"}, "generator='worst' is not allowed"),
    )
    def test_bad_arguments_are_named(self, options, message):
        with self.assertRaisesRegex(ValueError, message):
            self._run("grammar").sample(**options)

    def test_one_text_is_no_list(self):
        with self.assertRaisesRegex(TypeError, "texts='x.x' is not allowed: it must be a list"):
            self._run("grammar").score("x+x")

    def test_loading_leaves_the_callers_randomness(self):
        drawn = set()
        for _ in range(2):
            loaded = self._run("grammar")
            drawn.add((np.random.rand(), str(loaded.generator.generate(num=50))))
        self.assertLen(drawn, 2)

    def test_before_the_first_evaluation_point_there_is_no_best_generator(self):
        path = self.directory / "early"
        experiment = small.experiment(workdir=str(path))
        with Workdir(path, experiment.config) as workdir:
            workdir.record(experiment.config, experiment.dataset.vocabulary)
            workdir.save(experiment.checkpoint, 0)
        loaded = regan_tf.load_run(path)
        self.assertLen(loaded.sample(3), 3)
        for use in (loaded.sample, loaded.export):
            with self.assertRaisesRegex(UserError, f"{path} has no best generator yet"):
                use(generator="best")

    def test_a_kill_between_configuration_and_vocabulary_leaves_a_run(self):
        experiment = small.experiment(workdir=str(self.directory / "killed"))
        lost = mock.Mock(to_json=mock.Mock(side_effect=KeyboardInterrupt))
        with (
            self.assertRaises(KeyboardInterrupt),
            Workdir(self.directory / "killed", experiment.config) as workdir,
        ):
            workdir.record(experiment.config, lost)
        with Workdir(self.directory / "killed", experiment.config) as workdir:
            workdir.record(experiment.config, experiment.dataset.vocabulary)

    def test_metrics_are_arrays_over_the_iterations(self):
        loaded = self._run("grammar")
        summary = json.loads((loaded.path / "summary.json").read_text(encoding="utf-8"))
        self.assertAllEqual(loaded.metrics["iteration"], [0, 1])
        self.assertAllClose(loaded.metrics["goodness"][0], summary["start"]["goodness"])
        self.assertAllEqual(np.isnan(loaded.metrics["log_variance"]), [True, False])

    def test_it_is_exported_without_its_texts(self):
        loaded = self._run("text")
        path = loaded.export(self.directory / "export")
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        self.assertEqual(path, self.directory / "export/regan-reinforce_loo-texts-word/1")
        recorded = [r for r in loaded.records if r.get("nll") is not None][-1]
        self.assertEqual(manifest["metrics"], recorded)
        served = tf.saved_model.load(str(path)).signatures["score"]
        texts = ["one red end", "two sky"]
        self.assertAllClose(served(tf.constant(texts))["log_prob"], loaded.score(texts), 1e-4)

    def test_a_damaged_vocabulary_is_named(self):
        copy = self.directory / "damaged"
        shutil.copytree(self.directory / "grammar", copy)
        (copy / "vocabulary.json").write_text("{", encoding="utf-8")
        with self.assertRaisesRegex(UserError, "damaged/vocabulary.json cannot be read"):
            regan_tf.load_run(copy)

    def test_a_run_from_before_the_vocabulary_was_kept_asks_its_data(self):
        copy = self.directory / "old"
        shutil.copytree(self.directory / "grammar", copy)
        (copy / "vocabulary.json").unlink()
        self.assertEqual(regan_tf.load_run(copy).vocabulary, self._run("grammar").vocabulary)


if __name__ == "__main__":
    tf.test.main()
