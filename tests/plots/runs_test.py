"""The pictures of one run."""

import tensorflow as tf

from regan_tf.plots import runs


class RewardFigureTest(tf.test.TestCase):
    def test_a_component_that_comes_late_is_drawn_from_there(self):
        records = [{"reward": 0.0, "calls": 10}, {"reward": 0.5, "calls": 20, "reward_size": 3.0}]
        axes = {each.get_ylabel(): each for each in runs._reward_figure(records, "run").axes}
        self.assertEqual(set(axes), {"Reward", "size"})
        (line,) = axes["size"].get_lines()
        self.assertAllEqual(line.get_xydata()[1], [20, 3.0])


if __name__ == "__main__":
    tf.test.main()
