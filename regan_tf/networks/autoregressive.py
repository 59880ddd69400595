"""How estimators run a generator: sample from it, read with it, hand on relaxed rows. What they ask
of it is in `protocol`.

A sequence shorter than T is a row that ends with its end token, repeated up to T. So tokens need no
mask beside them: `alive` says which of them are the sequence, and nothing after its end counts.
"""

import numbers
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from regan_tf.networks import lstm, recurrence, samplers
from regan_tf.networks.protocol import FastGenerator, SequenceGenerator, Unrolled, end_token

# Numbers of a kind that are made at once where rows can be taken in parts: noise,
# log-probabilities, row gradients. 64 MB.
AT_ONCE = 2**24


def unroll(generator: SequenceGenerator, noise: tf.Tensor) -> Unrolled:
    """Samples b_t = argmax(l_t + g_t) step by step (the Gumbel-max trick), equation (6); or by
    inverting the distribution function, which takes one number a token.

    Args:
      generator: a SequenceGenerator.
      noise: Gumbel g, [B, T, V]; or uniform in (0, 1), float64 [B, T], which is inverted.
    Returns:
      Unrolled. The gradient of `log_probs` flows to the weights, also through the states of earlier
      steps; the tokens, being an argmax, carry none.
    """
    if isinstance(generator, FastGenerator):
        return generator.unroll(noise)

    def sample(log_probs, noise_t):
        token = samplers.drawn(log_probs, noise_t)
        return token, token

    tokens, _, log_probs, states = _run(generator, sample, noise)
    return Unrolled(tf.transpose(tokens), log_probs, states)


def teacher_force(generator: SequenceGenerator, tokens: tf.Tensor) -> Unrolled:
    """Reads given tokens, int32 [B, T], and gives the same as `unroll`."""
    if isinstance(generator, FastGenerator):
        return generator.teacher_force(tokens)
    return read_by_step(generator, tokens)


def read_by_step(generator: SequenceGenerator, tokens: tf.Tensor) -> Unrolled:
    """`teacher_force` by `step` alone, also where the generator has a faster way."""
    _, _, log_probs, states = _run(generator, lambda _, token: (token, token), tokens)
    return Unrolled(tokens, log_probs, states)


def straight_through(
    generator: SequenceGenerator, noise: tf.Tensor, temperature: Any, second_order: bool = False
) -> tuple[Unrolled, tf.Tensor]:
    """Samples as `unroll` does, but hands on rows with the value one_hot(b_t) and the gradient of
    s_lambda(z_t); or that of ReinMax (Liu et al. 2023),

        2 J(m) - 1/2 J(p),   J(p) = diag(p) - p p^T,
        p = softmax(l_t),   m = (one_hot(b_t) + softmax(l_t / lambda)) / 2

    The mean of J(m) is over the two ends of the line between p and each corner, by Heun's method:
    with lambda = 1 the gradient of E[R] is right, for one token, where R is quadratic in its row.

    Args:
      generator: a SequenceGenerator.
      noise: Gumbel g, [B, T, V]; for ReinMax also uniform, as for `unroll`.
      temperature: lambda.
      second_order: ReinMax.
    Returns:
      Unrolled, and the rows [B, T, V]. Gradients flow through the rows to the weights, also by way
      of later steps, since the generator reads the rows.
    """

    def reinmax(log_probs, noise_t):
        token = samplers.drawn(log_probs, noise_t)
        hard = tf.one_hot(token, generator.vocab_size, dtype=log_probs.dtype)
        middle = (hard + tf.nn.softmax(log_probs / temperature)) / 2
        moved = 2 * _moved(middle, log_probs) - _moved(tf.exp(log_probs), log_probs) / 2
        return token, hard + moved

    def sample(log_probs, noise_t):
        z = log_probs + noise_t
        soft, token = tf.nn.softmax(z / temperature), tf.argmax(z, axis=-1, output_type=tf.int32)
        row = soft + tf.stop_gradient(tf.one_hot(token, generator.vocab_size, dtype=z.dtype) - soft)
        return token, row

    choose = reinmax if second_order else sample
    tokens, rows, log_probs, states = _run(generator, choose, noise)
    return Unrolled(tf.transpose(tokens), log_probs, states), tf.transpose(rows, [1, 0, 2])


