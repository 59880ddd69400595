"""What people see of runs: the report's layout and numbers, the figures' titles and ticks,
TensorBoard's events.
"""

import itertools
import re
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from tensorboard.plugins.hparams import metadata

from regan_tf.config import Config, UserError
from regan_tf.defaults import BLEU_ORDERS
from regan_tf.plots import comparisons, drawing, runs, temperature
from regan_tf.studies import grouping, page, results, statistics
from regan_tf.tasks.registry import task_of
from regan_tf.training import run as running


def _run(directory, seed, **options):
    """A run of length 3 over two iterations, whose scores at the end are small numbers."""
    config = Config(seed=seed, **options).resolved()
    goodness = (0.25, 0.4, 0.8)
    records = [
        {
            "phase": "adversarial",
            "iteration": i,
            "goodness": g,
            "log_variance": -1.0,
            "log_variance_all": -float(i),
        }
        for i, g in enumerate(goodness)
    ]
    last = {"goodness": 0.8, "validity": 0.00021, "distinct": 1.0, "nll_excess": 0.0000432}
    frequencies = {"x": 0.6, "+": 0.1, "-": 0.1, "*": 0.1, "/": 0.1}
    summary = {"start": {"goodness": 0.25}, "last": last | {"unigram": frequencies}, "seconds": 1.0}
    path = Path(directory) / f"{seed}-{options}"
    path.mkdir()
    (path / "samples.txt").write_text("x+x\nx-x\n", encoding="utf-8")
    return results.Run(path, config, summary, records)


