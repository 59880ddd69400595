"""Turns finished runs into figures and tables: what each estimator reached, how surely, and what it cost.

  python -m regan_tf.report runs
  python -m regan_tf.report runs/figure_4 runs/figure_6 --output=report/short

Takes directories that are runs, or hold some at any depth. Writes one self-contained page, index.html, and its pictures.
"""

import base64
import json
from pathlib import Path

import numpy as np
from absl import flags
from tabulate import tabulate

from regan_tf import command
from regan_tf.config import UserError

_OUTPUT = flags.DEFINE_string("output", "report", "Directory of the page, its pictures and scores.json.")

_GENERATOR = flags.DEFINE_enum("generator", "last", ("last", "best"), "Which generator of each run the scores are of.")

_HEADERS = ("", "seeds", "goodness at 0", "at the end", "worst seed", "gain", "learning", "validity", "distinct", "NLL excess",
            "unigram error", "log var 1", "log var all", "seconds")  # fmt: skip
_SHOWN = (0, 1, 2, 3, 4, 6, 8, 9, 12, 13)  # the columns that are printed, too
_TESTED = {
    "learning": "learning (mean goodness over the run)",
    "goodness": "goodness at the end",
    "nll_excess": "NLL excess at the end",
}
_SAMPLES = 8


def main(paths):
    """Prints the tables and writes the page; returns the exit code."""
    if not paths:
        raise UserError("give directories of runs: python -m regan_tf.report runs")
    command.start_tensorflow(threads=1)
    from regan_tf import results
    from regan_tf.workdir import write_atomically

    runs, unfinished, repeated = results.read(paths, _GENERATOR.value)
    groups = results.grouped(runs)
    output = Path(_OUTPUT.value)
    try:
        output.mkdir(parents=True, exist_ok=True)
        pictures = _draw(groups, output)
    except OSError as error:
        raise UserError(f"--output={output} cannot be written: {error.strerror}") from None
    lengths = {length: _tables(members) for length, members in groups.items()}
    for length, tables in lengths.items():
        rows = [[row[i] for i in _SHOWN] for row in tables["scores"]]
        print(f"\nLength {length}\n" + tabulate(rows, [_HEADERS[i] for i in _SHOWN], disable_numparse=True))
    scores = {
        length: {g.label: {run.config.seed: run.scores for run in g.runs} for g in members} for length, members in groups.items()
    }
    write_atomically(output / "scores.json", json.dumps(scores, indent=2) + "\n")
    if repeated:
        print(f"\n{repeated} runs repeat others and were left out")
    if unfinished:
        print(f"\n{unfinished} runs are not finished and were left out")
    print(f"\nNow look at {_write_page(output, paths, runs, unfinished, lengths, pictures)}")
    return 0


def _draw(groups, output):
    """Draws everything; returns the pictures' names by length, and under "all" those across lengths."""
    from regan_tf import plots, results

    names = {}
    for length, members in groups.items():
        names[length] = [f"length_{length}.png", f"variance_and_learning_{length}.png"]
        plots.plot_groups(members, length, output / names[length][0])
        plots.plot_variance_and_learning(members, length, output / names[length][1])
    names["all"] = []
    for field, lines in results.lines([g for members in groups.values() for g in members]).items():
        names["all"].append(f"by_{field}.png")
        plots.plot_against(field, lines, f"By {field}: means over seeds with 95 % intervals", output / f"by_{field}.png")
    return names


def _tables(groups):
    """What the page says of the groups of one length, as rows of strings."""
    from regan_tf import data, results

    law = data.unigram(groups[0].config.seq_len)
    frequencies = [[np.mean([run.end["unigram"][s] for run in g.runs]) for s in law] for g in groups]
    unigrams = [[g.label, *(f"{value:.4f}" for value in row)] for g, row in zip(groups, frequencies, strict=True)]
    return {
        "scores": [_score_row(g) for g in groups],
        "tests": {text: _matrix(groups, results.differences(groups, name), results.SCORES[name]) for name, text in _TESTED.items()},
        "unigram": {"headers": ["", *law], "rows": [*unigrams, ["the data's law", *(f"{share:.4f}" for share in law.values())]]},
        "samples": [[g.label, "  ".join(g.runs[0].samples[:_SAMPLES])] for g in groups],
        "labels": [g.label for g in groups],
    }


def _score_row(group):
    goodness = group.scores("goodness").values()
    plain = [f"{group.mean(name)[0]:.3f}" for name in ("validity", "distinct")]
    return [
        group.label,
        str(len(group.runs)),
        _interval(group.mean("start")),
        _interval(group.mean("goodness")),
        f"{min(goodness):.4f}",
        _interval(group.mean("gain")),
        _interval(group.mean("learning")),
        *plain,
        _interval(group.mean("nll_excess")),
        f"{max(group.scores('unigram_error').values()):.4f}",
        *(f"{group.mean(name)[0]:.2f}" for name in ("log_variance", "log_variance_all")),
        f"{group.mean('seconds')[0]:.0f}",
    ]


def _interval(values):
    mean, low, high = values
    return f"{mean:.4f}" if low != low else f"{mean:.4f} [{low:.4f}, {high:.4f}]"


def _matrix(groups, differences, direction):
    """Rows of cells (text, class) of the differences row less column; class: better, worse or none where it is not significant."""

    def cell(i, j):
        found = differences.get((min(i, j), max(i, j)))
        if found is None:
            return "", ""
        mean = found.mean if i < j else -found.mean
        kind = ("better" if mean * direction > 0 else "worse") if found.significant else ""
        return f"{mean:+.4f}{'' if found.significant else ' ns'}", kind

    return [[cell(i, j) for j in range(len(groups))] for i in range(len(groups))] if differences else []


def _write_page(output, paths, runs, unfinished, lengths, pictures):
    import jinja2

    from regan_tf.config_flags import recorded, to_flag
    from regan_tf.results import varying_fields
    from regan_tf.workdir import write_atomically

    varying = {"seed", *varying_fields(runs)}
    page = jinja2.Environment(
        loader=jinja2.PackageLoader("regan_tf", "."), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    ).get_template("report.html")
    text = page.render(
        paths=[str(path) for path in paths],
        number=len(runs),
        unfinished=unfinished,
        generator=_GENERATOR.value,
        headers=_HEADERS,
        lengths=lengths,
        pictures={key: [_embedded(output / name) for name in names] for key, names in pictures.items()},
        common=[to_flag(runs[0].config, name) for name in recorded(runs[0].config) if name not in varying],
    )
    write_atomically(output / "index.html", text)
    return output / "index.html"


def _embedded(path):
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


if __name__ == "__main__":
    command.run(main, takes_arguments=True)