def _moved(p, log_probs):
    """0, with the Jacobian diag(p) - p p^T in l, of which p, [B, V], is held constant."""
    p = tf.stop_gradient(p)
    # Not -inf - -inf, where logits are masked.
    moving = tf.where(p > 0, log_probs - tf.stop_gradient(log_probs), tf.zeros_like(p))
    return p * (moving - tf.reduce_sum(p * moving, axis=-1, keepdims=True))


def time_major(x: tf.Tensor) -> tf.Tensor:
    """[B, T, ...] -> [T, B, ...]."""
    return tf.transpose(x, [1, 0, *range(2, x.shape.rank)])


def alive(network: Any, tokens: tf.Tensor) -> tf.Tensor | None:
    """Which tokens belong to their sequence: 1 up to its end token, that included, 0 after it.

    Args:
      network: a SequenceGenerator; or another of the same tokens, with `compute_dtype`.
      tokens: int32 [B, T]; or rows [B, T, V], which end at each step with the probability that they
        give the end token: the probability of not having ended before, differentiable in the rows.
    Returns:
      [B, T], of the network's dtype; or None where sequences have no end token: all are alive.
    """
    end = end_token(network)
    if end is None:
        return None
    if len(tokens.shape) == 3:
        return _not_ended(tokens[..., end])
    ends = tf.cast(tokens == end, network.compute_dtype)
    return tf.cast(tf.cumsum(ends, axis=1, exclusive=True) == 0, ends.dtype)


def places_alive(network: Any, tokens: tf.Tensor) -> tf.Tensor | None:
    """Where `alive` is 1, for tokens int32 [B, T]: int32 [N], places in the axes [T, B] made one.
    None where sequences have no end token.
    """
    mask = alive(network, tokens)
    if mask is None:
        return None
    return tf.cast(tf.where(tf.reshape(tf.transpose(mask), [-1]) > 0)[:, 0], tf.int32)


def _not_ended(ends):
    """prod_{s<t} (1 - ends_s), [B, T]: step by step, since the gradient of `tf.math.cumprod` is
    wrong where a factor is 0.
    """
    goes_on = tf.transpose(1 - ends)

    def step(goes_on_t, alive):
        return alive, alive * goes_on_t

    start = tf.ones_like(goes_on[0])
    alive, _ = recurrence.unroll(step, start, goes_on, ends.shape[1], closed=True)
    return tf.transpose(recurrence.stack(alive))


