"""Algorithm 1: its records, what it learns, where it goes on, and how it ends."""

import contextlib
import dataclasses
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.config import UserError
from regan_tf.training import algorithm
from tests.training import small


def _records(experiment):
    """The records of what is left of the algorithm."""
    return filter(None, algorithm.regan(experiment))


class AlgorithmTest(tf.test.TestCase, parameterized.TestCase):
    def test_every_epoch_and_iteration_has_a_record_and_groups_have_none(self):
        experiment = small.experiment(
            pretrain_epochs=1.5, iterations=2, d_steps=1, generator_dim=400
        )
        steps = list(algorithm.regan(experiment))
        found = [(r["phase"], r["iteration"]) for r in steps if r]
        adversarial = [("adversarial", i) for i in range(3)]
        self.assertEqual(found, [("pretrain", 10), ("pretrain", 15), *adversarial])
        self.assertIsNone(steps[0])
        self.assertTrue(experiment.progress.finished)
        self.assertEmpty(list(algorithm.regan(experiment)))

    @parameterized.parameters(
        {},
        {"estimator": "reinforce_loo", "judge_prefixes": True, "decay_iterations": 3},
        {"estimator": "cot", "dropout": 0.2},
    )
    def test_left_between_two_iterations_it_goes_on_with_the_same_numbers(self, **options):
        options |= {"pretrain_epochs": 0, "iterations": 3, "g_steps": 2, "d_steps": 3}
        whole, resumed = small.experiment(**options), small.experiment(**options)
        steps = _records(whole)
        next(steps), next(steps)
        resumed.checkpoint.read(whole.checkpoint.write(f"{self.get_temp_dir()}/state"))
        for found, expected in zip(_records(resumed), steps, strict=True):
            self.assertEqual(found | {"seconds": 0}, expected | {"seconds": 0})

    @parameterized.parameters("mle", "reinforce_loo")
    def test_with_dropout_and_decay_it_goes_on_with_the_same_numbers_within_an_epoch(self, name):
        options = {"estimator": name, "pretrain_epochs": 1.3, "iterations": 2, "d_steps": 1}
        options |= {"dropout": 0.3, "weight_decay": 0.1, "eval_samples": 50}
        whole, resumed = small.experiment(**options), small.experiment(**options)
        with mock.patch.object(algorithm, "_LARGEST_GROUP", 3):
            steps = algorithm.regan(whole)
            next(steps)
            resumed.checkpoint.read(whole.checkpoint.write(f"{self.get_temp_dir()}/state"))
            self.assertEqual(resumed.progress.pretrained, 3)
            for found, expected in zip(_records(resumed), filter(None, steps), strict=True):
                self.assertEqual(found | {"seconds": 0}, expected | {"seconds": 0})
        for one, other in zip(resumed.generator.variables, whole.generator.variables, strict=True):
            self.assertAllEqual(one, other)

    def test_pretraining_learns_the_grammar(self):
        experiment = small.experiment(pretrain_epochs=10, pretrain_learning_rate=1e-2)
        *_, record = filter(None, algorithm.pretrain(experiment))
        self.assertGreater(record["goodness"], 0.9)
        self.assertLess(record["nll_excess"], 0.3)

    def test_pretraining_ends_where_held_out_texts_say_so_and_goes_on_with_its_best(self):
        """Also after a stop."""
        options = {
            "dataset": "pydoc",
            "seq_len": 12,
            "data_size": 128,
            "heldout_size": 40,
            "pretrain_epochs": 60,
            "batch_size": 32,
        }
        options |= {"pretrain_learning_rate": 3e-2, "pretrain_patience": 2, "eval_samples": 20}
        whole = small.experiment(**options)
        nlls = []
        for record in filter(None, algorithm.pretrain(whole)):
            nlls.append(record["nll"])
            if len(nlls) == 3:
                path = whole.checkpoint.write(f"{self.get_temp_dir()}/state")
        self.assertBetween(len(nlls), 4, 59)
        self.assertEqual(int(np.argmin(nlls)), len(nlls) - 3)
        self.assertAllClose(next(_records(whole))["nll"], min(nlls), rtol=1e-5)
        resumed = small.experiment(**options)
        resumed.checkpoint.read(path)
        rest = [record["nll"] for record in filter(None, algorithm.pretrain(resumed))]
        self.assertAllEqual([*nlls[:3], *rest], nlls)
        for one, other in zip(resumed.generator.variables, whole.generator.variables, strict=True):
            self.assertAllEqual(one, other)

    @parameterized.parameters("reinforce", "relax")
    @pytest.mark.slow
    def test_adversarial_training_improves_a_weak_generator(self, estimator):
        options = {
            "embed_dim": 32,
            "generator_dim": 32,
            "pretrain_learning_rate": 3e-3,
            "pretrain_epochs": 5,
        }
        experiment = small.experiment(estimator=estimator, d_steps=20, iterations=40, **options)
        start, *_ = [r for r in _records(experiment) if r["phase"] == "adversarial"]
        self.assertLess(start["goodness"], 0.7)
        self.assertGreater(experiment.evaluation.measure(40)["goodness"], 0.9)

    def test_a_reward_of_ones_own_replaces_the_discriminator(self):
        options = {"reward": "tests.problems:many_plus", "iterations": 40, "pretrain_epochs": 0}
        experiment = small.experiment(estimator="rebar", control_variate="step", **options)
        start, *_, record = _records(experiment)
        self.assertIsNone(record["discriminator_loss"])
        self.assertGreater(record["unigram"]["+"], start["unigram"]["+"] + 0.5)

    def test_best_generator_is_kept_and_patience_stops(self):
        options = {
            "pretrain_epochs": 10,
            "pretrain_learning_rate": 1e-2,
            "generator_learning_rate": 0.5,
        }
        experiment = small.experiment(d_steps=1, eval_every=1, patience=2, **options)
        for record in _records(experiment):
            if record["phase"] == "adversarial" and record["iteration"] == 0:
                start = record
                best = [v.numpy() for v in experiment.generator.variables]
        progress = experiment.progress
        self.assertTrue(progress.converged)
        self.assertLess(progress.iteration, experiment.config.iterations)
        self.assertEqual(progress.best_iteration, 0)
        for kept, expected in zip(experiment.models.best_generator.variables, best, strict=True):
            self.assertAllEqual(kept, expected)
        found = experiment.evaluation.measure(progress.iteration, "best")
        self.assertEqual(found["nll"], start["nll"])

    def test_nan_is_named_with_its_step(self):
        experiment = small.experiment(pretrain_epochs=0)
        steps = algorithm.regan(experiment)
        next(steps), next(steps)
        experiment.models.discriminator.head.kernel.assign(np.full([32, 1], np.nan))
        message = "at adversarial iteration 2 .*reward is nan"
        with self.assertRaisesRegex(algorithm.NotFiniteError, message):
            next(steps)
        experiment = small.experiment(pretrain_epochs=1)
        experiment.generator.output_layer.bias.assign([np.nan] * 5)
        message = "at pre-training minibatch 1 the loss is nan"
        with self.assertRaisesRegex(algorithm.NotFiniteError, message):
            next(algorithm.regan(experiment))


