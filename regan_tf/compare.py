"""Measures estimators against each other at one fixed state: bias, variance, time, and what a fixed
budget of time buys.

Times are those of one estimate, without the steps that train what is learned in a control variate.

  python -m regan_tf.compare --seq_len=3
  python -m regan_tf.compare --seq_len=15 --state_pretrain_epochs=3 --state_d_steps=390
  python -m regan_tf.compare --workdir=RUN
  --estimators=reinforce_loo,rebar:sequence,rebar:step:loo,relax:step:loo:eta

The state is a run's last checkpoint, or fresh networks trained as the --state flags say. The truth
is the exact gradient where all sequences can be enumerated, else a long mean of reinforce_loo,
which is unbiased.
"""

import dataclasses
import json
import os

import numpy as np
from absl import flags
from tabulate import tabulate
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
    "output", "", "Directory for compare.json and compare.png; by default the workdir, or nothing."
)


def main():
    """Prints the table, writes the figures; returns the exit code."""
    temperatures = [command.positive(text, "temperatures") for text in _TEMPERATURES.value]
    texts = _ESTIMATORS.value
    if not (temperatures and texts):
        raise UserError("--estimators and --temperatures must not be empty")
    config = config_flags.read_run(_WORKDIR.value) if _WORKDIR.value else _state_config()
    command.start_tensorflow(_THREADS.value)
    from regan_tf.estimators.bias import compare
    from regan_tf.estimators.laboratory import Laboratory, parse

    try:
        specs = {
            temperature: [(text, parse(text, _ETA.value, temperature)) for text in texts]
            for temperature in temperatures
        }
    except ValueError as error:
        raise UserError(f"--estimators: {error}") from None
    experiment, description = _state(config)
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
    layers = [(v.path, v.shape.num_elements()) for v in experiment.generator.trainable_variables]
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
            results.append(result | _variances(measurement, layers))
    for result in results:
        result["relative_variance"] = result["variance"] / results[0]["variance"]
        result["variance_x_time"] = (
            result["relative_variance"] * result["seconds"] / results[0]["seconds"]
        )
    _print(results, len(temperatures) > 1, exact=truth_blocks is None)
    _write(
        {
            "state": description,
            "truth": "exact" if truth_blocks is None else "reinforce_loo",
            "results": results,
        }
    )
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


def _state(config):
    """The experiment at the state to measure, and a line that says which it is. A reward is asked
    for what it takes, beyond the run's --reward_calls.
    """
    from regan_tf.training import algorithm
    from regan_tf.training.experiment import Experiment
    from regan_tf.training.workdir import call_lines, require_checkpoint

    experiment = Experiment(dataclasses.replace(config, reward_calls=0))
    if _WORKDIR.value:
        require_checkpoint(_WORKDIR.value, experiment.checkpoint)
        if box := experiment.black_box:  # it knows what the run asked for
            calls = experiment.progress.calls
            box.keep_record(lambda: call_lines(_WORKDIR.value), calls, lambda lines: None)
        return experiment, f"{_WORKDIR.value}, iteration {experiment.progress.iteration}"
    loss = algorithm.warm_up(experiment)
    goodness = experiment.evaluation.measure(0)["goodness"]
    epochs = f"{config.pretrain_epochs:g} epoch" + "s" * (config.pretrain_epochs != 1)
    what = f"{epochs} at {config.pretrain_learning_rate:g}, {config.d_steps} discriminator steps"
    return (
        experiment,
        f"length {config.seq_len}, {what}: goodness {goodness:.3f}, discriminator loss {loss:.3f}",
    )


def _variances(measurement, layers):
    """Total, per variable, and in the paper's single parameter (the first of the last kernel); of
    one batch's gradient.
    """
    parts = np.split(measurement.variance, np.cumsum([size for _, size in layers])[:-1])
    by_layer = {path: float(np.sum(part)) for (path, _), part in zip(layers, parts, strict=True)}
    last_kernel = max(i for i, (path, _) in enumerate(layers) if path.endswith("kernel"))
    total = float(measurement.variance.sum())
    single = float(parts[last_kernel][0])
    figures = {"variance": total, "variance_by_layer": by_layer, "variance_first_parameter": single}
    shown = ("largest_share", "slope_p", "seconds")
    return figures | {name: getattr(measurement, name) for name in shown}


def _print(results, several, exact):
    from regan_tf.estimators.bias import BIAS_SEEN, BLOCKS

    rows = []
    for r in results:
        name = f"{r['estimator']} @ {r['temperature']:g}" if several else r["estimator"]
        beside_truth = [r[k] for k in ("bias", "bias_error", "p", "cosine", "norm_ratio")]
        variance = [r[k] for k in ("relative_variance", "largest_share", "slope_p")]
        single = r["variance_first_parameter"] / results[0]["variance_first_parameter"]
        rows.append(
            [name, *beside_truth, *variance, single, 1e3 * r["seconds"], r["variance_x_time"]]
        )
    headers = ["estimator", "bias", "+-", "p", "cosine", "norm"]
    headers += ["variance", "largest", "slope p", "single", "ms", "variance x time"]
    formats = ("", ".3f", ".3f", ".2g", ".3f", ".3f", ".3g", ".2g", ".2g", ".3g", ".2f", ".3g")
    print(tabulate(rows, headers, floatfmt=formats))
    truth = (
        "the exact gradient"
        if exact
        else f"a mean of {_TRUTH_DRAWS.value} batches of reinforce_loo"
    )
    print(
        f"bias, cosine and norm beside {truth};\n"
        f"variances and the last column relative to {rows[0][0]};\n"
        f"p: of no bias, by random flips of the signs of {BLOCKS} blocks' differences;\n"
        f"bias seen: p < {BIAS_SEEN:g};\n"
        "reuse: the last of a batch's updates, beside the gradient where the others have led, by\n"
        f"Adam at {_RATE_OF_REUSE.value:g}; its time has enumerations in it;\n"
        "largest: the batch furthest from the mean, its share of the variance. Above 0.1 it is a\n"
        "tail's, which so many draws have not measured: it is no variance, and p can mislead;\n"
        "slope p: that the control variate's slopes by automatic differentiation are those by "
        "parts.\n"
        f"Below {BIAS_SEEN:g}: the reward jumps, or is so steep that these draws miss its slopes"
    )


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
