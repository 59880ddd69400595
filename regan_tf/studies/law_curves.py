"""Curves over sampling temperatures of runs whose data have a known law, as their summaries have
them: the NLL of the law's data under a generator, against that of its samples under the law.
"""

import json

import numpy as np

from regan_tf.cli import command
from regan_tf.files import write_atomically
from regan_tf.plots.temperature import plot_law_curves
from regan_tf.studies import statistics
from regan_tf.studies.tables import to_text

_AT = "nll_test_at_"
_HEADLINE = 8.0  # the level that is marked


def show(groups, generator, output):
    """Prints the table, writes curve.json and the picture.

    Args:
      groups: list of grouping.Group, on the same data.
      generator: "last" or "best".
      output: a directory.
    """
    curves = {g.label: [_curve(run, generator) for run in g.runs] for g in groups}
    means = {label: mean_curve(of_label) for label, of_label in curves.items()}
    entropy = float(np.mean([run.end["oracle_entropy"] for g in groups for run in g.runs]))
    levels = [name for name in groups[0].runs[0].end if name.startswith(_AT)]
    rows = [
        [
            g.label,
            str(len(g.runs)),
            *(_cell(g, name) for name in (*levels, "nll_oracle", "nll_test")),
        ]
        for g in groups
    ]
    headers = [f"at {name.removeprefix(_AT)}" for name in levels]
    headers = ["", groups[0].repeats, *headers, "NLL oracle", "NLL test"]
    print(to_text(rows, headers))
    print(
        "In nats a token. At 7, ...: NLL test at the temperature at which NLL oracle is that; "
        "empty where\nnone of the curve's gives it. The last two: at temperature 1. Of several "
        f"{groups[0].repeats}: the mean with its\n95 % interval; of one: +- the standard error of "
        f"its samples. The oracle's entropy: {command.figure(entropy)}."
    )
    text = json.dumps({"curves": means, "runs": curves, "oracle_entropy": entropy}, indent=2)
    write_atomically(output / "curve.json", text + "\n")
    plot_law_curves(means, curves, entropy, _HEADLINE, output / "temperature_curve.png")


def _curve(run, generator):
    return run.summary["temperature_curve"][generator]


def mean_curve(curves: list) -> list:
    """The mean of several curves over the same temperatures, each a list of dicts of numbers, point
    by point; of standard errors there is none.
    """
    return [
        {n: float(np.mean([p[n] for p in points])) for n in points[0] if n != "standard_error"}
        | {"temperature": points[0]["temperature"]}
        for points in zip(*curves, strict=True)
    ]


def _cell(group, name):
    values = [run.end[name] for run in group.runs]
    if None in values:
        return ""
    if len(values) > 1:
        mean, low, high = statistics.mean_and_interval(np.array(values))
        return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
    error = group.runs[0].end["standard_error"][name]
    return f"{values[0]:.3f}" + ("" if error is None else f" +- {error:.3f}")