def _rewarded(reward, estimator="reinforce_loo", **options):
    options |= {"pretrain_epochs": 0, "iterations": 1, "estimator": estimator}
    return small.experiment(reward=f"tests.problems:{reward}", **options)


class RewardTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        (
            "failing_for_many_plus",
            "the update with --reward=tests.problems:failing_for_many_plus failed: "
            "ZeroDivisionError: no",
        ),
        (
            "nan_for_many_plus",
            "--reward=tests.problems:nan_for_many_plus gave nan: it must be finite",
        ),
    )
    def test_at_an_update_it_fails_in_one_line(self, reward, message):
        steps = algorithm.regan(_rewarded(reward))
        next(steps)
        with self.assertRaisesRegex(UserError, f"^at adversarial iteration 1 {message}") as caught:
            next(steps)
        self.assertNotIn("\n", str(caught.exception))
        self.assertNotIn("smaller learning rates", str(caught.exception))

    @parameterized.parameters(1, 2)
    def test_mixed_with_the_discriminator_both_are_recorded_and_it_learns(self, row_parts):
        alone = _rewarded("many_plus", row_parts=row_parts)
        mixed = _rewarded("many_plus", reward_weight=0.5, d_steps=2, row_parts=row_parts)
        kernel = mixed.models.discriminator.head.kernel.numpy()
        (_, of_alone), (_, of_mixed) = algorithm.regan(alone), algorithm.regan(mixed)
        # The first update's sequences are the same.
        self.assertEqual(of_mixed["reward"], of_alone["reward"])
        self.assertBetween(of_mixed["discriminator_reward"], 0.1, 0.9)
        self.assertNotIn("discriminator_reward", of_alone)
        self.assertNotAllEqual(mixed.models.discriminator.head.kernel, kernel)
        self.assertIsNotNone(of_mixed["discriminator_loss"])
        self.assertIsNone(of_alone["discriminator_loss"])

    def test_mixed_the_reward_of_ones_own_is_still_tried_and_asked_for_its_components(self):
        options = {"reward_weight": 0.5, "d_steps": 1}
        experiment = _rewarded("plus_and_sign", **options)
        self.enterContext(contextlib.closing(experiment))
        _, record = algorithm.regan(experiment)
        self.assertEqual(record["reward_sign"], 3.0)
        with self.assertRaisesRegex(UserError, "does not serve --estimator=rebar: .* no gradient"):
            _rewarded("plus_and_sign", estimator="rebar", **options)

    def test_errors_that_are_not_the_rewards_are_left_alone(self):
        experiment = _rewarded("many_plus")
        experiment.config = dataclasses.replace(experiment.config, distribution="multi_worker")
        lost = mock.Mock(side_effect=tf.errors.UnavailableError(None, None, "lost"))
        steps = algorithm.regan(experiment)
        next(steps)
        with (
            mock.patch.object(experiment.trainer, "update_generator", lost),
            self.assertRaises(tf.errors.UnavailableError),
        ):
            next(steps)

    @parameterized.parameters(
        ("many_plus_in_numpy", "reinforce_loo"), ("with_python_if_compiled", "rebar")
    )
    def test_what_makes_a_function_fit_for_a_graph_makes_it_a_reward(self, reward, estimator):
        experiment = _rewarded(reward, estimator=estimator)
        _, record = algorithm.regan(experiment)
        self.assertTrue(np.isfinite(record["reward"]))


if __name__ == "__main__":
    tf.test.main()
