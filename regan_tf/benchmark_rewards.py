"""Measures what a reward in Python costs beside the function itself: an update with a constant one
beside an update with a constant in TensorFlow, and the speed-up by worker processes.

  python -m regan_tf.benchmark_rewards

Both updates are timed in turns, with a new seed each: all sequences are new, and each is recorded
in a file. The second table is of functions that take 20 ms a text, one that computes and one that
waits: many workers beside one, in turns.
"""

import contextlib
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags
from tabulate import tabulate

import regan_tf
from regan_tf.cli import command
from regan_tf.studies import timed_rewards
from regan_tf.tasks.text import Vocabulary

_SEQ_LEN = flags.DEFINE_integer("seq_len", 60, "Sequence length T.", lower_bound=3)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Sequences per update.", lower_bound=2)
_VOCAB_SIZE = flags.DEFINE_integer("vocab_size", 30, "Tokens V.", lower_bound=3)
_HIDDEN_DIM = flags.DEFINE_integer("hidden_dim", 128, "Hidden units and embedding.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Updates of each.", lower_bound=2)
_WORKERS = flags.DEFINE_integer(
    "workers", 4, "Worker processes; 1: no second table.", lower_bound=1
)
_BATCHES = 4  # of texts, the first of which starts the processes


def main():
    """Prints the two tables; returns the exit code."""
    command.start_tensorflow(1)
    print(f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores")
    _print_overhead()
    if _WORKERS.value > 1:
        _print_speed_up()
    return 0


def _print_overhead():
    with tempfile.TemporaryDirectory() as directory:
        reward = regan_tf.BlackBoxReward(timed_rewards.constant, _vocabulary())
        file = Path(directory) / "calls.jsonl"

        def write(lines):
            with open(file, "a", encoding="utf-8") as opened:
                opened.write(lines)

        reward.keep_record(lambda: [], 0, write)
        rewards = {"constant in TensorFlow": _constant(), "constant in Python": reward}
        updates = {name: _update(reward) for name, reward in rewards.items()}
        seconds = np.array([[_seconds(u, i) for u in updates.values()] for i in range(_rounds())])
    warm = 1e3 * seconds[3:]
    overhead = np.median(warm[:, 1] / warm[:, 0]) - 1
    rows = [[name, *np.percentile(column, [25, 50, 75])]
            for name, column in zip(updates, warm.T, strict=True)]  # fmt: skip
    print(tabulate(rows, ["update [ms]", "1st quartile", "median", "3rd"], floatfmt=".2f"))
    print(f"overhead of {reward.calls} calls: {overhead:.1%} of an update, median of rounds\n")


def _rounds():
    return _ROUNDS.value + 3  # the first ones trace


def _constant():
    import tensorflow as tf

    class Constant(regan_tf.TokenReward):
        def __call__(self, rows):
            return tf.fill(rows.shape[:1], 0.5)

        def of_tokens(self, tokens):
            return tf.fill(tokens.shape[:1], 0.5)

    return Constant()


def _update(reward):
    import tensorflow as tf

    from regan_tf.studies import timed_steps

    sizes = {
        "seq_len": _SEQ_LEN.value,
        "batch_size": _BATCH_SIZE.value,
        "vocab_size": _VOCAB_SIZE.value,
        "hidden_dim": _HIDDEN_DIM.value,
    }
    trainer, real = timed_steps.trainer_of(sizes, reward, "reinforce_loo")
    return lambda i: trainer.update_generator(tf.constant([0, i]), real)["reward"].numpy()


def _print_speed_up():
    rng, rows = np.random.default_rng(0), []
    for function in (timed_rewards.computing, timed_rewards.waiting):
        name = f"{function.__module__}:{function.__name__}"
        seconds = []
        with contextlib.ExitStack() as held:
            rewards = [
                held.enter_context(
                    contextlib.closing(regan_tf.BlackBoxReward(function, _vocabulary(), name, n))
                )
                for n in (1, _WORKERS.value)
            ]
            for _ in range(_BATCHES):
                shape = [_BATCH_SIZE.value, _SEQ_LEN.value]
                tokens = rng.integers(0, _VOCAB_SIZE.value, shape).astype(np.int32)
                seconds.append([_seconds(reward.of_array, tokens) for reward in rewards])
        one, several = np.array(seconds[1:]).T  # the first starts the processes
        rows.append(
            [function.__name__, np.median(one), np.median(several), np.median(one / several)]
        )
    headers = [f"{_BATCH_SIZE.value} texts", "one worker [s]", f"{_WORKERS.value} [s]", "speed-up"]
    print(tabulate(rows, headers, floatfmt=".2f"))


def _vocabulary():
    return Vocabulary(tuple(chr(ord("A") + i) for i in range(_VOCAB_SIZE.value)))


def _seconds(call, *arguments):
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


if __name__ == "__main__":
    command.run(main)
