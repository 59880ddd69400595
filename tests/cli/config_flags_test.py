"""Flags of a run that starts from another."""

import contextlib
import tempfile
from pathlib import Path

import tensorflow as tf

from regan_tf.cli import config_flags
from regan_tf.config import Config, UserError


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
