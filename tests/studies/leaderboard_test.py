"""The leaderboard: what is on it, what it makes of measurements, and the command."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.config import Config, UserError
from regan_tf.estimators.bias import BLOCKS
from regan_tf.estimators.laboratory import Laboratory
from regan_tf.spec import ESTIMATORS
from regan_tf.studies import bench, leaderboard, pieces
from regan_tf.studies.leaderboard import Plan
from tests.training.small import SMALL

_SETTINGS = {"draws": 200, "truth_draws": 400, "control_steps": 20, "batch_size": 32, "seed": 0}


class PlanTest(tf.test.TestCase, parameterized.TestCase):
    def test_every_estimator_of_the_mean_reward_is_on_it(self):
        measured = {bench.parse_entry(entry)[0].estimator for entry in leaderboard.ESTIMATORS}
        self.assertEqual(
            measured, {name for name, traits in ESTIMATORS.items() if traits.is_of_reward}
        )

    def test_steps_stand_behind_an_at(self):
        spec, steps = bench.parse_entry("relax:step:loo@70")
        self.assertEqual((spec.estimator, spec.leave_one_out, steps), ("relax", True, 70))
        self.assertIsNone(bench.parse_entry("relax")[1])

    @parameterized.parameters(
        ({"states": ("weak_4",)}, "--states=weak_4 is not allowed: it must be among weak_3, med"),
        ({"states": ()}, "--states must not be empty"),
        ({"estimators": ("rebar:stp",)}, "--estimators: 'rebar:stp' has the unknown option"),
        ({"estimators": ("relax@many",)}, "--estimators: 'relax@many' has no number of steps"),
        ({"estimators": ("reference",)}, "--estimators: 'reference' is not an estimate of one"),
        ({"along_runs": ("reinforce:reuse2",)}, "--along_runs: 'reinforce:reuse2' is not an est"),
        ({"along_runs": ("reinforce_loo:sobol",)}, "over rows needs iid rows"),
        ({"along_runs": ("doubly_robust@9",)}, "--along_runs=doubly_robust@9 is not allowed"),
    )
    def test_bad_names_are_refused(self, options, message):
        with self.assertRaisesRegex(UserError, message):
            Plan(**options)

    def test_the_yardstick_is_first_and_what_runs_have_is_at_states_too(self):
        plan = Plan(estimators=("rebar:step", "reinforce_loo"), along_runs=("actor_critic",))
        self.assertEqual(plan.entries, ("reinforce_loo", "rebar:step", "actor_critic"))


class MeasureTest(tf.test.TestCase):
    def _board(self, blocks, along=(1.0,)):
        """What is made of these block variances of rebar, where the yardstick's are 1 and 3, and of
        a run of each seed.
        """

        def made_up(asked, workers, name):
            def result(key):
                if name == "states":
                    return {"description": "made up", "truth": "exact"}
                if len(key) == 3:
                    return {"own": [along[key[2]]] * 20, "yardstick": [2.0] * 20}
                of_rebar = {"block_variances": blocks, "relative_time": 4.0}
                yardstick = {"block_variances": [1.0, 3.0] * 10, "relative_time": 1.1}
                return of_rebar if key[1] == "rebar" else yardstick

            return {key: result(key) for key in asked}

        plan = Plan(
            states=("weak_3",),
            estimators=("rebar",),
            runs=("recipe_3",),
            along_runs=("reinforce",),
            seeds=len(along),
        )
        with mock.patch.object(pieces, "measure", made_up):
            return leaderboard.measure(plan, "unused")

    def test_variance_is_relative_to_the_yardsticks(self):
        results = self._board([0.5, 1.5] * 10)["at_states"]
        yardstick, rebar, _ = results
        self.assertEqual([r["estimator"] for r in results], ["reinforce_loo", "rebar", "reinforce"])
        self.assertEqual((yardstick["variance"], yardstick["relative_time"]), (1.0, 1.0))
        self.assertAllClose([rebar["variance"], rebar["variance_x_time"]], [0.5, 2.0])
        self.assertBetween(rebar["variance_low"], 0.3, 0.45)
        self.assertBetween(rebar["variance_high"], 0.55, 0.8)

    def test_along_runs_it_is_over_seeds(self):
        (found,) = self._board([1.0] * 20, along=(1.0, 4.0))["along_runs"]
        self.assertAllClose(found["ratios"], [0.5, 2.0])
        shown = [found[f"variance{end}"] for end in ("", "_low", "_high")]
        self.assertAllClose(shown, [1.0, 0.5, 2.0])


class BenchTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        options = {"seq_len": 3, "pretrain_epochs": 1, "d_steps": 30} | SMALL | {"batch_size": 32}
        self.config = Config(**options).resolved()

    def _bench(self):
        return bench.Bench(self.config, _SETTINGS, self.directory / "truth.json")

    def test_both_truths_agree_with_each_other_and_with_the_exact_gradient(self):
        self.enterContext(mock.patch.object(bench, "TRUTH", "doubly_robust@30"))
        exact = self._bench()._truths
        self.assertIsNone(exact[1])
        with mock.patch.object(Laboratory, "exact", return_value=None):
            here = self._bench()
            described = here.describe()
            mean, blocks = self._bench()._truths  # kept: drawn once
        self.assertGreater(described["agreement"]["p"], 1e-3)
        self.assertEqual(blocks.shape, (BLOCKS, len(exact[0])))
        self.assertAllEqual(blocks, here._truths[1])
        error = blocks.std(axis=0, ddof=1) / np.sqrt(BLOCKS)
        self.assertLess(np.linalg.norm(mean - exact[0]), 2 * np.linalg.norm(error))
        self.assertLess(np.linalg.norm(error), 0.3 * np.linalg.norm(exact[0]))

    def test_a_biased_estimator_is_found_and_blocks_make_up_the_variance(self):
        here = self._bench()
        found = here.measure("straight_through")
        self.assertTrue(found["bias_seen"])
        self.assertLen(found["block_variances"], BLOCKS)
        self.assertGreater(min(found["block_variances"]), 0)
        self.assertGreater(found["relative_time"], 0)
        self.assertFalse(here.measure("reinforce_loo")["bias_seen"])
        json.dumps(found)


@pytest.mark.slow
class CommandTest(tf.test.TestCase):
    def _compare(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "regan_tf.compare", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    def test_a_half_done_leaderboard_goes_on(self):
        with tempfile.TemporaryDirectory() as directory:
            options = ["--leaderboard", "--states=weak_3", "--runs=recipe_3", "--run_seeds=1"]
            options += ["--run_iterations=2", "--along_runs=reinforce_loo", "--draws=40"]
            options += ["--control_steps=2", f"--output={directory}"]
            first = self._compare(*options, "--estimators=reinforce_loo")
            self.assertEqual(first.returncode, 0, first.stderr[-2000:])
            pieces = {path: path.stat().st_mtime_ns for path in Path(directory).rglob("*/*.json")}
            self.assertLen(pieces, 3)
            second = self._compare(*options, "--estimators=reinforce_loo,relax:sequence")
            self.assertEqual(second.returncode, 0, second.stderr[-2000:])
            for path, time in pieces.items():
                self.assertEqual(path.stat().st_mtime_ns, time)
            self.assertIn("| relax:sequence ", second.stdout)
            self.assertIn("along recipe_3", second.stdout)
            board = json.loads((Path(directory) / "leaderboard.json").read_text())
            self.assertLen(board["at_states"], 2)
            self.assertIn("| relax:sequence ", (Path(directory) / "leaderboard.md").read_text())
            self.assertTrue((Path(directory) / "leaderboard.png").stat().st_size)
            other = self._compare(*options, "--draws=60")
            self.assertEqual(other.returncode, 1)
            self.assertIn("was measured with draws=40, not 60", other.stderr)

    def test_flags_of_the_other_kind_are_refused(self):
        for arguments, message in (
            (["--leaderboard", "--seq_len=3"], "--seq_len has no meaning with --leaderboard"),
            (["--states=weak_3"], "--states has no meaning without --leaderboard"),
        ):
            result = self._compare(*arguments)
            self.assertEqual(result.returncode, 1)
            self.assertIn(message, result.stderr)


if __name__ == "__main__":
    tf.test.main()
