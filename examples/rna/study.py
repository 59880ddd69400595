"""How many calls each method needs until a target is solved.

  python -m examples.rna.study --seeds=3 --calls=10000
  python -m examples.rna.study --methods=loo,loo@0.001    # the same with another learning rate

A run ends where a sequence folds into its target. Results are appended to <output>/solved.jsonl as
they come, with the settings; what is there with the same ones is not run again. A run that does not
solve its target, or has no new sequence to ask for, counts with its whole budget.
"""

import argparse
import contextlib
import io
import itertools
import json
import shutil
from pathlib import Path

import keras
import numpy as np
from tabulate import tabulate

import regan_tf
from examples.rna.reward import TARGETS, structure_of
from examples.rna.settings import BASE, METHODS


class _EndError(Exception):
    """Ends a run."""


class _UntilSolved(regan_tf.Callback):
    def on_iteration(self, record, generator):
        if record.get("reward_solved"):
            raise _EndError


def _settings(method, calls):
    """Of a run, but for what is of its target and seed; method: <name> or <name>@<rate>."""
    name, _, rate = method.partition("@")
    rates = {"generator_learning_rate": float(rate)} if rate else {}
    return BASE | METHODS[name] | rates | {"eval_every": calls, "checkpoint_every": calls}


def calls_to_solve(target, method, seed, calls, workdir):
    """The number of the first call that solves the target; None if none of so many does."""
    keras.backend.clear_session()
    shutil.rmtree(workdir, ignore_errors=True)
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with contextlib.suppress(_EndError), quiet[0], quiet[1]:
        regan_tf.train(
            seq_len=len(structure_of(target)),
            reward=f"examples.rna.reward:{target}",
            reward_calls=calls,
            seed=seed,
            workdir=str(workdir),
            callbacks=[_UntilSolved()],
            export_generator="none",
            **_settings(method, calls),
        )
    with (workdir / "calls.jsonl").open(encoding="utf-8") as lines:
        return next((call["call"] for call in map(json.loads, lines) if call["solved"]), None)


def study(targets, methods, seeds, calls, output):
    """Runs what is missing, seed by seed. Returns the records of its file that have these methods,
    these calls and the settings of today, dicts.
    """
    output.mkdir(parents=True, exist_ok=True)
    path = output / "solved.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    today = {method: _settings(method, calls) for method in methods}
    records = [r for r in map(json.loads, lines) if r.get("settings") == today.get(r["method"], 0)]
    there = [tuple(r[name] for name in ("seed", "target", "method")) for r in records]
    for seed, target, method in itertools.product(range(seeds), targets, methods):
        if (seed, target, method) in there:
            continue
        call = calls_to_solve(target, method, seed, calls, output / "run")
        record = {"seed": seed, "target": target, "method": method, "calls": calls, "solved": call}
        record["settings"] = today[method]
        records.append(record)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        print(f"{target}, {method}, seed {seed}: {call or 'not solved'}", flush=True)
    return records


def table(records, targets, methods):
    """Mean calls by target and method, with how many of the runs solved it; then all targets'."""

    def cell(chosen):
        if not chosen:
            return ""
        mean = np.mean([r["solved"] or r["calls"] for r in chosen])
        return f"{mean:.0f} ({sum(r['solved'] is not None for r in chosen)}/{len(chosen)})"

    def row(name, of_targets):
        chosen = [r for r in records if r["target"] in of_targets]
        return [name, *(cell([r for r in chosen if r["method"] == m]) for m in methods)]

    rows = [*(row(target, [target]) for target in targets), row("all", targets)]
    return tabulate(rows, ["target", *methods], disable_numparse=True)


def main(arguments=None):
    """Runs what is missing, then prints the table."""
    parser = argparse.ArgumentParser(prog="python -m examples.rna.study")
    parser.add_argument("--targets", default=",".join(TARGETS), help="names, by commas")
    parser.add_argument("--methods", default=",".join(METHODS), help="names, by commas")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=Path("runs/rna_study"))
    given = parser.parse_args(arguments)
    targets, methods = given.targets.split(","), given.methods.split(",")
    records = study(targets, methods, given.seeds, given.calls, given.output)
    print(table(records, targets, methods))


if __name__ == "__main__":
    main()