def masked(x: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """x [B, T, ...] where the mask of `alive` has 1, else 0."""
    return (
        x
        if mask is None
        else x * tf.reshape(mask, [*tf.unstack(tf.shape(mask)), *[1] * (x.shape.rank - 2)])
    )


def stateless(seed: Any) -> tf.Tensor:
    """A stateless seed, [2], from an int or from one."""
    return tf.convert_to_tensor([seed, 0] if isinstance(seed, numbers.Integral) else seed)


def chosen(log_probs: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
    """Picks the tokens' entries: (l [B, T, V], b int32 [B, T]) -> log p(b_t | b_<t) [B, T].
    Gradients flow through l.
    """
    if log_probs.shape[-1] > lstm.ONE_HOT_LIMIT:
        return tf.gather(log_probs, tokens, axis=-1, batch_dims=2)
    return tf.reduce_sum(
        tf.one_hot(tokens, log_probs.shape[-1], dtype=log_probs.dtype) * log_probs, axis=-1
    )


def replaced(x: tf.Tensor, tokens: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """x [..., V] with the entries of tokens int32 [...] replaced by values [...]."""
    if x.shape[-1] > lstm.ONE_HOT_LIMIT:
        return _scattered(tf.tensor_scatter_nd_update, x, tokens, values)
    is_chosen = tf.one_hot(tokens, x.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
    return tf.where(is_chosen, values[..., tf.newaxis], x)


def added(x: tf.Tensor, tokens: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """x [..., V] with values [...] added to the entries of tokens int32 [...]."""
    if x.shape[-1] > lstm.ONE_HOT_LIMIT:
        return _scattered(tf.tensor_scatter_nd_add, x, tokens, values)
    return x + tf.one_hot(tokens, x.shape[-1], dtype=x.dtype) * values[..., tf.newaxis]


def _scattered(scatter, x, tokens, values):
    """In the memory of x, where nothing else reads it."""
    flat, tokens = tf.reshape(x, [-1, x.shape[-1]]), tf.reshape(tokens, [-1])
    places = tf.stack([tf.range(tf.size(tokens)), tokens], axis=1)
    return tf.reshape(scatter(flat, places, tf.reshape(values, [-1])), tf.shape(x))


def log_prob(unrolled: Unrolled) -> tf.Tensor:
    """log p(b_t | b_<t) of a pass's own tokens, [B, T]: the generator's, or picked from all. After
    the end it means nothing. As long as nothing else reads `log_probs`, a graph need not hold them.
    """
    if unrolled.log_prob is None:
        return chosen(unrolled.log_probs, unrolled.tokens)
    return unrolled.log_prob


def in_parts(function: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor, width: int) -> tf.Tensor:
    """function(rows), int32 [N, T] -> float [N, T], over parts of the rows with n * width <=
    AT_ONCE. No gradient.
    """
    part = max(1, AT_ONCE // width)
    whole = rows.shape[0] // part
    if rows.shape[0] <= part:
        return function(rows)
    parts = tf.reshape(rows[: whole * part], [whole, part, *rows.shape[1:]])
    done = tf.map_fn(function, parts, parallel_iterations=1, fn_output_signature=tf.float32)
    done = tf.reshape(done, [-1, *rows.shape[1:]])
    return (
        done
        if whole * part == rows.shape[0]
        else tf.concat([done, function(rows[whole * part :])], axis=0)
    )


def _run(generator, choose, inputs):
    """The recurrence of the three above: choose(l_t, inputs_t) gives the token, and how it is read:
    as it is, or as a row.

    inputs [B, T, ...] -> tokens [T, B], as they were read [T, B, ...], l [B, T, V], states [T, B,
    ...].
    """
    size = inputs.shape[0] if inputs.shape[0] is not None else tf.shape(inputs)[0]
    end = end_token(generator)

    def step(inputs_t, carry):
        read, state, ended = carry
        logits, state = generator.step(read, state)
        log_probs = tf.nn.log_softmax(logits)
        token, read = choose(log_probs, inputs_t)
        if end is not None:  # nothing but the end token follows it
            token = tf.where(ended, end, token)
            is_row = read.shape.rank == 2
            read = (
                tf.where(
                    ended[:, tf.newaxis], tf.one_hot(end, read.shape[-1], dtype=read.dtype), read
                )
                if is_row
                else token
            )
            ended = token == end
        return (token, read, log_probs, state), (read, state, ended)

    inputs, length = time_major(inputs), inputs.shape[1]
    begin = tf.fill([size], generator.vocab_size)
    start = (begin, generator.initial_state(size), tf.fill([size], False))
    # Apart from the others, since what follows may be read as rows.
    first, carry = step(inputs[0], start)
    collected = tf.nest.map_structure(lambda x: x[tf.newaxis], first)
    if (later := length - 1) > 0:
        rest = recurrence.stack(recurrence.unroll(step, carry, inputs[1:], later)[0])
        collected = tf.nest.map_structure(lambda a, b: tf.concat([a, b], axis=0), collected, rest)
    tokens, read, log_probs, states = collected
    return tokens, read, tf.transpose(log_probs, [1, 0, 2]), states


def repeated(unrolled: Unrolled, copies: int) -> Unrolled:
    """One pass several times, one below the other: the context of so many z."""
    return Unrolled(
        tf.tile(unrolled.tokens, [copies, 1]),
        tf.tile(unrolled.log_probs, [copies, 1, 1]),
        tf.nest.map_structure(
            lambda x: tf.tile(x, [1, copies, *[1] * (x.shape.rank - 2)]), unrolled.states
        ),
    )
