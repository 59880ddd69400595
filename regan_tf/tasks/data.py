"""The data of a run, and the pipeline of its minibatches."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from regan_tf.tasks.law import Law
from regan_tf.tasks.text import Vocabulary


class Dataset(NamedTuple):
    """What a run learns from and is measured on.

    Attributes:
      vocabulary: a text.Vocabulary.
      real, heldout: int32 [N, T] and [M, T], rows that are shorter ending with the end token,
        repeated.
      sha256: of the texts, or of an oracle's parameters; "" where there are none.
      remarks: what the user should know of the data, a list of lines.
      law: theirs, a law.Law, where it is known: generators are compared with it.
    """

    vocabulary: Vocabulary
    real: np.ndarray
    heldout: np.ndarray
    sha256: str = ""
    remarks: tuple = ()
    law: Law | None = None


def minibatches(tokens, batch_size, steps, seed, skip=0):
    """The training data as an endless tf.data pipeline that can be entered anywhere.

    Args:
      tokens: int32 [N, T].
      batch_size: B <= N. Each epoch is a fresh permutation of the data; its last N mod B sequences
        are left out.
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
        order = tf.random.experimental.stateless_shuffle(
            tf.range(size), tf.random.experimental.stateless_fold_in(seed, epoch)
        )
        return tf.reshape(
            tf.gather(tokens, order[: per_epoch * batch_size]), [per_epoch, batch_size, seq_len]
        )

    # There is nothing to tune, and the tuner's thread may keep a run waiting at its end.
    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    first_epoch, offset = divmod(skip * steps, per_epoch)
    # Without autograph, which takes longer than all the rest.
    shuffled = tf.autograph.experimental.do_not_convert(shuffled)
    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max).map(shuffled).with_options(untuned)
    if steps == per_epoch and offset == 0:
        return epochs.prefetch(1)
    return epochs.unbatch().skip(offset).batch(steps, drop_remainder=True).prefetch(1)
