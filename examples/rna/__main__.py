"""Designs an RNA that folds into a target structure.

  python -m examples.rna --target=frog_foot
  python -m examples.rna --target='((((....))))....' --calls=5000

Nothing is learned from but ViennaRNA's answers. The run is as every other: it goes on after Ctrl-C,
is sampled from, exported and served. Beside its own files it leaves structure.png, the best design.
"""

import argparse

import regan_tf
from examples.rna.drawing import draw
from examples.rna.reward import TARGETS, rna_of, structure_of
from examples.rna.settings import BASE, METHODS


def main(arguments=None):
    """Trains, prints the best designs and draws the first."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.rna", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--target", default="frog_foot", help=f"dots and brackets, or {', '.join(TARGETS)}"
    )
    parser.add_argument("--method", default="all", choices=METHODS)
    parser.add_argument("--calls", type=int, default=10_000, help="foldings at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workdir", help="by default runs/rna/<target>")
    given = parser.parse_args(arguments)
    try:
        structure = structure_of(given.target)
    except ValueError as error:
        parser.error(f"--target: {error}")
    run = regan_tf.train(
        seq_len=len(structure),
        reward=f"examples.rna.reward:{given.target}",
        reward_calls=given.calls,
        seed=given.seed,
        workdir=given.workdir or f"runs/rna/{given.target}",
        **BASE,
        **METHODS[given.method],
    )
    _show(run, structure)


def _show(run, structure):
    calls, best = run.calls(), run.best_sequences(5)
    solved = [call for call in calls if call["solved"]]
    first = f"first solved at call {solved[0]['call']}" if solved else "not solved"
    print(f"\n{structure}  the target")
    for call in best:
        print(
            f"{rna_of(structure, call['text'])}  reward {call['reward']:.3f}, call {call['call']}"
        )
    print(f"{first}; {len(solved)} different solutions in {len(calls)} calls")
    path = run.path / "structure.png"
    draw(path, rna_of(structure, best[0]["text"]), structure, f"{structure}\n{first}")
    print(f"the best one's structure: {path}")


if __name__ == "__main__":
    main()
