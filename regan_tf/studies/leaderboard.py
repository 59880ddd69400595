"""The leaderboard: every estimator of E[R]'s gradient at frozen states, and some along runs."""

import functools
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from regan_tf.config import Config, UserError
from regan_tf.studies import along_runs, pieces
from regan_tf.studies.bench import YARDSTICK, Bench, parse_entry
from regan_tf.studies.pieces import Piece
from regan_tf.studies.statistics import ratio_of_means

# As `bench.parse_entry` reads them. Without mle and reinvent, which follow another objective.
ESTIMATORS = (
    "reinforce_loo",
    "reinforce_loo:sobol",
    "reinforce_loo:lhs",
    "reinforce_loo:weighted",
    "reinforce_loo:weighted:sobol",
    "reinforce",
    "reinforce_rollout:loo",
    "actor_critic",
    "rebar:sequence",
    "rebar:step",
    "rebar:step:loo",
    "rebar:rollout:loo",
    "relax:sequence",
    "relax:step:loo",
    "relax:step:loo:per_example",
    "relax:step:loo:per_example:x4",
    "doubly_robust",
    "doubly_robust@8000",
    "doubly_robust:next",
    "doubly_robust:critics3",
    "doubly_robust:sobol",
    "doubly_robust:sobol@8000",
    "doubly_robust_relax:step",
    "all_actions_biased",
    "straight_through",
    "reinmax",
)
# Of those whose rows are independent, so that the variance over rows is that of the estimate.
ALONG_RUNS = (
    "reinforce_loo",
    "reinforce_loo:weighted",
    "reinforce",
    "rebar:step:loo",
    "relax:step:loo:per_example",
    "actor_critic",
    "doubly_robust",
    "doubly_robust_relax:step",
)
RUNS = ("paper_15", "recipe_15")  # configurations


@dataclass(frozen=True)
class State:
    """A generator after pre-training, and a discriminator after its first minibatches."""

    strength: str  # of the discriminator
    seq_len: int
    pretrain_epochs: float
    pretrain_learning_rate: float
    d_steps: int

    @property
    def name(self):
        """As it is asked for."""
        return f"{self.strength}_{self.seq_len}"

    def config(self, batch_size, seed):
        """The Config of an Experiment that comes to it."""
        values = {k: v for k, v in asdict(self).items() if k != "strength"}
        return Config(batch_size=batch_size, seed=seed, **values).resolved()


STATES = {
    state.name: state
    for state in (
        State("weak", 3, 1, 3e-3, 78),
        State("medium", 3, 1, 3e-3, 390),
        State("strong", 3, 1, 3e-3, 1560),
        State("weak", 15, 3, 1e-3, 78),
        State("medium", 15, 3, 1e-3, 234),
        State("strong", 15, 3, 1e-3, 624),
    )
}


@dataclass(frozen=True)
class Plan:
    """What is measured, by names; and how."""

    states: tuple = tuple(STATES)
    estimators: tuple = ESTIMATORS
    runs: tuple = RUNS
    along_runs: tuple = ALONG_RUNS
    seeds: int = 3  # of each run
    iterations: int = 200
    draws: int = 1000
    truth_draws: int = 4000
    control_steps: int = 1500
    batch_size: int = 128
    seed: int = 0

    def __post_init__(self):
        for name in self.states:
            if name not in STATES:
                raise UserError(
                    f"--states={name} is not allowed: it must be among {', '.join(STATES)}"
                )
        if not self.states:
            raise UserError("--states must not be empty")
        for flag, entries in (("estimators", self.estimators), ("along_runs", self.along_runs)):
            for entry in entries:
                _check(flag, entry)

    @property
    def entries(self):
        """The estimators at states: the yardstick first, and all that are measured along runs."""
        along_runs = self.along_runs if self.runs else ()
        return tuple(dict.fromkeys((YARDSTICK, *self.estimators, *along_runs)))

    @property
    def at_states(self):
        """What a measurement at a state depends on."""
        names = "draws", "truth_draws", "control_steps", "batch_size", "seed"
        return {name: getattr(self, name) for name in names}


