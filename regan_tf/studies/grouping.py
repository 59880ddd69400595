"""Runs in groups that differ in their seed alone, and what sets the groups apart."""

import collections
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regan_tf.cli import config_flags
from regan_tf.config import UserError
from regan_tf.defaults import UNTIL_CALLS
from regan_tf.spec import ESTIMATORS
from regan_tf.studies import statistics
from regan_tf.tasks.registry import TASKS
from regan_tf.tasks.task import Task

_POINTS = 200  # of a curve over calls
_ASIDE = ("eval_every", "checkpoint_every")  # flags that change no generator
_OF_EACH_SEED = "{seed}"  # a directory's name, in the place of a seed


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


def grouped(runs, over=()):
    """The runs in groups, by data: a dict to a list of Group, in the order of their settings, from
    the data's name: `Task.name`, or `Task.full_name` where several data have that one.

    Args:
      runs: list of Run.
      over: names of flags that do not set groups apart: runs are pooled over their values, as they
        are over seeds. With a flag that names the data, such as oracle_seed, over those data.
    Raises:
      UserError: `over` has no such flag, or one of the data, which are compared apart.
    """
    runs = _from_each_seed(runs)
    possible = set(config_flags.recorded(runs[0].config)) - {"seed"}
    for name in over:
        if name not in possible or any(name in run.task.data_fields for run in runs):
            raise UserError(
                f"--over={name}: runs can be pooled over a flag of theirs that is not of the data"
            )
    by_data = collections.defaultdict(list)
    for run in runs:
        by_data[type(run.task), _values(run.config, _data_fields(run.task, over))].append(run)
    times = collections.Counter(members[0].task.name for members in by_data.values())
    kinds = list(TASKS.values())

    def place(members):
        task = members[0].task
        return kinds.index(type(task)), task.name, task.full_name

    result = {}
    for members in sorted(by_data.values(), key=place):
        task = members[0].task
        key = task.name if times[task.name] == 1 else task.full_name
        others = len({run.task.full_name for run in members}) - 1
        result[f"{key} and {others} others" if others else key] = _groups(members, tuple(over))
    return result


def _from_each_seed(runs):
    """The runs, of which those that each start from the run of their own seed in one directory have
    the same --start_from: they differ in their seed alone.
    """
    starts = collections.defaultdict(list)
    for run in runs:
        path = Path(run.config.start_from)
        starts[path.parent].append(path.name == str(run.config.seed))

    def with_place(run):
        path = Path(run.config.start_from)
        if not (run.config.start_from and all(starts[path.parent])):
            return run
        start_from = str(path.with_name(_OF_EACH_SEED))
        return dataclasses.replace(
            run, config=dataclasses.replace(run.config, start_from=start_from)
        )

    return [with_place(run) for run in runs]


def _data_fields(task, over):
    """The flags that set data apart. Where runs are pooled over one that names the data, the others
    that do stand in the place of the digest, which follows from all of them.
    """
    if not {*over} & {*task.name_fields}:
        return task.data_fields
    names = (*task.data_fields, *task.name_fields)
    return [name for name in names if name not in {*over, "data_sha256"}]


def _groups(runs, over):
    """Groups of runs on the same data, or on those that they are pooled over."""
    apart = {"data_sha256", *runs[0].task.name_fields, *over}
    varying = [name for name in varying_fields(runs) if name not in apart]
    by_settings = collections.defaultdict(list)
    for run in sorted(runs, key=lambda run: (_order(run.config), run.config.seed)):
        by_settings[_values(run.config, varying)].append(run)
    for fields in ([name for name in varying if name not in _ASIDE], varying):
        labels = [_label(members[0].config, fields, runs) for members in by_settings.values()]
        if len(set(labels)) == len(labels):
            break
    groups = zip(labels, by_settings.values(), strict=True)
    return [Group(label, tuple(members), over) for label, members in groups]


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
            words.append(_word(name, value))
    return words


def _word(name, value):
    if not isinstance(value, str):
        return f"{name}={value:.12g}"
    path = Path(value)
    return "/".join(path.parts[-3:-1]) if path.name == _OF_EACH_SEED else value


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
