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
from regan_tf.config import Config, UserError

_SEQ_LEN = flags.DEFINE_integer("seq_len", 15, "Sequence length T.", lower_bound=3)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Sequences per minibatch.", lower_bound=2)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Rounds in which every step is timed in turn.", lower_bound=1)
_CALLS = flags.DEFINE_integer("calls", 20, "Calls of a step per round.", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 1, "CPU threads.", lower_bound=0)
_GROWTH = flags.DEFINE_list("growth", [], "Instead, time the updates at each of these lengths.")
_MEMORY = flags.DEFINE_integer("memory_iterations", 0, "Instead, run so many iterations and report memory.", lower_bound=0)
_JSON = flags.DEFINE_string("json", "", "Also write the figures to this file.")

_UPDATES = {
    "reinforce": {"estimator": "reinforce"},
    "rebar": {"estimator": "rebar"},
    "relax": {"estimator": "relax"},
    "rebar step": {"estimator": "rebar", "control_variate": "step"},
    "relax step": {"estimator": "relax", "control_variate": "step"},
    "relax step, per-example loss": {"estimator": "relax", "control_variate": "step", "variance_loss": "per_example"},
    "rebar rollout": {"estimator": "rebar", "control_variate": "rollout"},
}
_TRACKED = ("reinforce", "rebar", "relax")  # also timed with the variance over all parameters


def main():
    """Prints the figures; returns the exit code."""
    lengths = [_length(text) for text in _GROWTH.value]
    command.start_tensorflow(_THREADS.value)
    figures = growth(lengths) if lengths else memory() if _MEMORY.value else times()
    if _JSON.value:
        from regan_tf.workdir import write_atomically

        write_atomically(_JSON.value, json.dumps(figures, indent=2) + "\n")
    return 0


def _length(text):
    if not (text.isdigit() and int(text) >= 3):
        raise UserError(f"--growth={text} is not allowed: each must be a length of at least 3")
    return int(text)


def times():
    """Milliseconds of each step, and their ratios to the MLE step, the bare LSTM and the reinforce update."""
    import numpy as np

    rounds = _timed(_steps(_SEQ_LEN.value))
    references = {"x MLE": "mle step", "x bare LSTM": "bare keras LSTM", "x reinforce": "reinforce update"}
    figures = {}
    for name, values in rounds.items():
        # Ratios are taken within a round, so that a change of the machine's speed touches both sides.
        ratios = {title: float(np.median(values / rounds[reference])) for title, reference in references.items()}
        low, middle, high = np.percentile(values, [25, 50, 75]).tolist()
        figures[name] = {"ms": middle, "1st quartile": low, "3rd": high, **ratios}
    print(f"length {_SEQ_LEN.value}, batch {_BATCH_SIZE.value}, {_THREADS.value} thread(s)")
    print(tabulate([[n, *f.values()] for n, f in figures.items()], ["step", *next(iter(figures.values()))], floatfmt=".2f"))
    return figures


def growth(lengths):
    """Milliseconds of the updates at each length, and the exponent a of time ~ T^a between the first and the last."""
    import numpy as np

    names = ("reinforce", "rebar step", "relax step", "rebar rollout")
    figures = {name: [] for name in names}
    for length in lengths:
        rounds = _timed({name: _update(length, _UPDATES[name]) for name in names})
        for name in names:
            figures[name].append(float(np.median(rounds[name])))
    print(f"batch {_BATCH_SIZE.value}, {_THREADS.value} thread(s), milliseconds")
    exponents = [np.log(f[-1] / f[0]) / np.log(lengths[-1] / lengths[0]) for f in figures.values()]
    rows = [[name, *f, exponent] for (name, f), exponent in zip(figures.items(), exponents, strict=True)]
    print(tabulate(rows, ["update", *[f"T={n}" for n in lengths], "exponent"], floatfmt=".2f"))
    return {"lengths": lengths, **figures}


def _timed(steps):
    """Medians of `calls` calls in each round: a dict of name to an array [rounds], in milliseconds."""
    import numpy as np

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
            rounds[name].append(1e3 * np.median(seconds))
    return {name: np.array(values) for name, values in rounds.items()}


def _steps(seq_len):
    import tensorflow as tf

    trainer, real = _trainer(seq_len)
    likelihood_step, discriminator_step = tf.function(trainer.likelihood_step), tf.function(trainer.discriminator_step)
    steps = {"bare keras LSTM": _bare_lstm(seq_len), "mle step": lambda: likelihood_step(real)}
    steps["discriminator step"] = lambda: discriminator_step(real, real)
    for name, options in _UPDATES.items():
        steps[f"{name} update"] = _update(seq_len, options)
        if name in _TRACKED:
            steps[f"{name} update, with variance"] = _update(seq_len, options, track_variance=True)
    return steps


def _update(seq_len, options, track_variance=False):
    import tensorflow as tf

    trainer, real = _trainer(seq_len, track_variance=track_variance, **options)
    seed = tf.constant([0, 0])
    return lambda: trainer.update_generator(seed, real)


def _trainer(seq_len, **options):
    import tensorflow as tf

    from regan_tf.experiment import Experiment

    experiment = Experiment(Config(seq_len=seq_len, batch_size=_BATCH_SIZE.value, **options).resolved())
    return experiment.trainer, tf.constant(experiment.real[: _BATCH_SIZE.value])


def _bare_lstm(seq_len):
    """The yardstick: keras.layers.LSTM of the generator's shape, unrolled; forward, backward and Adam, nothing else."""
    import keras
    import tensorflow as tf

    config = Config()
    layer = keras.layers.LSTM(config.generator_dim, return_sequences=True, unroll=True, use_cudnn=False)
    layer.build((None, seq_len, config.embed_dim))
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(layer.trainable_variables)
    x = tf.random.stateless_normal([_BATCH_SIZE.value, seq_len, config.embed_dim], [0, 0])

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
