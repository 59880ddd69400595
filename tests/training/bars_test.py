"""The progress bars: one for each phase, at the step that the run has come to."""

import contextlib
import dataclasses
import io
from unittest import mock

import tensorflow as tf
import tqdm
from absl.testing import parameterized

from regan_tf.config import Config
from regan_tf.tasks.registry import task_of
from regan_tf.training import bars
from regan_tf.training.progress import Progress


class BarsTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.config = Config(
            estimator="reinforce", data_size=640, batch_size=64, pretrain_epochs=1, iterations=2
        ).resolved()
        self.progress = Progress(task_of(self.config), 640)

    @contextlib.contextmanager
    def _bars(self):
        """The bars, and a list that their lines are in at the end."""
        lines = []
        with (
            contextlib.redirect_stderr(io.StringIO()) as stderr,
            bars.Bars(self.config, self.progress, "goodness") as shown,
        ):
            yield shown, lines
        lines += stderr.getvalue().replace("\r", "\n").splitlines()

    def test_each_phase_has_its_bar_with_the_last_figures_known(self):
        with self._bars() as (shown, lines):
            self.progress.count_pretraining(6)
            shown.show(None)
            self.progress.count_pretraining(4)
            shown.show({"goodness": 0.1, "reward": None})
            self.progress.count_iteration()
            shown.show({"goodness": 0.2, "reward": None})
            for record in ({"goodness": 0.3, "reward": 0.5}, {"reward": 0.625}):
                self.progress.count_iteration()
                shown.show(record)
        pretraining, adversarial = (
            [line for line in lines if line.startswith(name)]
            for name in ("pre-training:", "reinforce:")
        )
        self.assertRegex(pretraining[-1], r"100%.* 10/10 .*, goodness=0\.100\]$")
        self.assertRegex(adversarial[0], " 0/2 ")
        self.assertRegex(adversarial[-1], r"100%.* 2/2 .*, goodness=0\.300, reward=0\.625\]$")

    def test_calls_are_shown_where_there_is_a_budget(self):
        options = {"reward": "mine:reward", "reward_calls": 400}
        self.config = dataclasses.replace(self.config, **options)
        self.progress = Progress(task_of(self.config), 640)
        self.progress.count_pretraining(10)
        self.progress.count_iteration()
        with self._bars() as (shown, lines):
            self.progress.count_iteration()
            self.progress.count_calls(100)
            shown.show({"reward": 0.5})
        self.assertRegex(lines[-1], r"^reinforce: +25%.* 100/400 .*call.*reward=0\.500\]$")

    def test_a_run_that_goes_on_begins_where_it_was(self):
        self.progress.count_pretraining(10)
        self.progress.count_iteration()
        self.progress.count_iteration()
        with self._bars() as (_, lines):
            pass
        self.assertRegex(lines[-1], r"^reinforce: +50%.* 1/2 ")

    @parameterized.parameters(("tqdm.notebook", 0.1), ("tqdm.std", 10))
    def test_a_widget_moves_and_a_log_gets_a_line_now_and_then(self, module, seconds):
        kind = type("Bar", (tqdm.tqdm,), {"__module__": module})
        with mock.patch.object(bars, "tqdm", kind), self._bars() as (shown, _):
            self.assertEqual(shown._bar.mininterval, seconds)


if __name__ == "__main__":
    tf.test.main()
