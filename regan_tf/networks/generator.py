"""The generator G_theta: a many-to-many, one-layer, unidirectional LSTM over tokens (ReGAN section
4.3).
"""

from typing import Any

import keras
import tensorflow as tf

from regan_tf.networks import (
    autoregressive,
    backprop,
    lstm,
    recurrence,
    samplers,
    softmax,
    writing,
)
from regan_tf.networks.autoregressive import (
    AT_ONCE,
    alive,
    masked,
    places_alive,
    stateless,
    time_major,
)
from regan_tf.networks.dtypes import check_policy
from regan_tf.networks.generation import Generates
from regan_tf.networks.noise import by_inversion, for_drawing, kept, token_noise
from regan_tf.networks.protocol import FastGenerator, RowGradients, Unrolled


@keras.saving.register_keras_serializable("regan_tf")
class Generator(keras.Model, Generates, FastGenerator):
    """p(b_t | b_<t) = softmax(W h_t + w), h_t from an LSTM over embeddings of the begin symbol and
    b_<t (equation 6).

    As every network here it can be saved and cloned by Keras; `keras.models.load_model` finds the
    class once it was imported: `from regan_tf import Generator`.

    Args:
      vocab_size: V. Token V is the begin symbol; it is read first and never written.
      seq_len: T, the length of every sequence; of the longest, if there is an end token.
      embed_dim, hidden_dim: sizes of the embedding and of the LSTM's state.
      end_token: after which there is nothing but itself, see `autoregressive.alive`; None: all
        sequences have T tokens.
    Raises:
      ValueError: the dtype policy is neither float32 nor float64.
    """

    def __init__(
        self,
        vocab_size: int,
        seq_len: int,
        embed_dim: int = 32,
        hidden_dim: int = 32,
        end_token: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_policy(self)
        self.vocab_size, self.seq_len, self.end_token = vocab_size, seq_len, end_token
        self.embedding = keras.layers.Embedding(
            vocab_size + 1, embed_dim, dtype=self.dtype_policy, name="embedding"
        )
        self.cell = lstm.LSTMCell(hidden_dim, dtype=self.dtype_policy, name="cell")
        self.output_layer = keras.layers.Dense(vocab_size, dtype=self.dtype_policy, name="output")
        self.embedding.build((None,))
        self.cell.build((None, embed_dim))
        self.output_layer.build((None, hidden_dim))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "vocab_size": self.vocab_size,
            "seq_len": self.seq_len,
            "embed_dim": self.embedding.output_dim,
            "hidden_dim": self.cell.units,
            "end_token": self.end_token,
        }

    def initial_state(self, batch_size: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The state before the begin symbol is read: (h, c), each [B, H]."""
        return self.cell.initial_state(batch_size)

    def step(self, inputs: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        """One step: reads a token, or a distribution over tokens, and gives the next one's logits.

        Args:
          inputs: tokens int32 [B], V being the begin symbol, or rows [B, V] (one-hot or relaxed).
          state: as given by `initial_state` or by the step before.
        Returns:
          logits [B, V] and the new state. Gradients flow through soft inputs, the state and the
          weights.
        """
        state = self.cell.advance(self._project(inputs), state)
        return self._logits(state[0]), state

    @property
    def reads_by_table(self) -> bool:
        """Whether all tokens go through the embedding and W_x once, instead of the tokens read at
        every step.
        """
        return self.vocab_size <= lstm.ONE_HOT_LIMIT

    def _input_table(self):
        """What each token adds to the pre-activations, [V + 1, 4H]."""
        return self.cell.project(self.embedding.embeddings.value)

    def _project(self, inputs, table=None):
        if self.reads_by_table:
            table = self._input_table() if table is None else table
            return (
                lstm.look_up(table, inputs)
                if inputs.dtype.is_integer
                else inputs @ table[: self.vocab_size]
            )
        embeddings = self.embedding.embeddings.value
        is_token = inputs.dtype.is_integer
        return self.cell.project(
            lstm.look_up(embeddings, inputs) if is_token else inputs @ embeddings[: self.vocab_size]
        )

    def _logits(self, hidden):
        return lstm.product(hidden, self.output_layer.kernel.value, self.output_layer.bias.value)

    def unroll(self, noise: tf.Tensor, temperature: Any = 1.0) -> Unrolled:
        """Samples b_t = argmax(l_t / temperature + g_t) step by step (the Gumbel-max trick),
        equation (6); or by inversion.

        Args:
          noise: Gumbel g, [B, T', V], or uniform, float64 [B, T'], with T' <= T: so many steps are
            taken.
          temperature: of sampling; training always samples at 1.
        Returns:
          Unrolled. The gradient of `log_probs` flows to the weights, also through the states of
          earlier steps; the tokens, being an argmax, carry none.
        """
        draw = _draw_at(temperature)
        return self._autoregress(draw, time_major(noise), closed=draw is samplers.drawn)

    def write(self, noise: tf.Tensor, temperature: Any = 1.0) -> tf.Tensor:
        """The tokens of `unroll`, int32 [B, T'], without its gradient; where V is large, no step is
        taken after a sequence's end.
        """
        if self.end_token is None or noise.shape.rank == 3:
            return self.unroll(noise, temperature).tokens
        draw = _draw_at(temperature)

        def choose(logits, noise_t):
            return draw(logits, noise_t), tf.zeros_like(noise_t, self.compute_dtype)

        return writing.to_ends(self, noise, choose)[0]

    def complete(
        self, prefix: tf.Tensor, uniform: tf.Tensor, temperature: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Continues prefixes, each row at its own temperature, by inverting its distribution
        function. For serving: one number a token is enough, where `unroll` needs V, and nothing
        here depends on the other rows.

        Args:
          prefix: int32 [B, T], the given tokens first, then -1.
          uniform: float64 [B, T], in (0, 1).
          temperature: [B], above 0.
        Returns:
          tokens int32 [B, T]; and the log-probabilities of those drawn, [B, T], under the
          distribution that they were drawn from, softmax(l / temperature): 0 at given ones, and
          after the end.
        """

        def invert(logits, inputs):
            prefix_t, uniform_t = inputs
            weights = samplers.weights(logits, temperature[:, tf.newaxis])
            drawn = samplers.inverted(weights, uniform_t)
            return tf.where(prefix_t < 0, drawn, prefix_t)

        drawn = self._autoregress(invert, (tf.transpose(prefix), tf.transpose(uniform)))
        tempered = drawn.log_probs / temperature[:, tf.newaxis, tf.newaxis]
        log_probs = softmax.log_prob(tempered, drawn.tokens)
        log_probs = masked(log_probs, alive(self, drawn.tokens))
        return drawn.tokens, tf.where(prefix < 0, log_probs, 0.0)

    def _autoregress(self, draw, inputs, closed=False):
        """Reads its own tokens, b_t = draw(logits_t, inputs_t).

        inputs: a nest of [T', B, ...]. closed: draw reads nothing else.
        """
        length, batch_size = tf.nest.flatten(inputs)[0].shape[:2]
        batch_size = tf.shape(tf.nest.flatten(inputs)[0])[1] if batch_size is None else batch_size
        weights = [self.cell.recurrent_kernel, self.output_layer.kernel, self.output_layer.bias]
        weights = [w.value for w in weights]
        if self.reads_by_table:
            weights.append(self._input_table())

        def step(inputs_t, carry, recurrent, kernel, bias, *table):
            state, previous = carry
            state, trace = self.cell.traced(self._project(previous, *table), state, recurrent)
            logits = lstm.product(state[0], kernel, bias)
            token = draw(logits, inputs_t)
            if self.end_token is not None:
                token = tf.where(previous == self.end_token, self.end_token, token)
            return (token, logits, self._probs(logits), state, trace), (state, token)

        start = (self.initial_state(batch_size), self._begin(batch_size))
        collected, _ = recurrence.unroll(
            step, start, inputs, length, weights=weights, closed=closed and self.reads_by_table
        )
        tokens, logits, probs, states, trace = recurrence.stack(collected)
        tokens, of_tokens = tf.transpose(tokens), None
        if by_inversion(self.vocab_size):
            places = places_alive(self, tokens)
            given, shares = (softmax.at(places, x) for x in (logits, probs))
            of_tokens = softmax.of_tokens(given, shares, tf.transpose(tokens), places)
        return self._unrolled(tokens, logits, of_tokens, states, trace)

    def dropout_masks(self, shape: Any, share: Any, seed: Any) -> list[tf.Tensor]:
        """For `teacher_force` of tokens of the shape [B, T]: masks of inverted dropout, of embedded
        tokens, [T, B, E], and of states, [T, B, H], drawn anew for each step; seed: stateless.
        """
        widths = [self.embedding.output_dim, self.cell.units]
        both = kept([shape[1], shape[0], sum(widths)], share, seed, self.compute_dtype)
        return tf.split(both, widths, axis=-1)

    def teacher_force(self, tokens: tf.Tensor, masks: Any = ()) -> Unrolled:
        """Reads tokens, int32 [B, T'], and gives the same as `unroll`: the likelihood's pass.

        With masks, what the cell reads of the tokens is multiplied by the first, and what the
        output layer reads of the states by the second; what the cell hands on from step to step is
        as it was (Zaremba et al. 2014).
        """

        def step(projected_t, state, recurrent):
            state, trace = self.cell.traced(projected_t, state, recurrent)
            return (state, trace), state

        read = self.tokens_read(tokens)
        projected = self.cell.project(self.embedded(read, masks)) if masks else self._project(read)
        start = self.initial_state(tf.shape(tokens)[0])
        (states, trace), _ = self.cell.over_time(step, start, projected, tokens.shape[1])
        states = recurrence.stack(states)
        shown, of_tokens = states[0] * masks[1] if masks else states[0], None
        logits = self._logits(shown)
        if by_inversion(self.vocab_size):
            places = places_alive(self, tokens)
            # What follows the end is not multiplied, where nothing else reads the logits.
            given = logits if places is None else self._logits(softmax.at(places, shown))
            of_tokens = softmax.of_tokens(given, self._probs(given), tf.transpose(tokens), places)
        return self._unrolled(tokens, logits, of_tokens, states, trace, masks)

    def embedded(self, read: tf.Tensor, masks: Any = ()) -> tf.Tensor:
        """The embeddings of tokens read, int32 [T, B] -> [T, B, E]; times the first mask."""
        embedded = tf.gather(self.embedding.embeddings.value, read)
        return embedded * masks[0] if masks else embedded

    def _probs(self, logits):
        """Where V is large, what the log-probabilities of tokens alone are made of; else ()."""
        return tf.nn.softmax(logits) if by_inversion(self.vocab_size) else ()

    def _unrolled(self, tokens, logits, of_tokens, states, trace, masks=()):
        if of_tokens:
            log_probs, log_prob = of_tokens.log_probs(logits), tf.transpose(of_tokens.log_prob)
        else:
            log_probs, log_prob = tf.nn.log_softmax(logits), None
        saved = trace, log_probs, of_tokens, masks
        return Unrolled(tokens, tf.transpose(log_probs, [1, 0, 2]), states, saved, log_prob)

    def _begin(self, batch_size):
        return tf.fill([batch_size], self.vocab_size)

    def tokens_read(self, tokens: tf.Tensor) -> tf.Tensor:
        """The token read at each step, time-major: int32 [B, T] -> [T, B]."""
        return tf.concat(
            [self._begin(tf.shape(tokens)[0])[tf.newaxis], tf.transpose(tokens)[:-1]], axis=0
        )

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """Teacher-forced log-probabilities: tokens int32 [B, T] -> l [B, T, V]."""
        return self.teacher_force(tokens).log_probs

    def log_prob(self, tokens: tf.Tensor, temperature: Any = None) -> tf.Tensor:
        """log p(b_t | b_<t) of given tokens (equation 6), 0 after the end: int32 [B, T] -> [B, T],
        in nats. Differentiable in the weights. With a temperature, under the distribution at which
        `sample` draws with it.
        """
        tokens = tf.cast(tokens, tf.int32)
        unrolled = self.teacher_force(tokens)
        log_prob = (
            autoregressive.log_prob(unrolled)
            if temperature is None
            else softmax.log_prob(unrolled.log_probs / temperature, tokens)
        )
        return masked(log_prob, alive(self, tokens))

    def read(self, tokens: tf.Tensor, temperature: Any = None) -> tf.Tensor:
        """`log_prob` without its gradient, of tokens [B, T]; where V is large, no step is taken
        after a sequence's end.
        """
        if self.end_token is None or not by_inversion(self.vocab_size):
            return self.log_prob(tokens, temperature)

        def choose(logits, token):
            cold = logits if temperature is None else logits / temperature
            return token, softmax.log_prob(cold, token)

        return writing.to_ends(self, tf.cast(tokens, tf.int32), choose)[1]

    def sample(self, batch_size: int, seed: Any, temperature: Any = 1.0) -> tf.Tensor:
        """Draws sequences, int32 [B, T], without a gradient; where the noise would be large, rows
        are taken in parts.

        Args:
          batch_size: B.
          seed: an int, or two: a stateless seed.
          temperature: divides the logits.
        """
        seed, part = stateless(seed), max(1, AT_ONCE // (self.seq_len * self.vocab_size))

        def draw(size, seed):
            noise = token_noise([size, self.seq_len], self.vocab_size, seed, self.compute_dtype)
            return self.write(for_drawing(noise, self.vocab_size), temperature)

        if batch_size <= part:
            return draw(batch_size, seed)
        seeds = tf.random.experimental.stateless_split(seed, -(-batch_size // part))
        parts = tf.map_fn(
            lambda s: draw(part, s), seeds, parallel_iterations=1, fn_output_signature=tf.int32
        )
        return tf.reshape(parts, [-1, self.seq_len])[:batch_size]

    def pullback(
        self, unrolled: Unrolled, cotangent: tf.Tensor, row_gradients: bool = False
    ) -> tuple[list[tf.Tensor], RowGradients | None]:
        """See `backprop.through_generator`."""
        return backprop.through_generator(self, unrolled, cotangent, row_gradients)


def _draw_at(temperature):
    """A function of logits [B, V] and noise to tokens [B]."""
    if isinstance(temperature, (int, float)) and temperature == 1:
        return samplers.drawn  # the pass has the softmax of the same logits: it is taken once
    return lambda logits, noise: samplers.drawn(logits / temperature, noise)
