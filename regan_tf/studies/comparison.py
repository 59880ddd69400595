"""Estimators beside each other at one fixed state: the state, what is measured there, and the
table.
"""

import dataclasses

import numpy as np
from tabulate import tabulate

from regan_tf.estimators.bias import BIAS_SEEN, BLOCKS
from regan_tf.training import algorithm
from regan_tf.training.checkpoints import require_checkpoint
from regan_tf.training.experiment import Experiment
from regan_tf.training.workdir import call_lines, reading_calls


def fresh_state(config):
    """An Experiment after pre-training and the discriminator's first training, and a line that says
    which state it is.
    """
    experiment = Experiment(dataclasses.replace(config, reward_calls=0))
    loss = algorithm.warm_up(experiment)
    goodness = experiment.evaluation.measure(0)["goodness"]
    epochs = f"{config.pretrain_epochs:g} epoch" + "s" * (config.pretrain_epochs != 1)
    what = f"{epochs} at {config.pretrain_learning_rate:g}, {config.d_steps} discriminator steps"
    return (
        experiment,
        f"length {config.seq_len}, {what}: goodness {goodness:.3f}, discriminator loss {loss:.3f}",
    )


def state_of_run(workdir, config):
    """The Experiment of a run's last checkpoint, and a line that says which state it is. A reward
    is asked for what it takes, beyond the run's --reward_calls, and counts in full, without the
    run's --discount: what is measured are gradients of its mean. Raises UserError.
    """
    experiment = Experiment(dataclasses.replace(config, reward_calls=0, discount=1.0))
    require_checkpoint(workdir, experiment.checkpoint)
    if box := experiment.black_box:  # it knows what the run asked for
        calls = experiment.progress.calls
        with reading_calls(workdir):
            box.keep_record(lambda: call_lines(workdir), calls, lambda lines: None)
    return experiment, f"{workdir}, iteration {experiment.progress.iteration}"


def layers(generator):
    """Path and size of each trainable variable."""
    return [(v.path, v.shape.num_elements()) for v in generator.trainable_variables]


def variances(measurement, layers):
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


def relate(results):
    """Adds to each what it is relative to the first: variance, and variance x time."""
    for result in results:
        result["relative_variance"] = result["variance"] / results[0]["variance"]
        result["variance_x_time"] = (
            result["relative_variance"] * result["seconds"] / results[0]["seconds"]
        )


def label(result, several):
    """The name of a result's row."""
    name = result["estimator"]
    return f"{name} @ {result['temperature']:g}" if several else name


def table(results, several):
    """The results as text; several: whether they are at several temperatures."""
    rows = []
    for r in results:
        beside_truth = [r[k] for k in ("bias", "bias_error", "p", "cosine", "norm_ratio")]
        variance = [r[k] for k in ("relative_variance", "largest_share", "slope_p")]
        single = r["variance_first_parameter"] / results[0]["variance_first_parameter"]
        rows.append(
            [
                label(r, several),
                *beside_truth,
                *variance,
                single,
                1e3 * r["seconds"],
                r["variance_x_time"],
            ]
        )
    headers = ["estimator", "bias", "+-", "p", "cosine", "norm"]
    headers += ["variance", "largest", "slope p", "single", "ms", "variance x time"]
    formats = ("", ".3f", ".3f", ".2g", ".3f", ".3f", ".3g", ".2g", ".2g", ".3g", ".2f", ".3g")
    return tabulate(rows, headers, floatfmt=formats)


def legend(truth, first, learning_rate):
    """What the table's columns are.

    Args:
      truth: what bias, cosine and norm are beside, in words.
      first: the estimator that variances are relative to.
      learning_rate: Adam's, of updates that use a batch again.
    """
    return (
        f"bias, cosine and norm beside {truth};\n"
        f"variances and the last column relative to {first};\n"
        f"p: of no bias, by random flips of the signs of {BLOCKS} blocks' differences;\n"
        f"bias seen: p < {BIAS_SEEN:g};\n"
        "reuse: the last of a batch's updates, beside the gradient where the others have led, by\n"
        f"Adam at {learning_rate:g}; its time has enumerations in it;\n"
        "largest: the batch furthest from the mean, its share of the variance. Above 0.1 it is a\n"
        "tail's, which so many draws have not measured: it is no variance, and p can mislead;\n"
        "slope p: that the control variate's slopes by automatic differentiation are those by "
        "parts.\n"
        f"Below {BIAS_SEEN:g}: the reward jumps, or is so steep that these draws miss its slopes"
    )
