"""Tasks: each says all that is asked of it, and another one is a class and an entry of a table."""

import contextlib
import io
import math
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from regan_tf import defaults
from regan_tf.config import Config, UserError
from regan_tf.networks.generator import Generator
from regan_tf.studies import grouping, page, results
from regan_tf.tasks import registry
from regan_tf.tasks.comparison import Comparison
from regan_tf.tasks.data import Dataset
from regan_tf.tasks.task import Column, Panel, RunPanel, Task
from regan_tf.tasks.text import Vocabulary
from regan_tf.training import run as running

_P = 0.9  # of "a"


class _OracleMetrics:
    """Of sequences whose distribution is known: the samples' NLL under it."""

    def describe(self, tokens):
        nll = np.where(tokens == 0, -math.log(_P), -math.log1p(-_P))
        return {"oracle_nll": float(np.mean(np.sum(nll, axis=1)))}

    def of_likelihood(self, nll):
        return {"nll": nll}

    def ideal(self, size):
        return {"oracle_nll": 1.0}


class _Oracle(Task):
    headline = "oracle_nll"
    lower_is_better = frozenset({"oracle_nll", "nll"})
    end_scores = ("oracle_nll", "nll")
    tested = (("oracle_nll", "the samples' NLL"),)
    data_fields = ("seq_len",)
    perfect_name = "the oracle's own"
    has_row_of_real = True
    columns = (Column("oracle_nll", "NLL under the oracle", printed=True), Column("nll", "NLL"))
    panels = flag_panels = tuple(
        Panel(name, f"{name} on its axis")
        for name in ("oracle_nll", "nll", "log_variance", "log_variance_all")
    )
    run_figures = (("oracle.png", (RunPanel("NLL", {"oracle_nll": "samples"}),)),)
    event_metrics = ("oracle_nll",)
    picture_prefix = "oracle_"
    explanation = "The samples' NLL under the oracle's distribution."
    name = "oracle"

    def metrics(self, dataset):
        return _OracleMetrics()

    def doubts(self, pretraining, start, ideal):
        return [f"{len(pretraining)} epoch, NLL {start['nll']:.1f}, at best {ideal['oracle_nll']}"]

    def _load(self):
        rng = np.random.default_rng(self.config.seed)
        real, heldout = (
            (rng.random([n, self.config.seq_len]) >= _P).astype(np.int32) for n in (64, 16)
        )
        return Dataset(Vocabulary(("a", "b")), real, heldout)


