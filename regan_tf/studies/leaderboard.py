"""The leaderboard: every estimator of E[R]'s gradient at frozen states, and some along runs."""

import functools
from dataclasses import asdict, dataclass

import numpy as np
from tqdm import tqdm

from regan_tf.config import Config, UserError
from regan_tf.estimators.bias import compare
from regan_tf.estimators.laboratory import Laboratory, parse
from regan_tf.studies import along_runs, comparison
from regan_tf.studies.pieces import Pieces
from regan_tf.studies.statistics import ratio_of_means

YARDSTICK = "reinforce_loo"  # which variances and times are relative to
# What a mean is taken of where the exact gradient cannot be had. It is unbiased whatever its critic
# says, and far less noisy than the yardstick.
TRUTH = "doubly_robust@8000"

# ESTIMATOR[:OPTION...][@STEPS], as `laboratory.parse` reads it; STEPS train what is learned, if
# they are others than all have. Without mle and reinvent, which follow another objective.
ESTIMATORS = (
    "reinforce_loo",
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
    "doubly_robust_relax:step",
    "all_actions_biased",
    "straight_through",
)
# What is so dear that it is drawn less often: by these factors.
_FEWER_DRAWS = {"reinforce_rollout:loo": 5}
# Of those whose rows are independent, so that the variance over rows is that of the estimate.
ALONG_RUNS = (
    "reinforce_loo",
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
        for flag, entries in (("estimators", self.estimators), ("along_runs", self.along_runs)):
            for entry in entries:
                _checked(flag, entry)

    @property
    def entries(self):
        """The estimators at states: the yardstick comes first."""
        return YARDSTICK, *(e for e in self.estimators if e != YARDSTICK)

    @property
    def at_states(self):
        """What a measurement at a state depends on."""
        names = "draws", "truth_draws", "control_steps", "batch_size", "seed"
        return {name: getattr(self, name) for name in names}


def measure(plan, directory):
    """Measures what is not there yet; the pieces are kept in `directory`.

    Returns:
      A dict: `states`, a list of dicts; `at_states`, one dict for each estimator and state;
      `along_runs`, one for each estimator and run.
    """
    pieces = Pieces(directory)
    total = len(plan.states) * len(plan.entries)
    total += len(plan.runs) * len(plan.along_runs) * plan.seeds
    with tqdm(total=total, desc="leaderboard") as bar:
        found = [_at_state(plan, STATES[name], pieces, bar) for name in plan.states]
        along = [
            _along_run(plan, run, entry, pieces, bar)
            for run in plan.runs
            for entry in plan.along_runs
        ]
    states = [state for state, _ in found]
    return {
        "states": states,
        "at_states": [result for _, results in found for result in results],
        "along_runs": along,
    }


def _checked(flag, entry):
    """An entry's spec and steps, or None. Raises UserError."""
    text, at, steps = entry.partition("@")
    if at and (flag == "along_runs" or not steps.isdigit()):
        raise UserError(
            f"--{flag}={entry} is not allowed: "
            + ("a run trains what is learned" if steps.isdigit() else "write steps after @")
        )
    try:
        spec = parse(text)
    except ValueError as error:
        raise UserError(f"--{flag}: {error}") from None
    if spec is None or spec.updates_per_batch > 1:
        raise UserError(
            f"--{flag}={entry} is not allowed: the leaderboard has estimates of fresh batches alone"
        )
    return spec, int(steps) if at else None


class _Bench:
    """A state, which is made when something is to be measured there."""

    def __init__(self, plan, state, pieces):
        self._plan, self._state, self._pieces = plan, state, pieces

    @functools.cached_property
    def _made(self):
        return comparison.fresh_state(self._state.config(self._plan.batch_size, self._plan.seed))

    @property
    def description(self):
        return self._made[1]

    def laboratory(self, steps, seed):
        steps = self._plan.control_steps if steps is None else steps
        options = {"batch_size": self._plan.batch_size, "control_steps": steps}
        return Laboratory.of_experiment(self._made[0], seed=self._plan.seed + seed, **options)

    @functools.cached_property
    def exact(self):
        return self.laboratory(0, 0).exact()

    @functools.cached_property
    def beside(self):
        return self.laboratory(0, 0).timed(parse(YARDSTICK))

    @functools.cached_property
    def truth(self):
        """The true gradient [P], and None or the blocks [BLOCKS, P] that it is the mean of."""
        if self.exact is not None:
            return self.exact, None
        spec, steps = _checked("estimators", TRUTH)

        def blocks():
            return self.laboratory(steps, 10).measure(spec, self._plan.truth_draws).blocks.tolist()

        name = f"{self._state.name}/truth"
        found = np.array(self._pieces.get(name, self._plan.at_states, blocks))
        return found.mean(axis=0), found

    def measure(self, entry):
        spec, steps = _checked("estimators", entry)
        draws = self._plan.draws // _FEWER_DRAWS.get(entry, 1)
        found = self.laboratory(steps, 0).measure(spec, draws, self.beside)
        return {
            **compare(found.blocks, *self.truth),
            "block_variances": found.block_variances.tolist(),
            "largest_share": found.largest_share,
            "slope_p": found.slope_p,
            "milliseconds": 1e3 * found.seconds,
            "relative_time": found.relative_seconds,
        }

    def describe(self):
        """What the state is, and whether two truths agree where neither is exact: that of TRUTH,
        and as many batches of the yardstick.
        """
        described = {"description": self.description, "truth": "exact"}
        if self.exact is not None:
            return described
        other = self.laboratory(0, 20).measure(parse(YARDSTICK), self._plan.truth_draws)
        return described | {"truth": TRUTH, "agreement": compare(other.blocks, *self.truth)}


def _at_state(plan, state, pieces, bar):
    """A dict that describes the state, and the list of results there, the yardstick's first."""
    bench = _Bench(plan, state, pieces)
    described = pieces.get(f"{state.name}/state", plan.at_states, bench.describe)
    results = []
    for entry in plan.entries:
        bar.set_postfix_str(f"{state.name} {entry}")
        name = f"{state.name}/{entry}"
        piece = pieces.get(name, plan.at_states, functools.partial(bench.measure, entry))
        results.append({"state": state.name, "seq_len": state.seq_len, "estimator": entry} | piece)
        bar.update()
    return {"state": state.name, **described}, [_related(r, results[0]) for r in results]


def _related(result, yardstick):
    """A result with its variance in units of the yardstick's, and that times its time."""
    if result is yardstick:
        ratio, low, high, time = 1.0, 1.0, 1.0, 1.0
    else:
        blocks = result["block_variances"], yardstick["block_variances"]
        (ratio, low, high), time = ratio_of_means(*blocks), result["relative_time"]
    found = {"variance": ratio, "variance_low": low, "variance_high": high}
    return result | found | {"relative_time": time, "variance_x_time": ratio * time}


def _along_run(plan, run, entry, pieces, bar):
    """A result: the variance along a run in units of the yardstick's, the geometric mean of its
    seeds, the least and the most.
    """
    spec, _ = _checked("along_runs", entry)
    ratios = []
    for seed in range(plan.seeds):
        bar.set_postfix_str(f"{run} {entry} {seed}")
        config = along_runs.config_of(run, spec, plan.seed + seed, plan.iterations)
        found = pieces.get(
            f"{run}/{entry}/{config.seed}",
            {"iterations": plan.iterations},
            functools.partial(along_runs.variances, config),
        )
        ratios.append(along_runs.ratio(found))
        bar.update()
    mean = float(np.exp(np.mean(np.log(ratios))))
    found = {"variance": mean, "variance_low": min(ratios), "variance_high": max(ratios)}
    return {"run": run, "estimator": entry, "seeds": ratios} | found
