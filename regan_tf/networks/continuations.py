"""What may follow the prefixes of a sequence: the generator's relaxed outputs, or fresh samples."""

import tensorflow as tf

from regan_tf.networks.autoregressive import unroll
from regan_tf.networks.protocol import FastGenerator, SequenceGenerator, Unrolled


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
    states = (
        generator.step_states(unrolled) if isinstance(generator, FastGenerator) else unrolled.states
    )
    read, continued = time_major, [time_major]
    for k in range(1, length):  # all prefixes together; the ones that have reached the end drop out
        states = tf.nest.map_structure(lambda x, n=length - k: x[:n], states)
        logits, states = _step_flat(generator, read[: length - k], states)
        read = tf.nn.softmax((tf.nn.log_softmax(logits) + noise[k:]) / temperature)
        continued.append(tf.pad(read, [[0, k], [0, 0], [0, 0]]))
    by_distance = tf.stack(continued, axis=1)  # [T (t), T (position - t), B, V]
    distance = tf.range(length)[tf.newaxis] - tf.range(length)[:, tf.newaxis]
    soft = tf.gather(by_distance, tf.maximum(distance, 0), axis=1, batch_dims=1)
    hard = tf.one_hot(unrolled.tokens, generator.vocab_size, dtype=rows.dtype)[:, tf.newaxis]
    return tf.where((distance < 0)[:, :, tf.newaxis], hard, tf.transpose(soft, [2, 0, 1, 3]))


def _step_flat(generator, rows, states):
    """generator.step over two leading axes."""
    lead = tf.shape(rows)[:2]

    def flat(x):
        return tf.reshape(x, tf.concat([[lead[0] * lead[1]], tf.shape(x)[2:]], axis=0))

    def unflat(x):
        return tf.reshape(x, tf.concat([lead, tf.shape(x)[1:]], axis=0))

    flat_states = tf.nest.map_structure(
        lambda x: tf.ensure_shape(flat(x), [None, *x.shape[2:]]), states
    )
    logits, states = generator.step(tf.ensure_shape(flat(rows), [None, rows.shape[2]]), flat_states)
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
