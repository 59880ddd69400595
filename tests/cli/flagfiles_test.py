"""Flagfiles by name, and within each other."""

import contextlib
import os
import tempfile
from pathlib import Path

import tensorflow as tf
from absl.testing import parameterized

from regan_tf.cli.flagfiles import expanded, found
from regan_tf.config import UserError


class FlagfilesTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory())).resolve()
        self.enterContext(contextlib.chdir(self.directory))

    def _write(self, name, text):
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    @parameterized.parameters("recipe_3", "recipe_3.flags")
    def test_a_configuration_is_found_by_name_with_those_within_it(self, name):
        flags = expanded(["--seed=1", f"--flagfile={name}", "--iterations=2"])
        self.assertEqual([flags[0], flags[-1]], ["--seed=1", "--iterations=2"])
        self.assertIn("--seq_len=3", flags)
        self.assertFalse([flag for flag in flags if "flagfile" in flag or flag.startswith("#")])

    def test_a_file_within_a_file_is_looked_for_beside_it_first(self):
        self._write("sub/outer.flags", "# shared\n\n--flagfile=inner.flags\n// more\n--seed=2\n")
        self._write("sub/inner.flags", "--iterations=1\n")
        self._write("inner.flags", "--iterations=9\n")
        expected = ["--iterations=1", "--seed=2"]
        self.assertEqual(expanded(["--flagfile=sub/outer.flags"]), expected)
        self.assertEqual(expanded(["-flagfile", str(self.directory / "sub/outer.flags")]), expected)

    def test_a_file_here_goes_before_a_configuration_of_that_name(self):
        path = self._write("recipe_3.flags", "--seed=5\n")
        self.assertEqual(found("recipe_3.flags", "flagfile"), path)

    def test_what_follows_two_dashes_is_no_flag(self):
        self.assertEqual(expanded(["--", "--flagfile=none"]), ["--", "--flagfile=none"])

    def test_bad_files_are_named(self):
        self._write("a.flags", "--flagfile=b.flags\n")
        self._write("b.flags", "--flagfile=a.flags\n")
        (self.directory / "bytes.flags").write_bytes(b"\xff")
        for name, message in (
            ("none", "--flagfile=none is not a file, nor one of .*paper_15, .*recipe_3,"),
            ("a.flags", f"--flagfile={self.directory}/a.flags contains itself"),
            ("bytes.flags", "bytes.flags cannot be read"),
        ):
            with self.assertRaisesRegex(UserError, message):
                expanded([f"--flagfile={name}"])
        with self.assertRaisesRegex(UserError, "--sweep=figure is not .*figure_4, figure_5"):
            found("figure", "sweep")

    def test_sweeps_are_found_by_name(self):
        self.assertEqual(found("figure_4", "sweep").name, "figure_4.toml")
        self.assertNotEqual(os.fspath(found("figure_4", "sweep").parent), str(self.directory))


if __name__ == "__main__":
    tf.test.main()
