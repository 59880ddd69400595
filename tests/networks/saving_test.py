"""Generator and discriminator as Keras saves, loads and clones them; the types they may have."""

import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.estimators.control_networks import ControlNetwork, StepControlNetwork
from tests import problems

_TOKENS = np.array([[0, 1, 2, 0], [2, 2, 3, 3]], np.int32)
_OTHER_PROCESS = """
import sys, keras, numpy as np
from regan_tf import Discriminator, Generator
generator, discriminator = (keras.models.load_model(path) for path in sys.argv[1:3])
assert type(generator) is Generator and type(discriminator) is Discriminator
tokens = np.load(sys.argv[3])
np.savez(
    sys.argv[4],
    log_prob=generator.log_prob(tokens),
    probability=discriminator.probability(tokens),
    sample=generator.sample(50, 1),
    generated=generator.generate(num=50, seed=1),
)
"""


def _networks(dtype="float32", end_token=3):
    return problems.networks(1, 4, 4, 5, dtype=dtype, spread=0.7, end_token=end_token)


class SavingTest(tf.test.TestCase, parameterized.TestCase):
    def _assert_same(self, loaded, network):
        self.assertIs(type(loaded), type(network))
        self.assertEqual(loaded.get_config(), network.get_config())
        self.assertAllClose(loaded(_TOKENS), network(_TOKENS))
        self.assertEqual([v.path for v in loaded.variables], [v.path for v in network.variables])
        for a, b in zip(loaded.variables, network.variables, strict=True):
            self.assertAllEqual(a, b)
        if isinstance(network, regan_tf.Generator):
            self.assertAllEqual(loaded.sample(50, 1), network.sample(50, 1))

    @parameterized.product(dtype=["float32", "float64"], end_token=[None, np.int64(3)])
    def test_a_file_has_all_of_a_network(self, dtype, end_token):
        of_whole = regan_tf.ConvolutionalDiscriminator(4, 4, 3, 5, end_token, dtype=dtype)
        for network in (*_networks(dtype, end_token), of_whole):
            path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "network.keras"
            network.save(path)
            loaded = keras.models.load_model(path)
            self._assert_same(loaded, network)
            self.assertEqual(loaded.compute_dtype, dtype)

    @pytest.mark.slow
    def test_another_process_loads_it(self):
        directory, networks = Path(self.enterContext(tempfile.TemporaryDirectory())), _networks()
        paths = [directory / name for name in ("g.keras", "d.keras", "tokens.npy", "found.npz")]
        for network, path in zip(networks, paths, strict=False):
            network.save(path)
        np.save(paths[2], _TOKENS)
        command = [sys.executable, "-c", _OTHER_PROCESS, *map(str, paths)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
        found, (generator, discriminator) = np.load(paths[3]), networks
        self.assertAllClose(found["log_prob"], generator.log_prob(_TOKENS))
        self.assertAllClose(found["probability"], discriminator.probability(_TOKENS))
        self.assertAllEqual(found["sample"], generator.sample(50, 1))
        self.assertAllEqual(found["generated"], generator.generate(num=50, seed=1))

    def test_weights_alone(self):
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "network.weights.h5"
        for network in _networks():
            other = type(network).from_config(network.get_config())
            self.assertNotAllClose(other(_TOKENS), network(_TOKENS))
            network.save_weights(path)
            other.load_weights(path)
            self._assert_same(other, network)

    def test_clones_have_the_sizes_and_weights_of_their_own(self):
        for network in _networks():
            clone = keras.models.clone_model(network)
            self.assertEqual(clone.get_config(), network.get_config())
            clone.set_weights(network.get_weights())
            self._assert_same(clone, network)
            clone.variables[0].assign(clone.variables[0].value + 1)
            self.assertNotAllClose(clone(_TOKENS), network(_TOKENS))

    def test_checkpoints_rely_on_this_order(self):
        generator, discriminator = _networks()
        cell = ["cell/kernel", "cell/recurrent_kernel", "cell/bias"]
        self.assertEqual(
            [v.path for v in generator.variables],
            ["embedding/embeddings", *cell, "output/kernel", "output/bias"],
        )
        self.assertEqual(
            [v.path for v in discriminator.variables], [*cell, "head/kernel", "head/bias"]
        )


_NETWORKS = {
    "Generator": lambda **dtype: regan_tf.Generator(3, 2, **dtype),
    "Discriminator": lambda **dtype: regan_tf.Discriminator(3, **dtype),
    "ControlNetwork": lambda **dtype: ControlNetwork(3, **dtype),
    "StepControlNetwork": lambda **dtype: StepControlNetwork(2, 3, **dtype),
}


class DtypesTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(keras.config.set_dtype_policy, keras.config.dtype_policy())

    @parameterized.product(
        name=list(_NETWORKS), policy=["mixed_bfloat16", "mixed_float16", "float16", "bfloat16"]
    )
    def test_half_precision_is_refused_with_what_there_is_instead(self, name, policy):
        message = f"'{policy}' is not allowed for a {name}: .* float32 or float64.*--precision="
        with self.assertRaisesRegex(ValueError, message):
            _NETWORKS[name](dtype=policy)
        with self.assertRaisesRegex(ValueError, message):
            _NETWORKS[name](dtype=keras.DTypePolicy(policy))
        keras.config.set_dtype_policy(policy)
        with self.assertRaisesRegex(ValueError, message):
            _NETWORKS[name]()
        self.assertEqual(_NETWORKS[name](dtype="float32").compute_dtype, "float32")

    def test_estimates_do_not_depend_on_a_global_policy_once_the_networks_are_float32(self):
        spec = regan_tf.EstimatorSpec("relax", control_variate="step")

        def estimate():
            generator, discriminator = problems.networks(1, 3, 3)
            reward = regan_tf.DiscriminatorReward(discriminator)
            control = regan_tf.ControlVariate.create(spec, generator, reward)
            gradient, _ = regan_tf.estimate_gradient(
                spec, generator, reward, batch_size=8, seed=1, control=control
            )
            return problems.flat(gradient)

        expected = estimate()
        keras.config.set_dtype_policy("mixed_bfloat16")
        self.assertAllClose(estimate(), expected)

    def test_a_global_float64_is_taken(self):
        keras.config.set_dtype_policy("float64")
        for make in _NETWORKS.values():
            self.assertEqual({v.dtype for v in make().variables}, {"float64"})


if __name__ == "__main__":
    tf.test.main()
