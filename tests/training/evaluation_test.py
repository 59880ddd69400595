"""What generators are judged by."""

import numpy as np
import tensorflow as tf

from regan_tf.config import Config
from regan_tf.tasks.registry import task_of
from regan_tf.training.evaluation import Evaluation
from regan_tf.training.models import Models


def _evaluation(**options):
    sizes = {"data_size": 64, "heldout_size": 16, "batch_size": 8, "eval_samples": 100}
    config = Config(embed_dim=4, generator_dim=4, **(sizes | options)).resolved()
    task = task_of(config)
    dataset = task.load()
    models = Models(config, dataset.vocabulary)
    return Evaluation(task, dataset, models), models, dataset


class EvaluationTest(tf.test.TestCase):
    def test_samples_are_an_iterations_and_a_generators_own(self):
        evaluation, models, _ = _evaluation()
        first = evaluation.draw(1)
        self.assertAllEqual(evaluation.samples, first)
        self.assertAllEqual(evaluation.draw(1), first)
        self.assertNotAllEqual(evaluation.draw(2), first)
        self.assertAllEqual(evaluation.draw(-1), evaluation.draw(0))  # pre-training's
        self.assertNotAllEqual(evaluation.draw(1, "best"), first)
        models.keep_best()
        self.assertAllEqual(evaluation.draw(1, "best"), first)

    def test_likelihood_is_of_the_held_out_sequences(self):
        evaluation, models, dataset = _evaluation()
        for which in ("last", "best"):
            log_prob = models.named(which).log_prob(dataset.heldout)
            found = evaluation.measure(0, which)
            self.assertAllClose(found["nll"], -np.mean(np.sum(log_prob, axis=1)), rtol=1e-5)
            self.assertEqual(found["samples"], 100)

    def test_texts_are_judged_beside_as_many_training_texts(self):
        evaluation, _, dataset = _evaluation(dataset="pydoc", seq_len=12)
        self.assertLen(dataset.real, 64)
        self.assertLen(evaluation.draw(0), 64)

    def test_drift_is_told_of_where_a_reward_leads_away_from_the_data(self):
        self.assertEqual(_evaluation()[0].describe_drift(), {})
        evaluation, models, _ = _evaluation(
            reward="tests.problems:many_plus", estimator="reinforce"
        )
        models.keep_prior()
        found = evaluation.measure(0)
        self.assertAllClose(found["divergence"], 0.0, atol=1e-6)
        self.assertBetween(found["unique"], 0.5, 1.0)
        output = models.generator.output_layer
        output.bias.assign(output.bias + 20 * tf.one_hot(2, output.bias.shape[0]))
        found = evaluation.measure(0)
        self.assertEqual((found["unique"], found["diversity"]), (0.01, 0.0))
        expected = -np.sum(models.prior.log_prob([[2, 2, 2]]))  # p is 1 there
        self.assertAllClose(found["divergence"], expected, rtol=1e-4)


if __name__ == "__main__":
    tf.test.main()
