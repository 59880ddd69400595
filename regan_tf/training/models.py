"""The networks that a configuration asks for, with random weights, or with those of a run's
checkpoint: enough to sample, to measure and to export.
"""

import random

from regan_tf.cli import config_flags
from regan_tf.networks.convolutional import ConvolutionalDiscriminator
from regan_tf.networks.discriminator import Discriminator
from regan_tf.networks.generator import Generator
from regan_tf.training.checkpoints import restore_parts


class Models:
    """Generator and discriminator, randomly initialized: lines 1 and 2 of Algorithm 1.

    Args:
      config: a resolved Config.
      vocabulary: a text.Vocabulary.

    Attributes:
      generator, best_generator: as they are now, and as they were at the best evaluation point.
      discriminator: as it is now.
      prior: the generator as pre-training left it, from iteration 0 on; None where the
        configuration does not keep it.
    """

    def __init__(self, config, vocabulary):
        self.config, self.vocabulary = config, vocabulary
        sizes = (
            len(vocabulary),
            config.seq_len,
            config.embed_dim,
            config.generator_dim,
            vocabulary.end,
        )
        self.generator, self.best_generator = Generator(*sizes), Generator(*sizes)
        self.discriminator = _discriminator(config, vocabulary)
        self.prior = _apart(lambda: Generator(*sizes)) if config.keeps_prior else None

    def named(self, which: str) -> Generator:
        """The "last" generator, or the "best" one."""
        return {"last": self.generator, "best": self.best_generator}[which]

    def keep_best(self):
        """The generator as it is becomes the best one."""
        _copy(self.generator, self.best_generator)

    def return_to_best(self):
        """The generator becomes the best one again."""
        _copy(self.best_generator, self.generator)

    def keep_prior(self):
        """The generator as it is becomes the prior, if there is one."""
        if self.prior:
            _copy(self.generator, self.prior)

    def restore(self, path, flag="workdir", **others):
        """Loads the weights of a run's newest checkpoint, but for its prior's, and of what else it
        holds no more than is asked for.

        Args:
          path: the run's directory.
          flag: that names it.
          others: parts of the checkpoint by their names, as `Progress.checkpoint_parts` gives them.
        Raises:
          UserError: there is no checkpoint, or it is damaged.
        """
        parts = self.checkpoint_parts() | others
        parts.pop("prior", None)
        restore_parts(path, parts, flag)

    def start_from(self, path):
        """The generator becomes the last one of another run, of the same vocabulary and sizes.

        Raises UserError if that run has no checkpoint, or it is damaged.
        """
        source = Models(config_flags.read_run(path, "start_from"), self.vocabulary)
        source.restore(path, "start_from")
        _copy(source.generator, self.generator)

    def checkpoint_parts(self, learned=()):
        """What a checkpoint holds of them, by name; learned: further variables of Keras, behind the
        networks' own.
        """
        weights = [*self.generator.variables, *self.discriminator.variables, *learned]
        parts = {"weights": weights, "best": self.best_generator.variables}
        if self.prior:
            parts["prior"] = self.prior.variables
        return {name: [v.value for v in variables] for name, variables in parts.items()}


def _discriminator(config, vocabulary):
    size, units = len(vocabulary), config.discriminator_dim
    if config.discriminator == "lstm":
        return Discriminator(size, units, vocabulary.end)
    return ConvolutionalDiscriminator(size, config.seq_len, units, end_token=vocabulary.end)


def _apart(make):
    """make(), without a trace in the seeds that Keras draws for what is initialized after it: they
    come from Python's generator.
    """
    state = random.getstate()
    try:
        return make()
    finally:
        random.setstate(state)


def _copy(source, target):
    for to, value in zip(target.variables, source.variables, strict=True):
        to.assign(value.value)
