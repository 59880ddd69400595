"""A black box whose calls are dear: an NK landscape, and what it is worth to use a sequence again.

  python -m examples.nk_landscape                # two or three minutes
  python -m examples.nk_landscape --seeds=10
  python -m regan_tf.main --dataset=uniform --alphabet=ABCD --seq_len=15 --batch_size=16 \
      --reward=examples.nk_landscape:landscape_0 --updates_per_batch=4

Each of T sites adds to a sequence's fitness what a table of random numbers has for its letter and
those of the K sites after it (Kauffman 1989): to change one letter changes K + 1 summands. There is
no gradient, and no data. All ways of training below see 9,600 sequences; each seed has a landscape
of its own.
"""

import argparse
import contextlib
import io
import tempfile

import numpy as np
from tabulate import tabulate

import regan_tf

SITES, LETTERS, NEIGHBOURS = 15, "ABCD", 2
# Rates: of 1e-3, 2e-3 and 3e-3 the best in the last tenth of runs on landscapes 100 to 102, or as
# good as that.
WAYS = {
    "each batch once": {"generator_learning_rate": 3e-3},
    "four updates a batch": {"generator_learning_rate": 2e-3, "updates_per_batch": 4},
    "replay of 8": {"generator_learning_rate": 3e-3, "replay": 8},
    "both": {"generator_learning_rate": 2e-3, "updates_per_batch": 4, "replay": 8},
}


def landscape(seed):
    """A reward of tokens int32 [N, T]: fitness in [0, 1], [N]; that of random ones is 0.5."""
    shape = [SITES, len(LETTERS) ** (NEIGHBOURS + 1)]
    tables = np.random.default_rng(seed).random(shape)

    @regan_tf.token_reward
    def fitness(tokens):
        after = [np.roll(tokens, -k, axis=1) for k in range(NEIGHBOURS + 1)]
        entry = sum(x * len(LETTERS) ** k for k, x in enumerate(after))
        return tables[np.arange(SITES), entry].mean(axis=1)

    return fitness


def __getattr__(name):
    """The reward of a landscape by its name: landscape_7 is landscape(7)."""
    kind, _, seed = name.partition("_")
    if kind != "landscape" or not seed.isdecimal():
        raise AttributeError(f"{name}: landscapes are named landscape_0, landscape_1, ...")
    return landscape(int(seed))


def figures(seed, iterations, way):
    """Of a run: the mean reward of all batches and of the last tenth, the best one, and calls."""
    quietly = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with tempfile.TemporaryDirectory() as directory, quietly[0], quietly[1]:
        run = regan_tf.train(
            dataset="uniform", alphabet=LETTERS, seq_len=SITES, batch_size=16, seed=seed,
            reward=landscape(seed), iterations=iterations, eval_every=iterations, eval_samples=100,
            checkpoint_every=iterations, export_generator="none", workdir=directory, **way,
        )  # fmt: skip
    found = run.metrics
    rewards = found["reward"][1:]
    last = rewards[len(rewards) * 9 // 10 :]
    return rewards.mean(), last.mean(), found["top_1"][-1], found["calls"][-1]


def main():
    """Trains in each way, and prints what came of it: means over seeds, and standard deviations."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3, help="landscapes, each with a run a way")
    parser.add_argument("--iterations", type=int, default=600, help="batches of 16, of a run")
    asked = parser.parse_args()
    rows = []
    for name, way in WAYS.items():
        found = []
        for seed in range(asked.seeds):
            found.append(figures(seed, asked.iterations, way))
            print(f"{name}, landscape {seed}: mean reward {found[-1][0]:.3f}", flush=True)
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0, ddof=asked.seeds > 1)
        shown = [f"{m:.3f} +- {s:.3f}" for m, s in zip(mean[:3], spread[:3], strict=True)]
        rows.append([name, *shown, f"{mean[3]:.0f}"])
    print(tabulate(rows, ["", "mean reward", "last tenth", "best", "different sequences"]))


if __name__ == "__main__":
    main()
