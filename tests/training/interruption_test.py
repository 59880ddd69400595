"""Which signals stop a run after its step, and which at once."""

import os
import signal
import threading
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from regan_tf.training import interruption
from regan_tf.training.interruption import Interruption


class InterruptionTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        # What watched in an earlier test may still have signals to read, by this test's clock.
        for thread in threading.enumerate():
            if thread.name.endswith("(_watch)"):
                thread.join(timeout=60)
        # The module's own name, not the clock of the process, which other threads read too.
        self.clock = self.enterContext(mock.patch.object(interruption, "time")).monotonic
        self.clock.return_value = 7.0

    @parameterized.parameters(signal.SIGINT, signal.SIGTERM)
    def test_what_comes_with_the_first_one_is_the_same_and_a_later_one_stops_at_once(self, second):
        with Interruption() as stopped:
            self.assertFalse(stopped)
            signal.raise_signal(signal.SIGTERM)
            self.assertTrue(stopped)
            self.clock.return_value = 7.4
            signal.raise_signal(second)
            self.clock.return_value = 7.6
            with self.assertRaises(KeyboardInterrupt):
                signal.raise_signal(second)

    @parameterized.parameters(
        ([(7.0, "SIGTERM"), (7.002, "SIGTERM"), (7.4, "SIGINT")], False),
        ([(7.0, "SIGTERM"), (9.0, "SIGWINCH"), (9.0, "SIGCHLD")], False),
        ([(7.0, "SIGTERM"), (7.002, "SIGTERM"), (9.0, "SIGINT")], True),
        ([(7.0, "SIGWINCH"), (9.0, "SIGTERM")], False),
    )
    def test_while_python_hears_nothing_only_a_later_one_ends_the_process(self, came, ends):
        reader, writer = os.pipe()
        os.write(writer, bytes(getattr(signal, name) for _, name in came))
        os.close(writer)
        self.clock.side_effect = [time for time, name in came if name in ("SIGTERM", "SIGINT")]
        with (
            mock.patch.object(interruption, "_GRACE", 0),
            mock.patch.object(interruption, "threading") as threads,
            mock.patch.object(interruption, "os") as system,
        ):
            system.read, system.close = os.read, os.close
            # What Event.wait does, without a clock.
            threads.Event.return_value.wait.return_value = False
            Interruption(ends_process=True)._watch(reader)
        self.assertEqual(system._exit.call_args_list, [mock.call(130)] if ends else [])
        system.write.assert_called_once()  # that it stops is said once


if __name__ == "__main__":
    tf.test.main()
