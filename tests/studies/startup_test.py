"""The start of a run, as the benchmark tells it."""

import subprocess

import pytest
import tensorflow as tf

from regan_tf.studies import startup


@pytest.mark.slow
class StartupTest(tf.test.TestCase):
    def test_the_start_is_told_by_wall_and_processor(self):
        figures = startup.seconds(1, ("-c", "sum(range(3_000_000))"))
        self.assertEqual(list(figures), ["wall", "CPU"])
        for found in figures.values():
            one, other, ratio = found.values()
            self.assertGreater(one, other)  # TensorFlow takes seconds
            self.assertNear(ratio, other / one, 1e-9)

    def test_a_job_that_fails_is_no_figure(self):
        with self.assertRaises(subprocess.CalledProcessError):
            startup.seconds(1, ("-c", "1 / 0"))


if __name__ == "__main__":
    tf.test.main()
