"""The last sequences of a run, from which a critic learns once more."""

import keras
import numpy as np
import tensorflow as tf


class RecentSequences:
    """The last K minibatches, whole: on every replica the same, and in the checkpoint.

    Args:
      batches: K.
      batch_size, seq_len: B and T.

    Attributes:
      tokens: int32 [K, B, T], the newest last; before there are K, zeros first.
      reward: [K, B], where it was given.
    """

    def __init__(self, batches: int, batch_size: int, seq_len: int):
        def variable(shape, dtype):
            options = {"trainable": False, "aggregation": "only_first_replica"}
            return keras.Variable(np.zeros(shape, dtype), dtype=dtype, **options)

        self.tokens = variable([batches, batch_size, seq_len], "int32")
        self.reward = variable([batches, batch_size], "float32")
        self._held = variable([], "int32")
        self._batches = batches

    @property
    def variables(self) -> list:
        """All that a checkpoint needs of them."""
        return [self.tokens, self.reward, self._held]

    @property
    def first(self) -> tf.Tensor:
        """The number of the oldest minibatch that there is, K where there is none."""
        return self._batches - self._held.value

    def add(self, tokens: tf.Tensor, reward: tf.Tensor | None = None) -> None:
        """Adds whole minibatches, int32 [N B, T], with their rewards [N B] where they last."""
        self._append(self.tokens, tokens)
        if reward is not None:
            self._append(self.reward, reward)
        new = tokens.shape[0] // self.tokens.shape[1]
        self._held.assign(tf.minimum(self._held.value + new, self._batches))

    def _append(self, variable, x):
        new = tf.reshape(tf.cast(x, variable.dtype), [-1, *variable.shape[1:]])
        variable.assign(tf.concat([variable.value, new], axis=0)[-self._batches :])
