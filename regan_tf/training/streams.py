"""Streams of randomness. A seed is (config.seed, stream) folded with a counter, so that a
checkpoint needs no random state.
"""

import tensorflow as tf

from regan_tf import graphs

# The data take 0 and 1, those of an oracle 0 to 2 and its parameters 3. These are NumPy's streams;
# here only CURVE is one.
PRETRAIN_ORDER, ORDER, UPDATE, NEGATIVES, EVALUATION, REPLAY, CURVE, DROPOUT = range(2, 10)


def stream(config, number):
    """The stateless seed, int32 [2], of a whole stream."""
    return tf.constant([config.seed, number])


def seed(config, number, counter):
    """The stateless seed, int32 [2], at one place of a stream."""
    return tf.random.experimental.stateless_fold_in(stream(config, number), graphs.number(counter))
