"""Runs a grid of flags times seeds, several runs at a time, each in a directory of its own.

  python -m regan_tf.sweep --sweep=figure_4
  python -m regan_tf.sweep --sweep=figure_4 --ray_address=auto      (on a Ray cluster)

The same command goes on with a sweep that was stopped, and tries again what failed.
regan_tf/studies/grid.py tells what such a file holds.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

from absl import flags
from tqdm import tqdm

from regan_tf.cli import command, flagfiles
from regan_tf.config import UserError
from regan_tf.studies import grid, pool

_SWEEP = flags.DEFINE_multi_string(
    "sweep", None, "File of a sweep, or its name; may be given several times.", required=True
)
_OUTPUT = flags.DEFINE_string(
    "output", "runs", "Runs go to <output>/<name of the file>/<flags>/<seed>."
)
_SEEDS = flags.DEFINE_integer(
    "seeds", None, "Seeds of each, instead of the file's number.", lower_bound=1
)
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Runs at a time; by default one for each core.", lower_bound=1
)
_RAY = flags.DEFINE_string(
    "ray_address",
    "",
    "Run on this Ray cluster instead (auto, local or host:port); needs regan-tf[ray].",
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Only list the runs.")


def main():
    """Runs what is not finished; returns the exit code: 1 if a run failed."""
    files = [flagfiles.found(name, "sweep") for name in _SWEEP.value]
    directories = {path: Path(_OUTPUT.value).resolve() / path.stem for path in files}
    jobs = [
        job
        for path, directory in directories.items()
        for job in grid.read(path, directory, _SEEDS.value)
    ]
    try:
        finished = [job.finished for job in jobs]
    except OSError as error:
        raise UserError(f"--output={_OUTPUT.value} cannot be read: {error.strerror}") from None
    waiting = [job for job, done in zip(jobs, finished, strict=True) if not done]
    if _DRY_RUN.value:
        for job, done in zip(jobs, finished, strict=True):
            print(f"{'finished' if done else 'waiting '} {job.config.workdir}")
        return 0
    _end_on_signals()
    failures = _run(waiting, len(jobs))
    print(f"{len(jobs) - failures} of {len(jobs)} runs are finished")
    if failures:
        print(
            f"{failures} failed: their logs are beside their directories; the same command tries "
            "them again"
        )
    print(f"  {command.typed('report', *directories.values())}")
    return 1 if failures else 0


def _end_on_signals():
    """Whatever asks the sweep to end is a KeyboardInterrupt."""
    # A script's job in the background begins with SIGINT ignored, which must not keep it from
    # ending.
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup leaves it
        numbers.append(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, signal.default_int_handler)


def _run(jobs, total):
    """Runs the jobs; returns how many failed."""
    failures = 0
    if _RAY.value:
        slots, outcomes = pool.connect(_RAY.value), pool.on_ray(jobs)
    else:
        slots = _WORKERS.value or len(os.sched_getaffinity(0))
        outcomes = pool.on_this_machine(jobs, slots)
    bar = tqdm(
        total=total,
        initial=total - len(jobs),
        desc="runs",
        unit="run",
        smoothing=0,
        dynamic_ncols=True,
    )
    with bar, contextlib.closing(outcomes):
        bar.set_postfix(running=min(slots, len(jobs)), failed=0)
        for number, (job, outcome) in enumerate(outcomes, start=1):
            if outcome.exit_code:
                failures += 1
                bar.write(
                    f"failed: {job.config.workdir} (exit code {outcome.exit_code}): "
                    f"{outcome.last_line}",
                    file=sys.stderr,
                )
            bar.set_postfix(running=min(slots, len(jobs) - number), failed=failures, refresh=False)
            bar.update()
    return failures


if __name__ == "__main__":
    command.run(main)
