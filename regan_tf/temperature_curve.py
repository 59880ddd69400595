"""Quality against diversity of generators of texts: BLEU against self-BLEU over sampling
temperatures (Caccia et al. 2018).

  python -m regan_tf.temperature_curve RUN_OF_MLE RUN RUN ... --output=curve

One temperature tells little: a colder generator has a higher BLEU, and repeats itself. Of two
generators the better one has the higher BLEU at equal self-BLEU. Takes finished runs on the same
texts, or directories that hold some; runs that differ in their seed alone are averaged. A run of
`--estimator=mle --iterations=0` is the baseline.

Of runs with --dataset=oracle: the NLL of the oracle's data against that of the samples under the
oracle, over the temperatures that a run measures at its end; of the flags only --generator and
--output are for them.
"""

import json
import math
from pathlib import Path

import numpy as np
from absl import flags
from tabulate import tabulate
from tqdm import tqdm

from regan_tf.cli import command
from regan_tf.config import UserError

_TEMPERATURES = flags.DEFINE_list(
    "temperatures",
    "0.5,0.6,0.7,0.8,0.9,1,1.1,1.2,1.35,1.5",
    "Sampling temperatures: they divide the logits.",
)
_NUM = flags.DEFINE_integer(
    "num",
    2_000,
    "Texts sampled at each temperature; at most as many as there are training texts.",
    lower_bound=2,
)
_ORDER = flags.DEFINE_integer(
    "order", 4, "n of the BLEU-n and self-BLEU-n that are drawn and compared.", 2, 5
)
_DRAWS = flags.DEFINE_integer(
    "draws",
    3,
    "How often, with other seeds: shows what the samples' randomness does.",
    lower_bound=1,
)
_GENERATOR = flags.DEFINE_enum(
    "generator", "last", ("last", "best"), "Which generator of each run."
)
_FRECHET = flags.DEFINE_bool(
    "frechet",
    False,
    "Tell the Fréchet distance of the texts' embeddings from training texts', too; needs "
    "regan-tf[embeddings].",
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the samples, the same for all runs.", lower_bound=0, upper_bound=2**31 - 1
)
_THREADS = flags.DEFINE_integer("threads", 0, "CPU threads; 0: TensorFlow's choice.", lower_bound=0)
_OUTPUT = flags.DEFINE_string(
    "output", "temperature_curve", "Directory of the JSON file and the figure."
)


def main(paths):
    """Prints the tables, writes the figure; returns the exit code."""
    temperatures = sorted({command.positive(text, "temperatures") for text in _TEMPERATURES.value})
    if not (paths and temperatures):
        raise UserError(
            "give runs, and at least one of --temperatures: python -m regan_tf.temperature_curve "
            "RUN RUN ..."
        )
    command.start_tensorflow(_THREADS.value)
    from regan_tf.files import write_atomically
    from regan_tf.plots.temperature import plot_temperature_curves
    from regan_tf.studies import grouping, law_curves, results

    runs, _, _ = results.read(paths, _GENERATOR.value)
    groups_by_data = grouping.grouped(runs)
    task = runs[0].task
    if len(groups_by_data) > 1 or not (task.has_temperature_curve or task.has_law_curve):
        raise UserError(
            "the runs must be on the same texts, with the same vocabulary, or of one oracle; these "
            f"are on: {', '.join(map(str, groups_by_data))}"
        )
    (groups,) = groups_by_data.values()
    output = Path(_OUTPUT.value)
    if task.has_law_curve:
        law_curves.show(groups, _GENERATOR.value, output)
        print(f"\nNow look at {output}/temperature_curve.png")
        return 0
    curves, ideal = {}, None
    for group in groups:
        curves[group.label] = []
        for run in group.runs:
            drawn, ideal = _curves(run, temperatures)
            curves[group.label] += drawn
    baseline = next((group.label for group in groups if group.config.estimator == "mle"), None)
    means = {label: law_curves.mean_curve(of_label) for label, of_label in curves.items()}
    _print(curves, means, ideal, baseline)
    _print_untempered(means, curves, ideal)
    text = json.dumps({"curves": means, "training texts": ideal, "draws": curves}, indent=2)
    write_atomically(output / "curve.json", text + "\n")
    plot_temperature_curves(means, ideal, _ORDER.value, output / "temperature_curve.png")
    print(f"\nNow look at {output}/temperature_curve.png")
    return 0


