"""The network that a critic learns; several of them are averaged."""

import keras
import tensorflow as tf

from regan_tf.networks import lstm


class CriticNetwork(keras.layers.Layer):
    """f_t(x)_i: two hidden layers, the same for every t but for a bias. How many tokens are still
    to come decides what a state is worth; a generator's state hardly tells it.

    Zero at the start, as its head is.

    Args:
      sizes: F, T, V, and the units of both hidden layers.
    """

    def __init__(self, sizes, **kwargs):
        super().__init__(**kwargs)
        feature_dim, length, vocab_size, units = sizes

        def weight(name, shape, initializer="zeros"):
            return self.add_weight(shape=shape, initializer=initializer, name=name)

        self.hidden = [
            weight("first", [feature_dim, units], "glorot_uniform"),
            weight("second", [units, units], "glorot_uniform"),
        ]
        self.step_bias, self.bias = weight("step_bias", [length, units]), weight("bias", [units])
        self.head = weight("head", [vocab_size, units])
        self.token_bias = weight("token_bias", [vocab_size])
        self.built = True

    def last_hidden(self, x):
        """[B, T, F] -> [B, T, units]."""
        x = tf.nn.silu(lstm.product(x, self.hidden[0].value) + self.step_bias.value)
        return tf.nn.silu(lstm.product(x, self.hidden[1].value, self.bias.value))

    def of_all(self, x):
        """[B, T, F] -> [B, T, V]."""
        q = lstm.product(self.last_hidden(x), self.head.value, transpose=True)
        return q + self.token_bias.value

    def of_tokens(self, x, tokens):
        """`of_all` at int32 [B, T], [B, T], without the others."""
        of_token = lstm.look_up(self.head.value, tokens)
        q = tf.reduce_sum(self.last_hidden(x) * of_token, axis=-1)
        return q + lstm.look_up(self.token_bias.value[:, tf.newaxis], tokens)[..., 0]
