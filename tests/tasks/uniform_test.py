"""The uniform task: its data and metrics against values worked out by hand, and runs of it."""

import contextlib
import io
import math
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.config import Config, UserError
from regan_tf.networks.generator import Generator
from regan_tf.studies import grouping, page, results
from regan_tf.tasks import uniform
from regan_tf.tasks.registry import task_of
from regan_tf.training import records
from regan_tf.training import run as running

_REWARD = f"{__name__}:share_of_g"


@regan_tf.text_reward
def share_of_g(texts):
    return [text.count("G") / len(text) for text in texts]


def _config(**options):
    given = {"dataset": "uniform", "alphabet": "ACGU", "seq_len": 6} | options
    return Config(**given).resolved()


class UniformTest(tf.test.TestCase, parameterized.TestCase):
    def test_letters_are_equally_likely_and_follow_from_the_seed(self):
        tokens = uniform.draw(10_000, 6, 4, [3, 0])
        self.assertEqual((tokens.shape, tokens.dtype), ((10_000, 6), np.int32))
        shares = [np.mean(tokens == i, axis=0) for i in range(4)]
        # Six standard errors of a share of 10,000.
        self.assertAllClose(shares, np.full([4, 6], 0.25), atol=6 * math.sqrt(0.1875 / 10_000))
        self.assertAllEqual(tokens, uniform.draw(10_000, 6, 4, [3, 0]))
        self.assertNotAllEqual(tokens, uniform.draw(10_000, 6, 4, [4, 0]))

    def test_training_and_heldout_data_differ_and_read_as_letters(self):
        data = task_of(_config(data_size=50, heldout_size=20)).load()
        self.assertEqual((data.real.shape, data.heldout.shape), ((50, 6), (20, 6)))
        self.assertNotAllEqual(data.real[:20], data.heldout)
        self.assertEqual(data.vocabulary.to_text(np.array([[0, 1, 2, 3, 3, 0]])), ["ACGUUA"])
        self.assertIsNone(data.vocabulary.end)

    def test_without_a_reward_there_is_a_note(self):
        self.assertRegex(task_of(_config()).load().remarks[0], "^note: .*give a --reward$")
        self.assertEmpty(task_of(_config(reward="mine:reward")).load().remarks)

    def test_metrics(self):
        metrics = uniform.UniformMetrics("AB", 3)
        found = metrics.describe(np.array([[0, 0, 1], [0, 0, 1], [1, 1, 1], [0, 1, 0]]))
        self.assertEqual(found["unique"], 0.75)
        self.assertEqual(found["unigram"], {"A": 0.5, "B": 0.5})
        self.assertAlmostEqual(metrics.of_likelihood(3.0)["nll_excess"], 3 - 3 * math.log(2))
        # Of 8 sequences two draws give 2 - 1/8 different ones.
        self.assertAlmostEqual(metrics.ideal(2)["unique"], 1.875 / 2)
        self.assertEqual(uniform.UniformMetrics("ACGU", 600).ideal(1_000)["unique"], 1.0)

    def test_a_generator_begins_near_the_uniform_law(self):
        # So that no pre-training is needed: 0.0023 nats at 36 letters.
        keras.utils.set_random_seed(0)
        tokens = uniform.draw(500, 36, 4, 0)
        nll = -np.mean(np.sum(Generator(4, 36).log_prob(tf.constant(tokens)), axis=1))
        excess = uniform.UniformMetrics("ACGU", 36).of_likelihood(float(nll))["nll_excess"]
        self.assertBetween(excess, -0.05, 0.05)

    @parameterized.parameters(
        ({"alphabet": ""}, "--dataset=uniform needs --alphabet"),
        ({"seq_len": None}, "--dataset=uniform needs --seq_len"),
        ({"alphabet": "A"}, "--alphabet=A is not allowed: .* two printable letters"),
        ({"alphabet": "ABA"}, "--alphabet=ABA is not allowed: .* each once"),
        ({"alphabet": "A B"}, "--alphabet=A B is not allowed: .* no white space"),
        ({"dataset": "grammar"}, r"--alphabet=ACGU needs --dataset=uniform \(now grammar\)"),
        ({"iterations": 0}, "--iterations=0 contradicts --pretrain_epochs=0"),
    )
    def test_what_does_not_fit_is_refused(self, options, message):
        with self.assertRaisesRegex(UserError, message):
            _config(**options)

    def test_its_name_has_letters_and_length(self):
        self.assertEqual(task_of(_config()).name, "ACGU, length 6")
        self.assertEqual(_config().model_name, "regan-reinforce_loo-uniform-6")


@pytest.mark.slow
class RunTest(tf.test.TestCase):
    def _run(self, directory, iterations):
        config = _config(
            reward=_REWARD, iterations=iterations, eval_every=2, eval_samples=40, batch_size=8,
            data_size=64, heldout_size=16, embed_dim=4, generator_dim=4, workdir=str(directory),
            export_dir=str(directory.parent / "export"),
        )  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(running.run(config), 0)
        return [{**r, "seconds": None} for r in records.read(directory)]

    def test_it_resumes_samples_is_exported_and_reported(self):
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        whole = self._run(directory / "whole", 4)
        self._run(directory / "parts", 2)
        self.assertEqual(self._run(directory / "parts", 4), whole)
        self.assertEqual([r["phase"] for r in whole], ["adversarial"] * 5)

        loaded = regan_tf.load_run(directory / "whole")
        (text,) = loaded.sample(1, prefix="GGG")
        self.assertRegex(text, "^GGG[ACGU]{3}$")
        self.assertTrue(any((directory / "export").rglob("saved_model.pb")))
        self.assertTrue((directory / "whole/figures/spread.png").exists())

        groups = grouping.grouped(results.read([directory / "whole"])[0])
        table = page.score_table(groups["ACGU, length 6"])
        self.assertContainsSubset(["NLL excess", "unique"], table.printed.headers)
        self.assertLen(set(table.headers), len(table.headers))


if __name__ == "__main__":
    tf.test.main()
