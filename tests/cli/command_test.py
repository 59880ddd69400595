"""What the commands share: numbers that are none, and errors that are one line."""

import contextlib
import io
from unittest import mock

import tensorflow as tf
from absl import app, flags
from absl.testing import parameterized

from regan_tf.cli import command
from regan_tf.config import Config, UserError


def _flags():
    values = flags.FlagValues()
    flags.DEFINE_float("seconds", 1.0, "", flag_values=values)
    flags.DEFINE_integer("number", 1, "", flag_values=values)
    return values


class CommandTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        "seconds=nan", "seconds=inf", "seconds=-Infinity", "seconds=1e400",
        "number=99999999999999999999", "number=-2147483648",
    )  # fmt: skip
    def test_numbers_that_are_none_are_refused_by_name(self, flag):
        values = _flags()
        values(["", f"--{flag}"])
        name = flag.partition("=")[0]
        with self.assertRaisesRegex(UserError, f"^--{name}=.* is not allowed: it must be "):
            command.require_finite(values)

    def test_other_numbers_are_allowed(self):
        values = _flags()
        values(["", "--seconds=-1e308", "--number=-2147483647"])
        command.require_finite(values)

    @parameterized.parameters(
        (UserError("--x=1 is not allowed"), "error: --x=1 is not allowed\n"),
        (OSError(28, "No space left on device", "a"), "error: .* No space left on device: 'a'\n"),
        (MemoryError("40 GiB"), "error: there is not enough memory: 40 GiB\n"),
        (
            tf.errors.ResourceExhaustedError(None, None, "OOM"),
            "error: there is not enough memory: OOM\n",
        ),
    )
    def test_what_cannot_be_done_is_one_line(self, error, line):
        with mock.patch.object(app, "run") as run:
            command.run(mock.Mock(side_effect=error))
        checked = run.call_args.args[0]
        with contextlib.redirect_stderr(io.StringIO()) as told:
            self.assertEqual(checked(["command"]), 1)
        self.assertRegex(told.getvalue(), f"^{line}$")

    def test_what_is_a_defect_keeps_its_traceback(self):
        with mock.patch.object(app, "run") as run:
            command.run(mock.Mock(side_effect=KeyError("x")))
        self.assertRaises(KeyError, run.call_args.args[0], ["command"])

    @parameterized.parameters("..", ".", "../../x", "/x", "a/b", "a\0")
    def test_a_models_name_is_a_name(self, name):
        with self.assertRaisesRegex(UserError, "^--model_name=.* is not allowed: it must be one"):
            Config(model_name=name)


if __name__ == "__main__":
    tf.test.main()