def _curves(run, temperatures):
    """Of one run's generator: a list with a curve for each draw, the metrics at each temperature;
    and those of training texts.
    """
    import tensorflow as tf

    from regan_tf.graphs import compiled
    from regan_tf.tasks.frechet import FrechetDistance
    from regan_tf.tasks.text_metrics import TextMetrics
    from regan_tf.training.evaluation import nll_function
    from regan_tf.training.models import Models

    dataset = run.task.load()
    models = Models(run.config, dataset.vocabulary)
    models.restore(run.path)
    generator = models.named(_GENERATOR.value)
    size = min(_NUM.value, len(dataset.real))
    sample = compiled(lambda seed, temperature: generator.sample(size, seed, temperature))
    nll, metrics = nll_function(generator, dataset.heldout), TextMetrics(dataset)
    judges = [metrics, FrechetDistance(dataset)] if _FRECHET.value else [metrics]
    curves = [[] for _ in range(_DRAWS.value)]
    for temperature in tqdm(temperatures, desc=run.path.name, leave=False):
        tensor = tf.constant(temperature, tf.float32)
        likelihood = metrics.of_likelihood(float(nll(tensor)))
        for draw, points in enumerate(curves):
            tokens = sample(tf.constant([_SEED.value, draw]), tensor).numpy()
            found = [judge.describe(tokens) for judge in judges]
            points.append(_merged([{"temperature": temperature}, *found, likelihood]))
    return curves, _merged(judge.ideal(size) for judge in judges)


def _merged(dicts):
    return {name: value for each in dicts for name, value in each.items()}


def _print(curves, means, ideal, baseline):
    quality, diversity = f"bleu_{_ORDER.value}", f"self_bleu_{_ORDER.value}"
    rows = []
    for label, points in means.items():
        distances = [
            math.hypot(p[quality] - ideal[quality], p[diversity] - ideal[diversity]) for p in points
        ]
        best = int(np.argmin(distances))
        edge = "<" if best == 0 else ">" if best == len(points) - 1 else ""
        row = [
            label,
            f"{points[best]['temperature']:g}{edge}",
            *(points[best][name] for name in (quality, diversity, "nll_per_token")),
        ]
        rows.append(
            [*row, min(distances), _gain(curves, means, label, baseline, quality, diversity)]
        )
    rows.append(["training texts", "", ideal[quality], ideal[diversity], None, 0.0, ""])
    headers = [
        "",
        "its best temperature",
        quality,
        diversity,
        "NLL a token",
        "distance",
        f"{quality} above the baseline's",
    ]
    print(tabulate(rows, headers, floatfmt=".4f", disable_numparse=[1, 6]))
    print(
        "Best: the temperature at which BLEU and self-BLEU are closest to those of as many "
        "training\ntexts (< or >: the first or last of --temperatures). NLL: of the held-out texts "
        "under the\ndistribution at that temperature. Last column: at equal self-BLEU, mean over "
        "the temperatures\n(their number) at which both have one, +- the standard deviation of a "
        "single curve's gain above\na single one of the baseline's, over the draws and seeds of "
        "both (none where either has one\ncurve);\n"
        f"the baseline is {baseline or 'missing: give a run of --estimator=mle'}."
    )


def _print_untempered(means, curves, ideal):
    """All metrics at temperature 1, if it is among them, +- the standard deviation over draws and
    seeds.
    """
    at_one = [i for i, point in enumerate(next(iter(means.values()))) if point["temperature"] == 1]
    if not at_one:
        return

    def cell(label, name):
        values = [curve[at_one[0]][name] for curve in curves[label]]
        spread = np.std(values, ddof=1) if len(values) > 1 else 0
        return f"{np.mean(values):.4f}" + (f" +- {spread:.4f}" if spread else "")

    names = [
        name
        for name in means[next(iter(means))][0]
        if name not in ("temperature", "samples", "nll")
    ]
    rows = [
        [
            name,
            *(cell(label, name) for label in means),
            f"{ideal[name]:.4f}" if ideal.get(name) is not None else "",
        ]
        for name in names
    ]
    print(
        "\nAt temperature 1\n"
        + tabulate(rows, ["", *means, "training texts"], disable_numparse=True)
    )


def _gain(curves, means, label, baseline, quality, diversity):
    """How much higher the quality is than the baseline's at equal diversity, interpolated, as text.

    Its +- is of one curve of the one above one of the other: the variances of both about the
    other's mean curve, added. None where either has but one curve, whose noise nobody knows.
    """
    if baseline in (None, label):
        return ""
    of_baseline = [p[diversity] for p in means[baseline]]
    least, most = min(of_baseline), max(of_baseline)
    inside = [i for i, p in enumerate(means[label]) if least <= p[diversity] <= most]
    if not inside:
        return "no overlap"

    def gain(curve, base):
        base = sorted(base, key=lambda p: p[diversity])
        x, y = ([p[name] for p in base] for name in (diversity, quality))
        return np.mean([curve[i][quality] - np.interp(curve[i][diversity], x, y) for i in inside])

    gains = [gain(curve, means[baseline]) for curve in curves[label]]
    others = [gain(means[label], base) for base in curves[baseline]]
    spread = ""
    if min(len(gains), len(others)) > 1:
        spread = f" +- {math.sqrt(np.var(gains, ddof=1) + np.var(others, ddof=1)):.4f}"
    return f"{np.mean(gains):+.4f}{spread} ({len(inside)})"


if __name__ == "__main__":
    command.run(main, takes_arguments=True)
