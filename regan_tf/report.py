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

from regan_tf import command, config_flags
from regan_tf.config import UserError

_RUNS = flags.DEFINE_list("runs", None, "Directories of runs, or patterns of them, separated by commas.", required=True)
_FIGURES = flags.DEFINE_string("figures", "", "Also draw length_<T>.png for each length into this directory.")

_HEADERS = ("length", "estimator", "temperature")


def main():
    """Prints the table; returns the exit code."""
    paths = sorted(itertools.chain.from_iterable(glob.glob(pattern) for pattern in _RUNS.value))
    finished = {path: _read(path) for path in paths if os.path.exists(os.path.join(path, "summary.json"))}
    if not finished:
        raise UserError(f"--runs={','.join(_RUNS.value)} holds no finished run: each needs a summary.json")
    groups = {}
    for path, summary in sorted(finished.items(), key=lambda item: (*_group(item[0]), item[1]["seed"])):
        groups.setdefault(_group(path), {})[path] = summary
    _print_table(groups)
    if missing := len(paths) - len(finished):
        print(f"{missing} of {len(paths)} are not finished and were left out")
    if _FIGURES.value:
        _draw(groups, _FIGURES.value)
    return 0


def _group(path):
    """Length, estimator with its form, and temperature of a run."""
    config = config_flags.read_run(path)
    form = "" if config.control_variate == "sequence" else f" {config.control_variate}"
    return config.seq_len, f"{config.estimator}{form}{' leave-one-out' if config.leave_one_out else ''}", config.temperature


def _print_table(groups):
    rows = []
    for group, members in groups.items():
        starts, lasts = ([m[column]["goodness"] for m in members.values()] for column in ("start", "last"))
        figures = [statistics.mean(m["last"][name] for m in members.values()) for name in ("validity", "distinct", "nll_excess")]
        seconds = statistics.mean(m["seconds"] for m in members.values())
        rows.append([*group, _scores(starts), _scores(lasts), next(iter(members.values()))["goodness_max"], *figures, seconds])
    headers = [*_HEADERS, "goodness at iteration 0, by seed", "goodness at the end, by seed", "of"]
    headers += ["validity", "distinct", "NLL excess", "seconds"]
    formats = ("d", "", "g", "", "", "d", ".4f", ".3f", ".4f", ".1f")
    print(tabulate(rows, headers, floatfmt=formats, disable_numparse=[3, 4]))


def _draw(groups, directory):
    command.start_tensorflow(threads=1)
    from regan_tf import plots
    from regan_tf.workdir import read_metrics

    for seq_len in sorted({group[0] for group in groups}):
        runs = {}
        for (length, estimator, temperature), members in groups.items():
            if length == seq_len:
                records = [[r for r in read_metrics(path) if r["phase"] == "adversarial"] for path in members]
                runs[f"{estimator}, temperature {temperature:g}"] = records
        path = os.path.join(directory, f"length_{seq_len}.png")
        plots.plot_comparison(runs, f"Length {seq_len}", path)
        print(f"drawn: {path}")


def _read(path):
    with open(os.path.join(path, "summary.json"), encoding="utf-8") as file:
        return json.load(file)


def _scores(values):
    return " ".join(f"{v:.3f}" for v in values)


if __name__ == "__main__":
    command.run(main)
