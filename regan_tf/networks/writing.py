"""Passes of a generator that keep nothing for a gradient: tokens written, or read and scored."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from regan_tf.graphs import repeat
from regan_tf.networks.protocol import SequenceGenerator, end_token


def write_by_step(
    generator: SequenceGenerator,
    size: Any,
    length: int,
    draw: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Writes b_t = draw(t, logits_t), int32 [B, T], by `step`, in a loop that the graph holds once
    and that keeps the last state alone.

    Args:
      generator: a SequenceGenerator.
      size: B, an int or a scalar tensor.
      length: T, of this pass.
      draw: maps t, int32, and logits [B, V] to tokens int32 [B].
    """
    end = end_token(generator)

    def body(t, previous, state, tokens):
        logits, state = generator.step(previous, state)
        token = draw(t, logits)
        if end is not None:  # nothing but the end token follows it
            token = tf.where(previous == end, end, token)
        return token, state, tokens.write(t, token)

    shape = [size if isinstance(size, int) else None]
    tokens = tf.TensorArray(tf.int32, length, element_shape=shape)
    begin = tf.fill([size], generator.vocab_size)
    *_, tokens = repeat(length, body, (begin, generator.initial_state(size), tokens))
    return tf.transpose(tokens.stack())


def to_ends(
    generator: SequenceGenerator,
    inputs: tf.Tensor,
    choose: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Writes or reads by `step`, and takes no step of a sequence that has ended.

    Args:
      generator: a SequenceGenerator with an end token; its state is a tuple of tensors [B, ...].
      inputs: [B, T], of any type.
      choose: maps logits [N, V] and inputs [N], of the sequences that go on, to their tokens, int32
        [N], and a number for each, [N], of the generator's dtype.
    Returns:
      The tokens, int32 [B, T], and the numbers, [B, T], 0 after the end.
    """
    end, by_step = end_token(generator), tf.transpose(inputs)
    shape, size = tf.shape(inputs), tf.shape(inputs)[0]

    def body(t, tokens, numbers, *going_on):
        rows, previous, state = going_on
        logits, state = generator.step(previous, state)
        token, number = choose(logits, tf.gather(by_step[t], rows))
        places = tf.stack([rows, tf.fill(tf.shape(rows), t)], axis=1)
        tokens = tf.tensor_scatter_nd_update(tokens, places, token)
        numbers = tf.tensor_scatter_nd_update(numbers, places, number)
        is_alive, going_on = token != end, (rows, token, state)
        going_on = tf.nest.map_structure(lambda x: tf.boolean_mask(x, is_alive), going_on)
        return t + 1, tokens, numbers, *going_on

    start = (
        tf.constant(0),
        tf.fill(shape, tf.constant(end, tf.int32)),
        tf.zeros(shape, generator.compute_dtype),
        tf.range(size),
        tf.fill([size], generator.vocab_size),
        generator.initial_state(size),
    )
    invariants = tf.nest.map_structure(lambda x: tf.TensorShape([None, *x.shape[1:]]), start[1:])
    _, tokens, numbers, *_ = tf.while_loop(
        lambda t, tokens, numbers, rows, *_: (t < inputs.shape[1]) & (tf.size(rows) > 0),
        body,
        start,
        shape_invariants=(start[0].shape, *invariants),
        parallel_iterations=1,
    )
    return tf.ensure_shape(tokens, inputs.shape), tf.ensure_shape(numbers, inputs.shape)
