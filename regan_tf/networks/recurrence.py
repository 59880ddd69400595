"""A step repeated over time, each step from the state that the one before left.

Three ways, of which the fastest is taken: unrolled in the graph; one loop that XLA compiles; one
loop of TensorFlow's.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from regan_tf.networks import fused

# Up to so many steps the recurrence is unrolled in the graph, which is faster than TensorFlow's
# loop; beyond them tracing would take long.
UNROLL_LIMIT = 128
# Beyond so many steps a loop that XLA compiles is faster than both, and sooner ready than the
# unrolled graph.
_FUSED_FROM = 40
# But TensorFlow's products of larger states are faster than XLA's.
_FUSED_UNITS = 64


class Steps:
    """What `unroll` collected, a tensor [B, ...] for each step, in a list, a tf.TensorArray or one
    tensor: another `unroll` can read it.
    """

    def __init__(self, tensors):
        self.tensors = tensors

    def stack(self):
        """[T, B, ...]."""
        if tf.is_tensor(self.tensors):
            return self.tensors
        return tf.stack(self.tensors) if isinstance(self.tensors, list) else self.tensors.stack()


def stack(collected):
    """A nest of Steps, or of tensors, as a nest of tensors [T, B, ...]."""
    return tf.nest.map_structure(lambda x: x.stack() if isinstance(x, Steps) else x, collected)


def unroll(
    step: Callable,
    state: Any,
    inputs: Any,
    length: int,
    reverse: bool = False,
    weights: Sequence = (),
    closed: bool = False,
) -> tuple:
    """Runs `outputs, state = step(inputs_t, state, *weights)` over the leading (time) axis.

    Args:
      step: function of (nest of [B, ...], state, *weights) giving (nest of [B, ...], state).
      state: nest of tensors at t = 0.
      inputs: nest of [T, B, ...] tensors, or of what another `unroll` collected.
      length: T, a Python int.
      reverse: from the last step to the first.
      weights: what every step is given besides: tensors or tf.Variables.
      closed: the step reads nothing else but constants, and the state's widths are known. It may
        then be compiled: see `fused`.
    Returns:
      outputs, as a nest of Steps, which `stack` makes tensors [T, B, ...]; and the last state.
      Gradients flow through both, to state, inputs and weights.
    """
    weights = [tf.convert_to_tensor(w) for w in weights]
    is_long = length > _FUSED_FROM
    if is_long and closed and _is_narrow(state) and fused.is_allowed():
        return _fused(step, state, inputs, length, reverse, weights)
    way = _loop if length > UNROLL_LIMIT else _unrolled
    return way(lambda x, s: step(x, s, *weights), state, inputs, length, reverse)


def _is_narrow(state):
    return all(x.shape[-1] <= _FUSED_UNITS for x in tf.nest.flatten(state) if x.shape.rank > 1)


def _unrolled(step, state, inputs, length, reverse):
    def column(x):
        if isinstance(x, Steps) and isinstance(x.tensors, list):
            return x.tensors
        return tf.unstack(stack(x), num=length)

    columns = [column(x) for x in tf.nest.flatten(inputs)]
    collected = []
    for t in range(length)[:: -1 if reverse else 1]:
        outputs, state = step(
            tf.nest.pack_sequence_as(inputs, [column[t] for column in columns]), state
        )
        collected.append(outputs)
    return tf.nest.map_structure(
        lambda *xs: Steps(list(xs)), *collected[:: -1 if reverse else 1]
    ), state


def _loop(step, state, inputs, length, reverse):
    # Inputs are read from TensorArrays: the gradient of indexing a tensor would be as large as the
    # tensor, at every step.
    def array(dtype, shape):
        return tf.TensorArray(dtype, length, element_shape=shape, clear_after_read=False)

    def column(x):
        if isinstance(x, Steps) and isinstance(x.tensors, tf.TensorArray):
            return x.tensors
        x = stack(x)
        return array(x.dtype, x.shape[1:]).unstack(x)

    columns = [column(x) for x in tf.nest.flatten(inputs)]

    def read(t):
        return tf.nest.pack_sequence_as(inputs, [column.read(t) for column in columns])

    first, _ = step(read(0), state)  # for dtypes and shapes; pruned from the graph
    arrays = tf.nest.map_structure(lambda x: array(x.dtype, x.shape), first)

    def body(k, state, arrays):
        t = length - 1 - k if reverse else k
        outputs, state = step(read(t), state)
        return k + 1, state, tf.nest.map_structure(lambda a, x: a.write(t, x), arrays, outputs)

    _, state, arrays = tf.while_loop(
        lambda k, *_: k < length, body, (0, state, arrays), maximum_iterations=length
    )
    return tf.nest.map_structure(Steps, arrays), state


def _fused(step, state, inputs, length, reverse, weights):
    """`_loop`, compiled. Tensors go in and come out, [T, B, ...] for what is of each step."""
    given = state, stack(inputs), weights
    found = None

    def run(*tensors):
        nonlocal found
        state, inputs, weights = tf.nest.pack_sequence_as(given, tensors)
        outputs, state = _loop(lambda x, s: step(x, s, *weights), state, inputs, length, reverse)
        found = stack(outputs), state  # its structure is read, which is the same in every trace
        return tf.nest.flatten(found)

    tensors = fused.call(run, tf.nest.flatten(given))
    outputs, state = tf.nest.pack_sequence_as(found, tensors)
    return tf.nest.map_structure(Steps, outputs), state
