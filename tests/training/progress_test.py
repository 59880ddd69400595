"""The counters of a run, without networks: when pre-training ends, what is best, what is over."""

import math

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.config import Config
from regan_tf.tasks.registry import task_of
from regan_tf.training.progress import Progress


def _progress(**options):
    options = {"data_size": 640, "batch_size": 64, "pretrain_epochs": 2} | options
    return Progress(task_of(Config(**options).resolved()), 640)


class ProgressTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters((0.5, 5), (1.3, 13), (2.0, 20))
    def test_pretraining_ends_after_its_minibatches_also_within_an_epoch(self, epochs, minibatches):
        progress = _progress(pretrain_epochs=epochs)
        self.assertEqual(progress.pretrain_batches, minibatches)
        progress.count_pretraining(minibatches - 1)
        self.assertTrue(progress.pretraining)
        progress.count_pretraining(1)
        self.assertFalse(progress.pretraining)

    @parameterized.parameters(
        ([3.0, 2.0, 2.5, 2.0], [True, True, False, False], False),  # twice not lower than 2
        ([3.0, math.nan, 2.0, 2.5], [True, False, True, False], True),
        ([3.0, 2.0, 1.0, 0.5, 0.4], [True] * 5, False),  # all epochs
    )
    def test_patience_ends_pretraining_after_epochs_without_a_best(self, nlls, best, goes_on):
        progress = _progress(pretrain_epochs=5, pretrain_patience=2)
        found = []
        for nll in nlls:
            self.assertTrue(progress.pretraining)
            progress.count_pretraining(10)
            found.append(progress.judge_pretraining(nll))
        self.assertEqual(found, best)
        self.assertEqual(progress.pretraining, goes_on)

    @parameterized.parameters(
        ("goodness", [0.5, 0.7, 0.7, 0.6], [True, True, False, False]),
        ("nll_excess", [0.5, 0.7, 0.4, 0.4], [True, False, True, False]),
    )
    def test_best_is_by_the_metric_and_the_first_of_equals(self, metric, values, best):
        progress = _progress(metric=metric)
        self.assertEqual(progress.best_iteration, -1)
        found = []
        for value in values:
            progress.count_iteration()
            found.append(progress.judge(value))
        self.assertEqual(found, best)
        self.assertEqual(progress.best_iteration, len(best) - 1 - best[::-1].index(True))

    @parameterized.parameters((63, True), (64, False))
    def test_over_when_a_hundred_iterations_ask_for_less_than_a_batch(self, new, is_over):
        progress = _progress(
            reward="mine:reward", estimator="reinforce", reward_calls=10_000, batch_size=64
        )
        progress.count_iteration()
        for calls in np.linspace(0, 500, 100, dtype=int).tolist() + [500] * 99:
            progress.count_iteration()
            progress.count_calls(calls)
            progress.judge_calls()
            self.assertFalse(progress.stalled)
        progress.count_iteration()
        progress.count_calls(500 + new)
        progress.judge_calls()
        self.assertEqual((progress.stalled, progress.finished), (is_over, is_over))

    def test_over_after_the_iterations_or_when_patience_is_exhausted(self):
        progress = _progress(iterations=3, patience=2)
        for value, is_finished in ((0.5, False), (0.4, False), (0.6, False), (0.5, True)):
            progress.count_iteration()
            progress.judge(value)
            self.assertEqual(progress.finished, is_finished)
        self.assertFalse(progress.converged)  # it is the third iteration
        impatient = _progress(iterations=30, patience=1)
        for value in (0.5, 0.4):
            self.assertFalse(impatient.finished)
            impatient.count_iteration()
            impatient.judge(value)
        self.assertTrue(impatient.converged)
        self.assertTrue(impatient.finished)

    def test_over_when_the_calls_are_made(self):
        progress = _progress(reward="mine:reward", reward_calls=64)
        self.assertFalse(progress.finished)
        progress.count_iteration()
        for calls, is_finished in ((63, False), (64, True)):
            progress.count_calls(calls)
            self.assertEqual(progress.finished, is_finished)

    def test_rewards_are_averaged_from_one_evaluation_point_to_the_next(self):
        progress = _progress(reward="mine:reward")
        self.assertTrue(progress.judge(progress.take_reward()))  # before the first update
        progress.count_iteration()
        for rewards, mean, is_best in (([-3.0, -1.0], -2.0, True), ([-4.0, 0.5], -1.75, True)):
            for reward in rewards:
                progress.count_reward(reward)
            found = progress.take_reward()
            self.assertEqual(found, mean)
            self.assertEqual(progress.judge(found), is_best)
        self.assertFalse(progress.judge(progress.take_reward()))

    def test_before_iteration_0_nothing_is_over(self):
        self.assertFalse(_progress(iterations=0).finished)

    def test_a_checkpoint_holds_all_of_it(self):
        options = {"pretrain_patience": 2, "patience": 1, "reward": "mine:reward"}
        progress, resumed = (_progress(metric="goodness", **options) for _ in range(2))
        progress.count_calls(30)
        progress.count_reward(0.5)
        progress.count_pretraining(10)
        progress.judge_pretraining(2.0)
        progress.count_pretraining(10)
        for value in (0.5, 0.4):
            progress.count_iteration()
            progress.judge(value)
        path = tf.train.Checkpoint(**progress.checkpoint_parts()).write(
            f"{self.get_temp_dir()}/state"
        )
        restored = tf.train.Checkpoint(**resumed.checkpoint_parts()).read(path)
        restored.assert_consumed()
        for name in ("pretrained", "iteration", "best_iteration", "converged", "steps", "calls"):
            self.assertEqual(getattr(resumed, name), getattr(progress, name), name)
        self.assertEqual(resumed.steps, 22)
        self.assertEqual(resumed.take_reward(), 0.5)
        self.assertFalse(resumed.judge_pretraining(2.0))
        self.assertFalse(resumed.judge(0.5))


if __name__ == "__main__":
    tf.test.main()
