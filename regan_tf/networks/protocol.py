"""What a generator of one's own must have, and what it may have besides to be faster; and what a
reward must be.
"""

import abc
import inspect
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from regan_tf.networks import dtypes


class SequenceGenerator(Protocol):
    """Any Keras model or layer with these may be trained.

    Attributes:
      vocab_size, seq_len: V and T; token V is the begin symbol.
      compute_dtype: of its logits, "float32" or "float64"; every Keras layer has it.
      trainable_variables: theta, Keras variables.

    It may also have `end_token`, an int: the token at which a sequence ends before T.
    """

    vocab_size: int
    seq_len: int
    compute_dtype: str
    trainable_variables: list

    def initial_state(self, batch_size: Any) -> Any:
        """A nest of tensors [B, ...]; batch_size is an int or a scalar tensor."""

    def step(self, inputs: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        """Reads tokens int32 [B], or rows [B, V], and gives logits [B, V] and the new state.
        Differentiable in rows, state and weights.
        """


class Unrolled(NamedTuple):
    """One pass of a generator over a batch."""

    tokens: tf.Tensor  # b, int32 [B, T]
    log_probs: tf.Tensor  # l_t = log p(. | b_<t), [B, T, V]
    # what the generator knew of b_<t when it made l_t, a nest of [T, B, ...], time-major: c_hat
    # reads it. It is the state for `step`, but in a ParallelGenerator.
    states: Any
    saved: Any = ()  # what else the generator's own `pullback` wants
    # log p(b_t | b_<t), [B, T], where the generator has it cheaper than by log_probs; read it by
    # `autoregressive.log_prob`. After the end it means nothing, and may be 0
    log_prob: tf.Tensor | None = None


class RowGradients(NamedTuple):
    """What the variance needs of the gradients g_j of single rows j."""

    # ||g_j||^2 in each trainable variable: tensors [B], in the order of `trainable_variables`
    squared_norms: list
    # g_j in the first parameter of the last layer, the one that the paper plots: [B]
    last_layer_first: tf.Tensor


class FastGenerator(abc.ABC):
    """A SequenceGenerator that inherits from this has its own, faster ways to what
    `autoregressive` and `backprop` else do by `step` and a tape. Ours has.
    """

    @abc.abstractmethod
    def unroll(self, noise: tf.Tensor) -> Unrolled:
        """Samples from Gumbel noise [B, T, V], or from uniform noise, float64 [B, T], as
        `autoregressive.unroll` does.
        """

    @abc.abstractmethod
    def teacher_force(self, tokens: tf.Tensor) -> Unrolled:
        """Reads tokens int32 [B, T], as `autoregressive.teacher_force` does."""

    @abc.abstractmethod
    def pullback(
        self, unrolled: Unrolled, cotangent: tf.Tensor, row_gradients: bool = False
    ) -> tuple[list[tf.Tensor], RowGradients | None]:
        """From a cotangent, 0 after the end, to the gradient in the weights: see
        `backprop.with_pullback`.
        """

    def step_states(self, unrolled: Unrolled) -> Any:
        """The states from which `step` goes on after each b_<t and l_t: a nest of [T, B, ...]."""
        return unrolled.states

    def check(self) -> None:  # noqa: B027, which would have it abstract
        """Raises ValueError unless the faster ways give what `step` gives. Does nothing here."""


def end_token(network: Any) -> int | None:
    """The token at which a network's sequences end; None: all have T tokens."""
    return getattr(network, "end_token", None)


def check_generator(generator: SequenceGenerator) -> None:
    """Raises TypeError, which says what is missing, unless a generator has what it must; and
    ValueError, if it is a FastGenerator, where `FastGenerator.check` finds its faster ways wrong.
    """
    name = type(generator).__name__
    for attribute in ("vocab_size", "seq_len"):
        value: Any = getattr(generator, attribute, None)
        if not _is_int(value) or value < 1:
            raise TypeError(f"{name}.{attribute} is {value!r}: it must be an int above 0")
    dtype = getattr(generator, "compute_dtype", None)
    if not isinstance(dtype, str):
        raise TypeError(f"{name}.compute_dtype is {dtype!r}: it must be of type str")
    if dtype not in dtypes.ALLOWED:
        raise TypeError(
            f"{name}.compute_dtype is {dtype!r}: it must be {' or '.join(dtypes.ALLOWED)}"
        )
    end = end_token(generator)
    if end is not None and not (_is_int(end) and 0 <= end < generator.vocab_size):
        raise TypeError(
            f"{name}.end_token is {end!r}: it must be None, or an int from 0 to "
            f"{generator.vocab_size - 1}"
        )
    for method, arguments in (("initial_state", ["batch_size"]), ("step", ["inputs", "state"])):
        _check_call(f"{name}.{method}", getattr(generator, method, None), arguments)
    if not getattr(generator, "trainable_variables", None):
        raise TypeError(
            f"{name} has no trainable_variables: build its layers first, or call its step once"
        )
    if isinstance(generator, FastGenerator):
        generator.check()


def check_reward(reward: Callable | None) -> None:
    """Raises TypeError unless a reward can be called with rows alone."""
    if isinstance(reward, type):
        raise TypeError(f"the reward is the class {reward.__name__}: give an instance of it")
    _check_call("the reward", reward, ["rows"])


def _is_int(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _check_call(name, function, arguments):
    wanted = f"{name} must be callable with ({', '.join(arguments)})"
    if not callable(function):
        raise TypeError(f"{wanted}, and is {function!r}")
    try:
        inspect.signature(function).bind(*arguments)
    except ValueError:  # some that are written in C tell no signature
        return
    except TypeError as error:
        raise TypeError(f"{wanted}: {error}") from None
