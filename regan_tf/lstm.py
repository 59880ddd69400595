"""The LSTM cell shared by generator and discriminator, and the recurrence that unrolls it.

`keras.layers.LSTM` hides its pre-activations. Row gradients need them, and so does a discriminator that scores every
prefix, so the cell is ours; the equations are those of Hochreiter and Schmidhuber (1997) with a forget gate.
"""

import keras
import tensorflow as tf

# Up to this length the recurrence is unrolled in the graph, which is fastest on a CPU; beyond it, a `tf.while_loop`
# bounds the time spent on tracing.
UNROLL_LIMIT = 128


def _open_forget_gate(shape, dtype=None):
    """A bias of 1 for the forget gate, 0 for the others (Jozefowicz et al. 2015), as in keras.layers.LSTM."""
    return tf.repeat(tf.constant([0.0, 1.0, 0.0, 0.0], dtype), shape[0] // 4)


class LSTMCell(keras.layers.Layer):
    """One LSTM step: input, forget and output gates i, f, o, candidate g.

        [i, f, o, g] = projected + h W_h,   c' = sigmoid(f) c + sigmoid(i) tanh(g),   h' = sigmoid(o) tanh(c')

    where projected = x W_x + b has been computed by `project`, for all steps at once when the inputs are known.
    Gradients flow through every argument; second derivatives exist.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        units = self.units
        self.kernel = self.add_weight(shape=(input_shape[-1], 4 * units), initializer="glorot_uniform", name="kernel")
        self.recurrent_kernel = self.add_weight(shape=(units, 4 * units), initializer="orthogonal", name="recurrent_kernel")
        self.bias = self.add_weight(shape=(4 * units,), initializer=_open_forget_gate, name="bias")

    def project(self, x):
        """x [..., D] -> x W_x + b [..., 4H]."""
        return x @ self.kernel.value + self.bias.value

    def advance(self, projected, state):
        """(projected [B, 4H], (h, c) each [B, H]) -> (h', c')."""
        h, c = state
        # One split, whose gradient is one concatenation: slicing instead makes the whole step 1.6 times slower on a CPU.
        i, f, o, g = tf.split(projected + h @ self.recurrent_kernel.value, 4, axis=-1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(c), c

    def initial_state(self, batch_size):
        zeros = tf.zeros([batch_size, self.units], self.compute_dtype)
        return zeros, zeros


def unroll(step, state, inputs, length):
    """Runs `outputs, state = step(inputs_t, state)` over the leading (time) axis.

    Args:
      step: function of (nest of [B, ...], state) giving (nest of [B, ...], state).
      state: nest of tensors at t = 0.
      inputs: nest of [T, B, ...] tensors.
      length: T, a Python int.
    Returns:
      outputs as a nest of [T, B, ...], and the last state. Gradients flow through both.
    """
    if length <= UNROLL_LIMIT:
        columns = [tf.unstack(x, num=length) for x in tf.nest.flatten(inputs)]
        collected = []
        for t in range(length):
            outputs, state = step(tf.nest.pack_sequence_as(inputs, [column[t] for column in columns]), state)
            collected.append(outputs)
        return tf.nest.map_structure(lambda *xs: tf.stack(xs), *collected), state
    return _while_unroll(step, state, inputs, length)


def _while_unroll(step, state, inputs, length):
    # Inputs are read from TensorArrays: the gradient of indexing a tensor would be as large as the tensor, at every step.
    columns = [tf.TensorArray(x.dtype, length, element_shape=x.shape[1:]).unstack(x) for x in tf.nest.flatten(inputs)]

    def read(t):
        return tf.nest.pack_sequence_as(inputs, [column.read(t) for column in columns])

    first, _ = step(tf.nest.map_structure(lambda x: x[0], inputs), state)  # for dtypes and shapes; pruned from the graph
    arrays = tf.nest.map_structure(lambda x: tf.TensorArray(x.dtype, length, element_shape=x.shape), first)

    def body(t, state, arrays):
        outputs, state = step(read(t), state)
        return t + 1, state, tf.nest.map_structure(lambda a, x: a.write(t, x), arrays, outputs)

    _, state, arrays = tf.while_loop(lambda t, *_: t < length, body, (0, state, arrays), maximum_iterations=length)
    return tf.nest.map_structure(lambda a: a.stack(), arrays), state
