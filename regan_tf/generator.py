"""The generator G_theta: a many-to-many, one-layer, unidirectional LSTM over tokens (ReGAN section 4.3)."""

from typing import NamedTuple

import keras
import tensorflow as tf

from regan_tf import relaxation
from regan_tf.autoregressive import RowGradients, Unrolled, chosen, stateless
from regan_tf.lstm import LSTMCell, unroll

# Below this size a product with one-hot rows is faster than a gather, whose gradient is a scatter.
ONE_HOT_LIMIT = 256


class Taps(NamedTuple):
    """Zeros added inside the network: their gradients are the cotangents from which row gradients are made."""

    pre_activations: tf.Tensor  # [T, B, 4H]
    logits: tf.Tensor  # [T, B, V]


class Generator(keras.Model):
    """p(b_t | b_<t) = softmax(W h_t + w), h_t from an LSTM over embeddings of the begin symbol and b_<t (equation 6).

    Args:
      vocab_size: V. Token V is the begin symbol; it is read first and never written.
      seq_len: T, the length of every sequence.
      embed_dim, hidden_dim: sizes of the embedding and of the LSTM's state.
    """

    def __init__(self, vocab_size, seq_len, embed_dim=32, hidden_dim=32, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size, self.seq_len = vocab_size, seq_len
        self.embedding = keras.layers.Embedding(vocab_size + 1, embed_dim, dtype=self.dtype_policy, name="embedding")
        self.cell = LSTMCell(hidden_dim, dtype=self.dtype_policy, name="cell")
        self.output_layer = keras.layers.Dense(vocab_size, dtype=self.dtype_policy, name="output")
        self.embedding.build((None,))
        self.cell.build((None, embed_dim))
        self.output_layer.build((None, hidden_dim))
        self.built = True

    def initial_state(self, batch_size):
        """The state before the begin symbol is read: (h, c), each [B, H]."""
        return self.cell.initial_state(batch_size)

    def step(self, inputs, state):
        """One step: reads a token, or a distribution over tokens, and gives the next one's logits.

        Args:
          inputs: tokens int32 [B], V being the begin symbol, or rows [B, V] (one-hot or relaxed).
          state: as given by `initial_state` or by the step before.
        Returns:
          logits [B, V] and the new state. Gradients flow through soft inputs, the state and the weights.
        """
        state = self.cell.advance(self._project(inputs, self._input_table()), state)
        return self._logits(state[0]), state

    def _input_table(self):
        """What each token adds to the pre-activations, [V + 1, 4H]: the embedding goes through W_x once, not T times."""
        return self.cell.project(self.embedding.embeddings.value)

    def _project(self, inputs, table):
        if not inputs.dtype.is_integer:
            return inputs @ table[: self.vocab_size]
        if self.vocab_size > ONE_HOT_LIMIT:
            return tf.gather(table, inputs)
        return tf.one_hot(inputs, self.vocab_size + 1, dtype=table.dtype) @ table

    def _logits(self, hidden):
        return hidden @ self.output_layer.kernel.value + self.output_layer.bias.value

    def unroll(self, noise, taps=(), temperature=1.0):
        """Samples b_t = argmax(l_t / temperature + g_t) step by step (the Gumbel-max trick), equation (6).

        Args:
          noise: Gumbel g, [B, T', V] with T' <= T: so many steps are taken.
          taps: see `zero_taps`.
          temperature: of sampling; training always samples at 1.
        Returns:
          Unrolled. The gradient of `log_probs` flows to the weights, also through the states of earlier steps; the
          tokens, being an argmax, carry none.
        """

        def gumbel_max(log_probs, noise_t):
            return tf.argmax(log_probs / temperature + noise_t, axis=-1, output_type=tf.int32)

        return self._autoregress(gumbel_max, tf.transpose(noise, [1, 0, 2]), taps)

    def complete(self, prefix, uniform, temperature):
        """Continues prefixes, each row at its own temperature, by inverting its distribution function. For serving: one
        number a token is enough, where `unroll` needs V, and nothing here depends on the other rows.

        Args:
          prefix: int32 [B, T], the given tokens first, then -1.
          uniform: float64 [B, T], in (0, 1).
          temperature: [B], above 0.
        Returns:
          tokens int32 [B, T]; and the log-probabilities of those drawn, [B, T], under the law that they were drawn from,
          softmax(l / temperature): 0 at given ones.
        """

        def invert(log_probs, inputs):
            prefix_t, uniform_t = inputs
            cold = (log_probs - tf.reduce_max(log_probs, axis=-1, keepdims=True)) / temperature[:, tf.newaxis]
            cumulated = tf.cumsum(tf.exp(tf.cast(cold, tf.float64)), axis=-1)  # in float64, for rare tokens among many
            drawn = tf.math.count_nonzero(cumulated <= uniform_t[:, tf.newaxis] * cumulated[:, -1:], axis=-1, dtype=tf.int32)
            return tf.where(prefix_t < 0, drawn, prefix_t)

        tokens, log_probs, _ = self._autoregress(invert, (tf.transpose(prefix), tf.transpose(uniform)), ())
        tempered = tf.nn.log_softmax(log_probs / temperature[:, tf.newaxis, tf.newaxis])
        return tokens, tf.where(prefix < 0, chosen(tempered, tokens), 0.0)

    def _autoregress(self, draw, inputs, taps):
        """Reads its own tokens, b_t = draw(l_t, inputs_t); inputs: a nest of [T', B, ...]."""
        length, batch_size = tf.nest.flatten(inputs)[0].shape[:2]
        batch_size = tf.shape(tf.nest.flatten(inputs)[0])[1] if batch_size is None else batch_size
        table = self._input_table()

        def step(inputs, carry):
            inputs_t, taps_t = inputs
            state, previous = carry
            projected = self._project(previous, table)
            state = self.cell.advance(projected + taps_t.pre_activations if taps else projected, state)
            logits = self._logits(state[0])
            log_probs = tf.nn.log_softmax(logits + taps_t.logits if taps else logits)
            token = draw(log_probs, inputs_t)
            return (token, log_probs, state), (state, token)

        start = (self.initial_state(batch_size), self._begin(batch_size))
        (tokens, log_probs, states), _ = unroll(step, start, (inputs, taps), length)
        return Unrolled(tf.transpose(tokens), tf.transpose(log_probs, [1, 0, 2]), states)

    def teacher_force(self, tokens, taps=()):
        """Reads given tokens, int32 [B, T'], and gives the same as `unroll`: the likelihood's pass."""
        projected = self._project(self._inputs(tokens), self._input_table())
        projected = projected + taps.pre_activations if taps else projected

        def step(projected_t, state):
            state = self.cell.advance(projected_t, state)
            return state, state

        states, _ = unroll(step, self.initial_state(tf.shape(tokens)[0]), projected, tokens.shape[1])
        logits = self._logits(states[0])
        log_probs = tf.nn.log_softmax(logits + taps.logits if taps else logits)
        return Unrolled(tokens, tf.transpose(log_probs, [1, 0, 2]), states)

    def _begin(self, batch_size):
        return tf.fill([batch_size], self.vocab_size)

    def _inputs(self, tokens):
        """The token read at each step, time-major: int32 [B, T] -> [T, B]."""
        return tf.concat([self._begin(tf.shape(tokens)[0])[tf.newaxis], tf.transpose(tokens)[:-1]], axis=0)

    def call(self, tokens):
        """Teacher-forced log-probabilities: tokens int32 [B, T] -> l [B, T, V]."""
        return self.teacher_force(tokens).log_probs

    def log_prob(self, tokens):
        """log p(b_t | b_<t) of given tokens (equation 6): int32 [B, T] -> [B, T], in nats. Differentiable in the weights."""
        return chosen(self(tokens), tokens)

    def sample(self, batch_size, seed, temperature=1.0):
        """Draws sequences, int32 [B, T], without a gradient.

        Args:
          batch_size: B.
          seed: an int, or two: a stateless seed.
          temperature: divides the logits.
        """
        noise = relaxation.gumbel([batch_size, self.seq_len, self.vocab_size], stateless(seed), self.compute_dtype)
        return self.unroll(noise, temperature=temperature).tokens

    def zero_taps(self, batch_size):
        """Taps for a pass over [B, T] tokens. Watch them on a tape; hand their gradients to `row_gradients`."""
        shape = [self.seq_len, batch_size]
        return Taps(
            tf.zeros([*shape, 4 * self.cell.units], self.compute_dtype),
            tf.zeros([*shape, self.vocab_size], self.compute_dtype),
        )

    def row_gradients(self, unrolled, cotangents):
        """What the variance over rows needs, from one backward pass and without a loop over rows.

        A weight used as x_t W has in row j the gradient sum_t x_jt (outer) d_jt, with d the gradient at the
        pre-activation, which the taps record. Weights that share d share one Gram matrix.

        Args:
          unrolled: the pass in which the taps were used.
          cotangents: Taps, the gradients with respect to them of the sum over rows of what is differentiated.
        Returns:
          RowGradients of that sum's rows.
        """
        d, d_logits = cotangents
        h, _ = unrolled.states
        h_before, inputs = tf.concat([tf.zeros_like(h[:1]), h[:-1]], axis=0), self._inputs(unrolled.tokens)
        embedded = tf.gather(self.embedding.embeddings.value, inputs)
        d_embedded = tf.einsum("tbg,eg->tbe", d, self.cell.kernel.value)
        one_hot_inputs = tf.one_hot(inputs, self.vocab_size + 1, dtype=d.dtype)
        by_variable = {
            id(self.embedding.embeddings): outer_norm(one_hot_inputs, d_embedded),
            id(self.cell.kernel): outer_norm(embedded, d),
            id(self.cell.recurrent_kernel): outer_norm(h_before, d),
            id(self.cell.bias): sum_norm(d),
            id(self.output_layer.kernel): outer_norm(h, d_logits),
            id(self.output_layer.bias): sum_norm(d_logits),
        }
        norms = [by_variable[id(v)] for v in self.trainable_variables]
        return RowGradients(norms, tf.reduce_sum(h[:, :, 0] * d_logits[:, :, 0], axis=0))


def outer_norm(x, d):
    """||sum_t x_t (outer) d_t||^2 of each row: x [T, B, X], d [T, B, Y] -> [B].

    Either the matrices are formed, or (the "ghost norm") their inner products sum_ts (x_t . x_s)(d_t . d_s), whichever
    is smaller.
    """
    length, (x_dim, d_dim) = x.shape[0], (x.shape[-1], d.shape[-1])
    if length * length < x_dim * d_dim:
        return tf.einsum("bts,bts->b", _gram(x), _gram(d))
    return tf.reduce_sum(tf.einsum("tbx,tbd->bxd", x, d) ** 2, axis=[1, 2])


def sum_norm(d):
    """||sum_t d_t||^2 of each row: [T, B, Y] -> [B]."""
    return tf.reduce_sum(tf.reduce_sum(d, axis=0) ** 2, axis=-1)


def _gram(x):
    return tf.einsum("tbx,sbx->bts", x, x)
