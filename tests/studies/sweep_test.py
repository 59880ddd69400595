"""Sweeps and reports as a user runs them: killed and resumed, on Ray, with failing runs; the
statistics by hand.
"""

import contextlib
import dataclasses
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from regan_tf import sweep
from regan_tf.cli import config_flags
from regan_tf.config import Config, UserError
from regan_tf.plots import comparisons
from regan_tf.studies import grid, grouping, results, statistics
from regan_tf.training import run as run_module

_SHARED = """
--data_size=512
--heldout_size=64
--eval_samples=300
--batch_size=64
--embed_dim=8
--generator_dim=8
--discriminator_dim=8
--iterations=20
--eval_every=10
"""
_GRID = """
seeds = 2
flagfile = "{directory}/shared.flags"
[[grid]]
estimator = "rebar"
temperature = [0.5, 2.0]
[[grid]]
estimator = "mle"
d_steps = 0
generator_learning_rate = {rate}
"""

_ONE_SEED = """
seeds = 1
flagfile = "{directory}/shared.flags"
"""
_ONE_FAILS = """
[[grid]]
estimator = "mle"
d_steps = 0
generator_learning_rate = [1e-2, 1e38]
"""
_REBAR = """
[[grid]]
estimator = "rebar"
temperature = 0.5
d_steps = 10
"""
_SHORT = _ONE_SEED + _ONE_FAILS
_TRIAL = _ONE_SEED + _REBAR + _ONE_FAILS
_TRIAL_ENDS = "2 of 3 runs are finished\n1 failed"


def _two_nodes(attempts=5):
    """A Ray cluster on this machine. Ray gives a node half a minute to start, which is little on a
    busy one.
    """
    from ray.cluster_utils import Cluster

    for left in reversed(range(attempts)):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=1, include_dashboard=False)
            cluster.add_node(num_cpus=1)
            return cluster
        except Exception as error:  # Ray has no narrower one for it
            cluster.shutdown()
            if not left or "timed out" not in str(error).lower():
                raise


class SweepTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def _write(self, text):
        (self.directory / "shared.flags").write_text(_SHARED)
        (self.directory / "trial.toml").write_text(text)
        return self.directory / "trial.toml"

    def _command(self, output, *arguments):
        return [
            sys.executable,
            "-m",
            "regan_tf.sweep",
            f"--sweep={self.directory}/trial.toml",
            f"--output={output}",
            *arguments,
        ]

    def _sweep(self, output, *arguments):
        return subprocess.run(
            self._command(output, *arguments), capture_output=True, text=True, check=False
        )

    def _report(self, *arguments):
        command = [sys.executable, "-m", "regan_tf.report", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def _scores(self, directory):
        """What a report makes of the runs, but for the time they took, as text: some are NaN."""
        groups = grouping.grouped(results.read([directory])[0])[3]
        return json.dumps(
            {g.label: [run.scores | {"seconds": None} for run in g.runs] for g in groups}, indent=1
        )

    def _expected_scores(self, trial):
        """The scores of the trial's runs, one by one in this process; the last fails."""
        directory = self.directory / "one_by_one"
        *good, bad = grid.read(self._write(trial), directory)
        with contextlib.redirect_stdout(io.StringIO()):
            for job in good:
                run_module.run(job.config)
            with self.assertRaisesRegex(UserError, "at adversarial iteration"):
                run_module.run(bad.config)
        return self._scores(directory)

    @pytest.mark.slow
    def test_killed_sweep_ends_with_the_table_of_an_uninterrupted_one(self):
        """In which a failing run stops no other."""
        trial = _TRIAL.format(directory=self.directory)
        expected = self._expected_scores(trial)
        rng, output = random.Random(4), self.directory / "killed"
        for kill in (self._interrupt, self._kill, self._kill_with_its_runs):
            # One run at a time: when the first writes its first line, two more must still begin.
            command = self._command(output, "--workers=1")
            with open(self.directory / "stderr.txt", "w") as stderr:
                process = subprocess.Popen(command, stderr=stderr, start_new_session=True)
            self._wait_for_a_metric(output, process)
            # Its run goes on meanwhile, but the sweep cannot end.
            process.send_signal(signal.SIGSTOP)
            time.sleep(rng.random())
            self.assertIsNone(process.poll(), "the sweep ended too early")
            kill(process)
            process.wait()
        last = self._sweep(output)
        self.assertEqual(last.returncode, 1)
        self.assertIn(_TRIAL_ENDS, last.stdout)
        self.assertRegex(
            last.stderr, r"failed: .*rate=1e\+38/0 \(exit code 1\): error: at adversarial iteration"
        )
        self.assertNotIn("Traceback", last.stderr)
        self.assertEqual(self._scores(output), expected)

        reported = self._report(output, f"--output={output}/report")
        self.assertEqual(reported.returncode, 0, reported.stderr)
        page = (output / "report/index.html").read_text()
        self.assertIn("rebar temperature=0.5", page)
        self.assertNotRegex(page, r"(src|href)=\"(?!data:)")  # self-contained
        again = self._sweep(output, "--dry_run")
        self.assertEqual(len(re.findall("^finished", again.stdout, re.MULTILINE)), 2)

    def _wait_for_a_metric(self, output, process):
        # Not rglob: what runs write and rename meanwhile makes it fail.
        def sizes():
            return {p: p.stat().st_size for p in output.glob("*/*/*/metrics.jsonl")}

        before = sizes()
        for _ in range(6000):
            time.sleep(0.05)
            if any(size > before.get(path, 0) for path, size in sizes().items()):
                return
            self.assertIsNone(process.poll(), "the sweep ended too early")
        self.fail("the sweep did not start")

    def _kill(self, process):
        """Its runs stay behind."""
        process.kill()

    def _kill_with_its_runs(self, process):
        """As when the machine goes down."""
        stats = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                stats.append(path.read_text().rpartition(")"))
        parents = {int(head.split()[0]): int(rest.split()[1]) for head, _, rest in stats}
        doomed = [process.pid]
        for parent in doomed:
            doomed += [child for child, its_parent in parents.items() if its_parent == parent]
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _interrupt(self, process):
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.wait(), 130, (self.directory / "stderr.txt").read_text()[-2000:])

    @parameterized.parameters(
        (signal.SIGINT, signal.SIG_IGN, True),  # so begin a script's jobs in the background
        (signal.SIGTERM, signal.SIG_DFL, True),
        (signal.SIGHUP, signal.SIG_DFL, True),
        (signal.SIGHUP, signal.SIG_IGN, False),  # so begins what nohup starts
    )
    def test_what_ends_it(self, number, at_start, ends):
        for kept in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, kept, signal.getsignal(kept))
        signal.signal(number, at_start)
        sweep._end_on_signals()
        with self.assertRaises(KeyboardInterrupt) if ends else contextlib.nullcontext():
            signal.raise_signal(number)

    @pytest.mark.slow
    def test_ray_cluster_of_two_nodes_gives_the_same_numbers(self):
        trial = _SHORT.format(directory=self.directory)
        expected = self._expected_scores(trial)
        cluster = _two_nodes()
        try:
            remote = self._sweep(self.directory / "remote", f"--ray_address={cluster.address}")
        finally:
            cluster.shutdown()
        self.assertIn("1 of 2 runs are finished\n1 failed", remote.stdout, remote.stderr[-2000:])
        self.assertRegex(
            remote.stderr,
            r"failed: .*rate=1e\+38/0 \(exit code 1\): error: at adversarial iteration",
        )
        self.assertEqual(self._scores(self.directory / "remote"), expected)

    @parameterized.parameters(
        ("seeds = 2\nflag = 1", "has flag, which is not known there"),
        ("seeds = 0", "seeds=0, which is not allowed"),
        ("seeds = true", "seeds=True, which is not allowed"),
        ("seeds = 1\nfirst_seed = -1", "first_seed=-1, which is not allowed"),
        ("seeds = 1\nfirst_seed = 1.0", "first_seed=1.0, which is not allowed"),
        ("[[grid]]\nestimator = 'rebar'", "seeds=None, which is not allowed"),
        ("seeds = 1\n[grid]\nestimator = 'rebar'", r"write \[\[grid\]\]"),
        ("seeds = 1\ngrid = []", r"write \[\[grid\]\]"),
        (
            "seeds = 1\n[[grid]]\ntemperature = []",
            r"temperature = \[\] in a grid, which is not allowed",
        ),
        ("seeds = 1\n[[grid]]\nseed = [1, 2]", r"seed = \[1, 2\] in a grid, which is not allowed"),
        ("seeds = 1\n[[grid]]\nworkdir = 'x'", "workdir = x in a grid, which is not allowed"),
        ("seeds = 1\nshared = 1", r"write \[shared\]"),
        (
            "seeds = 1\n[shared]\nd_steps = [1, 2]",
            r"d_steps = \[1, 2\] in \[shared\], which is not allowed",
        ),
        ("seeds = 1\n[shared]\nseed = 3", r"seed = 3 in \[shared\], which is not allowed"),
        (
            "seeds = 1\n[shared]\nstart_from = '{d_steps}'\n[[grid]]\nestimator = 'rebar'",
            r"where {d_steps} is neither {seed} nor another flag of that grid",
        ),
        ("seeds = 1\n[[grid]]\nestimator = 'rebarr'", "rebarr"),
        ("seeds = 1\n[[grid]]\ntemprature = 1", "temprature"),
        ("seeds = 1\nflagfile = 'none.flags'", "none.flags"),
        ("seeds = 1\n[[grid]]\nbatch_size = [8, 1000000]", "at most --data_size=10000"),
        (
            "seeds = 1\n[[grid]]\n[[grid]]\nestimator = 'rebar'",
            "asks for one run twice: all/0 and estimator=rebar/0",
        ),
        ("seeds = ", "TOMLDecodeError"),
    )
    def test_bad_files_are_refused_before_any_run(self, text, message):
        with self.assertRaisesRegex(UserError, message):
            grid.read(self._write(text), self.directory)

    def test_grid_is_the_product_of_its_flags_seed_by_seed(self):
        jobs = grid.read(
            self._write(_GRID.format(directory=self.directory, rate="[1e-2, 1e-3]")),
            self.directory / "runs",
        )
        names = ["estimator=rebar,temperature=0.5", "estimator=rebar,temperature=2.0"]
        names += [
            f"estimator=mle,d_steps=0,generator_learning_rate={rate}" for rate in (0.01, 0.001)
        ]
        self.assertEqual(
            [job.name for job in jobs], [f"{name}/{seed}" for seed in (0, 1) for name in names]
        )
        self.assertEqual(jobs[5].config.temperature, 2.0)
        self.assertEqual((jobs[5].config.seed, jobs[5].config.iterations), (1, 20))
        self.assertEqual(
            jobs[5].config.workdir, str(self.directory / "runs/estimator=rebar,temperature=2.0/1")
        )
        self.assertFalse(jobs[5].finished)

    def test_other_seeds_begin_where_the_file_says(self):
        jobs = grid.read(self._write("seeds = 2\nfirst_seed = 100"), self.directory / "runs")
        self.assertEqual([job.name for job in jobs], ["all/100", "all/101"])
        self.assertEqual([job.config.seed for job in jobs], [100, 101])

    def test_all_runs_have_what_is_shared_and_a_grid_may_say_otherwise(self):
        text = "seeds = 1\n[shared]\nseq_len = 15\nd_steps = 3\n[[grid]]\nd_steps = [1, 2]"
        jobs = grid.read(
            self._write(text + "\n[[grid]]\nestimator = 'relax'"), self.directory / "runs"
        )
        self.assertEqual(
            [job.name for job in jobs], ["d_steps=1/0", "d_steps=2/0", "estimator=relax/0"]
        )
        self.assertEqual([job.config.d_steps for job in jobs], [1, 2, 3])
        self.assertEqual({job.config.seq_len for job in jobs}, {15})

    def test_a_value_may_hold_the_seed_and_other_flags_of_its_grid(self):
        for name in ("reinforce_0", "reinforce_1", "rebar_0", "rebar_1"):
            (self.directory / name).mkdir()
            (self.directory / name / "config.flags").write_text(
                config_flags.to_text(Config().resolved())
            )
        start = f"{self.directory}/{{estimator}}_{{seed}}"
        jobs = grid.read(
            self._write(
                f"seeds = 2\n[[grid]]\nestimator = ['reinforce', 'rebar']\nstart_from = '{start}'"
            ),
            self.directory / "runs",
        )
        self.assertEqual(
            [job.name for job in jobs],
            [f"estimator={name}/{seed}" for seed in (0, 1) for name in ("reinforce", "rebar")],
        )
        self.assertEqual(
            [Path(job.config.start_from).name for job in jobs],
            ["reinforce_0", "rebar_0", "reinforce_1", "rebar_1"],
        )

    def test_what_holds_the_seed_names_no_directory(self):
        text = "seeds = 1\n[[grid]]\nreward = ['a_{seed}:f', 'b_{seed}:f']"
        with self.assertRaisesRegex(UserError, "two runs in one directory, all/0"):
            grid.read(self._write(text), self.directory / "runs")
        with self.assertRaisesRegex(UserError, r"{sead} is neither {seed} nor another flag"):
            grid.read(self._write("seeds = 1\n[[grid]]\ndata_file = 'a_{sead}'"), self.directory)

    def test_directory_of_another_run_is_refused_and_more_iterations_go_on(self):
        def job(iterations, extra=""):
            path = self._write(f"seeds = 1\n[[grid]]\niterations = {iterations}\n{extra}")
            (found,) = grid.read(path, self.directory)
            return dataclasses.replace(
                found, config=dataclasses.replace(found.config, workdir=str(self.directory / "run"))
            )

        (self.directory / "run").mkdir()
        self.assertFalse(job(20).finished)
        (self.directory / "run" / config_flags.FILE_NAME).write_text(
            config_flags.to_text(job(20).config)
        )
        self.assertFalse(job(20).finished)  # it has no summary yet
        (self.directory / "run/summary.json").write_text("{}")
        self.assertTrue(job(20).finished)
        self.assertFalse(job(30).finished)
        with self.assertRaisesRegex(UserError, "more iterations than --iterations=10"):
            _ = job(10).finished
        with self.assertRaisesRegex(UserError, "holds a run of another configuration: --eta=0.5 "):
            _ = job(20, "eta = 0.5").finished

    def test_report_refuses_what_holds_no_finished_run(self):
        refused = self._report()
        self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1), refused.stderr)
        self.assertIn("give directories of runs", refused.stderr)
        for path, message in (
            ("/nowhere", "/nowhere is not a directory"),
            (self.directory, "no finished run in"),
        ):
            with self.assertRaisesRegex(UserError, message):
                results.read([path])


