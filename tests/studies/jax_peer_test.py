"""The peer's gradients beside ours."""

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from regan_tf import Discriminator, Generator, estimate_gradient
from regan_tf.estimators import estimate, likelihood
from regan_tf.estimators.discriminator_rewards import DiscriminatorReward
from regan_tf.estimators.relaxation import RelaxedTokens
from regan_tf.spec import EstimatorSpec

_B, _T, _H = 16, 6, 8


class JaxPeerTest(tf.test.TestCase, parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Not at the top: once it is imported, every process that is started is warned of.
        import jax

        from regan_tf.studies import jax_peer

        cls.jax, cls.peer = jax, jax_peer

    def _networks(self, vocab_size):
        tf.keras.utils.set_random_seed(3)
        return Generator(vocab_size, _T, _H, _H), Discriminator(vocab_size, _H)

    def _noise(self, generator, estimator):
        """What `estimate_gradient` makes b and z of, and z~."""
        noise = estimate._noise(EstimatorSpec(estimator), generator, _B, [7, 0])
        drawn = generator.unroll(noise.of_tokens)
        distribution = RelaxedTokens(1.0, drawn.log_probs)
        return noise.of_z(distribution, drawn.tokens).numpy(), noise.v.numpy()

    def _assert_same(self, ours, theirs, sign=1):
        """Lists of tensors, and a dict of arrays in the same order."""
        for mine, other in zip(ours, theirs, strict=True):
            self.assertAllClose(mine, sign * np.asarray(other), rtol=1e-4, atol=1e-6)

    @parameterized.parameters(("reinforce", 5), ("rebar", 5), ("rebar", 300))
    def test_updates_follow_the_same_gradient(self, estimator, vocab_size):
        generator, discriminator = self._networks(vocab_size)
        ours, _ = estimate_gradient(
            estimator, generator, DiscriminatorReward(discriminator), batch_size=_B, seed=[7, 0]
        )
        noise = self._noise(generator, estimator)
        theirs = self.jax.grad(getattr(self.peer, f"{estimator}_loss"))(
            weights := self.peer.generator_weights(generator),
            self.peer.discriminator_weights(discriminator),
            *noise[: 1 if estimator == "reinforce" else 2],
        )
        self._assert_same(ours, [theirs[name] for name in weights], -1)  # theirs is of a loss

    def test_the_likelihood_and_the_discriminator_have_the_same_gradient(self):
        generator, discriminator = self._networks(5)
        tokens = generator.sample(_B, seed=1)
        ours, loss = likelihood.descent(generator, tokens)
        value, theirs = self.jax.value_and_grad(self.peer.likelihood_loss)(
            weights := self.peer.generator_weights(generator), tokens.numpy()
        )
        self.assertAllClose(loss, value)
        self._assert_same(ours, [theirs[name] for name in weights])

        real = generator.sample(_B, seed=2)
        with tf.GradientTape() as tape:
            logits = discriminator(tf.concat([real, tokens], axis=0))
            labels = tf.repeat([1.0, 0.0], _B)
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
            loss = tf.reduce_mean(losses)
        value, theirs = self.jax.value_and_grad(self.peer.discriminator_loss)(
            weights := self.peer.discriminator_weights(discriminator), real.numpy(), tokens.numpy()
        )
        self.assertAllClose(loss, value)
        ours = tape.gradient(loss, discriminator.trainable_variables)
        self._assert_same(ours, [theirs[name] for name in weights])

    @pytest.mark.slow
    def test_its_steps_change_what_they_train(self):
        generator, discriminator = self._networks(5)
        tokens = generator.sample(_B, seed=1).numpy()
        weights = self.peer.generator_weights(generator)
        peer = self.peer.Peer(weights, self.peer.discriminator_weights(discriminator), tokens)
        before = self.peer.likelihood_loss(weights, tokens)
        for _ in range(20):
            peer.update("mle step")
        self.assertLess(self.peer.likelihood_loss(peer.generator, tokens), before)
        for name in ("reinforce update", "rebar update"):
            held = peer.generator["output_bias"]
            peer.update(name)
            self.assertNotAllClose(peer.generator["output_bias"], held)
        held = peer.discriminator["head_bias"]
        peer.discriminate()
        peer.epoch(3)
        self.assertNotAllClose(peer.discriminator["head_bias"], held)


if __name__ == "__main__":
    tf.test.main()
