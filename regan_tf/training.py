"""The compiled steps of Algorithm 1: one trace each, no return to Python within an epoch."""

import keras
import tensorflow as tf

from regan_tf.autoregressive import chosen, teacher_force, with_pullback
from regan_tf.control_variate import ControlNetwork, LearnedScalar, StepControlNetwork, feature_dim
from regan_tf.gradients import estimate_gradient, learned, log_variances
from regan_tf.rewards import DiscriminatorReward


class Trainer:
    """The three networks with their optimizers, and the functions that update them.

    Losses and gradient norms come back as tensors for the caller to check: nothing here decides what to do with a NaN.
    """

    def __init__(self, config, generator, discriminator, reward=None):
        self.config = config
        self.generator, self.discriminator = generator, discriminator
        self.reward = reward or DiscriminatorReward(discriminator)
        self.control_network = self._control_network() if config.estimator == "relax" else None
        self.eta = LearnedScalar(config.eta) if config.learn_eta else config.eta
        self.temperature = LearnedScalar(config.temperature, positive=True) if config.learn_temperature else config.temperature
        self.control_variables = learned(self.control_network, self.eta, self.temperature)
        self.pretrain_optimizer = _adam(config.pretrain_learning_rate, generator.trainable_variables)
        self.generator_optimizer = _adam(config.generator_learning_rate, generator.trainable_variables)
        self.discriminator_optimizer = _adam(config.discriminator_learning_rate, discriminator.trainable_variables)
        self.control_optimizer = _adam(config.control_learning_rate, self.control_variables)

    def _control_network(self):
        config, vocab_size = self.config, self.generator.vocab_size
        if config.control_variate == "sequence":
            return ControlNetwork(vocab_size, config.control_filters)
        return StepControlNetwork(feature_dim(self.generator, self.reward), vocab_size, config.control_units)

    @property
    def optimizer_variables(self):
        """The optimizers' states, as Keras variables."""
        optimizers = [self.pretrain_optimizer, self.generator_optimizer, self.discriminator_optimizer, self.control_optimizer]
        return [v for optimizer in optimizers for v in optimizer.variables]

    @property
    def variables(self):
        """The weights of all networks, and what else is learned, as Keras variables."""
        return self.generator.variables + self.discriminator.variables + self.control_variables

    @tf.function
    def pretrain(self, batches, steps):
        """Maximum likelihood (line 3) over the first `steps` of the minibatches int32 [S, B, T].

        Returns:
          Their losses [steps], in nats per sequence.
        """
        losses = tf.TensorArray(tf.float32, steps)
        for i in tf.range(steps):
            losses = losses.write(i, self.likelihood_step(batches[i]))
        return losses.stack()

    def likelihood_step(self, tokens):
        """One Adam step on the negative log-likelihood of int32 [B, T]; returns it, in nats per sequence."""
        generator = self.generator
        unrolled, pullback = with_pullback(generator, lambda: teacher_force(generator, tokens))
        log_prob = tf.reduce_mean(tf.reduce_sum(chosen(unrolled.log_probs, tokens), axis=1))
        gradient, _ = pullback(tf.one_hot(tokens, generator.vocab_size, dtype=log_prob.dtype) / tokens.shape[0])
        self.pretrain_optimizer.apply([-g for g in gradient], generator.trainable_variables)
        return -log_prob

    @tf.function
    def update_generator(self, seed, real):
        """Lines 6-15: one estimate of the gradient, one ascent step, and one step of what is learned in the control variate.

        Args:
          seed: stateless seed, int32 [2].
          real: data tokens int32 [B, T], read by the mle estimator only.
        Returns:
          A dict of scalars.
        """
        config = self.config
        gradient, diagnostics = self.estimate(seed, real, row_gradients=config.track_variance)
        self.generator_optimizer.apply([-g for g in gradient], self.generator.trainable_variables)
        scalars = {"reward": tf.reduce_mean(diagnostics.reward), "gradient_norm": tf.linalg.global_norm(gradient)}
        if config.track_variance:
            scalars["log_variance"], scalars["log_variance_all"] = log_variances(diagnostics.rows, gradient)
        if diagnostics.control_gradient:
            self.control_optimizer.apply(diagnostics.control_gradient, self.control_variables)
            scalars["control_gradient_norm"] = tf.linalg.global_norm(diagnostics.control_gradient)
        return scalars

    def estimate(self, seed, real, row_gradients=False):
        """The configured estimate at the networks as they are: see `gradients.estimate_gradient`."""
        config = self.config
        return estimate_gradient(
            config.estimator,
            self.generator,
            self.reward,
            batch_size=config.batch_size,
            seed=seed,
            temperature=self.temperature,
            eta=self.eta,
            control_variate=config.control_variate,
            leave_one_out=config.leave_one_out,
            control_network=self.control_network,
            variance_loss=config.variance_loss,
            control_samples=config.control_samples,
            rollouts=config.rollouts,
            data=real,
            row_gradients=row_gradients,
        )

    @tf.function
    def train_discriminator(self, batches, seed):
        """Lines 16-18: one step for each minibatch of real tokens int32 [S, B, T], with as many fresh negatives.

        Returns:
          The mean loss, in nats per sequence, the mean norm of its gradient, and the negatives, int32 [S B, T].
        """
        steps, batch_size, seq_len = batches.shape
        fake = self.generator.sample(steps * batch_size, seed)
        fakes = tf.reshape(fake, [steps, batch_size, seq_len])
        loss_sum, norm_sum = 0.0, 0.0
        for i in tf.range(steps):
            loss, norm = self.discriminator_step(batches[i], fakes[i])
            loss_sum, norm_sum = loss_sum + loss, norm_sum + norm
        return {"discriminator_loss": loss_sum / steps, "discriminator_gradient_norm": norm_sum / steps}, fake

    def discriminator_step(self, real, fake):
        """One Adam step on the mean of -log D(real) and -log(1 - D(fake)), tokens int32 [B, T]; returns loss and gradient norm."""
        labels = tf.concat([tf.ones(real.shape[0]), tf.zeros(fake.shape[0])], axis=0)
        logits, pullback = self.discriminator.with_pullback(tf.concat([real, fake], axis=0))
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))
        gradient = pullback((tf.sigmoid(logits) - labels) / len(labels))
        self.discriminator_optimizer.apply(gradient, self.discriminator.trainable_variables)
        return loss, tf.linalg.global_norm(gradient)


def _adam(learning_rate, variables):
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(variables)
    return optimizer
