"""Times the compiled steps against each other in one run: interleaved repeats, medians, ratios.

python -m regan_tf.benchmark --seq_len=15 --batch_size=128
python -m regan_tf.benchmark --memory_iterations=1000     (resident memory over so many adversarial iterations)
"""

import json
import time

from absl import flags
from tabulate import tabulate
from tqdm import tqdm

from regan_tf import command
from regan_tf.config import ESTIMATORS, Config

_SEQ_LEN = flags.DEFINE_integer("seq_len", 15, "Sequence length T.", lower_bound=3)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Sequences per minibatch.", lower_bound=2)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Rounds in which every step is timed in turn.", lower_bound=1)
_CALLS = flags.DEFINE_integer("calls", 20, "Calls of a step per round.", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 1, "CPU threads.", lower_bound=0)
_MEMORY = flags.DEFINE_integer("memory_iterations", 0, "Instead, run so many iterations and report memory.", lower_bound=0)
_JSON = flags.DEFINE_string("json", "", "Also write the figures to this file.")


def main():
    """Prints the figures; returns the exit code."""
    command.start_tensorflow(_THREADS.value)
    figures = memory() if _MEMORY.value else times()
    if _JSON.value:
        from regan_tf.workdir import write_atomically

        write_atomically(_JSON.value, json.dumps(figures, indent=2) + "\n")
    return 0


def times():
    """Milliseconds of each step: a dict of name to (median, quartiles, ratio to the MLE step)."""
    import numpy as np

    steps = _steps()
    for call in tqdm(steps.values(), desc="tracing", leave=False):
        for _ in range(3):
            call()
    rounds = {name: [] for name in steps}
    for _ in tqdm(range(_ROUNDS.value), desc="timing", leave=False):
        for name, call in steps.items():
            seconds = []
            for _ in range(_CALLS.value):
                started = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - started)
            rounds[name].append(np.median(seconds))
    # Ratios are taken within a round, so that a change of the machine's speed touches both sides.
    rounds = {name: 1e3 * np.array(values) for name, values in rounds.items()}
    figures = {}
    for name, values in rounds.items():
        low, middle, high = np.percentile(values, [25, 50, 75])
        to_mle, to_bare = (float(np.median(values / rounds[reference])) for reference in ("mle step", "bare keras LSTM"))
        figures[name] = {"ms": float(middle), "ms_quartiles": [float(low), float(high)], "to_mle": to_mle, "to_bare": to_bare}
    rows = [[n, f["ms"], *f["ms_quartiles"], f["to_mle"], f["to_bare"]] for n, f in figures.items()]
    print(f"length {_SEQ_LEN.value}, batch {_BATCH_SIZE.value}, {_THREADS.value} thread(s)")
    print(tabulate(rows, ["step", "ms", "1st quartile", "3rd", "x MLE step", "x bare LSTM"], floatfmt=".2f"))
    return figures


def _steps():
    import tensorflow as tf

    seed = tf.constant([0, 0])
    steps = {"bare keras LSTM": _bare_lstm()}
    trainer, real = _trainer()
    likelihood_step = tf.function(trainer.likelihood_step)
    steps["mle step"] = lambda: likelihood_step(real)
    for estimator in ESTIMATORS[1:]:
        for tracked in (False, True):
            trainer, _ = _trainer(estimator=estimator, track_variance=tracked)
            name = f"{estimator} update" + (", with variance" if tracked else "")
            steps[name] = lambda trainer=trainer: trainer.update_generator(seed, real)
    discriminator_step = tf.function(trainer.discriminator_step)
    steps["discriminator step"] = lambda: discriminator_step(real, real)
    return steps


def _trainer(**options):
    import tensorflow as tf

    from regan_tf.experiment import Experiment

    experiment = Experiment(Config(seq_len=_SEQ_LEN.value, batch_size=_BATCH_SIZE.value, **options).resolved())
    return experiment.trainer, tf.constant(experiment.real[: _BATCH_SIZE.value])


def _bare_lstm():
    """The yardstick: keras.layers.LSTM of the generator's shape, unrolled; forward, backward and Adam, nothing else."""
    import keras
    import tensorflow as tf

    config = Config()
    layer = keras.layers.LSTM(config.generator_dim, return_sequences=True, unroll=True, use_cudnn=False)
    layer.build((None, _SEQ_LEN.value, config.embed_dim))
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(layer.trainable_variables)
    x = tf.random.stateless_normal([_BATCH_SIZE.value, _SEQ_LEN.value, config.embed_dim], [0, 0])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(layer(x) ** 2)
        gradient = tape.gradient(loss, [v.value for v in layer.trainable_variables])
        optimizer.apply(gradient, layer.trainable_variables)
        return loss

    return step


def memory():
    """Resident memory in MB over a run's iterations, every tenth of them."""
    import resource

    from regan_tf.experiment import Experiment

    experiment = Experiment(Config(seq_len=_SEQ_LEN.value, batch_size=_BATCH_SIZE.value, iterations=_MEMORY.value).resolved())
    experiment.measure_start()
    peaks = {}
    for i in tqdm(range(1, _MEMORY.value + 1), desc="iterations", leave=False):
        experiment.iterate()
        if i % max(1, _MEMORY.value // 10) == 0:
            peaks[i] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(tabulate(peaks.items(), ["iteration", "peak resident memory [MB]"], floatfmt=".1f"))
    return peaks


if __name__ == "__main__":
    command.run(main)
