"""The networks of a run without what trained them: restored from a whole checkpoint."""

import tempfile
from pathlib import Path
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from regan_tf.config import Config, UserError
from regan_tf.tasks.registry import task_of
from regan_tf.tasks.task import Task
from regan_tf.training import algorithm, run
from regan_tf.training.checkpoints import restore
from regan_tf.training.experiment import Experiment
from regan_tf.training.models import Models
from regan_tf.training.progress import Progress
from regan_tf.training.trained import load_run
from regan_tf.training.workdir import Workdir


def _config(estimator="relax", **options):
    return Config(
        estimator=estimator, data_size=128, batch_size=64, heldout_size=16, eval_samples=20,
        embed_dim=4, generator_dim=4, discriminator_dim=4, pretrain_epochs=1, iterations=2,
        eval_every=1, d_steps=1, **options,
    ).resolved()  # fmt: skip


def _weights(models):
    return models.prior.get_weights()[0]


def _save_as_earlier_versions_did(path, experiment):
    """A checkpoint without the parts that came with the prior and the calls."""
    learned = experiment.trainer.control_variables
    parts = experiment.models.checkpoint_parts(learned) | experiment.progress.checkpoint_parts()
    parts["optimizers"] = [v.value for v in experiment.trainer.optimizer_variables]
    for name in ("prior", "reward"):
        parts.pop(name)
    with Workdir(path, experiment.config) as workdir:
        workdir.record(experiment.config, experiment.dataset.vocabulary)
        workdir.save(tf.train.Checkpoint(**parts), 1)


class ModelsTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.path = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.config = _config()

    def _run(self):
        experiment = Experiment(self.config)
        for _ in algorithm.regan(experiment):
            pass
        Workdir(self.path, self.config).save(experiment.checkpoint, experiment.progress.steps)
        return experiment

    def test_weights_are_a_checkpoints_without_what_trained_them_and_its_data(self):
        experiment = self._run()
        with mock.patch.object(Task, "load", side_effect=AssertionError):
            models = Models(self.config, task_of(self.config).vocabulary())
            models.restore(self.path)
        for which in ("last", "best"):
            expected = experiment.models.named(which).sample(5, 3)
            self.assertAllEqual(models.named(which).sample(5, 3), expected)
        for found, expected in zip(
            models.discriminator.variables, experiment.models.discriminator.variables, strict=True
        ):
            self.assertAllEqual(found, expected)

    def test_counters_come_along_where_they_are_asked_for(self):
        experiment = self._run()
        models = Models(self.config, task_of(self.config).vocabulary())
        progress = Progress(task_of(self.config), 128)
        models.restore(self.path, **progress.checkpoint_parts())
        self.assertEqual(progress.iteration, 2)
        self.assertEqual(progress.best_iteration, experiment.progress.best_iteration)

    def test_the_prior_is_the_generator_of_iteration_0_and_stays_it(self):
        self.config = _config("reinforce_loo", prior_kl=0.1)
        experiment = Experiment(self.config)
        steps = algorithm.regan(experiment)
        while experiment.progress.iteration < 0:
            next(steps)
        start = experiment.generator.sample(5, 3)
        self.assertAllEqual(experiment.models.prior.sample(5, 3), start)
        records = list(steps)
        self.assertNotAllEqual(experiment.generator.get_weights()[0], _weights(experiment.models))
        self.assertAllEqual(experiment.models.prior.sample(5, 3), start)
        # The first update is made where the generator is still the prior.
        self.assertNear(records[0]["prior_kl"], 0, 1e-6)
        self.assertGreater(records[1]["prior_kl"], 1e-4)
        Workdir(self.path, self.config).save(experiment.checkpoint, experiment.progress.steps)
        resumed = Experiment(self.config)
        self.assertTrue(restore(self.path, resumed.checkpoint))
        self.assertAllEqual(_weights(resumed.models), _weights(experiment.models))

    @parameterized.parameters(
        {"prior_kl": 0.1, "entropy": 0.05},
        {"discriminator": "cnn", "discriminator_dropout": 0.5, "discriminator_weight_decay": 0.1},
    )
    def test_a_run_goes_on_as_if_it_had_never_stopped(self, **options):
        self.config = _config("reinforce_loo", **options)
        first = Experiment(self.config)
        steps = algorithm.regan(first)
        while first.progress.iteration < 1:
            next(steps)
        Workdir(self.path, self.config).save(first.checkpoint, first.progress.steps)
        second = Experiment(self.config)
        self.assertTrue(restore(self.path, second.checkpoint))
        (expected,), (found,) = steps, algorithm.regan(second)
        self.assertEqual(found | {"seconds": 0}, expected | {"seconds": 0})

    def test_the_prior_draws_no_seed_of_what_is_initialized_after_it(self):
        """So that a run with a --reward has the numbers that it had before there was a prior."""
        options = {"reward": "tests.problems:many_plus"}
        with_it = Experiment(_config(**options))
        with mock.patch.object(Config, "keeps_prior", False):
            without = Experiment(_config(**options))
        self.assertIsNone(without.models.prior)
        for a, b in zip(
            with_it.trainer.control_variables, without.trainer.control_variables, strict=True
        ):
            self.assertAllEqual(a, b)

    def test_without_a_use_for_it_there_is_no_prior(self):
        self.config = _config("reinforce_loo")
        experiment = Experiment(self.config)
        self.assertNotIn("prior", experiment.models.checkpoint_parts())
        *_, record = filter(None, algorithm.regan(experiment))
        self.assertNoCommonElements({"prior_kl", "entropy"}, record)

    def test_a_run_of_an_earlier_version_is_sampled_and_started_from_but_does_not_go_on(self):
        options = {"workdir": str(self.path), "export_generator": "none"}
        self.config = _config("reinforce_loo", reward="tests.problems:many_plus", **options)
        experiment = Experiment(self.config)
        experiment.progress.count_iteration()
        experiment.progress.judge(0.5)
        _save_as_earlier_versions_did(self.path, experiment)
        loaded, expected = load_run(self.path), experiment.generator.sample(5, 3)
        self.assertAllEqual(loaded.sample_tokens(5, seed=3), expected)
        self.assertLen(loaded.sample(5, generator="best"), 5)
        self.assertEqual(loaded.calls(), [])
        started = Models(_config("reinforce_loo"), experiment.dataset.vocabulary)
        started.start_from(self.path)
        self.assertAllEqual(started.generator.sample(5, 3), expected)
        with self.assertRaises(UserError) as raised:
            run.run(self.config)
        message = str(raised.exception)
        self.assertStartsWith(message, f"--workdir={self.path} was made by an earlier version")
        self.assertIn("it can be sampled and exported", message)
        self.assertNotRegex(message, "delete|\n")

    def test_what_is_not_there_is_no_weight(self):
        models = Models(self.config, task_of(self.config).vocabulary())
        with self.assertRaisesRegex(UserError, f"--workdir={self.path} holds no checkpoint yet"):
            models.restore(self.path)
        Workdir(self.path, self.config).save(
            tf.train.Checkpoint(weights=[v.value for v in models.generator.variables]), 1
        )
        with self.assertRaisesRegex(UserError, "00000001 cannot be read .it has no best"):
            models.restore(self.path)


if __name__ == "__main__":
    tf.test.main()
