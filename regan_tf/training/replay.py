"""Which sequences are replayed: drawn out of the best that a run had evaluated before."""

import numpy as np
import tensorflow as tf

from regan_tf.defaults import REPLAY_MEMORY
from regan_tf.estimators.calls import Calls, best_first
from regan_tf.estimators.reuse import Replayed
from regan_tf.training import streams


def drawn(config, calls: Calls, iteration: int, update: int) -> Replayed:
    """--replay different sequences for an update, each of the memory equally likely; fewer, and
    nothing in the other places, where there are not yet so many.

    Args:
      config: of the run.
      calls: what was evaluated. What the iteration itself evaluates is not drawn: a run whose
        budget ended within it, and was raised, makes it again.
      iteration, update: their numbers in the run; each update has a seed of its own.
    """
    rewards = calls.column("reward")[: calls.before(iteration)].astype(np.float32)
    best = best_first(rewards, REPLAY_MEMORY)
    seed = (config.seed, streams.REPLAY, update)
    chosen = best[np.random.default_rng(seed).permutation(len(best))[: config.replay]]
    tokens = calls.tokens(chosen).reshape(-1, config.seq_len)  # also if there is none
    missing = config.replay - len(chosen)
    return Replayed(
        tf.constant(np.pad(tokens, [(0, missing), (0, 0)])),
        tf.constant(np.pad(rewards[chosen], (0, missing))),
        tf.constant(np.pad(np.ones(len(chosen), np.float32), (0, missing))),
    )
