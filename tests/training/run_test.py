"""A run in its directory, mostly in this process: stopped within an epoch, a disk that is full."""

import contextlib
import itertools
import json
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import pytest
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.config import Config, UserError
from regan_tf.plots import runs
from regan_tf.serving import publishing
from regan_tf.training import algorithm
from regan_tf.training import run as run_module
from regan_tf.training.workdir import Workdir

_SMALL = {
    "data_size": 640, "heldout_size": 50, "eval_samples": 100, "batch_size": 64, "embed_dim": 8,
    "generator_dim": 8, "discriminator_dim": 8, "estimator": "reinforce", "pretrain_epochs": 2.5,
    "iterations": 3, "d_steps": 2, "eval_every": 2, "checkpoint_every": 2, "export_generator":
    "none",
}  # fmt: skip


class _After:
    """An interruption that comes with the n-th question for it."""

    def __init__(self, n):
        self._left = n

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __bool__(self):
        self._left -= 1
        return self._left <= 0


class RunTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def _config(self, name, **options):
        return Config(**(_SMALL | options), workdir=str(self.directory / name)).resolved()

    def _records(self, name):
        records = [
            json.loads(line)
            for line in (self.directory / name / "metrics.jsonl").read_text().splitlines()
        ]
        return [{k: v for k, v in record.items() if k != "seconds"} for record in records]

    def _checkpoints(self, name):
        return sorted(p.name for p in (self.directory / name / "checkpoints").iterdir())

    def _stopped_after(self, groups, name, **options):
        with mock.patch.object(run_module, "Interruption", return_value=_After(groups)):
            self.assertEqual(run_module.run(self._config(name, **options)), 130)

    @parameterized.parameters(
        {},
        {
            "pretrain_patience": 1,
            "dataset": "pydoc",
            "seq_len": 12,
            "data_size": 128,
            "batch_size": 12,
        },
    )
    @pytest.mark.slow
    def test_a_run_stopped_within_an_epoch_goes_on_there_with_the_same_numbers(self, **options):
        self.assertEqual(run_module.run(self._config("reference", **options)), 0)
        # 3 + 3 + 3 + 1 minibatches an epoch
        with mock.patch.object(algorithm, "_LARGEST_GROUP", 3):
            self._stopped_after(2, "run", **options)
            self.assertEqual(self._checkpoints("run"), ["00000006"])
            self.assertEqual((self.directory / "run/metrics.jsonl").read_text(), "")
            self._stopped_after(4, "run", **options)
            self.assertEqual(self._checkpoints("run"), ["00000010", "00000016"])
        self.assertEqual([r["iteration"] for r in self._records("run")], [10])
        self.assertEqual(run_module.run(self._config("run", **options)), 0)
        self.assertEqual(self._records("run"), self._records("reference"))
        self.assertEqual(
            [r["iteration"] for r in self._records("run") if r["phase"] == "pretrain"], [10, 20, 25]
        )

    @pytest.mark.slow
    @mock.patch(
        "regan_tf.training.workdir._locked", new=mock.Mock()
    )  # else until this process ends
    def test_a_critic_and_what_it_learns_from_go_on_with_the_same_numbers(self):
        options = {"estimator": "doubly_robust", "critic_replay": 5, "pretrain_epochs": 0.5}
        options |= {"iterations": 5, "checkpoint_every": 1}
        self.assertEqual(run_module.run(self._config("whole", **options)), 0)
        self.assertEqual(run_module.run(self._config("parts", **options | {"iterations": 2})), 0)
        self.assertEqual(run_module.run(self._config("parts", **options)), 0)
        self.assertEqual(self._records("parts"), self._records("whole"))
        self.assertGreater(self._records("whole")[-1]["critic_loss"], 0)

    @parameterized.parameters(
        ({"estimator": "reinforce", "judge_prefixes": True, "discount": 0.5}, "no gradient of a"),
        ({"estimator": "all_actions_biased"}, "biased is biased .* doubly_robust, with the same"),
        ({"estimator": "straight_through"}, "straight_through is biased; reinforce"),
        ({"estimator": "rebar"}, "the paper's sequence form of rebar is biased"),
        ({"estimator": "doubly_robust"}, None),
        ({"estimator": "actor_critic"}, None),
        ({"estimator": "actor_critic", "updates_per_batch": 2}, "used again make updates biased"),
        ({"estimator": "mle"}, None),
        ({"estimator": "reinvent"}, None),
        ({"estimator": "cot"}, "cot leaves later divergences out.* cot_unbiased has them"),
        ({"estimator": "cot_unbiased"}, None),
    )
    def test_a_run_says_what_is_biased(self, options, remark):
        found = run_module._remark(Config(**options))
        self.assertRegex(found, remark) if remark else self.assertIsNone(found)

    @contextlib.contextmanager
    def _no_space(self, owner, name, call=1, file=None, left=100):
        """While the method is called for the `call`th time, files cannot grow beyond `left` bytes,
        or those more than `file` has.

        The error is then "File too large"; a full disk's comes from the same places.
        """
        original, calls = getattr(owner, name), itertools.count(1)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

        def limited(*args):
            if next(calls) == call:
                resource.setrlimit(
                    resource.RLIMIT_FSIZE, (left + (file.stat().st_size if file else 0), hard)
                )
            try:
                return original(*args)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        with mock.patch.object(owner, name, limited):
            yield

    @pytest.mark.slow
    # A run holds the lock until its process ends, and here the next is in the same one.
    @mock.patch("regan_tf.training.workdir._locked", new=mock.Mock())
    def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(self):
        """And the run goes on as if it had not been."""
        self.assertEqual(run_module.run(self._config("reference")), 0)
        path = self.directory / "run"
        export = {"export_generator": "last", "export_dir": str(self.directory / "export")}
        metrics = path / "metrics.jsonl"
        for failing, named in (
            (self._no_space(Workdir, "append_metrics", call=5, file=metrics, left=10), metrics),
            (self._no_space(Workdir, "save"), path / "checkpoints/00000028"),
            (self._no_space(Workdir, "write"), path / "samples.txt"),
            (self._no_space(runs, "plot_run"), path / "figures"),
            (
                self._no_space(publishing, "publish_run"),
                self.directory / "export/regan-reinforce-3",
            ),
        ):
            with failing, self.assertRaises(UserError) as raised:
                run_module.run(self._config("run", **export))
            message = str(raised.exception)
            self.assertStartsWith(message, f"{named} cannot be written: File too large; ")
            self.assertIn(
                f"go on with: python -m regan_tf.main --flagfile={path}/config.flags "
                f"--workdir={path}",
                message,
            )
            self.assertLen(message.splitlines(), 1)
            self.assertEqual(metrics.read_text()[-1], "\n")
            self.assertEmpty([p for p in self.directory.rglob(".*") if p.name != ".lock"])
            if named.name == "figures":
                self.assertFalse(named.exists())
        self.assertEqual(run_module.run(self._config("run", **export)), 0)
        self.assertEqual(self._records("run"), self._records("reference"))
        self.assertTrue((self.directory / "export/regan-reinforce-3/1/saved_model.pb").exists())

    def test_half_a_last_line_of_the_metrics_is_no_part_of_the_next(self):
        self._stopped_after(1, "run")
        with open(self.directory / "run/metrics.jsonl", "a") as file:
            file.write('{"phase": "pretr')
        self._stopped_after(1, "run")
        self.assertEqual([r["iteration"] for r in self._records("run")], [10, 20])

    @pytest.mark.slow
    def test_ctrl_c_in_a_long_epoch_says_at_once_that_it_stops_and_the_run_goes_on_from_there(self):
        size, batch = 19_200, 64  # 300 minibatches, in groups
        options = self._config(
            "run", data_size=size, batch_size=batch, seq_len=15, pretrain_epochs=1.0, iterations=1
        )
        names = (*_SMALL, "seq_len", "workdir")
        arguments = [
            sys.executable,
            "-m",
            "regan_tf.main",
            *(f"--{name}={getattr(options, name)}" for name in names),
        ]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        seen = b""
        while b"pre-training" not in seen:
            character = process.stderr.read(1)
            self.assertNotEqual(character, b"", seen)
            seen += character
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn(b"\nstopping after this step; press Ctrl-C again to stop at once", errors)
        self.assertIn(b"python -m regan_tf.main --flagfile=", output)
        (checkpoint,) = self._checkpoints("run")
        self.assertBetween(int(checkpoint), 1, size // batch - 1)
        self.assertEqual(run_module.run(options), 0)
        self.assertEqual([r["iteration"] for r in self._records("run")], [size // batch, 0, 1])


if __name__ == "__main__":
    tf.test.main()
