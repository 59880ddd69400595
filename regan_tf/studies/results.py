"""What finished runs have in their directories, grouped by what they trained."""

import collections
import dataclasses
import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regan_tf.cli import config_flags
from regan_tf.config import Config, UserError
from regan_tf.defaults import UNTIL_CALLS
from regan_tf.spec import ESTIMATORS
from regan_tf.studies import reward_scores, statistics
from regan_tf.tasks.registry import TASKS, task_of
from regan_tf.tasks.task import Task
from regan_tf.training.workdir import RECORDS, SAMPLES, SUMMARY, read_metrics

_POINTS = 200  # of a curve over calls


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
      records: the adversarial ones of metrics.jsonl.
      generator: which generator its scores are of, "last" or "best".
    """

    path: Path
    config: Config
    summary: dict
    records: list
    generator: str = "last"

    @property
    def end(self):
        """The metrics of that generator."""
        return self.summary[self.generator]

    @functools.cached_property
    def task(self) -> Task:
        return task_of(self.config)

    @functools.cached_property
    def scores(self):
        """What runs are compared by, floats by name; NaN where it was not measured.

        log_variance, log_variance_all: mean over the run. seconds: of the run. start, gain: the
        task's headline at iteration 0, and how much better it is at the end. Others are the task's
        and, with a --reward, `reward_scores.SCORES`.
        """
        headline, end, start = self.task.headline, self.end, self.summary["start"]
        before, after = start[headline], end[headline]
        return {
            **{name: end[name] for name in self.task.end_scores},
            **{
                name: _mean(self.curve(name).values())
                for name in ("log_variance", "log_variance_all")
            },
            "seconds": self.summary["seconds"],
            "start": before,
            "gain": before - after if headline in self.task.lower_is_better else after - before,
            **self.task.more_scores(end, self.records),
            **reward_scores.of_run(self.config, self.summary, end),
        }

    @functools.cached_property
    def samples(self):
        """Its generated sequences, a hundred at most."""
        return (self.path / SAMPLES).read_text(encoding="utf-8").split("\n")[:-1]

    def curve(self, name, over="iteration"):
        """One quantity by iteration, or by calls, a dict; without those at which it was not
        measured.
        """
        return {r[over]: r[name] for r in self.records if r.get(name) is not None and over in r}


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, ordered by it, or also in flags that they are pooled
    over; label: what sets it apart.
    """

    label: str
    runs: tuple
    over: tuple = ()

    @property
    def config(self):
        return self.runs[0].config

    @property
    def task(self) -> Task:
        return self.runs[0].task

    @property
    def repeats(self):
        """What its runs are, in a word."""
        return "runs" if self.over else "seeds"

    def key(self, run):
        """What a run of this group is paired by with another group's: its seed, and the flags that
        they are pooled over.
        """
        pooled = [str(getattr(run.config, name)) for name in self.over]
        return " ".join([str(run.config.seed), *pooled]) if pooled else run.config.seed

    def scores(self, name):
        """One score by `key`, a dict; NaN where runs have none of that name."""
        return {self.key(run): run.scores.get(name, np.nan) for run in self.runs}

    def mean(self, name):
        """Mean of one score over the seeds, with its 95 % bootstrap interval: (mean, low, high)."""
        return statistics.mean_and_interval(np.array(list(self.scores(name).values())))

    def curve(self, name):
        """(iterations, mean, low, high) over the seeds, at the iterations that all have; empty
        where there are none.
        """
        curves = [run.curve(name) for run in self.runs]
        iterations = sorted(set.intersection(*map(set, curves)))
        values = np.array([[curve[i] for i in iterations] for curve in curves])
        return np.array(iterations), *statistics.mean_and_interval(values)

    def curve_over_calls(self, name):
        """(calls, mean, low, high) over the seeds, between which a quantity is interpolated; empty
        where calls are not counted.

        The best so far keep their value after a run's last call, up to --reward_calls, as in the
        area under their curve; other quantities end with the fewest calls that a seed has.
        """
        curves = [run.curve(name, over="calls") for run in self.runs]
        if not all(curves):
            return np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0)
        first, ends = max(map(min, curves)), [max(curve) for curve in curves]
        last = self.config.reward_calls or max(ends) if name.startswith("top_") else min(ends)
        calls = np.linspace(first, last, _POINTS)
        values = np.array([np.interp(calls, list(c), list(c.values())) for c in curves])
        return calls, *statistics.mean_and_interval(values)


def read(paths, generator="last"):
    """Reads the directories, which are runs or hold some at any depth.

    Returns:
      The finished runs, without those that repeat another's configuration and seed, and how many
      are unfinished, and how many repeat others.
    Raises:
      UserError: a path does not exist, no run in them is finished, or one cannot be read.
    """
    for path in paths:
        if not Path(path).is_dir():
            raise UserError(f"{path} is not a directory")
    # Not rglob: it fails where a run that goes on renames what it wrote.
    directories = sorted(
        {
            Path(directory).resolve()
            for path in paths
            for directory, _, files in os.walk(path)
            if config_flags.FILE_NAME in files
        }
    )
    finished = [directory for directory in directories if (directory / SUMMARY).exists()]
    if not finished:
        raise UserError(f"no finished run in {', '.join(map(str, paths))}: each needs a {SUMMARY}")
    runs = {}
    for directory in finished:
        run = _read(directory, generator)
        runs.setdefault(
            tuple(getattr(run.config, name) for name in config_flags.recorded(run.config)), run
        )
    return list(runs.values()), len(directories) - len(finished), len(finished) - len(runs)


