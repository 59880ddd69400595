"""The last update of a batch: what is measured of it, and that its bias is seen and grows."""

import keras
import pytest
import tensorflow as tf

from regan_tf.estimators import reuse
from regan_tf.estimators.bias import compare
from regan_tf.estimators.discriminator_rewards import DiscriminatorReward
from regan_tf.estimators.estimate import estimate_gradient
from regan_tf.estimators.exact import exact_gradient
from regan_tf.estimators.laboratory import Laboratory
from regan_tf.estimators.last_update import LastUpdate
from regan_tf.estimators.notation import parse
from tests import problems

_BATCH = 16


class LastUpdateTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.generator, discriminator = problems.networks(
            7, 3, 3, reward_spread=3.0, end_token=2, spread=0.7
        )
        self.reward = DiscriminatorReward(discriminator)

    def test_it_is_the_last_gradient_less_the_exact_one_there(self):
        generator, reward, spec = self.generator, self.reward, parse("reinforce_loo:reuse3")
        before = problems.flat(generator.trainable_variables)
        found = LastUpdate(spec, generator, reward, 0.05).gradient(_BATCH, 5)
        self.assertAllEqual(problems.flat(generator.trainable_variables), before)
        optimizer, here = keras.optimizers.Adam(0.05), exact_gradient(generator, reward)
        gradient, drawn = estimate_gradient(spec, generator, reward, batch_size=_BATCH, seed=5)
        batch = reuse.Batch.of(drawn)
        for _ in range(2):
            optimizer.apply([-g for g in gradient], generator.trainable_variables)
            gradient, _ = reuse.further_gradient(spec, generator, batch)
        there = exact_gradient(generator, reward)
        expected = problems.flat(gradient) - problems.flat(there) + problems.flat(here)
        self.assertAllClose(problems.flat(found), expected, rtol=1e-3, atol=1e-6)
        self.assertNotAllClose(problems.flat(here), problems.flat(there), rtol=0.01, atol=0.01)

    def _bias(self, text, learning_rate):
        lab = Laboratory(
            self.generator, self.reward, batch_size=_BATCH, generator_learning_rate=learning_rate
        )
        return compare(lab.measure(parse(text), 400).blocks, lab.exact())

    @pytest.mark.slow
    def test_without_a_step_there_is_no_bias_and_it_grows_with_updates_and_steps(self):
        none = self._bias("reinforce_loo:reuse2", 1e-6)
        self.assertFalse(none["bias_seen"], none)
        less = self._bias("reinforce_loo:reuse2", 0.05)
        self.assertTrue(less["bias_seen"], less)
        for more in ("reinforce_loo:reuse2", 0.1), ("reinforce_loo:reuse4", 0.05):
            found = self._bias(*more)
            self.assertGreater(found["bias"], less["bias"] + 2 * less["bias_error"], more)


if __name__ == "__main__":
    tf.test.main()
