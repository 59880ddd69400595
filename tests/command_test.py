"""The commands as a user runs them: subprocesses, good and bad flags, killed and resumed."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.cli import config_flags
from regan_tf.config import Config, UserError
from regan_tf.tasks.registry import task_of
from regan_tf.training import run as run_module
from regan_tf.training.checkpoints import require_checkpoint
from regan_tf.training.experiment import Experiment
from tests import held

_SMALL = [
    "--data_size=512", "--heldout_size=64", "--eval_samples=300", "--batch_size=64",
    "--iterations=12", "--eval_every=3", "--checkpoint_every=2", "--embed_dim=8",
    "--generator_dim=8", "--discriminator_dim=8", "--control_filters=4", "--d_steps=10",
]  # fmt: skip


def _command(*args, module="main"):
    return [sys.executable, "-m", f"regan_tf.{module}", *args]


def _run(*args, module="main", env=None):
    return subprocess.run(
        _command(*args, module=module), capture_output=True, text=True, check=False, env=env
    )


@pytest.mark.slow
class CommandTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def _train(self, name, *args):
        command = _command(
            *_SMALL,
            f"--workdir={self.directory / name}",
            f"--export_dir={self.directory / 'export'}",
            *args,
        )
        # Training and its export do without.
        without = self._without("tensorflow_serving", "aiohttp", "tenacity", "jinja2")
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=without
        ), self.directory / name

    def _without(self, *packages):
        """An environment in which the packages cannot be imported."""
        blocked = self.directory / "blocked"
        blocked.mkdir(exist_ok=True)
        for package in packages:
            (blocked / f"{package}.py").write_text("raise ImportError('not to be had here')")
        return os.environ | {"PYTHONPATH": f"{blocked}:{os.getcwd()}"}

    def _config(self, name, **options):
        """The configuration of `_train`, for what is tested in this process: each of its own costs
        seconds.
        """
        small = {key.lstrip("-"): int(value) for key, value in (flag.split("=") for flag in _SMALL)}
        places = {
            "workdir": str(self.directory / name),
            "export_dir": str(self.directory / "export"),
        }
        return Config(**(small | places | options)).resolved()

    def _run_here(self, name, **options):
        """The run of `_train`, in this process. Returns what it printed, and its directory."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            self.assertEqual(run_module.run(self._config(name, **options)), 0)
        return printed.getvalue(), self.directory / name

    def _records(self, run):
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in record.items() if k != "seconds"} for record in records]

    def test_a_run_leaves_what_it_promises(self):
        result, run = self._train("run", "--estimator=relax")
        self.assertEqual(result.returncode, 0, result.stderr[-2000:])
        for name in (
            "config.flags",
            "metrics.jsonl",
            "summary.json",
            "samples.txt",
            "figures/goodness.png",
            "figures/log_variance.png",
        ):
            self.assertTrue((run / name).stat().st_size, name)
        self.assertNotEmpty(list((run / "events").iterdir()))
        records = self._records(run)
        self.assertEqual(
            [r["iteration"] for r in records if r["phase"] == "adversarial"], list(range(13))
        )
        expected = {
            "phase", "iteration", "goodness", "goodness_max", "validity", "distinct", "unigram",
            "nll", "nll_excess", "log_variance", "log_variance_all", "reward",
            "discriminator_loss", "samples",
        }  # fmt: skip
        for record in records:
            self.assertEqual(set(record), expected)
        self.assertIsInstance(records[-1]["log_variance_all"], float)
        self.assertIn("python -m regan_tf.sample", result.stdout)
        self.assertTrue(
            tf.saved_model.contains_saved_model(self.directory / "export/regan-relax-3/1")
        )
        self.assertNotIn("Traceback", result.stderr)

        exported = _run(
            f"--workdir={run}",
            f"--export_dir={self.directory}/export",
            "--generator=best",
            module="export",
        )
        self.assertIn("export/regan-relax-3/2", exported.stdout, exported.stderr)
        for version, generator in ((1, "last"), (2, "best")):
            manifest = json.loads(
                (self.directory / f"export/regan-relax-3/{version}/manifest.json").read_text()
            )
            self.assertEqual((manifest["generator"], manifest["run"]), (generator, run.name))
            self.assertEqual(manifest["config"]["estimator"], "relax")
            self.assertIn("goodness", manifest["metrics"])

        arguments = [f"--workdir={run}", "--num=5", "--seed=3", "--format=jsonl"]
        without = self._without("tensorflow_probability", "nltk", "tensorboard")
        sampled = _run(*arguments, module="sample", env=without)
        self.assertEqual(sampled.returncode, 0, sampled.stderr)
        experiment = Experiment(self._config("run", estimator="relax"))
        require_checkpoint(run, experiment.checkpoint)
        tokens = [json.loads(line)["tokens"] for line in sampled.stdout.splitlines()]
        self.assertAllEqual(tokens, experiment.generator.sample(5, 3))

        before = {p: p.stat().st_mtime_ns for p in sorted(run.rglob("*"))}
        printed, _ = self._run_here("run", estimator="relax")
        self.assertIn("is finished", printed)
        self.assertEqual({p: p.stat().st_mtime_ns for p in sorted(run.rglob("*"))}, before)

        there = r"--temperature=0.5 \(there: --temperature=1.0\), --seed=4 \(there: --seed=0\)"
        with self.assertRaisesRegex(UserError, there):
            run_module.run(self._config("run", estimator="relax", temperature=0.5, seed=4))

    def test_texts_from_training_to_the_temperature_curve(self):
        sentences = [
            "the cat sat on the mat",
            "a dog ran",
            "the dog sat",
            "a cat ran on the mat",
            "one bird sang a song",
        ]
        lines = [f"{a} and {b}" for a in sentences for b in sentences] * 20
        (self.directory / "texts.txt").write_text("\n".join(lines))
        shared = [
            f"--data_file={self.directory}/texts.txt",
            "--dataset=text",
            "--seq_len=14",
            "--data_size=256",
            "--heldout_size=10",
        ]
        shared += [
            "--pretrain_epochs=20",
            "--pretrain_patience=3",
            "--pretrain_learning_rate=2e-2",
            "--iterations=4",
            "--eval_every=2",
        ]
        result, run = self._train("run", "--estimator=rebar", "--control_variate=step", *shared)
        self.assertEqual(result.returncode, 0, result.stderr[-2000:])
        self.assertIn("training and 10 held-out texts, 15 tokens", result.stdout)
        records = self._records(run)
        pretraining = [r["nll_per_token"] for r in records if r["phase"] == "pretrain"]
        adversarial = [r for r in records if r["phase"] == "adversarial"]
        self.assertAllClose(adversarial[0]["nll_per_token"], min(pretraining), rtol=1e-6)
        self.assertEqual(["bleu_4" in r for r in adversarial], [True, False, True, False, True])
        for name in ("likelihood.png", "bleu.png", "log_variance.png"):
            self.assertTrue((run / "figures" / name).stat().st_size, name)
        self.assertIn("--data_sha256=", (run / "config.flags").read_text())

        self.assertLessEqual(
            set((run / "samples.txt").read_text().split()), {"<unk>", *" ".join(lines).split()}
        )
        output = self.directory / "curve"
        curve = _run(
            str(run),
            "--num=50",
            "--temperatures=0.5,1",
            "--frechet",
            f"--output={output}",
            module="temperature_curve",
        )
        self.assertEqual(curve.returncode, 0, curve.stderr[-2000:])
        points = json.loads((output / "curve.json").read_text())["curves"]["rebar"]
        self.assertEqual([p["temperature"] for p in points], [0.5, 1.0])
        self.assertAllClose(
            points[1]["nll"],
            json.loads((run / "summary.json").read_text())["last"]["nll"],
            rtol=1e-5,
        )
        self.assertGreater(points[0]["self_bleu_2"], points[1]["self_bleu_2"])
        self.assertRegex(curve.stdout, r"\nfrechet +\d")
        self.assertTrue((output / "temperature_curve.png").stat().st_size)
        reported = _run(str(run), f"--output={self.directory}/report", module="report")
        self.assertIn("texts (words)", reported.stdout)
        self.assertIn(
            "Self-BLEU".lower(), (self.directory / "report/index.html").read_text().lower()
        )

        (self.directory / "texts.txt").write_text("\n".join(lines[:-1]))
        with self.assertRaisesRegex(UserError, "they have changed"):
            task_of(config_flags.read_run(run)).load()

    def test_a_run_that_was_killed_and_interrupted_ends_with_the_same_numbers(self):
        # Fewer d-steps than an epoch, so that the data's position within an epoch must be found
        # again too.
        options = {"estimator": "relax", "d_steps": 5, "export_generator": "none"}
        _, reference = self._run_here("reference", **options)
        run = self.directory / "run"
        places = [f"--workdir={run}", f"--export_dir={self.directory / 'export'}"]
        arguments = [*_SMALL, *(f"--{name}={value}" for name, value in options.items()), *places]

        process = self._held_at(7, arguments)
        with self.assertRaisesRegex(UserError, f"--workdir={run} is in use by another process"):
            run_module.run(self._config("run", **options))
        process.kill()
        process.communicate()
        self.assertEqual([r["iteration"] for r in self._records(run)][-1], 7)

        process = self._held_at(9, arguments)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate()
        self.assertEqual(process.returncode, 130)
        self.assertEqual([r["iteration"] for r in self._records(run)][-1], 9)
        local = f"--export_dir={self.directory / 'export'} --export_generator=none"
        self.assertIn(
            f"python -m regan_tf.main --flagfile={run}/config.flags --workdir={run} {local}", output
        )

        resumed = _run(
            f"--flagfile={run}/config.flags", f"--workdir={run}", "--export_generator=none"
        )
        self.assertEqual(resumed.returncode, 0, resumed.stderr[-2000:])
        self.assertIn("going on in", resumed.stdout)
        self.assertEqual(self._records(run), self._records(reference))
        for name in ("samples.txt", "config.flags"):
            self.assertEqual((run / name).read_text(), (reference / name).read_text())

    def _held_at(self, iteration, arguments):
        """A run in a process of its own, which has stopped itself after the iteration."""
        process = subprocess.Popen(
            held.command(iteration, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        held.wait_until_held(process)
        return process

    def test_a_finished_run_goes_on_with_more_iterations_as_if_never_stopped(self):
        """Also where its end is damaged: from the checkpoint before."""
        options = {"estimator": "rebar", "export_generator": "none"}
        _, run = self._run_here("longer", iterations=5, **options)
        self._run_here_after_damage("longer", iterations=9, **options)
        _, reference = self._run_here("at_once", iterations=9, **options)
        self.assertEqual(self._records(run), self._records(reference))
        self.assertEqual(json.loads((run / "summary.json").read_text())["iterations"], 9)

    def _run_here_after_damage(self, name, **options):
        """As `_run_here`, after the newest checkpoint and the last record are cut short."""
        run = self.directory / name
        newest = max((run / "checkpoints").iterdir())
        data = next(newest.glob("state.data*"))
        os.truncate(data, data.stat().st_size - 100)
        os.truncate(run / "metrics.jsonl", (run / "metrics.jsonl").stat().st_size - 9)
        with contextlib.redirect_stderr(io.StringIO()) as warned:
            self._run_here(name, **options)
        told = f"warning: checkpoint {newest} cannot be read .*: the one before it is taken\n"
        self.assertRegex(warned.getvalue(), told)

    @parameterized.parameters(
        (["--estimator=rebarr"], r"estimator=rebarr.*<mle\|reinforce\|.*\|reinmax\|.*>"),
        (["--seq_len=2"], "error: --seq_len=2 is not allowed: it must be at least 3"),
        (["--temperature=0"], "error: --temperature=0.0 is not allowed: it must be above 0"),
        (["--d_steps=0"], "error: --d_steps=0 contradicts --estimator=rebar"),
        (["--temprature=1"], "Unknown command line flag 'temprature'. Did you mean: temperature"),
        (
            ["--batch_size=100000"],
            "error: --batch_size=100000 is not allowed: at most --data_size=10000",
        ),
        (
            ["--workdir=/dev/null/run"],
            "error: --workdir=/dev/null/run cannot be written: Not a directory",
        ),
        (["rebar"], "error: 'rebar' is not a flag"),
    )
    def test_bad_flags_are_one_line_and_exit_not_zero(self, args, message):
        result = _run(
            *args,
            *([] if any("workdir" in a for a in args) else [f"--workdir={self.directory / 'run'}"]),
        )
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stderr, message)
        self.assertNotIn("Traceback", result.stderr)

    @parameterized.parameters(
        ({"reward": "tests.problems:nothing"}, "--reward=tests.problems:nothing is not there"),
        (
            {"reward": "tests.problems:first_token"},
            "--reward=tests.problems:first_token does not serve",
        ),
        ({"workdir": "/usr"}, "--workdir=/usr is not empty and holds no run"),
    )
    def test_what_a_run_finds_bad_is_named_by_its_flag(self, options, message):
        """In this process: how a command shows such an error is tested above."""
        with self.assertRaisesRegex(UserError, f"^{message}"):
            run_module.run(self._config("run", **options))

    def test_diverging_run_stops_with_its_step_and_keeps_the_last_checkpoint(self):
        """In this process: how a command shows it is tested with sweeps."""
        with self.assertRaisesRegex(
            UserError, r"at adversarial iteration \d+ .* is nan.*the last good checkpoint is in"
        ):
            run_module.run(self._config("run", generator_learning_rate=1e38, checkpoint_every=1))
        self.assertNotEmpty(list((self.directory / "run/checkpoints").iterdir()))

    def test_a_run_that_diverges_at_once_has_no_checkpoint_to_name(self):
        with self.assertRaisesRegex(UserError, "pre-training minibatch .*; there is no checkpoint"):
            run_module.run(self._config("run", pretrain_learning_rate=1e38, pretrain_epochs=1.0))

    def test_help_reads_without_tensorflow(self):
        without = self._without("tensorflow", "tensorflow_probability", "keras")
        result = subprocess.run(
            _command("--help"), capture_output=True, text=True, check=False, env=without
        )
        self.assertIn("--estimator: <mle|reinforce|", result.stdout)
        self.assertIn("Trains a sequence GAN", result.stdout)
        self.assertIn("Temperature lambda", result.stdout)
        refused = subprocess.run(
            _command(), capture_output=True, text=True, check=False, env=without
        )
        # The test can fail: TensorFlow is not to be had.
        self.assertIn("not to be had here", refused.stderr)

    @parameterized.parameters(
        ("export", "--workdir=/dev/null"),
        ("client", "--version=99999999999999999999"),
        ("compare", "--estimators=nothing"),
        ("temperature_curve", "--temperatures=0"),
        ("benchmark_rewards", "--workers=0"),
        ("benchmark_serving", "--workdir=/dev/null", "--model_dir=export"),
    )
    def test_a_bad_flag_is_refused_by_its_name(self, module, flag, *others):
        refused = _run(flag, *others, module=module)
        self.assertEqual(refused.returncode, 1)
        self.assertIn(flag.split("=")[0], refused.stderr)
        self.assertNotIn("Traceback", refused.stderr)

    @parameterized.parameters("sample", "sweep", "report", "benchmark")
    def test_the_other_commands_explain_themselves_and_refuse_what_they_cannot_use(self, module):
        self.assertIn(f"python -m regan_tf.{module}", _run("--help", module=module).stdout)
        wrong = {
            "sample": "--workdir=/dev/null",
            "sweep": "--sweep=/dev/null",
            "report": "/dev/null",
            "benchmark": "--seq_len=1",
        }
        flag = wrong[module]
        refused = _run(flag, module=module)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn(flag.split("=")[0].lstrip("-"), refused.stderr)
        self.assertNotIn("Traceback", refused.stderr)
