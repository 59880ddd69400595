"""A sweep's file: a grid of flags times seeds, each point of it an ordinary run in a directory of its own."""

import dataclasses
import itertools
import tomllib
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from regan_tf import config_flags
from regan_tf.config import Config, UserError


@dataclass(frozen=True)
class Job:
    """One run of a sweep: the name of its directory under the sweep's, and its configuration, workdir and all."""

    name: str
    config: Config

    @property
    def log(self):
        """Where the run's output goes: beside its directory, which is the run's own."""
        return Path(self.config.workdir).with_suffix(".log")

    @property
    def finished(self):
        """Whether the directory holds this run, ended. Raises UserError if it holds another one."""
        workdir = Path(self.config.workdir)
        if not (workdir / config_flags.FILE_NAME).exists():
            return False
        earlier = config_flags.read_run(workdir)
        return (workdir / "summary.json").exists() and all(
            getattr(earlier, name) == getattr(self.config, name) for name in config_flags.recorded(earlier)
        )


def read(path, directory, seeds=None):
    """The jobs that a sweep's file asks for, seed by seed, so that a sweep cut short has all of the first seeds.

    The file is TOML:

      flagfile = "configs/paper_15.flags"       # what all runs share (as --flagfile); optional
      seeds = 10                                # 0 to 9
      [[grid]]                                  # any number of grids; each is the product of its flags' values
      estimator = ["rebar", "relax"]
      control_variate = "step"

    Args:
      path: of the file.
      directory: the sweep's; a run goes to <directory>/<its grid's flags>/<seed>.
      seeds: instead of the file's.
    Raises:
      UserError: the file cannot be read, a flag is bad, or two grids ask for the same run.
    """
    shared, file_seeds, points = _content(path)
    names = [_name(point) for point in points]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"--sweep={path} asks for {', '.join(sorted(twice))} more than once")
    return [
        Job(f"{name}/{seed}", _config(path, [*shared, *_flags(point), f"--seed={seed}"], Path(directory) / name / str(seed)))
        for seed in range(seeds or file_seeds)
        for name, point in zip(names, points, strict=True)
    ]


def _content(path):
    """Shared flags, number of seeds, and the grids' points, each a dict of flags."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        seeds, grids = content.pop("seeds"), content.pop("grid", [{}])
        shared = [f"--flagfile={content.pop('flagfile')}"] if "flagfile" in content else []
        points = [dict(zip(g, values, strict=True)) for g in grids for values in itertools.product(*map(_listed, g.values()))]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"--sweep={path} is not a sweep's file: {type(error).__name__}: {error}") from None
    if content:
        raise UserError(f"--sweep={path}: {', '.join(content)} is not known there; flagfile, seeds and [[grid]] are")
    if not (isinstance(seeds, int) and seeds >= 1):
        raise UserError(f"--sweep={path}: seeds={seeds} is not allowed: it must be at least 1")
    return shared, seeds, points


def _listed(value):
    return value if isinstance(value, list) else [value]


def _name(point):
    return ",".join(f"{name}={value}".replace("/", "_") for name, value in point.items()) or "all"


def _flags(point):
    return [f"--{name}={value}" for name, value in point.items()]


def _config(path, arguments, workdir):
    flag_values = flags.FlagValues()
    config_flags.define(flag_values)
    try:
        flag_values(["", *arguments])
        config = config_flags.parsed(flag_values)
    except (OSError, flags.Error, UserError) as error:
        raise UserError(f"--sweep={path}, {' '.join(arguments)}: {error}") from None
    return dataclasses.replace(config, workdir=str(workdir), export_generator="none")
