"""Tabulates the scores of finished runs, grouped by what they trained.

python -m regan_tf.report --runs='runs/paper/*'
"""

import glob
import itertools
import json
import os
import statistics

from absl import flags
from tabulate import tabulate

from regan_tf import command
from regan_tf.config import UserError

_RUNS = flags.DEFINE_list("runs", None, "Directories of runs, or patterns of them, separated by commas.", required=True)

_GROUP = ("seq_len", "estimator", "temperature")


def main():
    """Prints the table; returns the exit code."""
    paths = sorted(itertools.chain.from_iterable(glob.glob(pattern) for pattern in _RUNS.value))
    summaries = [_read(path) for path in paths if os.path.exists(os.path.join(path, "summary.json"))]
    if not summaries:
        raise UserError(f"--runs={','.join(_RUNS.value)} holds no finished run: each needs a summary.json")

    def key(summary):
        return tuple(summary[name] for name in _GROUP)

    rows = []
    for group, members in itertools.groupby(sorted(summaries, key=key), key):
        members = sorted(members, key=lambda m: m["seed"])
        starts, lasts = ([m[column]["goodness"] for m in members] for column in ("start", "last"))
        figures = [statistics.mean(m["last"][name] for m in members) for name in ("validity", "distinct", "nll_excess")]
        seconds = statistics.mean(m["seconds"] for m in members)
        rows.append([*group, _scores(starts), _scores(lasts), members[0]["goodness_max"], *figures, seconds])
    headers = [
        *_GROUP,
        "goodness at iteration 0, by seed",
        "goodness at the end, by seed",
        "of",
        "validity",
        "distinct",
        "NLL excess",
    ]
    print(
        tabulate(
            rows, [*headers, "seconds"], floatfmt=("d", "", "g", "", "", "d", ".4f", ".3f", ".4f", ".1f"), disable_numparse=[3, 4]
        )
    )
    if missing := len(paths) - len(summaries):
        print(f"{missing} of {len(paths)} are not finished and were left out")
    return 0


def _read(path):
    with open(os.path.join(path, "summary.json"), encoding="utf-8") as file:
        return json.load(file)


def _scores(values):
    return " ".join(f"{v:.3f}" for v in values)


if __name__ == "__main__":
    command.run(main)
