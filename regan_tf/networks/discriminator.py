"""The discriminator D: a many-to-one, one-layer, unidirectional LSTM over one-hot or relaxed rows
(section 4.3).
"""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from regan_tf.networks import autoregressive, backprop, lstm, recurrence
from regan_tf.networks.dtypes import check_policy


@keras.saving.register_keras_serializable("regan_tf")
class Discriminator(keras.Model):
    """Scores whole sequences: D = sigmoid(logit) is the probability that the rows are real data.

    With an end token it scores its state after that token: what follows counts for nothing. Relaxed
    rows end at each step with the probability that they give the end token, and the states are
    averaged accordingly: smooth, and the same on hard rows.

    Args:
      vocab_size: V, the width of a row.
      hidden_dim: size of the LSTM's state.
      end_token: see `autoregressive.alive`; None: all sequences have T tokens.
    Raises:
      ValueError: the dtype policy is neither float32 nor float64.
    """

    def __init__(
        self, vocab_size: int, hidden_dim: int = 32, end_token: int | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        check_policy(self)
        self.vocab_size, self.end_token = vocab_size, end_token
        self.cell = lstm.LSTMCell(hidden_dim, dtype=self.dtype_policy, name="cell")
        self.head = keras.layers.Dense(1, dtype=self.dtype_policy, name="head")
        self.cell.build((None, vocab_size))
        self.head.build((None, hidden_dim))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "vocab_size": self.vocab_size,
            "hidden_dim": self.cell.units,
            "end_token": self.end_token,
        }

    @property
    def head_units(self) -> int:
        """How many units the head reads."""
        return self.cell.units

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        """rows [B, T, V], one-hot or on the simplex, or tokens int32 [B, T] -> logits [B].

        Gradients flow through the rows and the weights.
        """
        start, length = self.cell.initial_state(tf.shape(rows)[0]), rows.shape[1]
        if self.end_token is None:
            _, (hidden, _) = self.cell.over_time(
                lambda x, state, recurrent: ((), self.cell.advance(x, state, recurrent)),
                start,
                self._project(rows),
                length,
            )
            return self._logit(hidden)

        def step(inputs_t, carry, recurrent):
            projected_t, ends_t = inputs_t
            state, alive, summed = carry
            state = self.cell.advance(projected_t, state, recurrent)
            return (), (state, alive * (1 - ends_t), summed + alive * ends_t * state[0])

        ends = self._ends(rows)
        carry = (start, tf.ones_like(ends[0]), start[0])
        _, ((hidden, _), alive, summed) = self.cell.over_time(
            step, carry, (self._project(rows), ends), length
        )
        return self._logit(summed + alive * hidden)

    def _ends(self, rows):
        """The probability of the end token at each step, [T, B, 1]."""
        ends = (
            tf.cast(rows == self.end_token, self.compute_dtype)
            if rows.dtype.is_integer
            else rows[..., self.end_token]
        )
        return tf.transpose(ends)[..., tf.newaxis]

    def _project(self, rows):
        """[B, T, V], or tokens [B, T] -> [T, B, 4H]."""
        if rows.dtype.is_integer:
            return lstm.look_up(self.cell.kernel.value, tf.transpose(rows)) + self.cell.bias.value
        if self.vocab_size < 4 * self.cell.units:
            return self.cell.project(tf.transpose(rows, [1, 0, 2]))
        return tf.transpose(self.cell.project(rows), [1, 0, 2])  # what is smaller is moved

    def with_pullback(
        self, tokens: tf.Tensor, prefixes: bool = False, kept: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, Callable]:
        """Reads tokens int32 [B, T], and keeps what back-propagation through time needs.

        Args:
          prefixes: judge every prefix b_<=t instead of the sequence; also those that go on after
            an end token, of which `autoregressive.alive` tells.
          kept: what the units that the head reads are multiplied by, [B, head_units], the same for
            all prefixes: dropout's `noise.kept`, while D is trained.
        Returns:
          logits [B], with prefixes [B, T]; and the function from their cotangent, of that shape, to
          the gradient in the weights, summed over rows: a tensor for each of `trainable_variables`.
        """

        def step(projected_t, state, recurrent):
            state, trace = self.cell.traced(projected_t, state, recurrent)
            return (state[0], trace), state

        start, length = self.cell.initial_state(tf.shape(tokens)[0]), tokens.shape[1]
        (hidden, trace), (last, _) = self.cell.over_time(step, start, self._project(tokens), length)
        hidden, is_last = recurrence.stack(hidden), None
        alive = None if prefixes else autoregressive.alive(self, tokens)
        if prefixes:
            last = hidden
        elif alive is not None:
            # Alive, and then no more.
            is_last = tf.transpose(alive - tf.pad(alive[:, 1:], [[0, 0], [0, 1]]))[..., tf.newaxis]
            last = tf.reduce_sum(is_last * hidden, axis=0)

        last = last if kept is None else kept * last
        saved = (tokens, hidden, trace, last, is_last, kept)
        logits = self._logit(last)
        logits = tf.transpose(logits) if prefixes else logits
        return logits, functools.partial(backprop.through_discriminator, self, saved)

    def _logit(self, hidden):
        return tf.squeeze(hidden @ self.head.kernel.value + self.head.bias.value, axis=-1)

    def probability(self, rows: tf.Tensor) -> tf.Tensor:
        """D(rows), the reward of section 3: [B, T, V], or tokens int32 [B, T] -> [B], in (0, 1)."""
        return tf.sigmoid(self(rows))

    def prefix_probability(
        self, tokens: tf.Tensor, last_rows: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """D after every prefix: the state after the hard b_<t, one cell step on last_rows_t, the
        head.

        Args:
          tokens: int32 [B, T].
          last_rows: [B, T, V], one-hot or relaxed.
        Returns:
          D([b_<t, last_rows_t]), [B, T]; and the state (h, c) after the hard b_<t, [B, T, 2H].
          Gradients flow through the rows and the weights.
        """
        before = self._states(tokens[:, :-1])
        projected = self.cell.project(
            tf.reshape(tf.transpose(last_rows, [1, 0, 2]), [-1, self.vocab_size])
        )
        hidden, _ = self.cell.advance(projected, before)
        by_row = functools.partial(_by_row, size=tf.shape(tokens)[0])
        return by_row(tf.sigmoid(self._logit(hidden))), by_row(tf.concat(before, axis=-1))

    def so_far(self, tokens: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """logit D(b_<=t) of tokens int32 [B, T], or rows [B, T, V], for t = 0 to T, [B, T + 1], as
        if each were the whole; and the state (h, c) after b_<t, for t = 1 to T, [B, T, 2H].
        Gradients flow through the rows and the weights.
        """
        states, size = self._states(tokens), tf.shape(tokens)[0]
        logits = _by_row(self._logit(states[0]), size)
        return logits, _by_row(tf.concat(states, axis=-1)[:-size], size)

    def next_logits(self, states: tf.Tensor) -> tf.Tensor:
        """logit D after the states (h, c), [B, T, 2H], and each token that may be next:
        [B, T, V].
        """
        flat = tf.split(tf.reshape(states, [-1, 2 * self.cell.units]), 2, axis=-1)
        projected = self.cell.project(tf.eye(self.vocab_size, dtype=self.compute_dtype))
        hidden, _ = self.cell.advance(projected[:, tf.newaxis], flat)
        shape = [*tf.unstack(tf.shape(states)[:2]), self.vocab_size]
        return tf.reshape(tf.transpose(self._logit(hidden)), shape)

    def _states(self, tokens):
        """(h, c) after every beginning of int32 [B, T] or [B, T, V], the empty one first:
        [(T + 1) B, H] each, time-major.
        """

        def step(projected_t, state, recurrent):
            state = self.cell.advance(projected_t, state, recurrent)
            return state, state

        start, length = self.cell.initial_state(tf.shape(tokens)[0]), tokens.shape[1]
        states = [first[tf.newaxis] for first in start]
        if length:
            after, _ = self.cell.over_time(step, start, self._project(tokens), length)
            after = recurrence.stack(after)
            states = [tf.concat(parts, axis=0) for parts in zip(states, after, strict=True)]
        return [tf.reshape(x, [-1, self.cell.units]) for x in states]


def _by_row(x, size):
    """[T B, ...], time-major, of B = size rows: [B, T, ...]."""
    x = tf.reshape(x, [-1, size, *x.shape[1:]])
    return tf.transpose(x, [1, 0, *range(2, x.shape.rank)])
