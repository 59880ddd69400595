"""The rewards in the table at a run's end: those by which its generators were judged."""

from types import SimpleNamespace
from unittest import mock

import tensorflow as tf

from regan_tf.config import Config
from regan_tf.tasks.registry import task_of
from regan_tf.training import algorithm, closing
from regan_tf.training.progress import Progress
from tests.training.small import experiment


def _ended(updates):
    """An experiment that had an evaluation point every other iteration, and its records; updates:
    the rewards of each iteration's updates, of which a record has the last.
    """
    config = Config(reward="a:b", eval_every=2).resolved()
    progress = Progress(task_of(config), 1_000)
    experiment = SimpleNamespace(
        config=config,
        progress=progress,
        models=mock.Mock(),
        evaluation=mock.Mock(describe_drift=dict),
    )
    records = []
    for iteration, rewards in enumerate([[], *updates]):
        progress.count_iteration()
        for reward in rewards:
            progress.count_reward(reward)
        record = {"phase": "adversarial", "iteration": iteration}
        record["reward"] = rewards[-1] if rewards else None
        judged = iteration % 2 == 0
        records.append(algorithm._kept_if_best(experiment, record) if judged else record)
    return experiment, records


class RewardTest(tf.test.TestCase):
    def _rewards(self, updates):
        experiment, records = _ended(updates)
        columns = {name: {} for name in ("start", "last", "best")}
        closing._add_reward(columns, experiment, records)
        return experiment, {name: column["reward"] for name, column in columns.items()}

    def test_the_best_has_the_mean_that_chose_it_over_all_updates(self):
        experiment, found = self._rewards([[9, 1], [1, 1], [4, 2], [2, 2]])
        self.assertEqual(experiment.progress.best_iteration, 2)
        self.assertEqual(found, {"start": 1, "best": 3.0, "last": 2.5})

    def test_the_end_is_judged_alike_or_by_as_many_iterations(self):
        self.assertEqual(self._rewards([[0.5, 1], [3, 3]])[1]["last"], 1.875)
        self.assertEqual(self._rewards([[1], [3], [5]])[1]["last"], 4.0)

    def test_without_an_update_there_is_none(self):
        self.assertEqual(self._rewards([])[1], {"start": None, "last": None, "best": None})


class MeasuredTest(tf.test.TestCase):
    def test_the_best_that_is_the_last_too_is_measured_once_to_the_same_numbers(self):
        started = experiment(pretrain_epochs=1, eval_every=1, iterations=1, d_steps=1)
        for _ in zip(range(3), algorithm.regan(started), strict=False):
            pass
        evaluation, progress = started.evaluation, started.progress
        if progress.best_iteration != progress.iteration:
            progress.judge(2.0)  # a goodness that nothing has
            started.models.keep_best()
        best = evaluation.measure(progress.iteration, "best")
        with mock.patch.object(evaluation, "measure", wraps=evaluation.measure) as measure:
            found = closing._measured(evaluation, progress)
        self.assertEqual(found, {"last": best, "best": best})
        self.assertEqual(measure.call_count, 1)

    def test_another_best_is_measured_too_and_the_samples_are_the_lasts(self):
        started = experiment(pretrain_epochs=1)
        for _ in zip(range(2), algorithm.regan(started), strict=False):
            pass
        started.progress.count_iteration()
        for weight in started.models.best_generator.trainable_variables:
            weight.assign(0 * weight.value)
        found = closing._measured(started.evaluation, started.progress)
        self.assertNotEqual(found["last"]["nll"], found["best"]["nll"])
        self.assertAllEqual(started.evaluation.samples, started.evaluation.draw(1))


if __name__ == "__main__":
    tf.test.main()
