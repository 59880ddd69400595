"""A mediator in a run: what it learns, where it starts, and what its generator learns of it."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.training import algorithm
from tests.training import small


class MediatorTrainerTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(0.0, 0.3)
    def test_a_step_is_one_of_maximum_likelihood_on_both_halves(self, dropout):
        options = {"dropout": dropout, "weight_decay": 0.1}
        mediator = small.experiment(
            estimator="cot", mediator_learning_rate=0.02, **options
        ).trainer.mediator
        other = small.experiment(estimator="mle", pretrain_learning_rate=0.02, **options).trainer
        for to, value in zip(other.generator.variables, mediator.network.variables, strict=True):
            to.assign(value.value)
        real, fake = np.random.default_rng(0).integers(0, 5, [2, 64, 3], np.int32)
        for number in range(2):
            seed = tf.constant([1, number])
            loss, norm = mediator.step(tf.constant(real), tf.constant(fake), seed)
            expected = other.likelihood_step(tf.constant(np.concatenate([real, fake])), seed)
            self.assertAllClose(loss, expected, rtol=1e-5)
            self.assertGreater(norm, 0)
        for found, each in zip(mediator.network.variables, other.generator.variables, strict=True):
            self.assertAllClose(found, each, atol=1e-5)

    def test_it_learns_from_each_minibatch_and_as_many_fresh_samples(self):
        """A rate of next to 0: so the loss is that of the networks as they are."""
        rates = {"mediator_learning_rate": 1e-9}
        experiment = small.experiment(estimator="cot", pretrain_epochs=0, **rates)
        trainer, network = experiment.trainer, experiment.trainer.mediator.network
        batches = tf.reshape(experiment.dataset.real[:192], [3, 64, 3])
        scalars, fakes = trainer.train_opponent(batches, tf.constant([0, 1]))
        rows = tf.concat([tf.reshape(batches, [-1, 3]), fakes], axis=0)
        expected = -tf.reduce_mean(tf.reduce_sum(network.log_prob(rows), axis=1))
        self.assertAllClose(scalars["mediator_loss"], expected, rtol=1e-4)
        first, second, third = np.split(fakes.numpy(), 3)
        for one, other in ((first, second), (first, third), (second, third)):
            self.assertLess(np.mean(np.all(one == other, axis=1)), 0.5)  # by chance 1 in 125
        self.assertGreater(len(np.unique(fakes.numpy(), axis=0)), 50)

    def test_it_starts_as_the_generator_where_it_is_as_large_and_learns_first(self):
        options = {"estimator": "cot", "pretrain_epochs": 0, "iterations": 1, "d_steps": 1}
        options |= {"mediator_learning_rate": 1e-2}
        for dim, is_same in ((0, True), (11, False)):
            experiment = small.experiment(mediator_dim=dim, **options)
            mediator, generator = experiment.trainer.mediator, experiment.generator
            self.assertEqual(mediator.network.cell.units, dim or 8)
            tokens = tf.constant(experiment.dataset.real[:20])
            mediator.start()
            apart = np.abs(mediator.network(tokens) - generator(tokens)).max()
            self.assertEqual(apart == 0, is_same)
            steps = algorithm.regan(experiment)
            next(steps)
            self.assertEqual(mediator.optimizer.iterations, 1)
            self.assertEqual(experiment.trainer.generator_optimizer.iterations, 0)
            (record,) = steps
            self.assertGreater(record["mediator_loss"], 0)
            self.assertGreater(record["mediator_kl"], 1e-5)
            self.assertIsNone(record["discriminator_loss"])
            self.assertIsNone(record["reward"])
            self.assertEqual(mediator.optimizer.iterations, 2)

    @parameterized.parameters("cot", "cot_unbiased")
    def test_without_pretraining_the_generator_learns_the_data(self, estimator):
        rates = {"mediator_learning_rate": 1e-2, "generator_learning_rate": 1e-2}
        options = rates | {"pretrain_epochs": 0, "iterations": 40, "d_steps": 10}
        experiment = small.experiment(estimator=estimator, **options)
        start, *_, end = filter(None, algorithm.regan(experiment))
        self.assertGreater(start["nll_excess"], 3)
        self.assertLess(end["nll_excess"], 1.5)

    def test_nan_is_named(self):
        options = {"pretrain_epochs": 0, "iterations": 2, "d_steps": 1}
        experiment = small.experiment(estimator="cot", mediator_dim=9, **options)
        experiment.trainer.mediator.network.output_layer.bias.assign([np.nan] * 5)
        message = "at adversarial iteration 1 .*mediator_loss is nan"
        with self.assertRaisesRegex(algorithm.NotFiniteError, message):
            small.finish(experiment)


if __name__ == "__main__":
    tf.test.main()
