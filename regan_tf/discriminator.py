"""The discriminator D: a many-to-one, one-layer, unidirectional LSTM over one-hot or relaxed rows (section 4.3)."""

import keras
import tensorflow as tf

from regan_tf.lstm import LSTMCell, unroll


class Discriminator(keras.Model):
    """Scores whole sequences: D = sigmoid(logit) is the probability that the rows are real data.

    Args:
      vocab_size: V, the width of a row.
      hidden_dim: size of the LSTM's state.
    """

    def __init__(self, vocab_size, hidden_dim=32, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.cell = LSTMCell(hidden_dim, dtype=self.dtype_policy, name="cell")
        self.head = keras.layers.Dense(1, dtype=self.dtype_policy, name="head")
        self.cell.build((None, vocab_size))
        self.head.build((None, hidden_dim))
        self.built = True

    def call(self, rows):
        """rows [B, T, V], one-hot or on the simplex -> logits [B]. Gradients flow through the rows and the weights."""
        projected = self.cell.project(tf.transpose(rows, [1, 0, 2]))

        def step(projected_t, state):
            return (), self.cell.advance(projected_t, state)

        _, (hidden, _) = unroll(step, self.cell.initial_state(tf.shape(rows)[0]), projected, rows.shape[1])
        return self._logit(hidden)

    def _logit(self, hidden):
        return tf.squeeze(hidden @ self.head.kernel.value + self.head.bias.value, axis=-1)

    def probability(self, rows):
        """D(rows), the reward of section 3: [B, T, V] -> [B], in (0, 1)."""
        return tf.sigmoid(self(rows))
