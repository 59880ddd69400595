"""The exact mean of an estimate, over all batches by their probabilities, without noise."""

import itertools
from unittest import mock

import numpy as np
import tensorflow as tf

from regan_tf.estimators import estimate
from regan_tf.graphs import compiled
from regan_tf.networks.autoregressive import alive, chosen, masked, teacher_force
from tests import problems


def sequences(generator):
    """All of them, int32 [N, T], and their probabilities."""
    size, length, end = generator.vocab_size, generator.seq_len, generator.end_token
    every = np.array(list(itertools.product(range(size), repeat=length)), np.int32)
    kept = [not np.any((b[:-1] == end) & (b[1:] != end)) for b in every]
    tokens = tf.constant(every[kept])
    log_prob = chosen(teacher_force(generator, tokens).log_probs, tokens)
    return tokens, tf.exp(tf.reduce_sum(masked(log_prob, alive(generator, tokens)), axis=1))


def batches(generator, rows):
    """All batches of so many independent rows, int32 [N^rows, rows, T], and their probabilities."""
    tokens, p = sequences(generator)
    places = np.array(list(itertools.product(range(len(p)), repeat=rows)))
    return tf.gather(tokens, places), tf.reduce_prod(tf.gather(p, places), axis=1)


def batches_in_halves(generator):
    """All batches of two independent halves in turn, each of two rows that depend on each other:
    int32 [N, 4, T], and their probabilities. A half has the sequences that the distribution
    function has at u and at u + 1/2 modulo 1, u being uniform: each row has the generator's law.
    """
    tokens, p = sequences(generator)
    ends = np.cumsum(p / np.sum(p))
    cuts = np.unique(np.concatenate([[0, 0.5], ends, (ends + 0.5) % 1]))
    middle, width = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts)
    half = np.searchsorted(ends, np.stack([middle, (middle + 0.5) % 1], axis=1))
    pairs = np.array(list(itertools.product(range(len(half)), repeat=2)))
    places = half[pairs].swapaxes(1, 2).reshape(-1, 4)  # even rows of one half, odd of the other
    return tf.gather(tokens, places), tf.constant(width[pairs].prod(axis=1))


def of_tokens(spec, generator, reward, **given):
    """From given tokens, int32 [B, T], to the estimate as a run makes it when it draws them."""

    def of(tokens):
        floats = np.finfo(generator.compute_dtype)
        extremes = {"on_value": 1 - floats.epsneg, "off_value": floats.tiny}
        dtype = generator.compute_dtype
        drawn = tf.one_hot(tokens, generator.vocab_size, **extremes, dtype=dtype)
        noise = estimate._Noise(drawn, drawn, tf.constant([0, 0]))
        options = {"batch_size": tokens.shape[0], "seed": 0} | given
        with mock.patch.object(estimate, "_noise", return_value=noise):
            found, _ = estimate.estimate_gradient(spec, generator, reward, **options)
        return problems.flat(found)

    return of


def mean(estimate_of, tokens, p):
    """Of estimate_of(batch), [P], over batches [N, B, T] by their probabilities [N]."""

    @compiled
    def run():
        return tf.map_fn(estimate_of, tokens, fn_output_signature=p.dtype)

    return tf.linalg.matvec(run(), p, transpose_a=True)
