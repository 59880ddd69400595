"""The oracle task: its flags, data and metrics, and runs of it to the report."""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.cli import config_flags
from regan_tf.config import Config, UserError
from regan_tf.studies import grouping, page, results
from regan_tf.tasks import oracle_law
from regan_tf.tasks.oracle import Oracle, OracleMetrics
from regan_tf.tasks.registry import task_of
from regan_tf.training import records
from regan_tf.training import run as running

_SMALL = {
    "vocab_size": 12, "oracle_dim": 4, "seq_len": 4, "data_size": 64, "heldout_size": 20,
    "test_size": 80, "eval_samples": 40, "batch_size": 8, "embed_dim": 4, "generator_dim": 4,
    "discriminator_dim": 4,
}  # fmt: skip


def _config(**options):
    return Config(**({"dataset": "oracle"} | _SMALL | options)).resolved()


class OracleTest(tf.test.TestCase, parameterized.TestCase):
    def test_training_heldout_and_test_data_are_its_own(self):
        data = task_of(_config()).load()
        sizes = [x.shape for x in (data.real, data.heldout, data.law.test)]
        self.assertEqual(sizes, [(64, 4), (20, 4), (80, 4)])
        self.assertNotAllEqual(data.real[:20], data.heldout)
        self.assertNotAllEqual(data.law.test[:20], data.heldout)
        self.assertEqual(data.vocabulary.to_text(np.array([[0, 11, 3, 0]])), ["0 11 3 0"])
        self.assertAllEqual(data.vocabulary.encode(["0 11 3 0"], 4), [[0, 11, 3, 0]])
        self.assertEqual((data.vocabulary.end, data.vocabulary.unknown), (None, None))

    def test_a_file_says_how_many_words_there_are(self):
        file = Path(self.enterContext(tempfile.TemporaryDirectory())) / "oracle.npz"
        np.savez(file, **oracle_law.parameters(_config(vocab_size=7)))
        given = {"oracle_file": str(file), "oracle_dim": 32}
        for vocab_size in (5_000, 7):
            task = task_of(_config(**given, vocab_size=vocab_size))
            completed = task.completed(data := task.load())
            self.assertLen(data.vocabulary, 7)
            self.assertEqual((completed.vocab_size, len(completed.data_sha256)), (7, 64))
            self.assertLen(task_of(completed).vocabulary(), 7)
        with self.assertRaisesRegex(UserError, "--vocab_size=8 contradicts .*, which has 7 words"):
            task_of(_config(**given, vocab_size=8)).load()

        np.savez(file, **oracle_law.parameters(_config(vocab_size=7, oracle_seed=1)))
        with self.assertRaisesRegex(UserError, "oracle.npz: the parameters are not those that the"):
            task_of(completed).load()

    def test_a_path_becomes_absolute(self):
        config = _config(oracle_file="some.npz", oracle_dim=32)
        self.assertEqual(config.oracle_file, str(Path.cwd() / "some.npz"))

    @parameterized.parameters(
        ({"dataset": "grammar", "oracle_dim": 8}, "--oracle_dim=8 needs --dataset=oracle"),
        ({"dataset": "pydoc", "test_size": 9}, r"--test_size=9 needs .* \(now pydoc\)"),
        ({"oracle_file": "a.npz", "oracle_seed": 2}, "--oracle_seed=2 contradicts --oracle_file"),
        ({"test_size": 900}, "--eval_samples=1000 is not allowed: at most --test_size=900"),
        ({"oracle_scale": 0.0}, "--oracle_scale=0.0 is not allowed"),
        ({"metric": "nll_test"}, "--metric=nll_test"),  # nothing is chosen by the test data
        (
            {"metric": "kl_generator_data"},
            "--metric=kl_generator_data is not allowed",
        ),  # or the law
    )
    def test_what_does_not_fit_is_refused(self, options, message):
        given = {"dataset": "oracle"} | options
        with self.assertRaisesRegex(UserError, message):
            Config(**given).resolved()

    def test_by_default_it_is_the_benchmarks_size(self):
        config = Config(dataset="oracle").resolved()
        sizes = [config.vocab_size, config.seq_len, config.data_size, config.generator_dim]
        self.assertEqual((*sizes, config.metric), (5_000, 20, 10_000, 32, "nll"))
        self.assertEqual(config.model_name, "regan-reinforce_loo-oracle-20")

    def test_metrics(self):
        data = task_of(_config()).load()
        metrics = OracleMetrics(data, 4)
        found = metrics.describe(np.array([[0, 0, 1, 2], [0, 0, 1, 2], [1, 1, 1, 0]]))
        self.assertEqual(found, {"distinct": 2 / 3, "samples": 3})
        self.assertEqual(metrics.of_likelihood(6.0), {"nll": 6.0, "nll_per_token": 1.5})
        ideal = metrics.ideal(40)
        self.assertEqual(ideal["nll_oracle"], data.law.entropy)
        self.assertEqual((ideal["js"], ideal["kl_data_generator"]), (0.0, 0.0))
        self.assertTrue(0 < ideal["distinct"] <= 1)

    def test_a_level_that_is_not_reached_is_no_number(self):
        task = task_of(_config())
        found = task.more_scores({"nll_test_at_8": 8.5, "nll_test_mixed_at_8": None}, [])
        self.assertEqual(found["nll_test_at_8"], 8.5)
        self.assertTrue(np.isnan(found["nll_test_mixed_at_8"]))
        self.assertIsInstance(task, Oracle)


