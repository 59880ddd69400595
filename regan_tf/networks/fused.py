"""Functions that XLA compiles into one kernel each, differentiable to any order.

TensorFlow cannot differentiate a loop that XLA has compiled: what the loop keeps for its gradient
does not leave the kernel. So each gradient is a kernel of its own here, which does the forward pass
once more; and so is the gradient's gradient.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

_allowed = False


@contextlib.contextmanager
def allowed():
    """Functions that are traced here may be compiled by XLA. Elsewhere none is: an exported model
    must do without.
    """
    global _allowed
    before, _allowed = _allowed, True
    try:
        yield
    finally:
        _allowed = before


def is_allowed() -> bool:
    """Whether what is traced now may be compiled, and can be."""
    return _allowed and tf.inside_function() and _available()


@functools.cache
def _available():
    """Not measured on a GPU; and some builds of TensorFlow have no XLA."""
    with tf.init_scope():
        if tf.config.list_logical_devices("GPU"):
            return False
        try:
            return bool(tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(0)) == 1)
        except tf.errors.OpError:
            return False


def call(function: Callable, arguments: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """function(*arguments), compiled.

    Args:
      function: maps tensors to a list of tensors. It reads nothing but its arguments and constants,
        and has no Python effects, being traced again for a gradient.
      arguments: gradients flow to those of a float type, from outputs of a float type.
    Raises:
      ValueError: the function reads another tensor or a variable, whose gradient would be lost.
    """

    @tf.custom_gradient
    def run(*arguments):
        def gradient(*cotangents):
            pullback = functools.partial(_pullback, function, len(arguments))
            found = iter(call(pullback, [*arguments, *cotangents]))
            return [next(found) if x.dtype.is_floating else None for x in arguments]

        return _kernel(function, arguments), gradient

    return run(*arguments)


def _kernel(function, arguments):
    # No tape is to record the call: it would want what the loop keeps.
    arguments = [tf.stop_gradient(x) for x in arguments]
    kernel = tf.function(function, autograph=False, jit_compile=True)
    if captured := kernel.get_concrete_function(*arguments).captured_inputs:
        raise ValueError(f"what is compiled reads what is no argument: {captured}")
    return kernel(*arguments)


def _pullback(function, number, *tensors):
    """The cotangents of the arguments, of which there are so many, from those of the outputs."""
    arguments, cotangents = tensors[:number], tensors[number:]
    inputs = [x for x in arguments if x.dtype.is_floating]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        outputs = function(*arguments)
    pairs = [(y, dy) for y, dy in zip(outputs, cotangents, strict=True) if y.dtype.is_floating]
    outputs, cotangents = zip(*pairs, strict=True)
    found = tape.gradient(outputs, inputs, cotangents, unconnected_gradients="zero")
    return [tf.convert_to_tensor(x) for x in found]
