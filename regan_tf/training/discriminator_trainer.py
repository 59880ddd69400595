"""What trains the discriminator in a run: lines 16-18 of Algorithm 1."""

import tensorflow as tf

from regan_tf import replicas
from regan_tf.networks.autoregressive import alive, masked
from regan_tf.networks.noise import kept
from regan_tf.training.optimizers import adam


class DiscriminatorTrainer:
    """A discriminator with its optimizer.

    Attributes:
      network: the discriminator.
      optimizer: its Adam.
    """

    def __init__(self, config, discriminator):
        self.network = discriminator
        self._judge_prefixes, self._dropped = config.judge_prefixes, config.discriminator_dropout
        self.optimizer = adam(
            config.discriminator_learning_rate,
            discriminator.trainable_variables,
            config.discriminator_beta_2,
            config.discriminator_weight_decay,
        )

    def step(self, real, fake, seed=(0, 0)):
        """One Adam step on the mean of -log D(real) and -log(1 - D(fake)), tokens int32 [B, T];
        returns loss and gradient norm. With --judge_prefixes a sequence's part in the mean is
        that of its prefixes, up to its end. seed: a stateless one, of --discriminator_dropout.
        """
        factors = self._factors([real.shape[0], fake.shape[0]], seed)
        real, fake = replicas.own_rows(real), replicas.own_rows(fake)
        labels = tf.concat([tf.ones(real.shape[0]), tf.zeros(fake.shape[0])], axis=0)
        tokens, prefixes = tf.concat([real, fake], axis=0), self._judge_prefixes
        logits, pullback = self.network.with_pullback(tokens, prefixes, factors)
        weights = None
        if prefixes:
            labels = tf.repeat(labels[:, tf.newaxis], tokens.shape[1], axis=1)
            weights = _shares(alive(self.network, tokens))
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
        loss = tf.reduce_mean(masked(losses, weights))
        of_logits = masked(tf.sigmoid(logits) - labels, weights) / labels.shape.num_elements()
        *gradient, loss = replicas.mean([*pullback(of_logits), loss])
        self.optimizer.apply(gradient, self.network.trainable_variables)
        return loss, tf.linalg.global_norm(gradient)

    def _factors(self, sizes, seed):
        """The factors, [rows, units], by which dropout multiplies the units that D's head reads:
        for this replica's rows of a first set of sequences, then for its rows of the next. None
        without --discriminator_dropout.

        sizes: of the sets, all replicas' rows together.
        """
        if not self._dropped:
            return None
        shape = [sum(sizes), self.network.head_units]
        drawn = tf.split(kept(shape, self._dropped, seed, self.network.compute_dtype), sizes)
        return tf.concat([replicas.own_rows(x) for x in drawn], axis=0)


def _shares(mask):
    """Weights of tokens, 1 in the mean over all, by which each row of a mask [B, T] has the same;
    None for None.
    """
    return None if mask is None else mask / tf.reduce_mean(mask, axis=1, keepdims=True)
