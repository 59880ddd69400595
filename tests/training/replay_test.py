"""Replay: which sequences are drawn, and that a run with it repeats and goes on."""

import tempfile

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.config import Config, UserError
from regan_tf.estimators.calls import Calls
from regan_tf.training import replay
from tests import problems
from tests.training import small


def _evaluated(size):
    """Calls of [0, 0, 0], [1, 1, 1], ..., the better ones first, all of iteration 1."""
    calls = Calls(1_000)
    for number, reward in enumerate(np.linspace(2, 1, size)):
        (row,) = calls.packed(np.full([1, 3], number))
        calls.add(row, row, {"reward": reward}, 1)
    return calls


@regan_tf.text_reward
def plus(texts):
    return [text.count("+") for text in texts]


class DrawnTest(tf.test.TestCase):
    config = Config(reward="a:b", estimator="reinforce", replay=5).resolved()

    def _drawn(self, size, update=0):
        return replay.drawn(self.config, _evaluated(size), 2, update)

    def test_different_sequences_of_the_best_each_equally_likely(self):
        calls = _evaluated(1_000)
        found = [replay.drawn(self.config, calls, 2, update) for update in range(400)]
        for one in found[:5]:
            self.assertAllClose(one.reward, np.linspace(2, 1, 1_000)[one.tokens.numpy()[:, 0]])
            self.assertAllEqual(one.weight, np.ones(5))
        tokens = np.array([one.tokens.numpy()[:, 0] for one in found])
        self.assertTrue(all(len(set(row)) == 5 for row in tokens))
        counts = np.bincount(tokens.ravel(), minlength=100)
        self.assertLen(counts, replay.REPLAY_MEMORY)
        self.assertBetween(counts.min(), 5, 20)  # 20 are expected, with a deviation of 4.4
        self.assertBetween(counts.max(), 20, 40)

    def test_what_an_iteration_evaluates_is_not_drawn_in_it(self):
        """Else a run whose budget ended within it would not be the one of the higher budget."""
        calls = _evaluated(3)
        (best,) = calls.packed(np.full([1, 3], 7))
        calls.add(best, best, {"reward": 9.0}, 2)
        for iteration, drawn in ((1, 0), (2, 3), (3, 4)):
            found = replay.drawn(self.config, calls, iteration, 0)
            self.assertEqual(np.sum(found.weight), drawn)
            self.assertEqual(9.0 in found.reward.numpy(), drawn == 4)

    def test_an_update_draws_the_same_again(self):
        self.assertAllEqual(self._drawn(50, 3).tokens, self._drawn(50, 3).tokens)
        self.assertNotAllEqual(self._drawn(50, 3).tokens, self._drawn(50, 4).tokens)

    def test_where_there_are_not_enough_the_other_places_count_nothing(self):
        for size in (0, 2):
            found = self._drawn(size)
            self.assertEqual(found.tokens.shape, (5, 3))
            self.assertAllEqual(found.weight, [1] * size + [0] * (5 - size))
            self.assertEqual(found.reward.shape, (5,))


class RefusedTest(tf.test.TestCase):
    def test_where_nothing_is_kept(self):
        with self.assertRaisesRegex(UserError, "^--replay=2 needs a --reward of texts or tokens$"):
            Config(estimator="reinforce", replay=2)
        with self.assertRaisesRegex(UserError, "^--replay=2 contradicts --estimator=rebar, which"):
            Config(reward="a:b", estimator="rebar", replay=2)
        with self.assertRaisesRegex(UserError, "^--replay=2 contradicts --distribution=multi_wo"):
            Config(
                reward="a:b", estimator="reinforce", replay=2, distribution="multi_worker"
            )  # fmt: skip
        message = f"^--replay=101 is not allowed: it must be at most {replay.REPLAY_MEMORY}$"
        with self.assertRaisesRegex(UserError, message):
            Config(reward="a:b", estimator="reinforce", replay=101)
        rows = "tests.problems:many_plus"
        with self.assertRaisesRegex(UserError, "--replay=2 contradicts --reward=tests.*reads rows"):
            small.experiment(reward=rows, estimator="reinforce", replay=2)


@pytest.mark.slow
class RunTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("reinforce_loo", "reinvent")
    def test_all_updates_are_one_trace_and_make_no_call(self, estimator):
        asked = []

        @regan_tf.text_reward
        def counted(texts):
            asked.extend(texts)
            return [text.count("+") for text in texts]

        options = {"estimator": estimator, "replay": 8, "updates_per_batch": 3}
        experiment = small.experiment(
            reward="a:b", own_reward=counted, pretrain_epochs=0, **options
        )
        before = problems.flat(experiment.generator.trainable_variables)
        small.finish(experiment)
        self.assertEqual(experiment.trainer.update_generator.experimental_get_tracing_count(), 1)
        self.assertEqual(len(asked), len(set(asked)))
        self.assertNotAllClose(problems.flat(experiment.generator.trainable_variables), before)

    def test_a_higher_budget_goes_on_as_if_it_had_been_so(self):
        directory = self.enterContext(tempfile.TemporaryDirectory())

        def trained(name, calls):
            options = {"reward": plus, "estimator": "reinforce_loo", "export_generator": "none"}
            options |= {"pretrain_epochs": 0, "seq_len": 6, "batch_size": 16, "replay": 8}
            path = f"{directory}/{name}"
            options = small.SMALL | {"eval_samples": 50, "eval_every": 100} | options
            return regan_tf.train(workdir=path, reward_calls=calls, **options)

        whole = trained("whole", 150)
        trained("parts", 100)
        parts = trained("parts", 150)
        self.assertEqual(parts.calls(), whole.calls())
        weights = [run.generator.get_weights() for run in (parts, whole)]
        for one, other in zip(*weights, strict=True):
            self.assertAllEqual(one, other)

    def test_a_run_goes_on_with_the_same_numbers_and_learns_more_of_each_call(self):
        directory = self.enterContext(tempfile.TemporaryDirectory())

        def trained(name, iterations, **options):
            options |= {"reward": plus, "estimator": "reinforce_loo", "export_generator": "none"}
            path = f"{directory}/{name}"
            return regan_tf.train(workdir=path, iterations=iterations, **small.SMALL, **options)

        reuse = {"replay": 8, "updates_per_batch": 3}
        whole = trained("whole", 6, **reuse)
        trained("parts", 3, **reuse)
        parts = trained("parts", 6, **reuse)
        for name, values in whole.metrics.items():
            if name != "seconds":
                self.assertAllEqual(parts.metrics[name], values, name)
        self.assertGreater(whole.metrics["ratio_kl"][-1], 0)
        without = trained("without", 6)
        self.assertNotIn("clipped", without.metrics)
        self.assertGreater(whole.metrics["reward"][-1], without.metrics["reward"][-1] + 0.1)


if __name__ == "__main__":
    tf.test.main()
