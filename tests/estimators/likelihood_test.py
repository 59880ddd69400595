"""Maximum likelihood, and its dropout."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.estimators import likelihood
from regan_tf.networks import noise
from tests import problems


def _problem(end_token=None):
    """A generator and tokens [5, 4]."""
    generator, _ = problems.networks(0, 4, 4, dtype="float64", spread=0.5, end_token=end_token)
    return generator, tf.constant(np.random.default_rng(0).integers(0, 4, [5, 4]), tf.int32)


class LikelihoodTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(end_token=[None, 1], dropout=[0.0, 0.4])
    def test_the_gradient_is_a_tapes(self, end_token, dropout):
        generator, tokens = _problem(end_token)
        masks = generator.dropout_masks([5, 4], dropout, [3, 4]) if dropout else []
        of_sequences = []
        with tf.GradientTape() as tape:
            log_probs = generator.teacher_force(tokens, masks).log_probs
            for row, drawn in zip(tf.unstack(log_probs), tokens.numpy(), strict=True):
                stop = [*np.flatnonzero(drawn == end_token), 3][0] + 1
                of_sequences.append(tf.add_n([row[t, drawn[t]] for t in range(stop)]))
            expected = -tf.add_n(of_sequences) / 5
        theta = [v.value for v in generator.trainable_variables]
        gradient, loss = likelihood.descent(generator, tokens, dropout, [3, 4])
        self.assertAllClose(loss, expected, rtol=1e-9)
        for found, each in zip(gradient, tape.gradient(expected, theta), strict=True):
            self.assertAllClose(found, tf.convert_to_tensor(each), rtol=1e-9, atol=1e-9)

    def test_mle_has_the_same_dropout(self):
        """The estimate ascends what `descent` goes down, with masks of a seed of its own."""
        generator, tokens = _problem()
        options = {"batch_size": 5, "seed": 7, "data": tokens}
        found, _ = regan_tf.estimate_gradient("mle", generator, _none, dropout=0.4, **options)
        seed = tf.random.experimental.stateless_split([7, 0], 3)[2]
        expected, _ = likelihood.descent(generator, tokens, 0.4, seed)
        self.assertAllClose(problems.flat(found), -problems.flat(expected), rtol=1e-9)
        plain, _ = regan_tf.estimate_gradient("mle", generator, _none, **options)
        self.assertNotAllClose(problems.flat(found), problems.flat(plain), rtol=1e-2)

    def test_generators_without_masks_are_refused(self):
        generator, tokens = _problem()
        protocol = problems.Protocol(generator)
        message = "dropout=0.4 is not allowed: Protocol has no dropout_masks"
        with self.assertRaisesRegex(TypeError, message):
            likelihood.descent(protocol, tokens, 0.4, [3, 4])
        of_protocol, of_ours = (likelihood.descent(g, tokens) for g in (protocol, generator))
        self.assertAllClose(problems.flat(of_protocol[0]), problems.flat(of_ours[0]), rtol=1e-9)

    @parameterized.parameters(
        ({"dropout": 1.0, "estimator": "mle"}, "dropout=1.0 is not allowed: it must be at most"),
        ({"dropout": 0.1, "estimator": "reinforce"}, "dropout=0.1 contradicts estimator='reinf"),
    )
    def test_what_has_no_meaning_is_refused(self, settings, message):
        with self.assertRaisesRegex(ValueError, message):
            regan_tf.EstimatorSpec(**settings)


class MasksTest(tf.test.TestCase):
    def test_what_they_multiply_keeps_its_mean_and_each_is_drawn_by_itself(self):
        """Means over n numbers, up to five standard deviations."""
        shape, share = [40, 50], 0.3
        mask = noise.kept([*shape, 30], share, [1, 2])
        self.assertAllClose(np.unique(mask), [0, 1 / 0.7])
        deviation, n = np.sqrt(share / (1 - share)), mask.shape.num_elements()  # of one number
        self.assertAllClose(np.mean(mask), 1, atol=5 * deviation / np.sqrt(n))
        for axis in range(3):  # neighbours in time, of rows, and of units
            product = (mask - 1) * (np.roll(mask, 1, axis) - 1)
            self.assertAllClose(np.mean(product), 0, atol=5 * deviation**2 / np.sqrt(n))

    def test_logits_of_one_step_keep_their_mean(self):
        """The mean over masks of the states, without those of embeddings, which are within the
        cell.
        """
        generator, tokens = _problem()
        _, of_hidden = generator.dropout_masks([4000, 4], 0.3, [1, 2])
        output, state = generator.output_layer, generator.teacher_force(tokens).states[0][:, :1]
        found = (of_hidden * state) @ output.kernel.value
        error = np.std(found, axis=1) / np.sqrt(4000)
        expected = (state @ output.kernel.value)[:, 0]
        self.assertAllInRange((np.mean(found, axis=1) - expected) / error, -5, 5)


def _none(rows):
    """A reward that mle does not follow."""
    return tf.zeros_like(rows[:, 0, 0])


if __name__ == "__main__":
    tf.test.main()
