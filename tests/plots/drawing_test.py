"""Pictures are drawn beside the caller's pyplot, not through it."""

import tempfile
from pathlib import Path

import matplotlib
import tensorflow as tf
from matplotlib import pyplot as plt

from regan_tf.plots import drawing


class SubplotsTest(tf.test.TestCase):
    def test_pyplot_is_left_as_it_is_and_ticks_say_all(self):
        matplotlib.rcParams["axes.formatter.useoffset"] = True
        figure, axes = drawing.subplots(figsize=(3, 2))
        axes.plot([6.0150, 6.0159])
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "figures/one.png"
            drawing.write(figure, path)
            self.assertEqual(plt.imread(path).shape, (240, 360, 4))
            self.assertEqual([file.name for file in path.parent.iterdir()], ["one.png"])
        self.assertEmpty(plt.get_fignums())
        self.assertTrue(matplotlib.rcParams["axes.formatter.useoffset"])
        self.assertEqual(axes.yaxis.get_offset_text().get_text(), "")


if __name__ == "__main__":
    tf.test.main()
