"""The report as a page: pictures, tables, and the HTML that holds them."""

import base64
import json
from dataclasses import dataclass

import jinja2
import numpy as np

from regan_tf.cli import command
from regan_tf.cli.config_flags import recorded, to_flag
from regan_tf.files import write_atomically
from regan_tf.plots import comparisons
from regan_tf.studies import grouping, reward_scores, statistics
from regan_tf.tasks.task import Column

_SAMPLES = 8
_ROUNDING = 1e-12  # a smaller number is what float arithmetic left of zero

# What a column of the table of scores shows of a group, by `Column.statistic`.
STATISTICS = {
    "label": lambda group, _: group.label,
    "runs": lambda group, _: str(len(group.runs)),
    "interval": lambda group, score: _interval(group.mean(score)),
    "least": lambda group, score: _number(min(group.scores(score).values())),
    "most": lambda group, score: _number(max(group.scores(score).values())),
    "mean (least)": lambda group, score: (
        f"{_number(group.mean(score)[0], 3)} ({_number(min(group.scores(score).values()), 3)})"
    ),
    "0": lambda group, score: f"{group.mean(score)[0]:.0f}",
    "0.00": lambda group, score: f"{group.mean(score)[0]:.2f}",
}
_LAST = (Column("seconds", "seconds", "0", printed=True),)


@dataclass(frozen=True)
class Table:
    """Scores as strings; rows: lists, one string a column."""

    columns: tuple
    rows: list

    @property
    def headers(self):
        return [column.header for column in self.columns]

    @property
    def printed(self):
        """The part that is printed, too."""
        places = [i for i, column in enumerate(self.columns) if column.printed]
        return Table(
            tuple(self.columns[i] for i in places), [[row[i] for i in places] for row in self.rows]
        )


def score_table(groups):
    """The scores of groups on the same data."""
    task = groups[0].task
    first = (
        Column("", "", "label", printed=True),
        Column("", groups[0].repeats, "runs", printed=True),
    )
    columns = (*first, *reward_scores.columns(groups), *task.columns, *_LAST)
    rows = [[STATISTICS[c.statistic](group, c.score) for c in columns] for group in groups]
    if task.has_row_of_real:
        rows.append([task.perfect_name, *(_of_real(groups[0], c.score) for c in columns[1:])])
    return Table(columns, rows)


def _of_real(group, score):
    """What the data themselves have, a mean over the runs, as these may be on several; or ""."""
    values = [run.summary["ideal"].get(score) for run in group.runs]
    return "" if None in values else _number(np.mean(values))


def draw(groups, output):
    """Draws everything into a directory.

    Args:
      groups: as from `grouping.grouped`.
      output: the directory.
    Returns:
      The pictures' names: lists by the groups' key, and under "all" those of the figures against a
      flag.
    """
    names, of_kind = {"all": []}, {}
    for name, members in groups.items():
        task = members[0].task
        of_kind.setdefault(type(task), []).extend(members)
        names[name] = [task.picture(len(names))]
        comparisons.plot_groups(members, name, output / names[name][0])
        if any(run.summary.get("calls") for group in members for run in group.runs):
            names[name].append(f"reward_{names[name][0]}")
            comparisons.plot_rewards(members, name, output / names[name][-1])
        if task.learning_picture:
            names[name].append(task.learning_picture)
            comparisons.plot_variance_and_learning(members, name, output / task.learning_picture)
    for task, members in of_kind.items():
        for field, lines in grouping.lines(members).items():
            names["all"].append(f"{task.picture_prefix}by_{field}.png")
            shown = [group for line in lines.values() for group in line]
            title = f"By {field}: {comparisons.over_seeds(shown)}"
            comparisons.plot_against(field, lines, title, output / names["all"][-1])
    return names


def write(output, groups, tables, pictures, **context):
    """Writes index.html, with the pictures in it, and scores.json: by length or texts, group and
    `Group.key`.

    Args:
      output: the directory, with the pictures in it.
      groups, pictures: as from `grouping.grouped` and `draw`.
      tables: of `score_table`, by the groups' key.
      context: of the template: paths, unfinished, generator.
    Returns:
      The page's path.
    """
    write_atomically(output / "scores.json", _scores(groups))
    runs = [run for members in groups.values() for g in members for run in g.runs]
    varying = {"seed", *grouping.varying_fields(runs)}

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
        over=next(iter(groups.values()))[0].over,
        seeds=max(len(g.runs) for members in groups.values() for g in members),
        sections={
            name: _section(name, members) | {"scores": tables[name]}
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


def _scores(groups):
    scores = {
        name: {g.label: {g.key(run): _finite(run.scores) for run in g.runs} for g in members}
        for name, members in groups.items()
    }
    return json.dumps(scores, indent=2) + "\n"


def _section(name, groups):
    """What the page says of the groups on the same data besides their scores."""
    task = groups[0].task
    separator = "\n" if task.sample_fills_line else "  "
    scored = [column.score for column in reward_scores.columns(groups)]
    tested = {score: words for score, words in reward_scores.TESTED.items() if score in scored}
    return {
        "title": task.title(name),
        "explanation": task.explanation + (reward_scores.EXPLANATION if scored else ""),
        "tests": {
            words: _matrix(groups, score) for score, words in (tested | dict(task.tested)).items()
        },
        "breakdowns": [_breakdown(groups, b) for b in task.breakdowns],
        "samples": [[g.label, separator.join(g.runs[0].samples[:_SAMPLES])] for g in groups],
        "labels": [g.label for g in groups],
    }


def _breakdown(groups, breakdown):
    """The mean over seeds of a metric's parts, and what these are of the data."""
    parts = [
        [np.mean([run.end[breakdown.metric][part] for run in g.runs]) for part in breakdown.real]
        for g in groups
    ]
    rows = [[g.label, *map(_number, row)] for g, row in zip(groups, parts, strict=True)]
    real = [f"the {groups[0].task.perfect_name}", *map(_number, breakdown.real.values())]
    return {"title": breakdown.title, "headers": ["", *breakdown.real], "rows": [*rows, real]}


def _matrix(groups, name):
    """Rows of cells (text, class) of the differences row less column; class: better, worse or none
    where it is not significant.
    """
    differences, is_better = statistics.differences(groups, name), groups[0].task.is_better

    def cell(i, j):
        found = differences.get((min(i, j), max(i, j)))
        if found is None:
            return "", ""
        mean = found.mean if i < j else -found.mean
        kind = ("better" if is_better(name, mean, 0) else "worse") if found.significant else ""
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
