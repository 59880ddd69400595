"""What the benchmark holds the steps against: Keras' own LSTM, and the bare matrix products of an
update.
"""

import keras
import tensorflow as tf

from regan_tf.graphs import compiled
from regan_tf.networks.lstm import ONE_HOT_LIMIT


def keras_lstm(config):
    """keras.layers.LSTM of the generator's shape, unrolled: forward, backward and Adam, nothing
    else. Returns the step.
    """
    layer = keras.layers.LSTM(
        config.generator_dim, return_sequences=True, unroll=True, use_cudnn=False
    )
    layer.build((None, config.seq_len, config.embed_dim))
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(layer.trainable_variables)
    x = tf.random.stateless_normal([config.batch_size, config.seq_len, config.embed_dim], [0, 0])

    @compiled
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(layer(x) ** 2)
        gradient = tape.gradient(loss, [v.value for v in layer.trainable_variables])
        optimizer.apply(gradient, layer.trainable_variables)
        return loss

    return step


def product_shapes(config, vocab_size):
    """The matrix products of a reinforce update as (times, m, k, n), for [m, k] x [k, n].

    What reads b_<t must go step by step; the rest is one product each. The discriminator only
    reads.
    """
    batch = config.batch_size
    steps = config.seq_len
    embed = config.embed_dim
    hidden = config.generator_dim
    other = config.discriminator_dim
    rows = batch * steps
    by_step = [
        (batch, hidden, 4 * hidden),
        (batch, hidden, vocab_size),
        (batch, 4 * hidden, hidden),
        (batch, other, 4 * other),
    ]
    at_once = [
        (rows, vocab_size, hidden),  # logits to states
        (hidden, rows, vocab_size),  # the weights' gradients
        (hidden, rows, 4 * hidden),
        (embed, rows, 4 * hidden),
        (rows, 4 * hidden, embed),
    ]
    if vocab_size > ONE_HOT_LIMIT:
        by_step.append((batch, embed, 4 * hidden))
    else:
        by_step += [(batch, vocab_size + 1, 4 * hidden), (batch, vocab_size, 4 * other)]
        at_once += [(vocab_size + 1, embed, 4 * hidden), (vocab_size + 1, rows, embed)]
    return [(steps, *shape) for shape in by_step] + [(1, *shape) for shape in at_once]


def products(config, vocab_size):
    """A function that computes them, and the number of floating-point operations that they are."""
    shapes = product_shapes(config, vocab_size)
    factors = [  # a left factor for every time: equal products would be computed once
        (
            tf.random.stateless_normal([times, m, k], [0, i]),
            tf.random.stateless_normal([k, n], [1, i]),
        )
        for i, (times, m, k, n) in enumerate(shapes)
    ]

    @compiled
    def multiply():
        return tf.add_n([tf.matmul(a, b)[0, 0] for left, b in factors for a in tf.unstack(left)])

    return multiply, sum(2 * times * m * k * n for times, m, k, n in shapes)
