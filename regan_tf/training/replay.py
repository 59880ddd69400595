"""Which sequences are replayed: drawn out of the best that a run has had evaluated so far."""

import numpy as np
import tensorflow as tf

from regan_tf.estimators.black_box import BlackBoxReward
from regan_tf.estimators.reuse import Replayed
from regan_tf.training import streams

MEMORY = 100  # of the best sequences, out of which they are drawn


def drawn(config, reward: BlackBoxReward, update: int) -> Replayed:
    """--replay different sequences for an update, each of the memory equally likely; fewer, and
    nothing in the other places, where there are not yet so many.

    Args:
      config: of the run.
      reward: what has evaluated them.
      update: its number in the run: each has a seed of its own.
    """
    tokens, rewards = reward.best(MEMORY)
    tokens = tokens.reshape(-1, config.seq_len)  # also if there is none
    seed = (config.seed, streams.REPLAY, update)
    chosen = np.random.default_rng(seed).permutation(len(tokens))[: config.replay]
    missing = config.replay - len(chosen)
    return Replayed(
        tf.constant(np.pad(tokens[chosen], [(0, missing), (0, 0)])),
        tf.constant(np.pad(rewards[chosen], (0, missing))),
        tf.constant(np.pad(np.ones(len(chosen), np.float32), (0, missing))),
    )
