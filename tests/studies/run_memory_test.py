"""Memory of a run, as the benchmark tells it."""

import tensorflow as tf

from regan_tf.studies import run_memory
from tests.training.small import SMALL


class RunMemoryTest(tf.test.TestCase):
    def test_memory_is_told_of_each_tenth_of_a_run(self):
        options = SMALL | {"estimator": "reinforce", "pretrain_epochs": 0, "d_steps": 1}
        found = run_memory.resident(20, **options)
        self.assertEqual(list(found), list(range(2, 21, 2)))
        self.assertAllInRange(list(found.values()), 100, 100_000)  # TensorFlow has hundreds of MB


if __name__ == "__main__":
    tf.test.main()