class PageTest(parameterized.TestCase, tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self._directory = tempfile.TemporaryDirectory()
        self.addCleanup(self._directory.cleanup)

    def _groups(self, seeds, batch_sizes=(8, 32, 128)):
        runs = [
            _run(self._directory.name, seed, batch_size=b, d_steps=1)
            for seed in range(seeds)
            for b in batch_sizes
        ]
        return grouping.grouped(runs)

    def _page(self, groups):
        output = Path(self._directory.name) / "report"
        output.mkdir()
        pictures = page.draw(groups, output)
        context = {"paths": ["runs"], "unfinished": 0, "generator": "last"}
        tables = {name: page.score_table(members) for name, members in groups.items()}
        return page.write(output, groups, tables, pictures, **context).read_text(encoding="utf-8")

    def _figure(self, draw, *arguments):
        """What a function of `plots` draws."""
        with mock.patch.object(drawing, "write") as write:
            draw(*arguments)
        figure = write.call_args.args[0]
        figure.draw_without_rendering()
        return figure

    def test_page_fits_a_phone(self):
        text = self._page(self._groups(6))
        self.assertIn('<meta name="viewport" content="width=device-width, initial-scale=1">', text)
        tables = text.count("<table")
        self.assertGreater(tables, 3)  # scores, differences, frequencies, samples
        self.assertLen(re.findall(r'<div class="scrolls"><table', text), tables)
        self.assertLen(re.findall(r"</table></div>", text), tables)
        self.assertRegex(text, r"\.scrolls \{ overflow-x: auto")

    def test_a_flag_that_a_run_cannot_do_without_is_shown(self):
        steps = {"reward": "tests.problems:many_plus", "estimator": "reinforce"}
        options = [{"d_steps": 5}, steps | {"d_steps": 0}]
        runs = [_run(self._directory.name, 0, **o) for o in options]
        labels = [group.label for group in grouping.grouped(runs)[3]]
        self.assertEqual(
            labels, ["reinforce tests.problems:many_plus d_steps=0", "rebar d_steps=5"]
        )

    def test_labels_have_flags_that_change_no_generator_only_where_nothing_else_differs(self):
        options = [{"d_steps": 5}, {"d_steps": 10, "eval_every": 50}]
        runs = [_run(self._directory.name, 0, **o) for o in options]
        labels = [group.label for group in grouping.grouped(runs)[3]]
        self.assertEqual(labels, ["rebar d_steps=5", "rebar d_steps=10"])
        runs.append(_run(self._directory.name, 0, d_steps=5, eval_every=50))
        labels = [group.label for group in grouping.grouped(runs)[3]]
        self.assertEqual(
            labels,
            [
                "rebar d_steps=5 eval_every=10",
                "rebar d_steps=5 eval_every=50",
                "rebar d_steps=10 eval_every=50",
            ],
        )

    def test_methods_are_compared_over_several_rewards(self):
        rewards, rates = ("tests.problems:many_plus", "tests.problems:pluses"), (0.25, 0.5)
        runs = []
        for (place, reward), rate, seed in itertools.product(enumerate(rewards), rates, range(3)):
            options = {"reward": reward, "estimator": "reinforce", "generator_learning_rate": rate}
            run = _run(self._directory.name, seed, **options)
            run.summary["last"]["reward"] = 10 * place + rate + seed / 100
            runs.append(run)
        self.assertLen(grouping.grouped(runs)[3], 4)
        groups = grouping.grouped(runs, ["reward"])
        quarter, half = groups[3]
        self.assertEqual([len(quarter.runs), len(half.runs)], [6, 6])
        self.assertNotIn("tests.problems", quarter.label + half.label)
        self.assertAllClose(sorted(half.scores("reward").values())[3:], [10.5, 10.51, 10.52])
        difference = statistics.differences(groups[3], "reward")[0, 1]
        self.assertEqual(difference.seeds, 6)
        self.assertAllClose(difference.mean, -0.25)  # as only pairs of one reward and seed have it
        text = self._page(groups)
        self.assertIn("<th>runs</th>", text)
        self.assertIn("mean over 6 runs", comparisons.over_seeds(groups[3]))
        self.assertIn("<code>--reward</code> are in one group", text)
        scores = (Path(self._directory.name) / "report/scores.json").read_text(encoding="utf-8")
        self.assertIn('"2 tests.problems:pluses"', scores)

    def test_methods_are_compared_over_several_data(self):
        digests = ("aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff")
        options = {"dataset": "oracle", "estimator": "reinforce"}
        runs = []
        for (seed, digest), rate in itertools.product(enumerate(digests), (0.25, 0.5)):
            data = {"oracle_seed": seed, "data_sha256": digest}
            run = _run(self._directory.name, 0, generator_learning_rate=rate, **options, **data)
            run.summary["last"] |= dict.fromkeys(run.task.end_scores, 10 * seed + rate)
            run.summary.update(start={"nll_test": 0.0}, ideal={"nll_test": float(seed)})
            runs.append(run)
        data = {"oracle_file": "published.npz", "data_sha256": "9999"}
        published = _run(self._directory.name, 0, **options, **data)
        self.assertEqual(len(grouping.grouped([*runs, published])), 7)
        pooled = grouping.grouped([*runs, published], ["oracle_seed"])
        self.assertCountEqual([len(groups) for groups in pooled.values()], [2, 1])
        drawn = grouping.grouped(runs, ["oracle_seed"])
        self.assertEqual(list(drawn), ["oracle of 5000 words, length 20 and 5 others"])
        (groups,) = drawn.values()
        self.assertEqual([len(group.runs) for group in groups], [6, 6])
        difference = statistics.differences(groups, "nll_test")[0, 1]
        self.assertAllClose(difference.mean, -0.25)  # as only pairs of one oracle have it
        oracle = page.score_table(groups).rows[-1]
        self.assertIn("2.5", oracle[3])  # the mean of the six

    @parameterized.parameters("seed", "rewards", "seq_len", "workdir")
    def test_runs_are_pooled_over_flags_that_set_them_apart(self, name):
        with self.assertRaisesRegex(UserError, f"--over={name}: runs can be pooled over a flag"):
            grouping.grouped([_run(self._directory.name, 0)], [name])

    def test_rewards_have_their_scores_tests_and_a_picture_over_calls(self):
        runs = []
        for seed, rate in itertools.product(range(6), (0.25, 0.5)):
            options = {"reward": "mine:reward", "estimator": "reinforce"}
            run = _run(self._directory.name, seed, generator_learning_rate=rate, **options)
            for record in run.records[1:]:
                calls = record["iteration"] * (100 + 10 * seed)
                tops = {f"top_{k}": rate * calls / 100 for k in (1, 10, 100)}
                record |= {"calls": calls, "reward": rate} | tops
            run.summary["calls"] = {"calls": 200, "top_1": 1.0, "top_10": rate, "top_100": 0.5}
            run.summary["calls"]["auc_top_10"] = rate + seed / 1000
            run.summary["last"]["reward"] = rate / 2
            runs.append(run)
        without = _run(self._directory.name, 0, d_steps=1)
        groups = grouping.grouped([*runs, without])
        table = page.score_table(groups[3])
        headers = ["reward", "best", "top 10", "top 100", "AUC of top 10", "calls"]
        self.assertEqual(table.headers[2:8], headers)
        self.assertEqual([row[7] for row in table.rows], ["200", "200", "nan"])
        text = self._page(groups)
        self.assertIn("Paired differences: area under the curve of the 10 best", text)
        self.assertIn('<td class="worse">-0.2500</td>', text)
        self.assertTrue((Path(self._directory.name) / "report/reward_length_3.png").exists())
        calls, mean, low, high = groups[3][0].curve_over_calls("top_10")
        self.assertEqual((calls[0], calls[-1]), (150, 300))  # all have begun; the last one ends
        self.assertAllClose(mean[-1], 0.25 * np.mean([2, 2.2, 2.4, 2.6, 2.8, 3]))  # they stay
        for values in (mean, low, high):
            self.assertAllClose(values[calls <= 200], 0.25 * calls[calls <= 200] / 100)
        self.assertEqual(groups[3][0].curve_over_calls("reward")[0][-1], 200)  # that all seeds have
        self.assertEmpty(groups[3][-1].curve_over_calls("top_10")[0])
        self.assertNotIn("AUC", page.score_table(grouping.grouped([without])[3]).headers)

    @parameterized.parameters((1, False), (2, True))
    def test_one_seed_has_no_interval(self, seeds, expected):
        groups = self._groups(seeds)
        self.assertEqual("interval" in self._page(groups), expected)
        figures = [
            self._figure(comparisons.plot_groups, groups[3], 3, "a.png"),
            self._figure(comparisons.plot_variance_and_learning, groups[3], 3, "b.png"),
        ]
        titles = [figures[0].get_suptitle(), figures[1].axes[0].get_title()]
        self.assertEqual(
            ["interval" in titles[0], "mean" in titles[1].split("better")[1]], [expected, expected]
        )
        self.assertEqual(titles[0].startswith("Length 3: 1 seed"), not expected)

    @parameterized.parameters(
        (0.0000432, "4.32e-05"),
        (0.001234, "0.00123"),
        (0.25, "0.2500"),
        (-0.00321, "-0.00321"),
        (12.34567, "12.3457"),
        (0.0, "0"),
        (-1e-17, "0"),
        (float("nan"), "nan"),
    )
    def test_small_numbers_keep_their_digits(self, value, expected):
        self.assertEqual(page._number(value), expected)

    def test_scores_show_small_numbers(self):
        table = page.score_table(self._groups(1)[3])
        cells = dict(zip(table.headers, table.rows[0], strict=True))
        self.assertEqual(cells["NLL excess"], "4.32e-05")
        self.assertEqual(cells["validity"], "0.00021 (0.00021)")

    def test_flag_axis_has_the_values_that_occur(self):
        lines = grouping.lines(self._groups(1)[3])["batch_size"]
        figure = self._figure(
            comparisons.plot_against, "batch_size", lines, "By batch_size", "by.png"
        )
        for axes in figure.axes:
            self.assertEqual(
                [label.get_text() for label in axes.get_xticklabels()], ["8", "32", "128"]
            )
            self.assertEmpty(axes.get_xticks(minor=True))

    def test_iterations_are_integers(self):
        figure = self._figure(comparisons.plot_groups, self._groups(1)[3], 3, "groups.png")
        for axes in figure.axes:
            self.assertAllEqual(axes.get_xticks() % 1, np.zeros(len(axes.get_xticks())))

    def test_legend_holds_long_names(self):
        groups = [
            grouping.Group("a name " * (12 + 20 * i) + str(i), g.runs)
            for i, g in enumerate(self._groups(1)[3])
        ]
        figure = self._figure(comparisons.plot_groups, groups, 3, "groups.png")
        box = figure.legends[0].get_window_extent()
        self.assertGreaterEqual(box.x0, 0)
        self.assertLessEqual(box.x1, figure.bbox.width)

    def test_bleu_has_a_line_for_training_texts(self):
        scores = {f"{m}_{n}": 0.1 * n for m in ("bleu", "self_bleu") for n in BLEU_ORDERS}
        record = {"nll": 1.0, "nll_per_token": 1.0, "log_variance": None} | scores
        records = [record | {"phase": "adversarial", "iteration": i} for i in range(3)]
        with mock.patch.object(drawing, "write") as write:
            task = task_of(Config(dataset="pydoc").resolved())
            ideal = {name: value + 0.3 for name, value in scores.items()}
            runs.plot_run(records, task, self._directory.name, ideal)
        figure = next(
            call.args[0] for call in write.call_args_list if call.args[1].name == "bleu.png"
        )
        for axes, measure in zip(figure.axes, ("bleu", "self_bleu"), strict=True):
            lines = {line.get_label(): line.get_ydata()[0] for line in axes.get_lines()}
            for n in BLEU_ORDERS:
                self.assertAllClose(lines[f"n = {n}, training texts"], ideal[f"{measure}_{n}"])

    def test_temperatures_are_written_at_their_own_curve(self):
        def curve(level):
            return [
                {
                    "temperature": t,
                    "self_bleu_4": t / 4,
                    "bleu_4": level + t / 9,
                    "nll_per_token": level,
                }
                for t in (0.5, 1.0, 2.0)
            ]

        ideal = {"self_bleu_4": 0.3, "bleu_4": 0.4}
        curves = {"low": curve(0.1), "high": curve(0.8), "high again": curve(0.8)}
        figure = self._figure(temperature.plot_temperature_curves, curves, ideal, 4, "curve.png")
        for axes, quality in zip(figure.axes, ("bleu_4", "nll_per_token"), strict=True):
            found = {(text.get_text(), text.get_color(), *text.xy) for text in axes.texts}
            # The third curve lies on the second: its labels would overlap.
            expected = {
                (f"{p['temperature']:g}", color, p["self_bleu_4"], p[quality])
                for color, name in (("C0", "low"), ("C1", "high"))
                for p in curves[name]
            }
            self.assertEqual(found, expected)


@pytest.mark.slow
class EventsTest(tf.test.TestCase):
    def _read(self, directory):
        """The events' values: a list of (step, tag, value), the value a tensor's or a
        hyperparameter plugin's.
        """
        found = []
        for path in sorted(directory.iterdir()):
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                for value in event.summary.value:
                    content = value.metadata.plugin_data.content
                    if value.tag == metadata.SESSION_START_INFO_TAG:
                        found.append(
                            (
                                event.step,
                                value.tag,
                                metadata.parse_session_start_info_plugin_data(content),
                            )
                        )
                    elif value.tag == metadata.EXPERIMENT_TAG:
                        found.append(
                            (event.step, value.tag, metadata.parse_experiment_plugin_data(content))
                        )
                    else:
                        found.append((event.step, value.tag, tf.make_ndarray(value.tensor)))
        return found

    def test_events_hold_samples_numbers_and_hyperparameters(self):
        sizes = dict.fromkeys(("embed_dim", "generator_dim", "discriminator_dim"), 4)
        with tempfile.TemporaryDirectory() as directory:
            config = Config(
                **sizes, estimator="reinforce", data_size=128, heldout_size=16, batch_size=64,
                eval_samples=50, d_steps=1, iterations=5, eval_every=2, learn_eta=False,
                temperature=0.5, export_generator="none", workdir=directory,
            ).resolved()  # fmt: skip
            self.assertEqual(running.run(config), 0)
            events = self._read(Path(directory) / "events")
        samples = {
            (step, tag): value.item().decode()
            for step, tag, value in events
            if tag.endswith("/samples")
        }
        self.assertEqual(
            set(samples),
            {(2, "pretrain/samples"), *((i, "adversarial/samples") for i in (0, 2, 4))},
        )
        for text in samples.values():
            lines = text.splitlines()
            self.assertLen(lines, 8)
            for line in lines:  # indented: Markdown's way of saying that "*" stands for itself
                self.assertRegex(line, r"^    [x+*/-]{3}$")
        self.assertNotEqual(samples[0, "adversarial/samples"], samples[4, "adversarial/samples"])

        steps = [step for step, tag, _ in events if tag == "adversarial/goodness"]
        self.assertEqual(steps, list(range(6)))
        (start,) = [value for _, tag, value in events if tag == metadata.SESSION_START_INFO_TAG]
        self.assertEqual(start.hparams["estimator"].string_value, "reinforce")
        self.assertEqual(start.hparams["temperature"].number_value, 0.5)
        self.assertEqual(start.hparams["learn_eta"].WhichOneof("kind"), "bool_value")
        self.assertNotIn("workdir", start.hparams)
        (experiment,) = [value for _, tag, value in events if tag == metadata.EXPERIMENT_TAG]
        tags = {tag for _, tag, _ in events}
        self.assertContainsSubset([info.name.tag for info in experiment.metric_infos], tags)
        self.assertEqual({info.name for info in experiment.hparam_infos}, set(start.hparams))


if __name__ == "__main__":
    tf.test.main()
