"""c_hat_phi as Keras saves, loads and clones it."""

import tempfile
from pathlib import Path

import keras
import tensorflow as tf
from absl.testing import parameterized

from regan_tf import ControlNetwork, StepControlNetwork


def _inputs(network):
    z = tf.random.stateless_normal([2, 5, 3], [0, 1], dtype=network.compute_dtype)
    features = tf.random.stateless_normal([2, 5, 4], [1, 1], dtype=network.compute_dtype)
    return (z,) if isinstance(network, ControlNetwork) else (features, z)


def _with_some_weights(network):
    for i, variable in enumerate(network.variables):
        variable.assign(tf.random.stateless_normal(variable.shape, [i, 2], dtype=variable.dtype))
    return network


class SavingTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        make=[
            lambda dtype: ControlNetwork(3, filters=6, width=2, dtype=dtype),
            lambda dtype: StepControlNetwork(4, 3, units=7, dtype=dtype),
        ],
        dtype=["float32", "float64"],
    )
    def test_saved_and_cloned_it_gives_the_same(self, make, dtype):
        network = _with_some_weights(make(dtype))
        expected = network(*_inputs(network))
        self.assertGreater(float(tf.norm(expected)), 0.1)
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        network.save(directory / "c.keras")
        network.save_weights(directory / "c.weights.h5")
        loaded = keras.models.load_model(directory / "c.keras")
        clone, other = keras.models.clone_model(network), type(network)(**network.get_config())
        clone.set_weights(network.get_weights())
        other.load_weights(directory / "c.weights.h5")
        for same in (loaded, clone, other):
            self.assertIs(type(same), type(network))
            self.assertEqual(same.get_config(), network.get_config())
            self.assertAllClose(same(*_inputs(network)), expected)


if __name__ == "__main__":
    tf.test.main()
