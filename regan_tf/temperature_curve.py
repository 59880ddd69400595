"""Quality against diversity of generators of texts: BLEU against self-BLEU over sampling temperatures (Caccia et al. 2018).

  python -m regan_tf.temperature_curve RUN_OF_MLE RUN RUN ... --output=curve

One temperature tells little: a colder generator has a higher BLEU, and repeats itself. Of two generators the better one has the
higher BLEU at equal self-BLEU. Takes finished runs on the same texts, or directories that hold some; runs that differ in their seed
alone are averaged. A run of `--estimator=mle --iterations=0` is the baseline.
"""

import collections
import json
import math
from pathlib import Path

import numpy as np
from absl import flags
from tabulate import tabulate
from tqdm import tqdm

from regan_tf import command
from regan_tf.config import UserError

_TEMPERATURES = flags.DEFINE_list(
    "temperatures", "0.5,0.6,0.7,0.8,0.9,1,1.1,1.2,1.35,1.5", "Sampling temperatures: they divide the logits."
)
_NUM = flags.DEFINE_integer("num", 2_000, "Texts sampled at each temperature.", lower_bound=2)
_ORDER = flags.DEFINE_integer("order", 4, "n of the BLEU-n and self-BLEU-n that are drawn and compared.", 2, 5)
_GENERATOR = flags.DEFINE_enum("generator", "last", ("last", "best"), "Which generator of each run.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples, the same for all.", lower_bound=0, upper_bound=2**31 - 1)
_THREADS = flags.DEFINE_integer("threads", 0, "CPU threads; 0: TensorFlow's choice.", lower_bound=0)
_OUTPUT = flags.DEFINE_string("output", "temperature_curve", "Directory of the JSON file and the figure.")


def main(paths):
    """Prints the tables, writes the figure; returns the exit code."""
    temperatures = sorted({command.positive(text, "temperatures") for text in _TEMPERATURES.value})
    if not (paths and temperatures):
        raise UserError("give runs, and at least one of --temperatures: python -m regan_tf.temperature_curve RUN RUN ...")
    command.start_tensorflow(_THREADS.value)
    from regan_tf import plots, results
    from regan_tf.workdir import write_atomically

    runs, _, _ = results.read(paths, _GENERATOR.value)
    if not all(run.config.is_text for run in runs):
        raise UserError("the runs must be on texts: the grammar's generators are judged by goodness, in regan_tf.report")
    if len({run.config.data_sha256 for run in runs} | {run.config.tokens for run in runs}) > 2:
        raise UserError("the runs must be on the same texts, cut in the same way")
    (groups,) = results.grouped(runs).values()
    curves, ideal = {}, None
    for group in groups:
        of_seeds, ideal = zip(*[_curve(run, temperatures) for run in group.runs], strict=True)
        ideal = ideal[0]
        curves[group.label] = _mean(of_seeds)
    baseline = next((group.label for group in groups if group.config.estimator == "mle"), None)
    _print(curves, ideal, baseline)
    output = Path(_OUTPUT.value)
    write_atomically(output / "curve.json", json.dumps({"curves": curves, "training texts": ideal}, indent=2) + "\n")
    plots.plot_temperature_curves(curves, ideal, _ORDER.value, output / "temperature_curve.png")
    print(f"\nNow look at {output}/temperature_curve.png")
    return 0


def _curve(run, temperatures):
    """The metrics of one run's generator at each temperature, a list; and those of the training texts."""
    import tensorflow as tf

    from regan_tf.experiment import Experiment
    from regan_tf.workdir import require_checkpoint

    experiment = Experiment(run.config)
    require_checkpoint(run.path, experiment.checkpoint)
    generator = experiment.best_generator if _GENERATOR.value == "best" else experiment.generator
    sample = tf.function(lambda temperature: generator.sample(_NUM.value, _SEED.value, temperature))
    nll = experiment.nll_function(generator)
    points = []
    for temperature in tqdm(temperatures, desc=run.path.name, leave=False):
        tensor = tf.constant(temperature, tf.float32)
        metrics = experiment.metrics.describe(sample(tensor).numpy())
        points.append({"temperature": temperature} | metrics | experiment.metrics.of_likelihood(float(nll(tensor))))
    return points, experiment.metrics.ideal(_NUM.value)


def _mean(curves):
    """The mean over seeds: a list of curves, each a list of dicts -> one list of dicts."""
    result = []
    for points in zip(*curves, strict=True):
        sums = collections.Counter()
        for point in points:
            sums.update(point)
        result.append({name: value / len(points) for name, value in sums.items()})
    return result


def _print(curves, ideal, baseline):
    quality, diversity = f"bleu_{_ORDER.value}", f"self_bleu_{_ORDER.value}"
    rows = []
    for label, points in curves.items():
        distances = [math.hypot(p[quality] - ideal[quality], p[diversity] - ideal[diversity]) for p in points]
        best = points[int(np.argmin(distances))]
        gain = _gain(points, curves[baseline], quality, diversity) if baseline not in (None, label) else None
        rows.append([label, best["temperature"], best[quality], best[diversity], best["nll_per_token"], min(distances), gain])
    rows.append(["training texts", None, ideal[quality], ideal[diversity], None, 0.0, None])
    headers = ["", "its best temperature", quality, diversity, "NLL a token", "distance", f"{quality} above {baseline}'s"]
    print(tabulate(rows, headers, floatfmt=("", ".2f", ".4f", ".4f", ".3f", ".4f", "+.4f")))
    print(
        "Best: the temperature at which BLEU and self-BLEU are closest to those of as many training texts. NLL: of the held-out\n"
        "texts under the law at that temperature. Last column: at equal self-BLEU, mean over the temperatures where both have one."
    )


def _gain(points, baseline, quality, diversity):
    """How much higher the quality is than the baseline's at equal diversity, interpolated; None where they do not overlap."""
    ordered = sorted(baseline, key=lambda p: p[diversity])
    x, y = ([p[name] for p in ordered] for name in (diversity, quality))
    gains = [p[quality] - np.interp(p[diversity], x, y) for p in points if x[0] <= p[diversity] <= x[-1]]
    return float(np.mean(gains)) if gains else None


if __name__ == "__main__":
    command.run(main, takes_arguments=True)
