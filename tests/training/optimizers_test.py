"""Adam with decoupled weight decay."""

import keras
import numpy as np
import tensorflow as tf

from regan_tf.training.optimizers import adam


def _variables():
    shapes = {"kernel": [3, 2], "of_convolution": [2, 3, 2], "bias": [2], "scalar": []}
    return {name: keras.Variable(np.ones(shape), name=name) for name, shape in shapes.items()}


class WeightDecayTest(tf.test.TestCase):
    def test_where_there_is_no_gradient_matrices_shrink_by_a_known_factor_and_no_others(self):
        variables = _variables()
        optimizer = adam(0.1, list(variables.values()), weight_decay=0.3)
        for _ in range(4):
            zeros = [tf.zeros(v.shape) for v in variables.values()]
            optimizer.apply(zeros, list(variables.values()))
        for name in ("kernel", "of_convolution"):
            shrunk = tf.fill(variables[name].shape, 0.97**4)
            self.assertAllClose(variables[name].value, shrunk, rtol=1e-6)
        for name in ("bias", "scalar"):
            self.assertAllEqual(variables[name].value, tf.ones(variables[name].shape))

    def test_it_is_no_part_of_what_adam_measures(self):
        """A step is that without it, from weights that have shrunk."""
        plain, decayed = _variables(), _variables()
        gradients = [tf.fill(v.shape, 0.01) for v in plain.values()]
        adam(0.1, list(plain.values())).apply(gradients, list(plain.values()))
        variables = list(decayed.values())
        adam(0.1, variables, weight_decay=0.3).apply(gradients, variables)
        lost = plain["kernel"].value - decayed["kernel"].value
        self.assertAllClose(lost, tf.fill([3, 2], 0.03), rtol=1e-5)
        self.assertAllEqual(plain["bias"].value, decayed["bias"].value)


if __name__ == "__main__":
    tf.test.main()