class StatisticsTest(tf.test.TestCase):
    """On groups made by hand: no directory is read."""

    def _run(self, seed, goodness, **options):
        """A run of length 3 that rises from 0.25 to `goodness` over two iterations."""
        records = [
            {"iteration": i, "goodness": value, "log_variance": None, "log_variance_all": -float(i)}
            for i, value in enumerate((0.25, goodness / 2, goodness))
        ]
        last = {"goodness": goodness, "validity": 1.0, "distinct": 1.0, "nll_excess": 1 - goodness}
        frequencies = {"x": 0.6, "+": 0.1, "-": 0.1, "*": 0.1, "/": 0.1}
        summary = {
            "start": {"goodness": 0.25},
            "last": last | {"unigram": frequencies},
            "seconds": 1.0,
        }
        return results.Run(
            Path("/nowhere"), Config(seed=seed, **options).resolved(), summary, records
        )

    def _group(self, goodness, seeds=None):
        seeds = range(len(goodness)) if seeds is None else seeds
        return grouping.Group(
            "group", tuple(self._run(seed, g) for seed, g in zip(seeds, goodness, strict=True))
        )

    def test_scores_of_a_run(self):
        scores = self._run(0, 0.8).scores
        # The data of length three has x at two places of three.
        expected = {
            "gain": 0.55,
            "learning": 0.6,
            "unigram_error": 2 / 3 - 0.6,
            "log_variance_all": -1.0,
            "nll_excess": 0.2,
        }
        self.assertAllClose({name: scores[name] for name in expected}, expected)
        self.assertTrue(np.isnan(scores["log_variance"]))

    def test_bootstrap_interval_covers_the_mean_of_the_distribution(self):
        rng = np.random.default_rng(0)
        covered = 0
        for _ in range(200):
            _, low, high = statistics.mean_and_interval(rng.normal(3.0, 1.0, size=20))
            covered += low <= 3.0 <= high
        # The percentile bootstrap of 20 values: about 93 %.
        self.assertBetween(covered, 0.86 * 200, 0.99 * 200)

    def test_one_seed_has_no_interval(self):
        mean, low, high = statistics.mean_and_interval(np.array([[1.0, 2.0]]))
        self.assertAllEqual(mean, [1.0, 2.0])
        self.assertTrue(np.isnan(low).all() and np.isnan(high).all())

    def test_paired_differences_by_hand(self):
        base = np.array([0.1, 0.5, 0.9, 0.3, 0.7, 0.2, 0.6, 0.4])
        # All eight differences have one sign: of 2^8 sign flips two are as extreme. The third group
        # is too short to be compared.
        groups = [self._group(base + 0.05), self._group(base), self._group(base[:5])]
        found = statistics.differences(groups, "goodness")
        self.assertEqual(list(found), [(0, 1)])
        self.assertAllClose([found[0, 1].mean, found[0, 1].p], [0.05, 2 / 2**8])
        self.assertTrue(found[0, 1].significant)

    def test_only_shared_seeds_are_compared(self):
        one = self._group([0.5] * 8)
        other = self._group([0.1, 0.1, *[0.4] * 6], seeds=[20, 21, *range(6)])
        difference = statistics.differences([one, other], "goodness")[0, 1]
        self.assertEqual(difference.seeds, 6)
        self.assertAllClose(difference.mean, 0.1)

    def test_what_was_not_measured_is_not_compared(self):
        groups = [self._group([0.5] * 8), self._group([0.4] * 8)]
        self.assertEqual(statistics.differences(groups, "log_variance"), {})
        self.assertTrue(np.isnan(groups[0].mean("log_variance")).all())
        shorter = [dataclasses.replace(run, records=run.records[:2]) for run in groups[1].runs]
        groups[1] = grouping.Group("shorter", tuple(shorter))
        self.assertEqual(statistics.differences(groups, "learning"), {})
        self.assertLen(statistics.differences(groups, "goodness"), 1)

    def test_curves_are_means_over_the_iterations_that_all_seeds_have(self):
        group = self._group([0.4, 0.8])
        iterations, mean, low, high = group.curve("goodness")
        self.assertAllEqual(iterations, [0, 1, 2])
        self.assertAllClose(mean, [0.25, 0.3, 0.6])
        self.assertAllClose((low[2], high[2]), (0.4, 0.8))
        cut = dataclasses.replace(group.runs[0], records=group.runs[0].records[1:])
        self.assertAllEqual(
            grouping.Group("cut", (cut, group.runs[1])).curve("goodness")[0], [1, 2]
        )
        self.assertEmpty(group.curve("log_variance")[0])

    def test_pictures_of_seeds_that_agree_and_of_what_was_not_measured(self):
        runs = [
            self._run(seed, 0.999, temperature=t) for seed in range(10) for t in (0.1, 1.0, 10.0)
        ]
        groups = grouping.grouped(runs)[3]
        with tempfile.TemporaryDirectory() as directory:
            comparisons.plot_groups(groups, 3, Path(directory) / "groups.png")
            comparisons.plot_variance_and_learning(groups, 3, Path(directory) / "learning.png")
            comparisons.plot_against(
                "temperature",
                grouping.lines(groups)["temperature"],
                "By temperature",
                Path(directory) / "by.png",
            )
            self.assertEqual(
                {p.name for p in Path(directory).iterdir()},
                {"groups.png", "learning.png", "by.png"},
            )

    def test_correction_for_many_pairs(self):
        rng = np.random.default_rng(1)
        groups = [self._group(rng.uniform(size=10)) for _ in range(12)]
        found = statistics.differences(groups, "goodness").values()
        self.assertLen(found, 66)
        self.assertGreater(sum(d.p < 0.05 for d in found), 0)  # by chance alone
        self.assertEqual(sum(d.significant for d in found), 0)

    def test_groups_are_named_by_what_differs_from_the_default(self):
        settings = [
            {"estimator": "reinforce"},
            {"estimator": "rebar"},
            {"estimator": "rebar", "temperature": 0.1},
            {"estimator": "rebar", "control_variate": "step", "leave_one_out": True},
            {"estimator": "mle", "d_steps": 0},
        ]
        runs = [self._run(seed, 0.9, **options) for seed in (1, 0) for options in settings]
        groups = grouping.grouped(runs)[3]
        labels = [
            "reinforce",
            "rebar temperature=0.1",
            "rebar temperature=1",
            "rebar step leave-one-out temperature=1",
            "mle d_steps=0",
        ]
        self.assertEqual([g.label for g in groups], labels)
        self.assertEqual([run.config.seed for run in groups[0].runs], [0, 1])

    def test_seeds_that_start_from_the_same_seeds_of_another_group_are_one_group(self):
        runs = [
            self._run(seed, 0.9, estimator=estimator, start_from=f"/runs/mle/all/{seed}")
            for seed in (0, 1)
            for estimator in ("reinforce", "rebar")
        ]
        groups = grouping.grouped([*runs, self._run(0, 0.9, estimator="mle", d_steps=0)])[3]
        labels = [g.label for g in groups]
        self.assertLen(groups, 3)
        self.assertEqual(labels[:2], ["reinforce mle/all", "rebar mle/all"])
        self.assertEqual([run.config.seed for run in groups[0].runs], [0, 1])

    def test_seeds_that_start_from_one_run_are_one_group_and_from_two_directories_two(self):
        of_one = [self._run(seed, 0.9, start_from="/runs/mle/all/0") for seed in range(3)]
        (group,) = grouping.grouped(of_one)[3]
        self.assertLen(group.runs, 3)
        of_two = [
            self._run(seed, 0.9, start_from=f"/{name}/mle/all/{seed}")
            for seed in range(2)
            for name in ("first", "second")
        ]
        self.assertLen(grouping.grouped(of_two)[3], 2)

    def test_a_generators_size_is_one_flag(self):
        runs = [self._run(0, 0.9, generator_dim=dim) for dim in (8, 16, 32)]
        groups = grouping.grouped(runs)[3]
        self.assertTrue(groups[0].label.endswith(" generator_dim=8"), groups[0].label)
        self.assertEqual(list(grouping.lines(groups)), ["generator_dim"])

    def test_lines_join_groups_that_differ_in_one_number(self):
        runs = [
            self._run(0, 0.9, temperature=t, control_variate=c)
            for t in (1.0, 0.1, 10.0)
            for c in ("sequence", "step")
        ]
        lines = grouping.lines(grouping.grouped(runs)[3])
        self.assertEqual(list(lines), ["temperature"])
        temperatures = {
            label: [g.config.temperature for g in line]
            for label, line in lines["temperature"].items()
        }
        self.assertEqual(
            temperatures, {"rebar sequence": [0.1, 1.0, 10.0], "rebar step": [0.1, 1.0, 10.0]}
        )

    def test_lines_join_no_groups_that_differ_in_more(self):
        # Three epochs are the default of length 15, one is that of lengths 3 and 5.
        settings = [(3, 1), (5, 1), (15, 1), (3, 3), (5, 3), (15, 3)]
        runs = [
            self._run(
                0,
                0.9,
                seq_len=t,
                pretrain_epochs=float(e),
                iterations=2,
                pretrain_learning_rate=1e-3,
            )
            for t, e in settings
        ]
        lines = grouping.lines([g for groups in grouping.grouped(runs).values() for g in groups])
        self.assertEqual(list(lines), ["seq_len"])
        joined = {
            label: [g.config.seq_len for g in line] for label, line in lines["seq_len"].items()
        }
        self.assertEqual(
            joined, {"rebar pretrain_epochs=1": [3, 5, 15], "rebar pretrain_epochs=3": [3, 5, 15]}
        )
