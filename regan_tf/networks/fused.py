"""Functions that XLA compiles into one kernel each, differentiable to any order.

TensorFlow cannot differentiate a loop that XLA has compiled: what the loop keeps for its gradient
does not leave the kernel. So each gradient is a kernel of its own here, which does the forward pass
once more; and so is the gradient's gradient.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Sequence

import tensorflow as tf

_lock = threading.Lock()
_allowing = 0  # how many `allowed` are open: of all threads, since replicas are traced in their own


@contextlib.contextmanager
def allowed():
    """Functions that are traced here may be compiled by XLA, elsewhere none: an exported model must
    do without. A `tf.function` that was traced here and is kept stays as it was traced.
    """
    _add(1)
    try:
        yield
    finally:
        _add(-1)


def _add(number):
    global _allowing
    with _lock:
        _allowing += number


def is_allowed() -> bool:
    """Whether what is traced now may be compiled, and can be."""
    return _allowing > 0 and tf.inside_function() and _available()


@functools.cache
def _available():
    """Whether there is an XLA for CPUs, and no GPU, on which nothing was measured."""
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
        and is traced again for a gradient.
      arguments: gradients flow to those of a float type, from outputs of a float type.
    Raises:
      ValueError: the function reads another tensor or a variable, whose gradient would be lost.
    """

    @tf.custom_gradient
    def run(*arguments):
        outputs = _kernel(function, arguments)

        def gradient(*cotangents):
            # That of an int is None or a zero.
            given = [dy for y, dy in zip(outputs, cotangents, strict=True) if y.dtype.is_floating]
            pullback = functools.partial(_pullback, function, len(arguments))
            found = iter(call(pullback, [*arguments, *given]))
            return [next(found) if x.dtype.is_floating else None for x in arguments]

        return outputs, gradient

    # Tensors of the graph that this is traced in: the gradient may be taken in another.
    return run(*map(tf.identity, arguments))


def _kernel(function, arguments):
    # No tape is to record the call: it would want what the loop keeps.
    arguments = [tf.stop_gradient(x) for x in arguments]
    kernel = tf.function(function, autograph=False, jit_compile=True)
    concrete = kernel.get_concrete_function(*arguments)
    if concrete.captured_inputs:
        raise ValueError(f"what is compiled reads what is no argument: {concrete.captured_inputs}")
    return concrete(*arguments)


def _pullback(function, number, *tensors):
    """The cotangents of the float arguments, of so many, from those of the float outputs."""
    arguments, cotangents = tensors[:number], tensors[number:]
    inputs = [x for x in arguments if x.dtype.is_floating]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        outputs = [y for y in function(*arguments) if y.dtype.is_floating]
    found = tape.gradient(outputs, inputs, list(cotangents), unconnected_gradients="zero")
    return [tf.convert_to_tensor(x) for x in found]
