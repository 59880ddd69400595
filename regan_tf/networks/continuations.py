"""What may follow the prefixes of a sequence: the generator's relaxed outputs, or fresh samples."""

import tensorflow as tf

from regan_tf.networks import samplers
from regan_tf.networks.autoregressive import teacher_force, unroll
from regan_tf.networks.protocol import FastGenerator, SequenceGenerator, Unrolled, end_token


def relaxed(
    generator: SequenceGenerator,
    unrolled: Unrolled,
    rows: tf.Tensor,
    noise: tf.Tensor,
    temperature: float | tf.Tensor,
) -> tf.Tensor:
    """For every t the sequence [b_<t, rows_t, y_t+1, ..., y_T], where y is the generator fed its
    own relaxed outputs.

        y_s = s_lambda(l(b_<t, rows_t, y_t+1:s-1) + noise_s)

    Args:
      generator: a SequenceGenerator.
      unrolled: the pass that gave the hard prefixes b_<t and the states after them.
      rows: relaxed rows [B, T, V], one for each t.
      noise: Gumbel w [B, T, V]; w_s serves all prefixes t < s.
      temperature: lambda.
    Returns:
      [B, T (t), T (position), V]: T (T - 1) / 2 generator steps for each row. Gradients flow
      through `rows`.
    """
    length = rows.shape[1]
    time_major = tf.transpose(rows, [1, 0, 2])  # [T (t), B, V]
    noise = tf.transpose(noise, [1, 0, 2])
    states = _states(generator, unrolled)
    read, continued = time_major, [time_major]
    for k in range(1, length):  # all prefixes together; the ones that have reached the end drop out
        states = tf.nest.map_structure(lambda x, n=length - k: x[:n], states)
        logits, states = _step_flat(generator, read[: length - k], states)
        read = tf.nn.softmax((tf.nn.log_softmax(logits) + noise[k:]) / temperature)
        continued.append(tf.pad(read, [[0, k], [0, 0], [0, 0]]))
    hard = tf.one_hot(unrolled.tokens, generator.vocab_size, dtype=rows.dtype)
    return _placed(continued, hard)


def _placed(continued, before):
    """Sequences from what follows their beginnings.

    Args:
      continued: for each distance k = 0, ..., T - 1 what stands at position t + k, [T (t), B, ...].
        Where t + k is beyond the end, any numbers: they are not read.
      before: what stands before t, [B, T, ...].
    Returns:
      [B, T (t), T (position), ...].
    """
    length = len(continued)
    by_distance = tf.stack(continued, axis=1)  # [T (t), T (position - t), B, ...]
    distance = tf.range(length)[tf.newaxis] - tf.range(length)[:, tf.newaxis]
    after = tf.gather(by_distance, tf.maximum(distance, 0), axis=1, batch_dims=1)
    after = tf.transpose(after, [2, 0, 1, *range(3, after.shape.rank)])
    is_before = tf.reshape(distance < 0, [length, length, *[1] * (after.shape.rank - 3)])
    return tf.where(is_before, before[:, tf.newaxis], after)


def _states(generator, unrolled):
    """From which `step` goes on after each b_<t: a nest of [T, B, ...]."""
    is_fast = isinstance(generator, FastGenerator)
    return generator.step_states(unrolled) if is_fast else unrolled.states


def _step_flat(generator, rows, states):
    """generator.step over two leading axes, of rows or of tokens."""
    lead = tf.shape(rows)[:2]

    def flat(x):
        return tf.reshape(x, tf.concat([[lead[0] * lead[1]], tf.shape(x)[2:]], axis=0))

    def unflat(x):
        return tf.reshape(x, tf.concat([lead, tf.shape(x)[1:]], axis=0))

    flat_states = tf.nest.map_structure(
        lambda x: tf.ensure_shape(flat(x), [None, *x.shape[2:]]), states
    )
    logits, states = generator.step(
        tf.ensure_shape(flat(rows), [None, *rows.shape[2:]]), flat_states
    )
    return unflat(logits), tf.nest.map_structure(unflat, states)


def sampled(
    generator: SequenceGenerator, tokens: tf.Tensor, noise: tf.Tensor, last: int | None = None
) -> tf.Tensor:
    """For every t a sequence that keeps b_<=t and is sampled from there on.

    Args:
      generator: a SequenceGenerator.
      tokens: b, int32 [B, T].
      noise: Gumbel, [N, B, T (t), T (position), V].
      last: a token to keep at t in the place of b_t.
    Returns:
      int32 [N, B, T, T]; no gradient.
    """
    length, vocab_size = noise.shape[-2:]
    position, t = tf.range(length)[tf.newaxis], tf.range(length)[:, tf.newaxis]
    kept = tf.broadcast_to(tokens[:, tf.newaxis], tf.shape(noise)[1:-1])
    kept = kept if last is None else tf.where(position == t, last, kept)
    # Noise that is overwhelming at b keeps b: no other code is needed to force a prefix.
    force = tf.one_hot(tf.where(position <= t, kept, -1), vocab_size, 1e9, 0.0, dtype=noise.dtype)
    sequences = unroll(generator, tf.reshape(noise + force, [-1, length, vocab_size])).tokens
    return tf.reshape(sequences, tf.shape(noise)[:-1])


def inverted(generator: SequenceGenerator, tokens: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """As `sampled`, by inverting the distribution function: one number a token, where V are many.

    Args:
      generator: a SequenceGenerator.
      tokens: b, int32 [B, T].
      uniform: float64 [B, T (t), T (position)], in (0, 1).
    Returns:
      int32 [B, T, T]; no gradient. T (T - 1) / 2 generator steps for each row.
    """
    length, vocab_size, end = tokens.shape[1], generator.vocab_size, end_token(generator)
    read = tf.transpose(tokens)  # [T (t), B]
    states, continued = _states(generator, teacher_force(generator, tokens)), [read]
    for k in range(1, length):  # all prefixes together, as in `relaxed`
        states = tf.nest.map_structure(lambda x, n=length - k: x[:n], states)
        before = read[: length - k]
        logits, states = _step_flat(generator, before, states)
        numbers = tf.transpose(tf.linalg.diag_part(uniform, k=k))  # at position t + k, [T - k, B]
        drawn = samplers.drawn(tf.reshape(logits, [-1, vocab_size]), tf.reshape(numbers, [-1]))
        read = tf.reshape(drawn, tf.shape(before))
        if end is not None:  # nothing but the end token follows it
            read = tf.where(before == end, end, read)
        continued.append(tf.pad(read, [[0, k], [0, 0]]))
    return _placed(continued, tokens)
