"""How far a run has come: its counters, the best evaluation point, and whether it has converged."""

import numpy as np
import tensorflow as tf

from regan_tf.graphs import number

_WINDOW = 100  # iterations that must have new calls where --reward_calls ends the run


class Progress:
    """The counters of a run, in variables that its checkpoint holds.

    Args:
      task: the run's Task, which says what is better.
      data_size: how many training sequences there are.

    Attributes:
      batches_per_epoch: minibatches in one epoch of the data; what does not fill one is left out.
      pretrain_batches: minibatches of maximum likelihood in all, unless it ends early.
    """

    def __init__(self, task, data_size):
        self._task, self._config = task, task.config
        self.batches_per_epoch = data_size // task.config.batch_size
        self.pretrain_batches = round(task.config.pretrain_epochs * self.batches_per_epoch)
        # Minibatches of maximum likelihood so far.
        self._pretrained = tf.Variable(0, dtype=tf.int64)
        # In pre-training, if it may end early ...
        self._least_nll = tf.Variable(np.inf, dtype=tf.float64)
        # ... and epochs since then; -1: it has ended.
        self._stale_epochs = tf.Variable(0, dtype=tf.int64)
        # Adversarial iterations so far; -1: iteration 0 is not measured yet.
        self._iteration = tf.Variable(-1, dtype=tf.int64)
        self._best_iteration = tf.Variable(-1, dtype=tf.int64)
        self._best_value = tf.Variable(np.nan, dtype=tf.float64)
        self._stale = tf.Variable(0, dtype=tf.int64)  # evaluation points since the best one
        # Calls of a reward in Python: all, and those when the last window of iterations began.
        self._calls, self._calls_before = (tf.Variable(0, dtype=tf.int64) for _ in range(2))
        self._stalled = tf.Variable(False)
        # The sum of the updates' mean rewards since the last evaluation point, and their number.
        self._rewards = tf.Variable([0.0, 0.0], dtype=tf.float64)

    def checkpoint_parts(self):
        """What a checkpoint holds of it, by name."""
        counters = [self._pretrained, self._iteration]
        parts = {"progress": [*counters, self._best_iteration, self._best_value, self._stale]}
        if self._config.pretrain_patience:
            parts["pretraining"] = [self._least_nll, self._stale_epochs]
        if self._config.reward:
            parts["reward"] = [self._calls, self._calls_before, self._stalled, self._rewards]
        return parts

    @property
    def pretrained(self) -> int:
        """Minibatches of maximum likelihood so far."""
        return int(self._pretrained.numpy())

    @property
    def iteration(self) -> int:
        """Adversarial iterations so far; -1: iteration 0 is not measured yet."""
        return int(self._iteration.numpy())

    @property
    def best_iteration(self) -> int:
        """Of the best evaluation point; -1: there was none yet."""
        return int(self._best_iteration.numpy())

    @property
    def calls(self) -> int:
        """Calls of a reward in Python so far: sequences that it was asked for."""
        return int(self._calls.numpy())

    @property
    def steps(self) -> int:
        """Pre-training minibatches and adversarial iterations in all: it grows with every step."""
        return self.pretrained + self.iteration + 1

    @property
    def recorded(self) -> list[tuple[str, int]]:
        """Phase and iteration of every record so far, in order: one at each end of an epoch of
        pre-training, and of each iteration.
        """
        size = self.batches_per_epoch
        ends = (min(n, self.pretrain_batches) for n in range(size, self.pretrained + size, size))
        pretraining = [("pretrain", n) for n in ends if n <= self.pretrained]
        return pretraining + [("adversarial", n) for n in range(self.iteration + 1)]

    @property
    def pretraining(self) -> bool:
        """Whether there is pre-training left."""
        return self.pretrained < self.pretrain_batches and int(self._stale_epochs.numpy()) >= 0

    @property
    def converged(self) -> bool:
        """Whether --patience is exhausted."""
        return 0 < self._config.patience <= int(self._stale.numpy())

    @property
    def spent(self) -> bool:
        """Whether --reward_calls are made."""
        return 0 < self._config.reward_calls <= self.calls

    @property
    def stalled(self) -> bool:
        """Whether a hundred iterations had fewer calls than one batch has sequences: a generator
        that writes nothing new would never come to the --reward_calls.
        """
        return bool(self._config.reward_calls) and bool(self._stalled.numpy())

    @property
    def finished(self) -> bool:
        """Whether there are no adversarial iterations left."""
        ended = self.converged or self.spent or self.stalled
        return self.iteration >= self._config.iterations or (self.iteration >= 0 and ended)

    def count_pretraining(self, minibatches):
        """So many minibatches more of maximum likelihood."""
        self._pretrained.assign_add(minibatches)

    def count_iteration(self):
        """One adversarial iteration more; the first time it is iteration 0."""
        self._iteration.assign_add(1)

    def count_calls(self, calls):
        """So many calls in all."""
        self._calls.assign(number(calls, "int64"))

    def judge_calls(self):
        """At the end of an iteration: whether there were too few calls since the window began."""
        if self.iteration % _WINDOW == 0:
            new = self.calls - int(self._calls_before.numpy())
            self._stalled.assign(new < self._config.batch_size)
            self._calls_before.assign(number(self.calls, "int64"))

    def count_reward(self, reward):
        """The mean reward of one more update."""
        self._rewards.assign_add([reward, 1.0])

    def take_reward(self) -> float:
        """The mean of the updates' rewards since this was called last. Before the first it is lower
        than any: a generator that has had one is better.
        """
        total, updates = self._rewards.numpy()
        self._rewards.assign([0.0, 0.0])
        return float(total / updates) if updates else -np.inf

    def judge_pretraining(self, nll) -> bool:
        """Returns whether the held-out likelihood after an epoch is the best so far, and ends
        pre-training after --pretrain_patience epochs for which it was not.
        """
        is_best = bool(nll < self._least_nll.numpy())
        if is_best:
            self._least_nll.assign(nll)
            self._stale_epochs.assign(0)
        else:
            self._stale_epochs.assign_add(1)
        is_last = self.pretrained >= self.pretrain_batches
        if is_last or self._stale_epochs.numpy() >= self._config.pretrain_patience:
            self._stale_epochs.assign(-1)
        return is_best

    def judge(self, value) -> bool:
        """Returns whether the --metric's value at this evaluation point is the best so far."""
        best, name = self._best_value.numpy(), self._config.metric
        is_best = bool(np.isnan(best) or self._task.is_better(name, value, best))
        if is_best:
            self._best_value.assign(number(value, "float64"))
            self._best_iteration.assign(number(self.iteration, "int64"))
            self._stale.assign(0)
        else:
            self._stale.assign_add(1)
        return is_best
