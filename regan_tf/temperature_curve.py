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

from pathlib import Path

from absl import flags
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
    from regan_tf.studies import grouping, law_curves, results, text_curves

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
    else:
        curves, ideal = {}, None
        for group in groups:
            curves[group.label] = {}
            for run in group.runs:
                curves[group.label][group.key(run)], ideal = _curves(run, temperatures)
        text_curves.show(groups, curves, ideal, _ORDER.value, output)
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


if __name__ == "__main__":
    command.run(main, takes_arguments=True)
