"""Rewards of texts that take no time, or a known one: what `benchmark_rewards` asks. Worker
processes load this module: no TensorFlow here.
"""

import time

from regan_tf.estimators.reward_functions import text_reward

_SECONDS = 0.02  # a text


@text_reward
def constant(texts):
    """Takes no time."""
    return [0.5] * len(texts)


@text_reward
def waiting(texts):
    """Leaves the core to others."""
    time.sleep(_SECONDS * len(texts))
    return constant(texts)


@text_reward
def computing(texts):
    """Takes the core's own time: another's on a shared machine does not count."""
    end = time.process_time() + _SECONDS * len(texts)
    while time.process_time() < end:
        sum(range(10_000))  # the clock is a system call
    return constant(texts)
