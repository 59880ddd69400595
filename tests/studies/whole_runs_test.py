"""Memory and start-up of whole runs, as the benchmark tells them."""

import subprocess

import tensorflow as tf

from regan_tf.studies import whole_runs
from tests.training.small import SMALL


class WholeRunsTest(tf.test.TestCase):
    def test_memory_is_told_of_each_tenth_of_a_run(self):
        options = SMALL | {"estimator": "reinforce", "pretrain_epochs": 0, "d_steps": 1}
        found = whole_runs.memory(20, **options)
        self.assertEqual(list(found), list(range(2, 21, 2)))
        self.assertAllInRange(list(found.values()), 100, 100_000)  # TensorFlow has hundreds of MB

    def test_the_start_is_told_by_wall_and_processor(self):
        figures = whole_runs.startup(1, ("-c", "sum(range(3_000_000))"))
        self.assertEqual(list(figures), ["wall", "CPU"])
        for found in figures.values():
            one, other, ratio = found.values()
            self.assertGreater(one, other)  # TensorFlow takes seconds
            self.assertNear(ratio, other / one, 1e-9)

    def test_a_job_that_fails_is_no_figure(self):
        with self.assertRaises(subprocess.CalledProcessError):
            whole_runs.startup(1, ("-c", "1 / 0"))


if __name__ == "__main__":
    tf.test.main()
