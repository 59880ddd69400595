"""Several models beside each other over one sequence, and softmax's numbers."""

import numpy as np
import tensorflow as tf

from regan_tf.tasks import law
from tests.tasks import oracles


class LawTest(tf.test.TestCase):
    def test_softmax_at_a_temperature(self):
        rng = np.random.default_rng(0)
        logits, others = rng.normal(size=[2, 3, 5]) * 4 + 100
        p, q = (x / x.sum(1, keepdims=True) for x in (np.exp(logits / 0.7), np.exp(others)))
        first, second = law.Softmax(tf.constant(logits), 0.7), law.Softmax(tf.constant(others))
        self.assertAllClose(first.log_prob(tf.constant([0, 4, 2])), np.log(p[range(3), [0, 4, 2]]))
        self.assertAllClose(first.cross_entropy(second), -np.sum(p * np.log(q), axis=1))
        self.assertAllClose(first.cross_entropy(first), -np.sum(p * np.log(p), axis=1))

    def test_models_read_one_sequence_side_by_side(self):
        models = oracles.generator(), oracles.model()
        tokens = tf.constant(oracles.SEQUENCES)

        def step(t, *logits):
            token = tokens[:, t]
            return token, [law.Softmax(each).log_prob(token) for each in logits]

        read, sums = law.walk(models, tf.shape(tokens)[0], step, numbers=2)
        self.assertAllEqual(read, tokens)
        expected = [np.sum(model.log_prob(tokens), axis=1) for model in models]
        self.assertAllClose(sums, np.stack(expected, axis=1), rtol=1e-5)

    def test_a_writer_draws_at_its_temperature(self):
        model = oracles.model()
        uniform = np.random.default_rng(0).random([4_000, oracles.T])
        tokens, entropies = (x.numpy() for x in law.writer(model)(uniform, 0.5))
        log_probs = np.sum(model.log_prob(oracles.SEQUENCES, tf.constant(0.5, tf.float64)), axis=1)
        found = np.bincount(tokens @ [16, 4, 1], minlength=64) / len(uniform)
        self.assertAllClose(found, np.exp(log_probs), atol=5 * 0.5 / np.sqrt(len(uniform)))
        exact = -np.sum(np.exp(log_probs) * log_probs)
        error = np.std(entropies) / np.sqrt(len(uniform))
        self.assertLess(abs(np.mean(entropies) - exact), 5 * error)
        self.assertGreater(abs(np.mean(entropies) - 1.1 * exact), 5 * error)

    def test_parts_change_nothing(self):
        model, uniform = oracles.model(), np.random.default_rng(0).random([100, oracles.T])
        whole = law.draw(model, uniform)
        with self.subTest("parts of 7"):
            limit, law._AT_ONCE = law._AT_ONCE, 7 * model.vocab_size
            self.addCleanup(setattr, law, "_AT_ONCE", limit)
            self.assertAllEqual(law.draw(model, uniform)[0], whole[0])
            self.assertAllClose(law.draw(model, uniform)[1], whole[1], rtol=1e-12)


if __name__ == "__main__":
    tf.test.main()
