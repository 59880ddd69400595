"""The compiled steps of Algorithm 1: one trace each, no return to Python within an epoch, or a
group of an epoch's minibatches.
"""

import keras
import tensorflow as tf
from tensorflow.random.experimental import stateless_fold_in

from regan_tf import replicas
from regan_tf.estimators import likelihood, reuse, variance
from regan_tf.estimators.control_variate import ControlVariate
from regan_tf.estimators.critic import Lesson, Reading
from regan_tf.estimators.discriminator_rewards import reward_of
from regan_tf.estimators.estimate import Diagnostics, estimate_gradient, measured_names
from regan_tf.estimators.penalty import Penalty
from regan_tf.graphs import compiled, repeat
from regan_tf.networks import fused
from regan_tf.networks.autoregressive import AT_ONCE
from regan_tf.networks.noise import for_drawing, token_noise
from regan_tf.networks.protocol import RowGradients
from regan_tf.training.critic_trainer import CriticTrainer
from regan_tf.training.discriminator_trainer import DiscriminatorTrainer
from regan_tf.training.mediator_trainer import MediatorTrainer
from regan_tf.training.optimizers import adam


class Trainer:
    """The three networks with their optimizers, and the functions that update them.

    Losses and gradient norms come back as tensors for the caller to check: nothing here decides
    what to do with a NaN.
    """

    def __init__(
        self, config, generator, discriminator, reward=None, prior=None, pretrain_batches=0
    ):
        self.config = config
        self.generator = generator
        self.reward = reward or reward_of(
            discriminator, config.judge_prefixes, config.dense_reward, config.discount
        )
        self.spec = config.estimator_spec
        self._prior = prior
        self.control = ControlVariate.create(
            self.spec, generator, self.reward, config.control_filters, config.control_units
        )
        self.control_variables = self.control.variables
        falls = pretrain_batches if config.pretrain_decay else 0
        self.pretrain_optimizer = adam(
            _rate(config.pretrain_learning_rate, falls),
            generator.trainable_variables,
            weight_decay=config.weight_decay,
        )
        self._falls = config.decay_iterations * config.g_steps * config.updates_per_batch
        self.generator_optimizer = adam(
            _rate(config.generator_learning_rate, self._falls),
            generator.trainable_variables,
            weight_decay=config.weight_decay if self.spec.traits.is_likelihood else 0.0,
        )
        self.discriminator = DiscriminatorTrainer(config, discriminator)
        self.control_optimizer = adam(config.control_learning_rate, self.control_variables)
        self.critic = None
        if self.spec.traits.critic:
            self.critic = CriticTrainer(config, generator, self.reward)
        self.mediator = None
        if self.spec.traits.mediator:
            self.mediator = MediatorTrainer(config, generator)

    @property
    def _others(self):
        """Who has variables and an optimizer besides."""
        return [other for other in (self.critic, self.mediator) if other]

    @property
    def learned_variables(self):
        """Keras variables of what is learned besides the networks."""
        return self.control_variables + [v for other in self._others for v in other.variables]

    @property
    def penalty(self):
        """What the updates' J has besides E[R], with the weights that it has at the next one; None:
        nothing.
        """
        config, entropy = self.config, self.config.entropy
        if not config.reads_prior:
            return None
        if self._falls and entropy:
            entropy = _rate(entropy, self._falls)(self.generator_optimizer.iterations.value)
        return Penalty(self._prior, config.prior_kl, entropy)

    @property
    def optimizer_variables(self):
        """The optimizers' states, as Keras variables."""
        optimizers = [
            self.pretrain_optimizer,
            self.generator_optimizer,
            self.discriminator.optimizer,
            self.control_optimizer,
        ]
        optimizers += [other.optimizer for other in self._others]
        return [v for optimizer in optimizers for v in optimizer.variables]

    @compiled
    @fused.allowed()
    def pretrain(self, batches, seed, first, steps):
        """Maximum likelihood (line 3) over `steps` of the minibatches int32 [S, B, T], from number
        `first` on. The stateless seed, int32 [2], is that of --dropout for all of them.

        Returns:
          Their losses [steps], in nats per sequence.
        """

        def step(i, losses):
            number = first + i
            args = batches[number], stateless_fold_in(seed, number)
            return (losses.write(i, replicas.run(self.likelihood_step, *args)),)

        (losses,) = repeat(steps, step, (tf.TensorArray(tf.float32, steps),))
        return losses.stack()

    def likelihood_step(self, tokens, seed=None):
        """One Adam step on the negative log-likelihood of int32 [B, T]; returns it, in nats per
        sequence. seed: of --dropout.
        """
        gradient, loss = likelihood.descent(self.generator, tokens, self.config.dropout, seed)
        self.pretrain_optimizer.apply(gradient, self.generator.trainable_variables)
        return loss

    @compiled
    @fused.allowed()
    def update_generator(self, seed, real, replayed=None):
        """Lines 6-15: one estimate of the gradient, one ascent step, and one step of what is
        learned in the control variate; then further ascent steps with the same sequences, where
        there are several --updates_per_batch.

        Args:
          seed: stateless seed, int32 [2].
          real: data tokens int32 [B, T], read by the mle estimator only.
          replayed: a `reuse.Replayed` beside the batch, where there is a --replay.
        Returns:
          A dict of scalars.
        """
        if self.critic:
            self.critic.learn_from_recent(self.penalty)
        scalars, batch, lesson = replicas.run(self._update_generator, seed, real, replayed)
        if self.critic:
            scalars["critic_loss"] = self.critic.learn(*lesson)
        if self.spec.updates_per_batch == 1:
            return scalars

        def again(_, *__):
            return replicas.run(self._update_again, batch, scalars["reward"], replayed)

        start = reuse.Distance(0.0, 0.0)
        distance = reuse.Distance(*repeat(self.spec.updates_per_batch - 1, again, start))
        return scalars | {"clipped": distance.clipped, "ratio_kl": distance.kl}

    def _update_generator(self, seed, real, replayed):
        config = self.config
        # Lines 6-12, and what 14-15 need.
        estimate, diagnostics = self.estimate(seed, real, row_gradients=config.track_variance)
        of_reward = {} if self.mediator else {"reward": diagnostics.reward}
        by_row = of_reward | diagnostics.measured
        scalars = replicas.mean({name: tf.reduce_mean(x) for name, x in by_row.items()})
        gradient = self._with_replayed(estimate, scalars.get("reward"), replayed)
        # Line 13: theta goes up.
        self.generator_optimizer.apply([-g for g in gradient], self.generator.trainable_variables)
        scalars["gradient_norm"] = tf.linalg.global_norm(gradient)
        if config.track_variance:
            scalars["log_variance"], scalars["log_variance_all"] = variance.log_variances(
                diagnostics.row_gradients, estimate
            )
        if diagnostics.control_gradient:  # lines 14-15: phi lowers the variance, equation (19)
            self.control_optimizer.apply(diagnostics.control_gradient, self.control_variables)
            scalars["control_gradient_norm"] = tf.linalg.global_norm(diagnostics.control_gradient)
        batch = () if self.spec.updates_per_batch == 1 else reuse.Batch.of(diagnostics)
        lesson = self.critic.lesson(diagnostics) if self.critic else ()
        return scalars, *tf.nest.map_structure(replicas.gather, (batch, lesson))

    def _update_again(self, batch, reward, replayed):
        """One step more, with the sequences of an update before: see `reuse`."""
        own = tf.nest.map_structure(replicas.own_rows, batch)
        gradient, distance = reuse.further_gradient(self.spec, self.generator, own, self.penalty)
        gradient = self._with_replayed(gradient, reward, replayed)
        self.generator_optimizer.apply([-g for g in gradient], self.generator.trainable_variables)
        return distance

    def _with_replayed(self, gradient, reward, replayed):
        """The gradient, with what the replayed sequences add; reward: the batch's mean."""
        if replayed is None:
            return gradient
        size = self.config.batch_size
        added = reuse.replay_gradient(
            self.spec, self.generator, replayed, reward, size, self.penalty
        )
        return [g + more for g, more in zip(gradient, added, strict=True)]

    def estimate(self, seed, real, row_gradients=False):
        """The configured estimate at the networks as they are: see `estimate.estimate_gradient`.

        With --row_parts it is the mean of several, each of a part of the rows and made after the
        other: leave-one-out and the batch loss are then within a part.
        """
        parts = self.config.row_parts
        if parts == 1:
            return self._estimate(self.config.batch_size, seed, real, row_gradients)
        size = self.config.batch_size // parts
        seeds = tf.random.experimental.stateless_split(seed, parts)
        real = tf.reshape(real, [parts, size, -1])

        def add(i, total, by_row):
            gradient, found = self._estimate(size, seeds[i], real[i], row_gradients)
            summand = {"theta": gradient, "phi": found.control_gradient}
            kept = found.row_gradients if row_gradients else []
            rows = found._replace(row_gradients=kept, control_gradient=[])
            total = tf.nest.map_structure(tf.add, total, summand)
            return total, tf.nest.map_structure(lambda array, x: array.write(i, x), by_row, rows)

        def zeros(variables):
            return [tf.zeros(v.shape, v.dtype) for v in variables]

        theta = self.generator.trainable_variables
        start = {"theta": zeros(theta), "phi": zeros(self.control_variables)}
        by_row = self._arrays(parts, size, len(theta) if row_gradients else None)
        total, by_row = repeat(parts, add, (start, by_row))
        mean = tf.nest.map_structure(lambda x: x / parts, total)
        found = tf.nest.map_structure(
            lambda array: tf.reshape(array.concat(), [parts * size, *array.element_shape[1:]]),
            by_row,
        )
        rows = found.row_gradients or None
        return mean["theta"], found._replace(row_gradients=rows, control_gradient=mean["phi"])

    def _arrays(self, parts, size, row_gradients):
        """Diagnostics of tf.TensorArrays, for what `parts` estimates of `size` rows leave behind a
        row; row_gradients: of how many variables, or None.
        """

        def array(dtype=self.generator.compute_dtype, shape=()):
            return tf.TensorArray(dtype, parts, element_shape=[size, *shape])

        rows = RowGradients([array() for _ in range(row_gradients or 0)], array())
        length = self.generator.seq_len
        tokens = array(tf.int32, [length])
        signal, log_prob = array(shape=[length]), array(shape=[length])
        given = self.reward, self.penalty, self.mediator and self.mediator.network
        measured = {name: array() for name in measured_names(*given)}
        found = tokens, array(), signal, log_prob, measured
        lesson = ()
        if self.critic:
            reading = Reading(
                *(array(shape=[length, width]) for width in self.critic.network.widths)
            )
            lesson = Lesson(reading, array(shape=[length]), array())
        return Diagnostics(*found, rows if row_gradients else [], [], lesson)

    def _estimate(self, batch_size, seed, real, row_gradients):
        return estimate_gradient(
            self.spec,
            self.generator,
            self.reward,
            batch_size=batch_size,
            seed=seed,
            control=self.control,
            critic=self.critic and self.critic.network,
            data=real,
            penalty=self.penalty,
            mediator=self.mediator and self.mediator.network,
            row_gradients=row_gradients,
        )

    @property
    def train_opponent(self):
        """`train_mediator` where there is one, else `train_discriminator`."""
        return self.train_mediator if self.mediator else self.train_discriminator

    @compiled
    @fused.allowed()
    def train_discriminator(self, batches, seed):
        """Lines 16-18: one step for each minibatch of real tokens int32 [S, B, T], with as many
        fresh negatives.

        Returns:
          The mean loss, in nats per sequence, and the mean norm of its gradient, by name; and the
          negatives, int32 [S B, T].
        """
        scalars, sampled = self._beside_negatives(
            "discriminator", self.discriminator.step, batches, seed
        )
        if self.critic:
            self.critic.see_negatives(sampled)
        return scalars, sampled

    @compiled
    @fused.allowed()
    def train_mediator(self, batches, seed):
        """The same for cot's mediator."""
        return self._beside_negatives("mediator", self.mediator.step, batches, seed)

    def _beside_negatives(self, name, learn, batches, seed):
        """learn(real, fake, seed) on each minibatch, as `train_discriminator` says."""
        steps, batch_size, seq_len = batches.shape
        at_once = steps * batch_size * seq_len * self.generator.vocab_size <= AT_ONCE
        fakes = (
            tf.reshape(replicas.run(self._negatives, steps * batch_size, seed), batches.shape)
            if at_once
            else None
        )
        of_dropout = stateless_fold_in(seed, steps)  # a number that no minibatch has

        def step(i, losses, norms, sampled):
            fake = (
                fakes[i]
                if at_once
                else replicas.run(self._negatives, batch_size, stateless_fold_in(seed, i))
            )
            loss, norm = replicas.run(learn, batches[i], fake, stateless_fold_in(of_dropout, i))
            return losses + loss, norms + norm, sampled.write(i, fake)

        sampled = tf.TensorArray(tf.int32, steps, element_shape=[batch_size, seq_len])
        losses, norms, sampled = repeat(steps, step, (0.0, 0.0, sampled))
        scalars = {f"{name}_loss": losses / steps, f"{name}_gradient_norm": norms / steps}
        return scalars, tf.reshape(sampled.stack(), [-1, seq_len])

    def _negatives(self, size, seed):
        """Fresh samples, int32 [size, T]: each replica draws its part, and has all."""
        generator = self.generator
        shape, vocab_size = [size, generator.seq_len], generator.vocab_size
        noise = replicas.own_rows(token_noise(shape, vocab_size, seed, generator.compute_dtype))
        return replicas.gather(generator.write(for_drawing(noise, vocab_size)))


def _rate(rate, steps):
    """A rate that falls to 0 by half a cosine in so many steps; 0: it stays."""
    return keras.optimizers.schedules.CosineDecay(rate, steps) if steps else rate