class TaskTest(parameterized.TestCase, tf.test.TestCase):
    def test_every_dataset_has_a_task_and_metrics(self):
        for table in (defaults.METRICS, defaults.DEFAULTS):
            self.assertEqual(list(registry.TASKS), list(table))

    @parameterized.parameters(
        {"dataset": "grammar"},
        {"dataset": "pydoc"},
        {"dataset": "uniform", "alphabet": "ACGU", "seq_len": 5},
        {
            "dataset": "oracle",
            "vocab_size": 9,
            "oracle_dim": 3,
            "seq_len": 4,
            "test_size": 60,
            "eval_samples": 60,
        },
    )
    def test_it_names_no_metric_that_a_run_does_not_have(self, dataset, **options):
        config = Config(dataset=dataset, data_size=128, **options).resolved()
        task = registry.task_of(config)
        data = task.load()
        metrics = task.metrics(data)
        end = metrics.describe(data.real[:50]) | metrics.of_likelihood(2.0)
        if data.law:
            generator = Generator(len(data.vocabulary), config.seq_len, 2, 2)
            end |= Comparison(generator, data.law).conclude(0)[0]
        record = end | dict.fromkeys(("log_variance", "log_variance_all"), 0.0)
        self.assertContainsSubset(
            {
                *defaults.METRICS[dataset],
                task.headline,
                *task.event_metrics,
                *(panel.score for panel in task.panels),
                *(b.metric for b in task.breakdowns),
                *(
                    name
                    for _, panels in task.run_figures
                    for panel in panels
                    for name in panel.curves
                ),
            },
            set(record),
        )
        summary = {"start": end, "last": end, "seconds": 1.0}
        scores = results.Run("/nowhere", config, summary, [record | {"iteration": 1}]).scores
        shown = (*task.columns, *task.flag_panels)
        self.assertContainsSubset({x.score for x in shown} | dict(task.tested).keys(), set(scores))
        self.assertContainsSubset(
            {column.statistic for column in task.columns}, set(page.STATISTICS)
        )

    def test_what_it_must_say_and_does_not_is_named(self):
        with self.assertRaisesRegex(TypeError, "^Half lacks headline, end_scores, .*columns"):

            class Half(Task):
                """Says nothing."""

    def test_what_is_better(self):
        grammar, texts = (
            registry.task_of(Config(dataset=dataset).resolved()) for dataset in ("grammar", "pydoc")
        )
        self.assertTrue(grammar.is_better("goodness", 0.9, 0.8))
        self.assertTrue(grammar.is_better("nll_excess", 0.1, 0.2))
        self.assertTrue(texts.is_better("bleu_4", 0.3, 0.2))
        for name in ("nll", "nll_per_token", "self_bleu_4"):
            self.assertFalse(texts.is_better(name, 0.3, 0.2), name)
        self.assertFalse(texts.is_better("nll", math.nan, 0.2))

    @parameterized.parameters(("grammar", None, 300), ("pydoc", 50, 50), ("pydoc", 400, 300))
    def test_texts_are_judged_beside_as_many_training_texts(self, dataset, data_size, expected):
        task = registry.task_of(
            Config(dataset=dataset, data_size=data_size, eval_samples=300, batch_size=8).resolved()
        )
        self.assertEqual(task.eval_samples(task.load()), expected)

    def test_data_are_named_apart_in_the_order_of_tasks_and_names(self):
        options = [
            {"dataset": "pydoc", "vocab_size": 9},
            {"dataset": "pydoc", "vocab_size": 50, "data_sha256": "0123456789"},
            {"dataset": "pydoc", "tokens": "char"},
            *({"seq_len": length} for length in (15, 3)),
        ]
        runs = [results.Run("/nowhere", Config(**o).resolved(), {}, []) for o in options]
        groups = grouping.grouped(runs)
        rest = "seq_len=None, data_size=None, heldout_size=None, eval_samples=2000, texts "
        words = [f"pydoc (words), vocab_size={v}, {rest}" for v in ("50", "9")]
        self.assertEqual(list(groups), [3, 15, "pydoc (chars)", words[0] + "01234567", words[1]])
        titles = [members[0].task.title(name) for name, members in groups.items()]
        self.assertEqual(titles[:3], ["Length 3", "Length 15", "pydoc (chars)"])

    def test_data_split_by_different_patterns_are_named_apart(self):
        options = {"dataset": "pydoc", "tokens": "char", "vocab_size": 50}
        configs = [Config(**options, token_pattern=p).resolved() for p in ("", "Br", "Br|Cl")]
        groups = grouping.grouped([results.Run("/nowhere", c, {}, []) for c in configs])
        starts = ("", "token_pattern=Br, ", "token_pattern=Br|Cl, ")
        expected = [f"pydoc (chars), {start}vocab_size=50, seq" for start in starts]
        names = [
            name[: len(start)]
            for name, start in zip(sorted(groups, key=len), expected, strict=True)
        ]
        self.assertEqual(names, expected)

    def test_one_text_is_too_few(self):
        file = Path(self.enterContext(tempfile.TemporaryDirectory())) / "texts.txt"
        file.write_text("a a\n", encoding="utf-8")
        config = Config(
            dataset="text",
            data_file=str(file),
            eval_file=str(file),
            estimator="mle",
            batch_size=1,
            track_variance=False,
        )
        task = registry.task_of(config.resolved())
        with self.assertRaisesRegex(UserError, "one training text is too few"):
            task.load()


class OtherTaskTest(tf.test.TestCase):
    """An oracle in the place of --dataset=pydoc."""

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.dict(registry.TASKS, {"pydoc": _Oracle}))
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))

    @pytest.mark.slow
    def test_a_class_and_an_entry_train_and_report_it(self):
        sizes = dict.fromkeys(("embed_dim", "generator_dim", "discriminator_dim"), 4)
        config = Config(
            **sizes, dataset="pydoc", estimator="reinforce", seq_len=5, batch_size=16,
            pretrain_epochs=1.0, iterations=2, eval_every=2, d_steps=1, eval_samples=30,
            generator_learning_rate=0.0001, export_generator="none",
            workdir=str(self.directory / "run"),
        ).resolved()  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()) as output:
            self.assertEqual(running.run(config), 0)
        self.assertRegex(output.getvalue(), r"\noracle_nll .*\n")
        self.assertIn("the oracle's own", output.getvalue())
        self.assertRegex(output.getvalue(), r"\nwarning: 1 epoch, NLL \d\.\d, at best 1\.0\n")
        self.assertTrue((self.directory / "run/figures/oracle.png").exists())

        groups = grouping.grouped(results.read([self.directory])[0])
        tables = {name: page.score_table(members) for name, members in groups.items()}
        self.assertEqual(
            tables["oracle"].printed.headers, ["", "seeds", "NLL under the oracle", "seconds"]
        )
        self.assertEqual(tables["oracle"].rows[-1], ["the oracle's own", "", "1.0000", "", ""])
        report = self.directory / "report"
        report.mkdir()
        pictures = page.draw(groups, report)
        self.assertEqual(pictures["oracle"], ["pydoc_1.png"])
        context = {"paths": ["run"], "unfinished": 0, "generator": "last"}
        text = page.write(report, groups, tables, pictures, **context).read_text(encoding="utf-8")
        self.assertIn(
            "<h2>oracle</h2>\n<p>The samples' NLL under the oracle's distribution.</p>", text
        )


if __name__ == "__main__":
    tf.test.main()