@pytest.mark.slow
class RunTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def _config(self, name, iterations, **options):
        return _config(
            iterations=iterations, eval_every=2, pretrain_epochs=2.0, d_steps=1,
            workdir=str(self.directory / name), export_dir=str(self.directory / "export"),
            **options,
        )  # fmt: skip

    def _command(self, module, *arguments):
        command = [sys.executable, "-m", f"regan_tf.{module}", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return done.stdout

    def _run(self, name, iterations, **options):
        with contextlib.redirect_stdout(io.StringIO()) as output:
            self.assertEqual(running.run(self._config(name, iterations, **options)), 0)
        return output.getvalue(), self._records(name)

    def _records(self, name):
        return [{**r, "seconds": 0} for r in records.read(self.directory / name)]

    def test_it_resumes_is_sampled_reported_and_has_its_curve(self):
        config = self._config("parts", 2)
        flags = [config_flags.to_flag(config, name) for name in _SMALL | {"dataset": 0}]
        flags += [
            config_flags.to_flag(config, name)
            for name in ("iterations", "eval_every", "pretrain_epochs", "d_steps", "workdir")
        ]
        self._command("main", *flags, "--export_generator=none")
        printed, parts = self._run("parts", 4, export_generator="none")
        self.assertEqual(parts, self._run("whole", 4)[1])
        with_error = r" +\d\.\d{4} \+- 0\.\d+"
        self.assertRegex(printed, rf"\nnll_test({with_error}){{3}} +\d\.\d+\n")
        self.assertNotIn("nll_test_at_8", printed)  # so far from this oracle

        whole = self.directory / "whole"
        lines = (whole / "samples.txt").read_text().splitlines()
        self.assertLen(lines, 40)
        for line in lines:
            self.assertRegex(line, r"^(\d|1[01])( (\d|1[01])){3}$")
        (text,) = regan_tf.load_run(whole).sample(1, prefix="11 3")
        self.assertRegex(text, r"^11 3 \d+ \d+$")
        self.assertTrue(any((self.directory / "export").rglob("saved_model.pb")))
        for name in ("likelihood.png", "divergence.png"):
            self.assertTrue((whole / "figures" / name).stat().st_size, name)
        summary = json.loads((whole / "summary.json").read_text())
        self.assertLen(summary["temperature_curve"]["last"], 10)

        groups = grouping.grouped(results.read([whole])[0])
        ((name, members),) = groups.items()
        self.assertEqual(name, "oracle of 12 words, length 4")
        table = page.score_table(members)
        self.assertContainsSubset(["NLL test", "NLL oracle"], table.printed.headers)
        report = self.directory / "report"
        report.mkdir()
        pictures = page.draw(groups, report)
        context = {"paths": ["whole"], "unfinished": 0, "generator": "last"}
        written = page.write(report, groups, {name: table}, pictures, **context)
        self.assertIn("KL(data || G)", written.read_text(encoding="utf-8"))

        curve = self.directory / "curve"
        printed = self._command("temperature_curve", whole, f"--output={curve}")
        self.assertRegex(printed, r"\nreinforce_loo .* \d\.\d{3} \+- 0\.\d{3}")
        points = json.loads((curve / "curve.json").read_text())["curves"]["reinforce_loo"]
        self.assertLen(points, 10)
        self.assertTrue((curve / "temperature_curve.png").stat().st_size)


if __name__ == "__main__":
    tf.test.main()
