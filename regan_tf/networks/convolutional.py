"""Another discriminator: convolutions over embedded tokens, as SeqGAN's (Yu et al. 2017), after Kim
2014. It judges whole sequences, and nothing less.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from regan_tf.networks import autoregressive, backprop, lstm
from regan_tf.networks.discriminator import Discriminator
from regan_tf.networks.dtypes import check_policy

# SeqGAN's convolutions: their widths, and how many filters each has, of which width 1 has 100.
_PUBLISHED = {
    1: 100, 2: 200, 3: 200, 4: 200, 5: 200, 6: 100, 7: 100, 8: 100, 9: 100, 10: 100, 15: 160,
    20: 160,
}  # fmt: skip
EMBED_DIM = 64  # SeqGAN's, too
_CARRIES = -2.0  # the bias of a highway's gate: at the start it lets most of its input pass


@keras.saving.register_keras_serializable("regan_tf")
class Highway(keras.layers.Layer):
    """y = g relu(W x + b) + (1 - g) x with g = sigmoid(W_g x + b_g), Srivastava et al. 2015."""

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.changed = keras.layers.Dense(units, "relu", dtype=self.dtype_policy, name="changed")
        self.gate = keras.layers.Dense(
            units,
            "sigmoid",
            bias_initializer=keras.initializers.Constant(_CARRIES),
            dtype=self.dtype_policy,
            name="gate",
        )
        self.changed.build((None, units))
        self.gate.build((None, units))
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, units] -> [B, units]."""
        gate = self.gate(x)
        return gate * self.changed(x) + (1 - gate) * x


@keras.saving.register_keras_serializable("regan_tf")
class ConvolutionalDiscriminator(keras.Model):
    """D = sigmoid(logit) of whole sequences, with

        x_t = E b_t,   h_k = max_t relu(W_k [x_t, ..., x_t+k-1] + b_k),   logit = w . Highway([h_k])

    for the widths k of 1 to 10, 15 and 20 that are not above T.

    With an end token what follows it counts for nothing: x_t is 0 there, and no convolution begins
    there. Relaxed rows end at each step with the probability that they give the end token, and x_t
    is weighed by that of not having ended before: continuous, and the same on hard rows.

    Args:
      vocab_size, seq_len: V and T.
      filters: of width 1; those of 2 to 5 have twice as many, those of 15 and 20 1.6 times. With
        100 they are SeqGAN's.
      embed_dim: size of x_t.
      end_token: see `autoregressive.alive`; None: all sequences have T tokens.
    Raises:
      ValueError: the dtype policy is neither float32 nor float64.
    """

    def __init__(
        self,
        vocab_size: int,
        seq_len: int,
        filters: int = 32,
        embed_dim: int = EMBED_DIM,
        end_token: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_policy(self)
        self.vocab_size, self.seq_len, self.end_token = vocab_size, seq_len, end_token
        sizes, options = filters_of_widths(seq_len, filters), {"dtype": self.dtype_policy}
        self.embedding = keras.layers.Embedding(vocab_size, embed_dim, name="embedding", **options)
        self.convolutions = [
            keras.layers.Conv1D(
                size,
                width,
                activation="relu",
                data_format="channels_last",
                name=f"convolution_{width}",
                **options,
            )
            for width, size in sizes.items()
        ]
        self.head_units = sum(sizes.values())
        self.highway = Highway(self.head_units, name="highway", **options)
        self.head = keras.layers.Dense(1, name="head", **options)
        self.embedding.build((None, seq_len))
        for convolution in self.convolutions:
            convolution.build((None, seq_len, embed_dim))
        self.head.build((None, self.head_units))
        self._filters = filters
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "vocab_size": self.vocab_size,
            "seq_len": self.seq_len,
            "filters": self._filters,
            "embed_dim": self.embedding.output_dim,
            "end_token": self.end_token,
        }

    def call(self, rows: tf.Tensor, kept: tf.Tensor | None = None) -> tf.Tensor:
        """rows [B, T, V], one-hot or on the simplex, or tokens int32 [B, T] -> logits [B].

        Gradients flow through the rows and the weights.

        Args:
          kept: what the units that the head reads are multiplied by, [B, head_units]: dropout's
            `noise.kept`, while D is trained.
        """
        table = self.embedding.embeddings.value
        is_tokens = rows.dtype.is_integer
        embedded = lstm.look_up(table, rows) if is_tokens else lstm.product(rows, table)
        alive = autoregressive.alive(self, rows)
        embedded = autoregressive.masked(embedded, alive)
        hidden = self.highway(
            tf.concat([self._pooled(c, embedded, alive) for c in self.convolutions], -1)
        )
        hidden = hidden if kept is None else kept * hidden
        return tf.squeeze(self.head(hidden), axis=-1)

    def _pooled(self, convolution, embedded, alive):
        """[B, T, E] -> [B, filters]. A relu gives no less than 0: times 0 is left out."""
        found = convolution(embedded)
        begins = None if alive is None else alive[:, : found.shape[1]]
        return tf.reduce_max(autoregressive.masked(found, begins), axis=1)

    def with_pullback(
        self, tokens: tf.Tensor, prefixes: bool = False, kept: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, Callable]:
        """Reads tokens int32 [B, T], under a tape.

        Args:
          prefixes: must be false: it does not judge them.
          kept: as for `call`.
        Returns:
          logits [B]; and the function from their cotangent, [B], to the gradient in the weights,
          summed over rows: a tensor for each of `trainable_variables`.
        """
        if prefixes:
            raise ValueError("prefixes=True is not allowed: convolutions judge whole sequences")
        logits, pullback = backprop.with_tape(
            self, lambda: (self(tokens, kept),), lambda logits: (logits,)
        )
        return logits, lambda cotangent: pullback(cotangent)[0]

    def probability(self, rows: tf.Tensor) -> tf.Tensor:
        """D(rows), the reward of section 3: [B, T, V], or tokens int32 [B, T] -> [B], in (0, 1)."""
        return tf.sigmoid(self(rows))


AnyDiscriminator = Discriminator | ConvolutionalDiscriminator


def filters_of_widths(seq_len: int, filters: int) -> dict[int, int]:
    """How many filters a convolution of each width has, for T tokens."""
    return {
        width: round(filters * published / _PUBLISHED[1])
        for width, published in _PUBLISHED.items()
        if width <= seq_len
    }
