"""What a run says at its end."""

import contextlib
import io
import math
import pathlib
import tempfile

import tensorflow as tf
from absl.testing import parameterized

from regan_tf.cli import command
from regan_tf.config import Config
from regan_tf.tasks.registry import task_of
from regan_tf.training import outcome


def _config(**options):
    return Config(seq_len=3, data_size=128, heldout_size=16, **options).resolved()


class OutcomeTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ({"goodness": 0.9}, {"goodness": 1.0}, False),
        ({"goodness": 0.89}, {"goodness": 1.0}, True),
        ({"goodness": math.nan}, {"goodness": 1.0}, True),
        ({"goodness": 0.0}, {"goodness": 0.0}, False),
        ({"reward": 0.8}, {"reward": 0.9}, True),
        ({"reward": 0.85}, {"reward": 0.9}, False),
        ({"reward": -2.1}, {"reward": -2.0}, False),
        ({"reward": -2.3}, {"reward": -2.0}, True),
        ({"reward": 0.3}, {"reward": None}, False),
        ({"nll_excess": 0.29}, {"nll_excess": 0.0}, False),
        ({"nll_excess": 0.31}, {"nll_excess": 0.0}, True),
        ({"nll": 41.9}, {"nll": 40.0, "nll_per_token": 2.0}, False),  # 20 tokens
        ({"nll": 42.1}, {"nll": 40.0, "nll_per_token": 2.0}, True),
    )
    def test_collapsed_is_a_tenth_worse_or_a_tenth_of_a_nat_a_token(self, last, best, expected):
        (metric,) = last
        more = {"nll": {"dataset": "pydoc"}, "reward": {"reward": "mine:reward"}}.get(metric, {})
        config = _config(metric=metric, **more)
        self.assertEqual(outcome._has_collapsed(task_of(config), last, best), expected)

    @parameterized.parameters(
        (None, ""),
        (128, "128"),
        (0.0, "0.0000"),
        (12.34567, "12.3457"),
        (0.5, "0.5000"),
        (0.0000321, "3.21e-05"),
        (-0.001234, "-0.00123"),
    )
    def test_figures_of_a_table_keep_their_digits(self, value, expected):
        self.assertEqual(command.figure(value), expected)

    @parameterized.parameters("last", "best", "none")
    def test_the_report_names_a_collapse_and_small_figures_are_no_zeros(self, which):
        config = _config(export_generator=which, export_dir="elsewhere")
        summary = {
            name: {"goodness": 0.5, "distinct": 0.000123}
            for name in ("start", "last", "best", "ideal")
        }
        summary["last"]["goodness"] = 0.001234
        summary |= {
            "iterations": 30,
            "best_iteration": 20,
            "converged": False,
            "seconds": 1.0,
            "export": None,
        }
        with contextlib.redirect_stdout(io.StringIO()) as output:
            outcome.report(task_of(config), task_of(config).load(), "runs/1", summary, ["x"])
        self.assertRegex(output.getvalue(), r"\ndistinct  .* 0\.000123 ")
        places = "--workdir=runs/1 --export_dir=elsewhere"
        warning = (
            "that of iteration 20, by --metric=goodness: 0.00123 against 0.5000. "
            f"This exports the best:\n  python -m regan_tf.export {places} --generator=best\n"
        )
        (self.assertNotIn if which == "best" else self.assertIn)(warning, output.getvalue())

    def test_lost_variety_is_told_of(self):
        start = {"unique": 0.9, "diversity": 0.8}
        for last, told in (
            ({"unique": 0.46, "diversity": 0.41}, ""),
            ({"unique": 0.44, "diversity": 0.41}, "unique 0.4400 (at iteration 0 0.9000). "),
            ({"unique": 0.46, "diversity": 0.0}, "diversity 0.0000 (at iteration 0 0.8000). "),
            ({}, ""),
        ):
            with contextlib.redirect_stdout(io.StringIO()) as output:
                outcome._warn_of_lost_variety({"start": start, "last": last})
            self.assertEqual("lost their variety" in output.getvalue(), bool(told))
            self.assertIn(told, output.getvalue())

    def test_a_version_of_another_run_is_told_of(self):
        directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (directory / "1").mkdir()
        (directory / "1/manifest.json").write_text('{"run": "other"}')
        for run, version, told in (("runs/1", 2, True), ("runs/other", 2, False), ("x", 1, False)):
            with contextlib.redirect_stdout(io.StringIO()) as output:
                outcome._tell_of_another_run(directory / str(version), run)
            self.assertEqual("version 1 there is of other" in output.getvalue(), told)


if __name__ == "__main__":
    tf.test.main()
