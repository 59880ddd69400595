"""What trains a mediator in a run: maximum likelihood on data and samples, as many of each."""

import tensorflow as tf

from regan_tf.estimators import likelihood
from regan_tf.training.optimizers import adam


class MediatorTrainer:
    """A mediator with its optimizer.

    Attributes:
      network: a generator like the one that follows it, but for its --mediator_dim.
      optimizer: its Adam.
    """

    def __init__(self, config, generator):
        self._generator, self._dropout = generator, config.dropout
        hidden_dim = config.mediator_dim or config.generator_dim
        sizes = generator.get_config() | {"hidden_dim": hidden_dim, "name": "mediator"}
        self.network = type(generator).from_config(sizes)
        self.optimizer = adam(
            config.mediator_learning_rate,
            self.network.trainable_variables,
            weight_decay=config.weight_decay,
        )

    @property
    def variables(self):
        """All that a checkpoint needs, but for the optimizer's."""
        return self.network.variables

    def start(self):
        """The mediator becomes the generator as it is, where it is as large: it knows then what
        pre-training has found.
        """
        pairs = list(zip(self.network.variables, self._generator.variables, strict=True))
        if all(own.shape == other.shape for own, other in pairs):
            for own, other in pairs:
                own.assign(other.value)

    def step(self, real, fake, seed):
        """One Adam step on the negative log-likelihood of real and fake tokens, int32 [B, T] each;
        returns it, in nats per sequence, and its gradient's norm. seed: of --dropout.
        """
        both = tf.concat([real, fake], axis=0)
        gradient, loss = likelihood.descent(self.network, both, self._dropout, seed)
        self.optimizer.apply(gradient, self.network.trainable_variables)
        return loss, tf.linalg.global_norm(gradient)
