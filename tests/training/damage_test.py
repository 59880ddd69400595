"""Every file of a run damaged in turn: a run that is whole goes on, else one line says what is
wrong. In one process, without further training.
"""

import contextlib
import io
import json
import os
import random
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import pytest
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.config import Config, UserError
from regan_tf.studies import results
from regan_tf.training import run as run_module
from tests.training.small import SMALL

_OPTIONS = {
    "estimator": "reinforce", "iterations": 2, "eval_every": 2, "checkpoint_every": 1,
    "eval_samples": 50, "discriminator_dim": 4, "export_generator": "none", "track_variance": False,
    "reward": "tests.problems:plus_and_sign",
}  # fmt: skip


def _cut(file):
    os.truncate(file, file.stat().st_size // 2)


def _fill_with_noise(file):
    file.write_bytes(random.Random(1).randbytes(max(file.stat().st_size, 64)))


_DAMAGES = {
    "cut": _cut,
    "emptied": lambda file: file.write_bytes(b""),
    "deleted": Path.unlink,
    "noise": _fill_with_noise,
}
_LINES = {
    "no object": b"7\n",
    "no phase": b'{"iteration": 1, "call": 3}\n',
    "no UTF-8": b'{"phase": "\xff"}\n',
    "deep": b"[" * 100_000 + b"\n",
}


class DamageTest(tf.test.TestCase, parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.whole = cls.directory / "whole"
        with contextlib.redirect_stdout(io.StringIO()):
            run_module.run(cls._config(cls.whole))
        cls.lines = (cls.whole / "metrics.jsonl").read_bytes().splitlines(keepends=True)

    @classmethod
    def _config(cls, path, **options):
        return Config(**(SMALL | _OPTIONS | options), workdir=str(path)).resolved()

    def _copy(self):
        path = self.directory / "damaged"
        shutil.rmtree(path, ignore_errors=True)
        return Path(shutil.copytree(self.whole, path))

    def _goes_on(self, path):
        """Goes on with the run up to its first step. Returns what it warned of, and the UserError
        that refused it, "" for none.
        """
        error = ""
        with (
            mock.patch.object(run_module, "_train", return_value=False),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()) as warned,
        ):
            try:
                run_module.run(self._config(path, iterations=3))
            except UserError as raised:
                error = str(raised)
        return warned.getvalue(), error

    def _assert_whole_or_refused(self, path):
        before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
        warned, error = self._goes_on(path)
        self.assertLessEqual(max(warned.count("\n"), error.count("\n") + 1), 1)
        if error:
            self.assertIn(str(path), error)
            kept = {p: p.read_bytes() for p in before}
            self.assertEqual([p for p in before if kept[p] != before[p]], [])
            return
        count = len((path / "metrics.jsonl").read_bytes().splitlines())
        newest = int(max(p.name for p in (path / "checkpoints").iterdir()))
        # 10 minibatches of pre-training, one record of them; then iterations 0, 1 and 2.
        self.assertEqual(count, newest - 10 + 1)
        self.assertEqual((path / "metrics.jsonl").read_bytes(), b"".join(self.lines[:count]))
        self.assertEqual(bool(warned), count < len(self.lines))

    def _assert_read_or_refused(self, path):
        loaded = None

        def load():
            nonlocal loaded
            loaded = regan_tf.load_run(path)

        uses = {
            "load": load,
            "sample": lambda: loaded and loaded.sample(2),
            "metrics": lambda: loaded and loaded.metrics,
            "calls": lambda: loaded and loaded.best_sequences(2),
            "report": lambda: results.read([path]),
        }
        for name, use in uses.items():
            with self.subTest(use=name), contextlib.redirect_stderr(io.StringIO()):
                try:
                    use()
                except UserError as error:
                    self.assertLen(str(error).splitlines(), 1)

    @pytest.mark.slow
    @parameterized.parameters(
        "metrics.jsonl", "calls.jsonl", "config.flags", "vocabulary.json", "summary.json",
        "samples.txt", "best_sequences.tsv", "checkpoints/{}/state.index",
        "checkpoints/{}/state.data-00000-of-00001",
    )  # fmt: skip
    def test_damage_is_told_in_a_line_or_mended(self, name):
        newest = max(p.name for p in (self.whole / "checkpoints").iterdir())
        damages = dict(_DAMAGES)
        if name.endswith(".jsonl"):
            damages |= {
                what: lambda file, line=line: self._insert(file, line)
                for what, line in _LINES.items()
            }
        for what, damage in damages.items():
            with self.subTest(damage=what):
                path = self._copy()
                damage(path / name.format(newest))
                self._assert_read_or_refused(path)
                self._assert_whole_or_refused(path)

    def _insert(self, file, line, at=2):
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join([*lines[:at], line, *lines[at:]]))

    def test_lost_records_are_named_and_the_run_is_as_it_was(self):
        path = self._copy()
        (path / "metrics.jsonl").write_bytes(b"".join([*self.lines[:2], *self.lines[3:]]))
        _, error = self._goes_on(path)
        self.assertIn(f"{path}/metrics.jsonl lacks records: adversarial 1", error)
        with self.assertRaisesRegex(UserError, "metrics.jsonl lacks records: adversarial 1"):
            results.read([path])
        (path / "metrics.jsonl").write_bytes(b"".join([*self.lines[:2], b"{\n", *self.lines[3:]]))
        _, error = self._goes_on(path)
        self.assertIn(f"{path}/metrics.jsonl: line 3 is no record", error)

    def test_a_lost_last_record_is_made_again_from_the_checkpoint_before(self):
        path = self._copy()
        (path / "metrics.jsonl").write_bytes(b"".join(self.lines[:-1]))
        warned, error = self._goes_on(path)
        self.assertEqual(error, "")
        self.assertRegex(warned, "^warning: checkpoint .*00000013 cannot .* adversarial 2: the one")
        self.assertEqual([p.name for p in (path / "checkpoints").iterdir()], ["00000012"])

    def test_lost_last_calls_are_asked_for_again_from_the_checkpoint_before(self):
        path = self._copy()
        whole = (path / "calls.jsonl").read_bytes()
        (path / "calls.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
        with self.assertRaisesRegex(UserError, r"calls.jsonl cannot be read: it has \d+ of the "):
            regan_tf.load_run(path).calls()
        warned, error = self._goes_on(path)
        self.assertEqual(error, "")
        self.assertRegex(warned, "^warning: checkpoint .*00000013 cannot .* it has .*: the one")
        with contextlib.redirect_stdout(io.StringIO()):
            run_module.run(self._config(path))
        again, before = (regan_tf.load_run(p).calls() for p in (path, self.whole))
        self.assertEqual(again, before)

    def test_a_damaged_summary_is_written_again(self):
        path = self._copy()
        (path / "summary.json").write_text("{")
        with contextlib.redirect_stdout(io.StringIO()):
            run_module.run(self._config(path))
        written, whole = (json.loads((p / "summary.json").read_text()) for p in (path, self.whole))
        self.assertEqual(written["last"], whole["last"])

    def test_an_export_says_that_it_has_no_metrics(self):
        path = self._copy()
        self._insert(path / "metrics.jsonl", b"7\n")
        loaded = regan_tf.load_run(path)
        with contextlib.redirect_stderr(io.StringIO()) as warned:
            exported = loaded.export(self.directory / "export")
        self.assertIn("metrics.jsonl: line 3 is no record", warned.getvalue())
        manifest = json.loads((exported / "manifest.json").read_text())
        self.assertEqual((manifest["metrics"], manifest["run"]), ({}, "damaged"))
        self.assertNotIn(str(self.directory), json.dumps(manifest))


if __name__ == "__main__":
    tf.test.main()
