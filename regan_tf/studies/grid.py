"""A sweep's file: a grid of flags times seeds, each point of it an ordinary run in a directory of
its own.
"""

import dataclasses
import itertools
import math
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from regan_tf.cli import command, config_flags, flagfiles
from regan_tf.config import Config, UserError
from regan_tf.training import records

_PLACE = re.compile(r"{([a-z_]+)}")  # of the seed or another flag, in a value

# The sweep says these itself.
_NOT_IN_A_GRID = {"seed", *(f.name for f in dataclasses.fields(Config) if f.metadata["local"])}


@dataclass(frozen=True)
class Job:
    """One run of a sweep: the name of its directory under the sweep's, and its configuration,
    workdir and all.
    """

    name: str
    config: Config

    @property
    def log(self):
        """Where the run's output goes: beside its directory, which is the run's own."""
        return Path(self.config.workdir).with_suffix(".log")

    def work(self):
        """Runs it; returns the exit code."""
        command.start_tensorflow(self.config.threads, self.config.precision)
        from regan_tf.training.run import run

        return run(self.config, wait=True)

    @property
    def finished(self):
        """Whether the directory holds this run, ended. Raises UserError if it holds another, or
        more of this one.
        """
        workdir = Path(self.config.workdir)
        if not (workdir / config_flags.FILE_NAME).exists():
            return False
        earlier = config_flags.read_run(workdir)
        config_flags.require_same(self.config, earlier, workdir)
        for name in ("iterations", "reward_calls"):
            # No --reward_calls, 0, are the most.
            if _most(earlier, name) > _most(self.config, name):
                raise UserError(
                    f"--workdir={workdir} holds a run of more {name} than "
                    f"{config_flags.to_flag(self.config, name)}: give another --output"
                )
        extended = any(
            getattr(earlier, name) != getattr(self.config, name)
            for name in ("iterations", "reward_calls", "patience")
        )
        return records.summary(workdir) is not None and not extended


def _most(config, name):
    return getattr(config, name) or (math.inf if name == "reward_calls" else 0)


def read(path, directory, seeds=None):
    """The jobs that a sweep's file asks for, seed by seed, so that a sweep cut short has all of the
    first seeds.

    The file is TOML:

      flagfile = "paper_15.flags"               # what all runs share (as --flagfile); optional
      seeds = 10                                # 0 to 9
      first_seed = 100                          # instead of 0: for tuning; optional
      [shared]                                  # flags of every run; optional
      start_from = "runs/mle/all/{seed}"        # the run's seed, or {flag} of the same point
      [[grid]]                                  # any number, each the product of its values
      estimator = ["rebar", "relax"]
      control_variate = "step"

    Args:
      path: of the file.
      directory: the sweep's; a run goes to <directory>/<its grid's flags>/<seed>.
      seeds: instead of the file's.
    Raises:
      UserError: the file cannot be read, a flag is bad, or it asks for a run twice.
    """
    flagfile, (first_seed, file_seeds), shared, points = _content(path)
    jobs = [
        Job(f"{_name(point)}/{seed}", _config(path, [*flagfile, *_flags(shared | point, seed)]))
        for seed in range(first_seed, first_seed + (seeds or file_seeds))
        for point in points
    ]
    seen, names = {}, set()
    for job in jobs:
        if job.config in seen:
            raise UserError(
                f"--sweep={path} asks for one run twice: {seen[job.config]} and {job.name}"
            )
        if job.name in names:
            raise UserError(
                f"--sweep={path} asks for two runs in one directory, {job.name}: they differ only "
                "in what holds the seed; put them into two files"
            )
        seen[job.config] = job.name
        names.add(job.name)
    return [
        dataclasses.replace(job, config=_placed(job.config, Path(directory) / job.name))
        for job in jobs
    ]


