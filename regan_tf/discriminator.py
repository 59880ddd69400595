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

    def prefix_probability(self, tokens, last_rows):
        """D after every prefix: the state after the hard b_<t, one cell step on last_rows_t, the head.

        Args:
          tokens: int32 [B, T].
          last_rows: [B, T, V], one-hot or relaxed.
        Returns:
          D([b_<t, last_rows_t]), [B, T]; and the state (h, c) after the hard b_<t, [B, T, 2H]. Gradients flow
          through the rows and the weights.
        """
        batch_size, length = tf.shape(tokens)[0], tokens.shape[1]
        hard = tf.one_hot(tf.transpose(tokens)[:-1], self.vocab_size, dtype=last_rows.dtype)

        def step(projected_t, state):
            state = self.cell.advance(projected_t, state)
            return state, state

        start = self.cell.initial_state(batch_size)
        before = [first[tf.newaxis] for first in start]
        if length > 1:
            states, _ = unroll(step, start, self.cell.project(hard), length - 1)
            before = [tf.concat(parts, axis=0) for parts in zip(before, states, strict=True)]
        flat = [tf.reshape(x, [-1, self.cell.units]) for x in before]
        projected = self.cell.project(tf.reshape(tf.transpose(last_rows, [1, 0, 2]), [-1, self.vocab_size]))
        after = self.cell.advance(projected, flat)
        features = tf.concat(flat, axis=-1)

        def batch_major(x):
            return tf.transpose(tf.reshape(x, [length, batch_size, *x.shape[1:]]), [1, 0, *range(2, x.shape.rank + 1)])

        return batch_major(tf.sigmoid(self._logit(after[0]))), batch_major(features)
