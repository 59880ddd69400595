"""Bad values of every flag of every command: each is refused in a line that names the flag."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import tensorflow as tf

from regan_tf.__main__ import COMMANDS
from regan_tf.cli import config_flags
from regan_tf.config import Config

# What else a command must be given, for its flags to be looked at.
_OTHERS = {
    "sample": "--workdir=run",
    "export": "--workdir=run",
    "serve": "--model_dir=model",
    "client": "generate",
    "sweep": "--sweep=sweep.toml --dry_run",
    "report": "run",
    "temperature_curve": "run",
    "benchmark_serving": "--workdir=run --model_dir=model",
}


@pytest.mark.slow
class BadFlagsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for made in ("run", "model/1"):
            (self.directory / made).mkdir(parents=True)
        flagfile = config_flags.to_text(Config().resolved())
        (self.directory / "run" / config_flags.FILE_NAME).write_text(flagfile)
        (self.directory / "sweep.toml").write_text("seeds = 1")

    def test_they_are_refused_in_a_line_that_names_the_flag(self):
        commands = [[module, _OTHERS.get(module, "")] for module in COMMANDS.values()]
        arguments = " + ".join(map(" ".join, commands)).split()
        script = Path(__file__).with_name("bad_flags.py")
        result = subprocess.run(
            [sys.executable, script, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            env=os.environ | {"PYTHONPATH": str(script.parents[2])},
        )
        self.assertEqual(result.stderr, "")
        found = json.loads(result.stdout)
        self.assertCountEqual(found, COMMANDS.values())
        for module, (counts, wrong) in found.items():
            with self.subTest(command=module):
                self.assertGreaterEqual(min(counts.values()), 60)
                self.assertEqual(wrong, [])


if __name__ == "__main__":
    tf.test.main()
