"""Measures estimators against each other at one fixed state: bias, variance, time, and what a fixed
budget of time buys.

Times are those of one estimate, without the steps that train what is learned in a control variate.

  python -m regan_tf.compare --seq_len=3
  python -m regan_tf.compare --seq_len=15 --state_pretrain_epochs=3 --state_d_steps=390
  python -m regan_tf.compare --workdir=RUN
  --estimators=reinforce_loo,rebar:sequence,rebar:step:loo,relax:step:loo:eta
  python -m regan_tf.compare --leaderboard --control_steps=1500 --output=leaderboard

The state is a run's last checkpoint, or fresh networks trained as the --state flags say. The truth
is the exact gradient where all sequences can be enumerated, else a long mean of reinforce_loo,
which is unbiased.

--leaderboard measures every estimator at six fresh states, and some along runs of Algorithm 1,
relative to reinforce_loo. Each piece of it is kept in --output: the same command goes on, also with
more --states, --runs or --estimators than before.
"""

import json
import os

from absl import flags
from tqdm import tqdm

from regan_tf.cli import command, config_flags
from regan_tf.config import Config, UserError

_DEFAULT = (
    "reinforce_loo,reinforce,rebar:sequence,rebar:step,rebar:step:loo,"
    "rebar:rollout:loo:eta:temperature,relax:sequence,relax:step:loo,"
    "relax:step:loo:eta:temperature,straight_through"
)
_ESTIMATORS = flags.DEFINE_list(
    "estimators",
    _DEFAULT.split(","),
    "What to measure: ESTIMATOR[:OPTION...] with the options sequence (default), step, rollout; "
    "loo; weighted (its baseline); eta, temperature (learned); per_example (variance loss); sobol, "
    "lhs (sampling); reuse4 (the last of 4 updates with a batch); of a critic critics2 (the mean "
    "of 2), reward_target, unread and next (what it reads of the reward). `reference` has c_t = "
    "E[R | b_<=t]. Variances are shown relative to the first.",
)
_WORKDIR = flags.DEFINE_string("workdir", "", "Take the state from this run's last checkpoint.")
_SEQ_LEN = flags.DEFINE_integer("seq_len", 3, "Without --workdir: length T.", lower_bound=3)
_EPOCHS = flags.DEFINE_float(
    "state_pretrain_epochs", 1.0, "Without --workdir: epochs of pre-training.", lower_bound=0
)
_RATE = flags.DEFINE_float(
    "state_pretrain_learning_rate", 3e-3, "Without --workdir: its learning rate."
)
_D_STEPS = flags.DEFINE_integer(
    "state_d_steps", 78, "Without --workdir: discriminator minibatches.", lower_bound=1
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Sequences per estimate.", lower_bound=2)
_TEMPERATURES = flags.DEFINE_list(
    "temperatures", ["1"], "Temperatures lambda; with several, every estimator is measured at each."
)
_ETA = flags.DEFINE_float("eta", 1.0, "eta, or its first value where it is learned.")
_RATE_OF_REUSE = flags.DEFINE_float(
    "generator_learning_rate",
    1e-2,
    "Adam's learning rate in the updates before a batch's last (reuse).",
    lower_bound=0,
)
_DRAWS = flags.DEFINE_integer("draws", 1000, "Batches drawn of each estimator.", lower_bound=40)
_TRUTH_DRAWS = flags.DEFINE_integer(
    "truth_draws", 10_000, "Batches in the long mean, if there is one.", lower_bound=40
)
_CONTROL_STEPS = flags.DEFINE_integer(
    "control_steps", 2000, "Steps that train what is learned, at this state.", lower_bound=0
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the state and of all draws.", lower_bound=0, upper_bound=2**30
)
_THREADS = flags.DEFINE_integer("threads", 1, "CPU threads.", lower_bound=0)
_OUTPUT = flags.DEFINE_string(
    "output",
    "",
    "Directory for compare.json and compare.png; by default the workdir, or nothing. For "
    "leaderboard.json, .md and .png by default leaderboard.",
)
_LEADERBOARD = flags.DEFINE_bool(
    "leaderboard", False, "Instead, every estimator at several states, and along runs."
)
_STATES = flags.DEFINE_list(
    "states", None, "With --leaderboard: of weak_3, medium_3, strong_3, weak_15 ... by default all."
)
_RUNS = flags.DEFINE_list(
    "runs",
    None,
    "With --leaderboard: flagfiles of the runs along which variances are measured, by default "
    "paper_15 and recipe_15; empty: none.",
)
_ALONG_RUNS = flags.DEFINE_list(
    "along_runs",
    None,
    "With --leaderboard: the estimators of these runs, by default the best, and what they are held "
    "against; a run each, in which what they learn is learned.",
)
_RUN_SEEDS = flags.DEFINE_integer(
    "run_seeds", 3, "With --leaderboard: seeds of each run.", lower_bound=1
)
_RUN_ITERATIONS = flags.DEFINE_integer(
    "run_iterations", 200, "With --leaderboard: iterations of each run.", lower_bound=1
)
_WORKERS = flags.DEFINE_integer(
    "workers", 1, "With --leaderboard: pieces at a time, --threads each.", lower_bound=1
)
_OF_LEADERBOARDS = ("states", "runs", "along_runs", "run_seeds", "run_iterations", "workers")
_OF_ONE_STATE = (
    "workdir",
    "seq_len",
    "state_pretrain_epochs",
    "state_pretrain_learning_rate",
    "state_d_steps",
    "temperatures",
    "eta",
    "generator_learning_rate",
)


def main():
    """Prints the table, writes the figures; returns the exit code."""
    for name in _OF_ONE_STATE if _LEADERBOARD.value else _OF_LEADERBOARDS:
        if flags.FLAGS[name].present:
            with_or_without = "with" if _LEADERBOARD.value else "without"
            raise UserError(f"--{name} has no meaning {with_or_without} --leaderboard")
    return _leaderboard() if _LEADERBOARD.value else _one_state()


def _leaderboard():
    command.start_tensorflow(_THREADS.value)
    from regan_tf.files import write_atomically
    from regan_tf.plots.standings import plot_standings
    from regan_tf.studies import leaderboard, standings

    asked = {
        "states": _STATES.value,
        "runs": _RUNS.value,
        "along_runs": _ALONG_RUNS.value,
        "estimators": _ESTIMATORS.value if flags.FLAGS["estimators"].present else None,
    }
    plan = leaderboard.Plan(
        **{name: tuple(value) for name, value in asked.items() if value is not None},
        seeds=_RUN_SEEDS.value,
        iterations=_RUN_ITERATIONS.value,
        draws=_DRAWS.value,
        truth_draws=_TRUTH_DRAWS.value,
        control_steps=_CONTROL_STEPS.value,
        batch_size=_BATCH_SIZE.value,
        seed=_SEED.value,
    )
    directory = _OUTPUT.value or "leaderboard"
    pieces = os.path.join(directory, "pieces")
    board = leaderboard.measure(plan, pieces, _WORKERS.value, _THREADS.value)
    text, file = standings.tables(board), os.path.join(directory, "leaderboard")
    print(f"{text}\n\n{standings.LEGEND}")
    write_atomically(f"{file}.md", text + "\n")
    write_atomically(f"{file}.json", json.dumps(board, indent=2) + "\n")
    plot_standings(standings.standings(board), standings.has_tail, f"{file}.png")
    print(f"written: {file}.md, {file}.json, {file}.png")
    return 0


def _one_state():
    temperatures = [command.positive(text, "temperatures") for text in _TEMPERATURES.value]
    texts = _ESTIMATORS.value
    if not (temperatures and texts):
        raise UserError("--estimators and --temperatures must not be empty")
    config = config_flags.read_run(_WORKDIR.value) if _WORKDIR.value else _state_config()
    command.start_tensorflow(_THREADS.value)
    from regan_tf.estimators.bias import compare
    from regan_tf.estimators.laboratory import Laboratory
    from regan_tf.estimators.notation import parse
    from regan_tf.studies import comparison

    try:
        specs = {
            temperature: [(text, parse(text, _ETA.value, temperature)) for text in texts]
            for temperature in temperatures
        }
    except ValueError as error:
        raise UserError(f"--estimators: {error}") from None
    experiment, description = (
        comparison.state_of_run(_WORKDIR.value, config)
        if _WORKDIR.value
        else comparison.fresh_state(config)
    )
    print(f"state: {description}")

    def laboratory(seed):
        options = {"batch_size": _BATCH_SIZE.value, "control_steps": _CONTROL_STEPS.value}
        options["generator_learning_rate"] = _RATE_OF_REUSE.value
        return Laboratory.of_experiment(experiment, seed=seed, **options)

    here = laboratory(_SEED.value)
    truth, truth_blocks = here.exact(), None
    if truth is None:
        _refuse_reuse(specs)
        long_mean = laboratory(_SEED.value + 10).measure(parse("reinforce_loo"), _TRUTH_DRAWS.value)
        truth_blocks, truth = long_mean.blocks, long_mean.blocks.mean(axis=0)
    layers = comparison.layers(experiment.generator)
    results = []
    for temperature in temperatures:
        for name, spec in tqdm(
            specs[temperature], desc=f"temperature {temperature:g}", leave=False
        ):
            measurement = here.measure(spec, _DRAWS.value)
            result = {
                "estimator": name,
                "temperature": temperature,
                **compare(measurement.blocks, truth, truth_blocks),
            }
            results.append(result | comparison.variances(measurement, layers))
    comparison.relate(results)
    several, exact = len(temperatures) > 1, truth_blocks is None
    print(comparison.table(results, several))
    mean = f"a mean of {_TRUTH_DRAWS.value} batches of reinforce_loo"
    beside = "the exact gradient" if exact else mean
    first = comparison.label(results[0], several)
    print(comparison.legend(beside, first, _RATE_OF_REUSE.value))
    truth_name = "exact" if exact else "reinforce_loo"
    _write({"state": description, "truth": truth_name, "results": results})
    return 0


def _refuse_reuse(specs):
    for name, spec in next(iter(specs.values())):
        if spec is not None and spec.updates_per_batch > 1:
            raise UserError(
                f"--estimators: {name} is measured beside the exact gradient after each step, for "
                "which these sequences are too many: lower --seq_len"
            )


def _state_config():
    epochs, rate = _EPOCHS.value, _RATE.value
    options = {
        "pretrain_epochs": epochs,
        "pretrain_learning_rate": rate,
        "d_steps": _D_STEPS.value,
        "seed": _SEED.value,
    }
    return Config(seq_len=_SEQ_LEN.value, batch_size=_BATCH_SIZE.value, **options).resolved()


def _write(report):
    directory = _OUTPUT.value or _WORKDIR.value
    if not directory:
        return
    from regan_tf.files import write_atomically
    from regan_tf.plots import measurements

    write_atomically(os.path.join(directory, "compare.json"), json.dumps(report, indent=2) + "\n")
    measurements.plot_bias_and_variance(
        report["results"], report["state"], os.path.join(directory, "compare.png")
    )
    print(f"written: {directory}/compare.json, {directory}/compare.png")


if __name__ == "__main__":
    command.run(main)