def measure(plan, directory, workers=1, threads=1):
    """Measures what is not there yet, each piece in a process, and keeps it in `directory`.

    Returns:
      A dict: `states`, a list of dicts; `at_states`, one dict for each estimator and state, the
      yardstick's first; `along_runs`, one for each estimator and run.
    Raises:
      UserError: a piece was measured in another way, or fails.
    """
    directory = Path(directory).resolve()

    def piece(name, settings, function, *arguments):
        path = directory / f"{name.replace(':', ',')}.json"
        return Piece(path, settings, functools.partial(function, *arguments), threads)

    def at_state(name, function, state, *arguments):
        where = STATES[state].config(plan.batch_size, plan.seed), directory / state / "truth.json"
        return piece(
            f"{state}/{name}", plan.at_states, function, plan.at_states, *where, *arguments
        )

    def along_run(run, entry, seed):
        config = along_runs.config_of(run, parse_entry(entry)[0], seed, plan.iterations)
        settings = asdict(config)
        return piece(f"{run}/{entry}/{seed}", settings, along_runs.variances, config)

    seeds = range(plan.seed, plan.seed + plan.seeds)
    states = {s: at_state("state", _describe, s) for s in plan.states}
    benches = {(s, e): at_state(e, _at_state, s, e) for s in plan.states for e in plan.entries}
    runs = {
        (r, e, s): along_run(r, e, s) for r in plan.runs for e in plan.along_runs for s in seeds
    }
    # The states first: they keep the truths, which the others need.
    described = pieces.measure(states, workers, "states")
    found = pieces.measure(benches | runs, workers, "estimators")
    return {
        "states": [{"state": state} | described[state] for state in plan.states],
        "at_states": [
            _related(state, entry, found[state, entry], found[state, YARDSTICK])
            for state, entry in benches
        ],
        "along_runs": [
            _over_seeds(run, entry, [along_runs.ratio(found[run, entry, seed]) for seed in seeds])
            for run in plan.runs
            for entry in plan.along_runs
        ],
    }


def _describe(settings, config, truth):
    return Bench(config, settings, truth).describe()


def _at_state(settings, config, truth, entry):
    return Bench(config, settings, truth).measure(entry)


def _related(state, entry, result, yardstick):
    """A result with its variance in units of the yardstick's, and that times its time."""
    if entry == YARDSTICK:
        ratio, low, high, time = 1.0, 1.0, 1.0, 1.0
    else:
        blocks = result["block_variances"], yardstick["block_variances"]
        (ratio, low, high), time = ratio_of_means(*blocks), result["relative_time"]
    where = {"state": state, "seq_len": STATES[state].seq_len, "estimator": entry}
    found = {"variance": ratio, "variance_low": low, "variance_high": high}
    return where | result | found | {"relative_time": time, "variance_x_time": ratio * time}


def _over_seeds(run, entry, ratios):
    """The variance along a run in units of the yardstick's: of each seed, their geometric mean, the
    least and the most.
    """
    mean = float(np.exp(np.mean(np.log(ratios))))
    found = {"variance": mean, "variance_low": min(ratios), "variance_high": max(ratios)}
    return {"run": run, "estimator": entry, "ratios": ratios} | found


def _check(flag, entry):
    try:
        spec, steps = parse_entry(entry)
    except ValueError as error:
        raise UserError(f"--{flag}: {error}") from None
    if flag == "along_runs" and steps is not None:
        raise UserError(f"--{flag}={entry} is not allowed: a run trains what is learned itself")
    if flag == "along_runs" and spec.sampling != "iid":
        raise UserError(f"--{flag}={entry} is not allowed: the variance over rows needs iid rows")
