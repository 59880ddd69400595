"""The report as a page: pictures, tables, and the HTML that holds them."""

import base64
import json

import jinja2
import numpy as np

from regan_tf import plots
from regan_tf.cli import command
from regan_tf.cli.config_flags import recorded, to_flag
from regan_tf.config import BLEU_ORDERS
from regan_tf.files import write_atomically
from regan_tf.studies import results
from regan_tf.tasks import data

_HEADERS = (
    "", "seeds", "goodness at 0", "at the end", "worst seed", "gain", "learning", "validity",
    "distinct", "NLL excess", "unigram error", "log var 1", "log var all", "seconds",
)  # fmt: skip
_TEXT_SCORES = {
    "perplexity": "perplexity",
    **{f"bleu_{n}": f"BLEU-{n}" for n in BLEU_ORDERS},
    **{f"self_bleu_{n}": f"self-BLEU-{n}" for n in BLEU_ORDERS},
    **{f"distinct_{n}": f"distinct-{n}" for n in (1, 2, 3)},
    **{"kl_1": "KL-1", "kl_1_reverse": "reverse", "kl_2": "KL-2", "kl_2_reverse": "reverse"},
    **{
        "length": "length",
        "length_distance": "its distance",
        "unknown": "unknown",
        "copied": "copied",
    },
    **{"log_variance": "log var 1", "log_variance_all": "log var all"},
}
_TEXT_HEADERS = ("", "seeds", "NLL a token at 0", "at the end", *_TEXT_SCORES.values(), "seconds")

# What is tested between groups: its name in words, and the direction that is better.
_TESTED = {
    "learning": ("learning (mean goodness over the run)", 1),
    "goodness": ("goodness at the end", 1),
    "nll_excess": ("NLL excess at the end", -1),
}
_TESTED_OF_TEXTS = {
    "nll_per_token": ("held-out NLL a token at the end", -1),
    "bleu_4": ("BLEU-4 at the end", 1),
    "self_bleu_4": ("self-BLEU-4 at the end", -1),
}
_SAMPLES = 8
_ROUNDING = 1e-12  # a smaller number is what float arithmetic left of zero


def headers(name):
    """The scores' headers, for a key of `results.grouped`."""
    return _TEXT_HEADERS if isinstance(name, str) else _HEADERS


def draw(groups, output):
    """Draws everything into a directory.

    Args:
      groups: as from `results.grouped`.
      output: the directory.
    Returns:
      The pictures' names: lists by the groups' key, and under "all" those of the figures against a
      flag.
    """
    names = {"all": []}
    for name, members in groups.items():
        if isinstance(name, str):
            names[name] = [f"texts_{len(names)}.png"]
        else:
            names[name] = [f"length_{name}.png", f"variance_and_learning_{name}.png"]
            plots.plot_variance_and_learning(members, name, output / names[name][1])
        plots.plot_groups(members, name, output / names[name][0])
    for is_text, prefix in ((False, "by"), (True, "text_by")):
        of_kind = [
            g
            for name, members in groups.items()
            if isinstance(name, str) == is_text
            for g in members
        ]
        for field, lines in (results.lines(of_kind) if of_kind else {}).items():
            names["all"].append(f"{prefix}_{field}.png")
            title = f"By {field}: {plots.over_seeds([g for line in lines.values() for g in line])}"
            plots.plot_against(field, lines, title, output / names["all"][-1])
    return names


def score_rows(groups):
    """Scores as strings under `headers`: lists of rows by key; groups: of `results.grouped`."""
    result = {}
    for name, members in groups.items():
        is_text = isinstance(name, str)
        result[name] = [_score_row(g, _text_cells if is_text else _grammar_cells) for g in members]
        if is_text:
            ideal = [members[0].runs[0].summary["ideal"].get(score) for score in _TEXT_SCORES]
            result[name].append(
                [
                    "training texts",
                    "",
                    "",
                    "",
                    *("" if x is None else _number(x) for x in ideal),
                    "",
                ]
            )
    return result


def _score_row(group, cells):
    started, seconds = _interval(group.mean("start")), f"{group.mean('seconds')[0]:.0f}"
    return [group.label, str(len(group.runs)), started, *cells(group), seconds]


