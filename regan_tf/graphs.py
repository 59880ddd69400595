"""Compiled functions, and loops in them, without autograph; and the numbers that they are given.

Autograph rewrites Python's `if` and `for` over tensors, and everything that is called, Keras'
layers too: half of the time of a trace. There are none such here. A function of the user's own that
has them needs a `@tf.function` of its own.
"""

import functools

import numpy as np
import tensorflow as tf

compiled = functools.partial(tf.function, autograph=False)


def number(value: float, dtype: str = "int32") -> tf.Tensor:
    """A scalar tensor of a number that changes from call to call, as a seed does.

    TensorFlow keeps every Python number that it made a tensor of, and the tensor, until the process
    ends: some 600 bytes. NumPy's it does not keep.
    """
    return tf.constant(np.asarray(value, dtype))


def repeat(times, body, state):
    """state = body(i, *state) for 0 <= i < times, one after the other in the graph; returns the
    last state.

    Args:
      times: an int or a scalar tensor.
      body: maps i, int32, and the state's parts to a tuple of the same shapes and types.
      state: a tuple of tensors, tf.TensorArrays or nests of them.
    """

    def step(i, *state):
        return i + 1, *body(i, *state)

    _, *state = tf.while_loop(
        lambda i, *_: i < times, step, (tf.constant(0), *state), parallel_iterations=1
    )
    return state
