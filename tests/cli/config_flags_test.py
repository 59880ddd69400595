"""Flags of a run that starts from another."""

import contextlib
import tempfile
from pathlib import Path

import tensorflow as tf

from regan_tf.cli import config_flags
from regan_tf.config import Config, UserError


class FileTest(tf.test.TestCase):
    def test_a_file_that_lost_lines_is_refused(self):
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        file, config = directory / config_flags.FILE_NAME, Config(seed=3).resolved()
        first, *lines = config_flags.to_text(config).splitlines(keepends=True)
        for kept in range(1, len(lines), 9):
            file.write_text(first + "".join(lines[:kept]))
            told = f"{kept} flags where its first line tells of {len(lines)}"
            with self.assertRaisesRegex(UserError, f"--workdir={directory} .*{told}"):
                config_flags.read_run(directory)
        for whole in (first, "# Repeats this run: as earlier versions wrote it\n"):
            file.write_text(whole + "".join(lines))
            found = config_flags.read_run(directory)
            self.assertEqual(config_flags.to_text(found), first + "".join(lines))


class StartTest(tf.test.TestCase):
    def test_a_path_may_be_repeated_as_it_was_typed(self):
        directory = Path(self.enterContext(tempfile.TemporaryDirectory())).resolve()
        self.enterContext(contextlib.chdir(directory))
        first = Config(dataset="oracle", oracle_file="oracle.npz").resolved()
        Path("config.flags").write_text(config_flags.to_text(first))
        values = {"dataset": "oracle", "start_from": "."}
        for given in ("oracle.npz", f"{directory}/oracle.npz", ""):
            found = config_flags.resolved(values | {"oracle_file": given})
            self.assertEqual(found.oracle_file, f"{directory}/oracle.npz")
        with self.assertRaisesRegex(UserError, "/other.npz contradicts --start_from=., whose"):
            config_flags.resolved(values | {"oracle_file": "other.npz"})


if __name__ == "__main__":
    tf.test.main()
