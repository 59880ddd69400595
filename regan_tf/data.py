"""The grammar data of ReGAN section 4.1: "x operator x operator ...", operators uniform over + - * /."""

import math

import numpy as np
import tensorflow as tf

SYMBOLS = "x+-*/"  # token i is SYMBOLS[i]; the begin symbol, len(SYMBOLS), belongs to the generator, never to the data
OPERATORS = len(SYMBOLS) - 1


def grammar(size, seq_len, seed):
    """Draws sequences of the grammar: int32 [size, T], x at the even places. seed: an int or a list of ints."""
    tokens = np.zeros([size, seq_len], np.int32)
    tokens[:, 1::2] = np.random.default_rng(seed).integers(1, OPERATORS + 1, size=tokens[:, 1::2].shape)
    return tokens


def entropy(seq_len):
    """Entropy of the grammar's law in nats per sequence: ln 4 for each operator."""
    return (seq_len // 2) * math.log(OPERATORS)


def support(seq_len):
    """How many sequences the grammar has, all equally likely."""
    return OPERATORS ** (seq_len // 2)


def unigram(seq_len):
    """Frequency of each symbol in the grammar's law, as a dict."""
    share = (seq_len // 2) / seq_len
    return {s: 1 - share if s == "x" else share / OPERATORS for s in SYMBOLS}


def to_text(tokens):
    """Tokens [N, T] -> N strings."""
    return ["".join(SYMBOLS[i] for i in row) for row in tokens]


def minibatches(tokens, batch_size, steps, seed, skip=0):
    """The training data as an endless tf.data pipeline that can be entered anywhere.

    Args:
      tokens: int32 [N, T].
      batch_size: B <= N. Each epoch is a fresh permutation of the data; its last N mod B sequences are left out.
      steps: S, minibatches per element.
      seed: a stateless seed, two ints; the order depends on it and on the epoch's number alone.
      skip: elements to leave out at the start (those that an interrupted run has used).
    Returns:
      A dataset of int32 [S, B, T].
    """
    size, seq_len = tokens.shape
    per_epoch = size // batch_size
    tokens = tf.constant(tokens)

    def shuffled(epoch):
        order = tf.random.experimental.stateless_shuffle(tf.range(size), tf.random.experimental.stateless_fold_in(seed, epoch))
        return tf.reshape(tf.gather(tokens, order[: per_epoch * batch_size]), [per_epoch, batch_size, seq_len])

    first_epoch, offset = divmod(skip * steps, per_epoch)
    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max).map(shuffled)
    if steps == per_epoch and offset == 0:
        return epochs.prefetch(1)
    return epochs.unbatch().skip(offset).batch(steps, drop_remainder=True).prefetch(1)