def _read(directory, generator):
    try:
        summary = json.loads((directory / SUMMARY).read_text(encoding="utf-8"))
        records = [r for r in read_metrics(directory) if r["phase"] == "adversarial"]
        run = Run(directory, config_flags.read_run(directory), summary, records, generator)
        _ = run.scores, run.samples  # what is missing is found here
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{directory} holds no run that can be read ({RECORDS}, {SUMMARY}): {error!r}"
        ) from None
    return run


def grouped(runs, over=()):
    """The runs in groups, by data: a dict to a list of Group, in the order of their settings, from
    the data's name: `Task.name`, or `Task.full_name` where several data have that one.

    Args:
      runs: list of Run.
      over: names of flags that do not set groups apart: runs are pooled over their values, as they
        are over seeds.
    Raises:
      UserError: `over` has no such flag, or one of the data, which are compared apart.
    """
    possible = set(config_flags.recorded(runs[0].config)) - {"seed"}
    for name in over:
        if name not in possible or any(name in run.task.data_fields for run in runs):
            raise UserError(
                f"--over={name}: runs can be pooled over a flag of theirs that is not of the data"
            )
    by_data = collections.defaultdict(list)
    for run in runs:
        by_data[type(run.task), _values(run.config, run.task.data_fields)].append(run)
    times = collections.Counter(members[0].task.name for members in by_data.values())
    kinds = list(TASKS.values())

    def place(members):
        task = members[0].task
        return kinds.index(type(task)), task.name, task.full_name

    result = {}
    for members in sorted(by_data.values(), key=place):
        task = members[0].task
        key = task.name if times[task.name] == 1 else task.full_name
        result[key] = _groups(members, tuple(over))
    return result


def _groups(runs, over):
    """Groups of runs on the same data."""
    apart = {*runs[0].task.name_fields, *over}
    varying = [name for name in varying_fields(runs) if name not in apart]
    by_settings = collections.defaultdict(list)
    for run in sorted(runs, key=lambda run: (_order(run.config), run.config.seed)):
        by_settings[_values(run.config, varying)].append(run)
    return [
        Group(_label(members[0].config, varying, runs), tuple(members), over)
        for members in by_settings.values()
    ]


def lines(groups):
    """For each numeric flag in which groups differ, those that differ in it alone.

    Returns:
      A dict from flag to a dict from label to a list of three groups or more, ordered by the flag.
    """
    varying = varying_fields([g.runs[0] for g in groups])
    result = {}
    for field in varying:
        if isinstance(getattr(groups[0].config, field), str | bool) or (
            field in groups[0].task.data_fields and not groups[0].task.compares_data
        ):
            continue
        found = collections.defaultdict(list)
        for g in sorted(groups, key=lambda g: getattr(g.config, field)):
            found[_values(g.config, [name for name in varying if name != field])].append(g)
        several = [members for members in found.values() if len(members) > 2]
        if several:
            among = [
                name
                for name in varying_fields([g.runs[0] for line in several for g in line])
                if name != field
            ]
            result[field] = {" ".join(_words(line[0].config, among)): line for line in several}
    return result


def varying_fields(runs):
    """Names of the flags in which the runs differ, but for the seed."""
    names = config_flags.recorded(runs[0].config)
    return [
        name
        for name in names
        if name != "seed" and len({getattr(run.config, name) for run in runs}) > 1
    ]


def _values(config, fields):
    return tuple(getattr(config, name) for name in fields)


def _label(config, fields, members):
    """The estimator, those of the fields that are not as they would be by default, and the numbers
    in which its runs differ.
    """
    differing = varying_fields([run for run in members if run.config.estimator == config.estimator])
    numbers = [
        name
        for name in differing
        if name in fields and not isinstance(getattr(config, name), str | bool)
    ]
    others = [
        name
        for name in fields
        if name != "estimator"
        and (name in numbers or getattr(config, name) != _default(config, name))
    ]
    return " ".join(_words(config, others))


def _words(config, fields):
    """The estimator and the fields, as short as they can be told apart."""
    words = [config.estimator]
    for name in fields:
        value = getattr(config, name)
        if isinstance(value, bool):
            words += [name.replace("_", "-")] if value else []
        elif name != "estimator" and value != UNTIL_CALLS:
            words.append(value if isinstance(value, str) else f"{name}={value:.12g}")
    return words


def _default(config, name):
    """What the flag would be in such a run if it were not given."""
    field = next(f for f in dataclasses.fields(config) if f.name == name)
    try:
        return getattr(dataclasses.replace(config, **{name: field.default}).resolved(), name)
    except UserError:  # the run could not do without it
        return field.default


def _order(config):
    names = [n for n in config_flags.recorded(config) if n not in ("estimator", "seed")]
    return [
        config.estimator == "mle",
        list(ESTIMATORS).index(config.estimator),
        *(getattr(config, n) for n in names),
    ]


def _mean(values):
    values = list(values)
    return float(np.mean(values)) if values else float("nan")
