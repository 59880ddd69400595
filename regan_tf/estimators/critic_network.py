"""The network that a critic learns; several of them are averaged."""

import math

import keras
import tensorflow as tf

from regan_tf.networks import lstm


class CriticNetwork(keras.layers.Layer):
    """f_t(x)_i: two hidden layers, the same for every t but for a bias. How many tokens are still
    to come decides what a state is worth; a generator's state hardly tells it.

    Zero at the start, as its head is. All weights are in one variable: Adam makes ten small
    operations of each, and with six of them these took as long as the rest of a step.

    Args:
      sizes: F, T, V, and the units of both hidden layers.
    """

    def __init__(self, sizes, **kwargs):
        super().__init__(**kwargs)
        feature_dim, length, vocab_size, units = sizes
        kernels = [(feature_dim, units), (units, units)]
        biases = [(length, units), (units,)]
        self._shapes = [*kernels, *biases, (vocab_size, units), (vocab_size,)]

        def initial(shape, dtype=None):
            draw = keras.initializers.GlorotUniform()
            drawn = [tf.reshape(draw(kernel, dtype), [-1]) for kernel in kernels]
            zeros = tf.zeros([shape[0] - sum(map(math.prod, kernels))], drawn[0].dtype)
            return tf.concat([*drawn, zeros], axis=0)

        size = sum(map(math.prod, self._shapes))
        self.weight = self.add_weight(shape=(size,), initializer=initial, name="weight")
        self.built = True

    def of_tokens(self, x, tokens):
        """f_t(x) at int32 [B, T], [B, T], without the other tokens."""
        hidden, head, bias = self.last(x)
        q = tf.reduce_sum(hidden * lstm.look_up(head, tokens), axis=-1)
        return q + lstm.look_up(bias[:, tf.newaxis], tokens)[..., 0]

    def last(self, x):
        """The last hidden layer [B, T, units], the head [V, units] and its bias [V]."""
        parts = tf.split(self.weight.value, [math.prod(shape) for shape in self._shapes])
        first, second, step_bias, bias, head, token_bias = (
            tf.reshape(part, shape) for part, shape in zip(parts, self._shapes, strict=True)
        )
        x = tf.nn.silu(lstm.product(x, first) + step_bias)
        return tf.nn.silu(lstm.product(x, second, bias)), head, token_bias


def mean_of_all(networks, x):
    """The mean of several networks' f_t(x), [B, T, V], by one product."""
    hidden, heads, biases = zip(*(network.last(x) for network in networks), strict=True)
    total = lstm.product(tf.concat(hidden, -1), tf.concat(heads, -1), transpose=True)
    return (total + tf.add_n(biases)) / len(networks)
