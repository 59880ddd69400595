"""The LSTM cell shared by generator and discriminator, and the products that they share.

`keras.layers.LSTM` hides its pre-activations. Row gradients need them, and so does a discriminator
that scores every prefix, so the cell is ours; the equations are those of Hochreiter and Schmidhuber
(1997) with a forget gate.
"""

import keras
import tensorflow as tf

from regan_tf.networks import recurrence

# Up to this size a product with one-hot rows is faster than a gather, whose gradient is a scatter.
ONE_HOT_LIMIT = 256


def _open_forget_gate(shape, dtype=None):
    """A bias of 1 for the forget gate, 0 for the others (Jozefowicz et al. 2015), as in
    keras.layers.LSTM.
    """
    return tf.repeat(tf.constant([0.0, 1.0, 0.0, 0.0], dtype), shape[0] // 4)


class LSTMCell(keras.layers.Layer):
    """One LSTM step: input, forget and output gates i, f, o, candidate g.

        [i, f, o, g] = projected + h W_h,
        c' = sigmoid(f) c + sigmoid(i) tanh(g),   h' = sigmoid(o) tanh(c')

    where projected = x W_x + b has been computed by `project`, for all steps at once when the
    inputs are known. Gradients flow through every argument; second derivatives exist.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        units = self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], 4 * units), initializer="glorot_uniform", name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(units, 4 * units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(4 * units,), initializer=_open_forget_gate, name="bias")

    def project(self, x):
        """x [..., D] -> x W_x + b [..., 4H]."""
        return product(x, self.kernel.value, self.bias.value)

    def advance(self, projected, state, recurrent=None):
        """(projected [B, 4H], (h, c) each [B, H]) -> (h', c'). recurrent: W_h, where it is at hand
        as a tensor.
        """
        return self.traced(projected, state, recurrent)[0]

    def traced(self, projected, state, recurrent=None):
        """`advance`, and what `backprop` wants of it: (i, f, o, g, c, tanh(c')), [B, H] each, the
        gates activated.
        """
        hidden, before = state
        recurrent = self.recurrent_kernel.value if recurrent is None else recurrent
        # One split, whose gradient is one concatenation: slicing instead makes the whole step 1.6
        # times slower on a CPU.
        i, f, o, g = tf.split(projected + hidden @ recurrent, 4, axis=-1)
        i, f, o, g = tf.sigmoid(i), tf.sigmoid(f), tf.sigmoid(o), tf.tanh(g)
        c = f * before + i * g
        squashed = tf.tanh(c)
        return (o * squashed, c), (i, f, o, g, before, squashed)

    def over_time(self, step, state, inputs, length, reverse=False):
        """`recurrence.unroll` of step(inputs_t, state, W_h), which reads nothing else."""
        weights = [self.recurrent_kernel.value]
        return recurrence.unroll(step, state, inputs, length, reverse, weights, closed=True)

    def initial_state(self, batch_size):
        zeros = tf.zeros([batch_size, self.units], self.compute_dtype)
        return zeros, zeros


def product(x, weight, bias=None, transpose=False):
    """x W + b, or x W^T, as one product of matrices: x [..., X] -> [..., D]."""
    flat = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), weight, transpose_b=transpose)
    # Which TensorFlow fuses with the product.
    flat = flat if bias is None else tf.nn.bias_add(flat, bias)
    return (
        tf.reshape(flat, tf.concat([tf.shape(x)[:-1], flat.shape[-1:]], axis=0))
        if x.shape.rank > 2
        else flat
    )


def look_up(table, tokens):
    """Rows of table [N, D]: int32 [...] -> [..., D]. Differentiable in the table."""
    if table.shape[0] > ONE_HOT_LIMIT:
        return tf.gather(table, tokens)
    return product(tf.one_hot(tokens, table.shape[0], dtype=table.dtype), table)
