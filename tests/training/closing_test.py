"""The rewards in the table at a run's end: those by which its generators were judged."""

from types import SimpleNamespace
from unittest import mock

import tensorflow as tf

from regan_tf.config import Config
from regan_tf.tasks.registry import task_of
from regan_tf.training import algorithm, closing
from regan_tf.training.progress import Progress


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


if __name__ == "__main__":
    tf.test.main()
