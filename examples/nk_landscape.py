"""A black box whose calls are dear: an NK landscape, and what it is worth to use a sequence again.

  python -m examples.nk_landscape                # two minutes
  python -m examples.nk_landscape --seeds=10
  python -m regan_tf.main --dataset=uniform --alphabet=ABCD --seq_len=15 --batch_size=16 \
      --reward=examples/nk_landscape.py:reward --updates_per_batch=4

Each of T sites adds to a sequence's fitness what a table of random numbers has for its letter and
those of the K sites after it (Kauffman 1989): to change one letter changes K + 1 summands. There is
no gradient, and no data. All ways of training below see 9,600 sequences; each seed has a landscape
of its own.
"""

import tempfile

import numpy as np
from absl import app, flags

import regan_tf

SITES, LETTERS, NEIGHBOURS = 15, "ABCD", 4
WAYS = {
    "each batch once": {"generator_learning_rate": 1e-2},
    "four updates a batch": {"generator_learning_rate": 1e-2, "updates_per_batch": 4},
    "and replay of 8": {"generator_learning_rate": 1e-2, "updates_per_batch": 4, "replay": 8},
}

_SEEDS = flags.DEFINE_integer("seeds", 3, "Landscapes, and runs of each way.", lower_bound=1)
_ITERATIONS = flags.DEFINE_integer("iterations", 600, "Batches of 16 of a run.", lower_bound=1)


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


reward = landscape(0)


def trained(seed, iterations, directory, **way):
    """A run: its metrics by name."""
    run = regan_tf.train(
        dataset="uniform", alphabet=LETTERS, seq_len=SITES, batch_size=16, iterations=iterations,
        reward=landscape(seed), seed=seed, eval_every=iterations, eval_samples=100,
        checkpoint_every=iterations, export_generator="none", workdir=directory, **way,
    )  # fmt: skip
    return run.metrics


def main(_):
    """Trains in each way, and prints what came of it."""
    rows = []
    for way, settings in WAYS.items():
        figures = []
        for seed in range(_SEEDS.value):
            with tempfile.TemporaryDirectory() as directory:
                found = trained(seed, _ITERATIONS.value, f"{directory}/run", **settings)
            reward, calls = found["reward"][1:], found["calls"][-1]
            last = reward[-len(reward) // 10 :]
            figures.append([reward.mean(), last.mean(), found["top_1"][-1], calls])
        means, spread = np.mean(figures, axis=0), np.std(figures, axis=0)
        rows.append(
            f"{way:22s}"
            + "".join(f"{m:9.3f} +-{s:5.3f}" for m, s in zip(means[:3], spread, strict=False))
            + f"{means[3]:9.0f}"
        )
    print(f"{'':22s}{'mean reward':>17s}{'last tenth':>17s}{'best':>17s}{'calls':>9s}")
    print("\n".join(rows))


if __name__ == "__main__":
    app.run(main)
