"""From nothing to molecules that score high: data, a prior, a task, pictures.

  python -m examples.molecules --task=qed                          # from MOSES: an hour, once
  python -m examples.molecules --task=qed --data=nci --calls=2000  # a first look: minutes

It shows the commands that it runs. The prior serves every task; what is finished is not done again.
"""

import json
import shlex
import subprocess
import sys
from pathlib import Path

from absl import app, flags

import regan_tf
from examples.molecules import data, evaluate, rewards
from regan_tf.config import UserError

_FLAGFILES = {"moses": "molecules_prior", "nci": "molecules_prior_nci"}


def _prior(name, output):
    """The directory of a generator that learned to write the molecules of that name."""
    train, test = data.files(name, output / "data")
    directory = output / f"prior-{name}"
    files = (f"--data_file={train}", f"--eval_file={test}")
    _run_main(f"--flagfile={_FLAGFILES[name]}", *files, f"--workdir={directory}")
    return directory


def _optimise(prior, task, calls, seed, directory):
    _run_main(
        "--flagfile=molecules",
        f"--start_from={prior}",
        f"--reward=examples.molecules.rewards:{task}",
        f"--reward_calls={calls}",
        f"--seed={seed}",
        f"--model_name=molecules-{task}",
        f"--workdir={directory}",
    )


def directory_of(output: Path, task: str, prior: str | Path, seed: int) -> Path:
    """Where a run is: runs from different priors do not meet."""
    name = Path(prior).resolve().name.removeprefix("prior-")
    return output / f"{task}-{name}-{seed}"


def _run_main(*arguments):
    """python -m regan_tf.main, which goes on where it was interrupted. Raises UserError."""
    print(f"\npython {shlex.join(['-m', 'regan_tf.main', *arguments])}", flush=True)
    if code := subprocess.run([sys.executable, "-m", "regan_tf.main", *arguments]).returncode:
        raise UserError(f"that command ended with exit code {code}; the same one goes on")


def _main(_):
    asked, output = flags.FLAGS, Path(flags.FLAGS.output)
    try:
        prior = asked.prior or _prior(asked.data, output)
        directory = directory_of(output, asked.task, prior, asked.seed)
        _optimise(prior, asked.task, asked.calls, asked.seed, directory)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    _show(directory, asked.calls)


def _show(directory, budget):
    """Draws and prints the best molecules, and how good they are."""
    calls, picture = regan_tf.load_run(directory).calls(), directory / "best.png"
    best, found = evaluate.draw_best(calls, picture), evaluate.describe_calls(calls, budget)
    print(f"\n{picture} has the best of {found['molecules']} molecules in {len(calls)} calls:")
    for call in best:
        print(f"{call['reward']:.4f}  {call['text']}")
    area = json.loads((directory / "summary.json").read_text())["calls"]["auc_top_10"]
    print(
        f"AUC of the 10 best: over the molecules, as PMO counts, "
        f"{found['molecules_auc_top_10']:.4f}; over all calls {area:.4f}"
    )


if __name__ == "__main__":
    flags.DEFINE_enum("task", "qed", rewards.TASKS, "What the molecules shall be good at.")
    flags.DEFINE_integer("calls", 10_000, "Molecules whose reward may be asked for.")
    flags.DEFINE_enum("data", "moses", data.SOURCES, "What the prior learns from.")
    flags.DEFINE_string("prior", "", "A run to start from instead.")
    flags.DEFINE_integer("seed", 0, "Seed of the optimisation.")
    flags.DEFINE_string("output", "runs/molecules", "Directory of the runs and the data.")
    app.run(_main)
