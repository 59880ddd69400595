"""What finished runs have in their directories."""

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regan_tf.cli import config_flags
from regan_tf.config import Config, UserError
from regan_tf.files import typed_line
from regan_tf.studies import reward_scores
from regan_tf.tasks.registry import task_of
from regan_tf.tasks.task import Task
from regan_tf.training.records import RECORDS, SUMMARY
from regan_tf.training.records import read as read_records
from regan_tf.training.workdir import SAMPLES


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
        found = read_records(directory, summary["iterations"])
        records = [r for r in found if r["phase"] == "adversarial"]
        run = Run(directory, config_flags.read_run(directory), summary, records, generator)
        _ = run.scores, run.samples  # what is missing is found here
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{directory} holds no run that can be read ({RECORDS}, {SUMMARY}): {typed_line(error)}"
        ) from None
    return run


def _mean(values):
    values = list(values)
    return float(np.mean(values)) if values else float("nan")
