"""What trains a critic in a run: regression on the batch of each update, and on what was before.

Replicas may not meet within a loop, so here each loop is around them.
"""

import tensorflow as tf

from regan_tf import replicas
from regan_tf.estimators.critic import Critic, fit, learn, rows_of
from regan_tf.estimators.estimate import lesson_of
from regan_tf.graphs import repeat
from regan_tf.networks.autoregressive import alive
from regan_tf.training.optimizers import adam
from regan_tf.training.recent import RecentSequences


class CriticTrainer:
    """A critic with its optimizer, and the sequences that it learns from once more.

    Attributes:
      network: the Critic.
      optimizer: its Adam.
      recent: RecentSequences, with --critic_replay; else None.
    """

    def __init__(self, config, generator, reward):
        self._config, self._spec = config, config.estimator_spec
        self._generator, self._reward = generator, reward
        self.network = Critic.create(self._spec, generator, reward, config.critic_units)
        self.optimizer = adam(config.critic_learning_rate, self.network.trainable_variables)
        self.recent = None
        if config.critic_replay:
            sizes = config.critic_replay, config.batch_size, config.seq_len
            self.recent = RecentSequences(*sizes)

    @property
    def variables(self):
        """All that a checkpoint needs, but for the optimizer's."""
        return self.network.variables + (self.recent.variables if self.recent else [])

    @property
    def _learns_from_negatives(self):
        """Whether its recent sequences are the discriminator's negatives: they are many, and it
        says anew what they are worth. A reward of one's own would have to be called for that.
        """
        return not self._config.reward

    def see_negatives(self, tokens):
        """The discriminator's, int32 [S B, T]: the last of them are the recent sequences."""
        if self.recent and self._learns_from_negatives:
            self.recent.add(tokens)

    def lesson(self, found):
        """What it learns from an estimate's Diagnostics, on a replica: their moments it takes at
        once.
        """
        self.network.observe(found.lesson, found.tokens, alive(self._generator, found.tokens))
        if self.recent and not self._learns_from_negatives:
            self.recent.add(replicas.gather(found.tokens), replicas.gather(found.reward))
        return found.lesson, found.tokens

    def learn(self, lesson, tokens):
        """--critic_steps of the regression, each on --critic_rows of all replicas' rows; returns
        the first one's loss.
        """
        exercise = self.network.exercise(lesson, tokens, alive(self._generator, tokens))
        count = replicas.count()
        size = max(count, self._config.critic_rows // count * count)

        def step(i, first):
            loss = replicas.run(self._step, rows_of(exercise, i, size))
            return (tf.where(i == 0, loss, first),)

        start = tf.constant(0.0, self._generator.compute_dtype)
        return repeat(self._config.critic_steps, step, (start,))[0]

    def _step(self, exercise):
        own = tf.nest.map_structure(replicas.own_rows, exercise)
        return fit(self.network, self.optimizer, own)

    def learn_from_recent(self, penalty):
        """One step of the regression on each minibatch of recent sequences, if there are any;
        penalty: as for `estimate_gradient`.
        """
        if not self.recent:
            return
        recent = self.recent

        def step(i):
            number = recent.first + i
            batch = recent.tokens.value[number], recent.reward.value[number]
            replicas.run(lambda *batch: self._recent_step(*batch, penalty), *batch)
            return ()

        repeat(self._config.critic_replay - recent.first, step, ())

    def _recent_step(self, tokens, reward, penalty):
        generator = self._generator
        tokens, reward = replicas.own_rows(tokens), replicas.own_rows(reward)
        if self._learns_from_negatives:
            reward = None  # what the discriminator says now
        given = self._spec, self.network, generator, self._reward, tokens, reward, penalty
        # It observes them first: the discriminator may have moved since the last update.
        lesson, mask = lesson_of(*given), alive(generator, tokens)
        return learn(self.network, self.optimizer, lesson, tokens, mask)