def _content(path):
    """The flag of a flagfile, if any; the first seed and how many; the flags that all share, a
    dict; and the grids' points, each a dict of flags.
    """

    def refuse(what):
        raise UserError(f"--sweep={path} {what}")

    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        refuse(f"is not a sweep's file: {type(error).__name__}: {error}")
    seeds, first_seed = content.pop("seeds", None), content.pop("first_seed", 0)
    grids = content.pop("grid", [{}])
    flagfile, shared = content.pop("flagfile", None), content.pop("shared", {})
    if content:
        refuse(
            f"has {', '.join(content)}, which is not known there; flagfile, seeds, first_seed, "
            "[shared] and [[grid]] are"
        )
    if type(seeds) is not int or seeds < 1:
        refuse(f"has seeds={seeds}, which is not allowed: it must be a whole number, at least 1")
    if type(first_seed) is not int or first_seed < 0:
        refuse(f"has first_seed={first_seed}, which is not allowed: it must be a whole number")
    _check_tables(shared, grids, refuse)
    points = [
        dict(zip(g, values, strict=True))
        for g in grids
        for values in itertools.product(*map(_listed, g.values()))
    ]
    _check_places([shared | point for point in points], refuse)
    flagfile = [f"--flagfile={flagfile}"] if flagfile else []
    return flagfile, (first_seed, seeds), shared, points


def _check_tables(shared, grids, refuse):
    """Refuses what is not a table of flags."""
    if not isinstance(shared, dict):
        refuse("has shared that is not a table: write [shared], then lines of flag = value")
    if not grids or not isinstance(grids, list) or not all(isinstance(g, dict) for g in grids):
        refuse("has a grid that is not a table: write [[grid]], then lines of flag = value")
    for name, value in shared.items():
        if name in _NOT_IN_A_GRID or isinstance(value, dict | list):
            refuse(
                f"has {name} = {value} in [shared], which is not allowed: a flag of all runs with "
                "its value"
            )
    for name, value in ((name, value) for g in grids for name, value in g.items()):
        if name in _NOT_IN_A_GRID or isinstance(value, dict) or value == []:
            refuse(
                f"has {name} = {value} in a grid, which is not allowed: a flag of the run with "
                "its value, or a list of values"
            )


def _check_places(points, refuse):
    """Refuses a value of a point that holds a place for nothing."""
    for point in points:
        for name, place in ((n, p) for n, value in point.items() for p in _places(value)):
            if place not in {"seed", *point} - {name}:
                refuse(
                    f"has {name} = {point[name]}, where {{{place}}} is neither {{seed}} nor "
                    "another flag of that grid"
                )


def _listed(value):
    return value if isinstance(value, list) else [value]


def _name(point):
    """Of a point of a grid, by what it says itself: not by what follows from the rest."""
    own = [(name, value) for name, value in point.items() if not _places(value)]
    return ",".join(f"{name}={value}".replace("/", "_") for name, value in own) or "all"


def _flags(point, seed):
    known = point | {"seed": seed}
    return [f"--{name}={_filled(value, known)}" for name, value in known.items()]


def _places(value):
    """The names that stand in braces in a value."""
    return _PLACE.findall(value) if isinstance(value, str) else []


def _filled(value, known):
    """A value with the seed, and other flags of its point, in their places."""
    for name in _places(value):
        value = value.replace(f"{{{name}}}", str(known[name]))
    return value


def _config(path, arguments):
    try:
        return config_of(arguments, Path(path).parent)
    except UserError as error:
        raise UserError(f"--sweep={path}, {' '.join(arguments)}: {error}") from None


def config_of(arguments, directory=None):
    """The resolved Config of a run's flags, flagfiles among them; directory: where these are looked
    for first. Raises UserError.
    """
    flag_values = flags.FlagValues()
    config_flags.define(flag_values)
    try:
        _, *left_over = flag_values(["", *flagfiles.expanded(arguments, directory)])
        if left_over:
            raise UserError(f"{left_over[0]!r} is not a flag: flags are written --name=value")
        return config_flags.parsed(flag_values)
    except (OSError, ValueError, flags.Error) as error:
        raise UserError(str(error)) from None


def _placed(config, workdir):
    """The configuration of the run in its directory, without an export."""
    return dataclasses.replace(config, workdir=str(workdir), export_generator="none")