def _text_cells(group):
    return [_interval(group.mean(name)) for name in ("nll_per_token", *_TEXT_SCORES)]


def _grammar_cells(group):
    return [
        _interval(group.mean("goodness")),
        _number(min(group.scores("goodness").values())),
        _interval(group.mean("gain")),
        _interval(group.mean("learning")),
        *(
            f"{_number(group.mean(name)[0], 3)} ({_number(min(group.scores(name).values()), 3)})"
            for name in ("validity", "distinct")
        ),
        _interval(group.mean("nll_excess")),
        _number(max(group.scores("unigram_error").values())),
        *(f"{group.mean(name)[0]:.2f}" for name in ("log_variance", "log_variance_all")),
    ]


def write(output, groups, rows, pictures, **context):
    """Writes index.html, with the pictures in it, and scores.json: by length or texts, group and
    seed.

    Args:
      output: the directory, with the pictures in it.
      groups, rows, pictures: as from `results.grouped`, `score_rows` and `draw`.
      context: of the template: paths, unfinished, generator.
    Returns:
      The page's path.
    """
    scores = {
        name: {g.label: {run.config.seed: _finite(run.scores) for run in g.runs} for g in members}
        for name, members in groups.items()
    }
    write_atomically(output / "scores.json", json.dumps(scores, indent=2) + "\n")
    runs = [run for members in groups.values() for g in members for run in g.runs]
    varying = {"seed", *results.varying_fields(runs)}

    def shared(name):
        return getattr(runs[0].config, name) not in (None, "")

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("regan_tf.studies", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    text = environment.get_template("report.html").render(
        number=len(runs),
        seeds=max(len(g.runs) for members in groups.values() for g in members),
        sections={
            name: _tables(members) | {"headers": headers(name), "scores": rows[name]}
            for name, members in groups.items()
        },
        pictures={
            key: [_embedded(output / name) for name in names] for key, names in pictures.items()
        },
        common=[
            to_flag(runs[0].config, name)
            for name in recorded(runs[0].config)
            if name not in varying and shared(name)
        ],
        **context,
    )
    write_atomically(output / "index.html", text)
    return output / "index.html"


def _tables(groups):
    """What the page says of the groups of one length, or texts, besides their scores, as rows of
    strings.
    """
    is_text = groups[0].config.is_text
    tested = _TESTED_OF_TEXTS if is_text else _TESTED
    return {
        "tests": {
            text: _matrix(groups, name, direction) for name, (text, direction) in tested.items()
        },
        "unigram": None if is_text else _unigrams(groups),
        "samples": [
            [g.label, ("\n" if is_text else "  ").join(g.runs[0].samples[:_SAMPLES])]
            for g in groups
        ],
        "labels": [g.label for g in groups],
    }


def _unigrams(groups):
    law = data.unigram(groups[0].config.seq_len)
    frequencies = [
        [np.mean([run.end["unigram"][s] for run in g.runs]) for s in law] for g in groups
    ]
    rows = [[g.label, *map(_number, row)] for g, row in zip(groups, frequencies, strict=True)]
    return {"headers": ["", *law], "rows": [*rows, ["the data's law", *map(_number, law.values())]]}


def _matrix(groups, name, direction):
    """Rows of cells (text, class) of the differences row less column; class: better, worse or none
    where it is not significant.
    """
    differences = results.differences(groups, name)

    def cell(i, j):
        found = differences.get((min(i, j), max(i, j)))
        if found is None:
            return "", ""
        mean = found.mean if i < j else -found.mean
        kind = ("better" if mean * direction > 0 else "worse") if found.significant else ""
        return f"{'+' if mean > 0 else ''}{_number(mean)}{'' if found.significant else ' ns'}", kind

    return (
        [[cell(i, j) for j in range(len(groups))] for i in range(len(groups))]
        if differences
        else []
    )


def _interval(values):
    mean, low, high = values
    return _number(mean) if np.isnan(low) else f"{_number(mean)} [{_number(low)}, {_number(high)}]"


def _number(value, decimals=4):
    """As text, `command.figure`; what is zero but for rounding is 0."""
    return "0" if abs(value) < _ROUNDING else command.figure(float(value), decimals)


def _finite(scores):
    return {name: value if np.isfinite(value) else None for name, value in scores.items()}


def _embedded(path):
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
