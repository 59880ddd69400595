"""Times the compiled steps against each other in one run: interleaved repeats, medians and
quartiles, ratios.

  python -m regan_tf.benchmark
  python -m regan_tf.benchmark --seq_len=40 --batch_size=64 --vocab_size=5000 --hidden_dim=512
  python -m regan_tf.benchmark --growth=seq_len:15,30,60,120,240
  python -m regan_tf.benchmark --workers=2 --vocab_size=5000
  python -m regan_tf.benchmark --peer=jax
  python -m regan_tf.benchmark --memory_iterations=1000
  python -m regan_tf.benchmark --startup --rounds=5

The first is the paper's size: every step, and a whole iteration. --growth also takes batch_size,
vocab_size and hidden_dim. --mean_length has sequences end. --workers holds so many processes
against one, on the same minibatch. --peer times the same updates written in plain JAX beside them.
--memory_iterations shows the resident memory over a run of so many adversarial iterations,
--startup what a run takes to begin and end.
"""

import concurrent.futures
import json
import multiprocessing
import os
import resource
import socket
import time

from absl import flags
from tabulate import tabulate
from tqdm import tqdm

from regan_tf.cli import command
from regan_tf.config import UserError

_SEQ_LEN = flags.DEFINE_integer("seq_len", 15, "Sequence length T.", lower_bound=3)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Sequences per minibatch.", lower_bound=2)
_VOCAB_SIZE = flags.DEFINE_integer("vocab_size", 5, "Tokens V.", lower_bound=2)
_HIDDEN_DIM = flags.DEFINE_integer(
    "hidden_dim", 32, "Hidden units of both LSTMs, and size of the embedding.", lower_bound=1
)
_MEAN_LENGTH = flags.DEFINE_integer(
    "mean_length", 0, "So long is the mean sequence; 0: all are, no end token.", lower_bound=0
)
_D_STEPS = flags.DEFINE_integer(
    "d_steps", 78, "Discriminator minibatches in a whole iteration.", lower_bound=1
)
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16"], "As in regan_tf.main."
)
_UPDATES = flags.DEFINE_list("updates", [], "Only these updates, and what they are held against.")
_ROUNDS = flags.DEFINE_integer(
    "rounds", 20, "Rounds in which every step is timed in turn.", lower_bound=1
)
_CALLS = flags.DEFINE_integer("calls", 20, "Calls of a step per round.", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 1, "CPU threads.", lower_bound=0)
_GROWTH = flags.DEFINE_string(
    "growth", "", "Instead, time the updates at several sizes: NAME:VALUE,VALUE...; a process each."
)
_MEMORY = flags.DEFINE_integer(
    "memory_iterations", 0, "Instead, run so many iterations and report memory.", lower_bound=0
)
_STARTUP = flags.DEFINE_bool(
    "startup", False, "Instead, time a run of one iteration beside `import tensorflow`."
)
_WORKERS = flags.DEFINE_integer(
    "workers", 1, "Instead, time each update on one worker, and shared by so many.", lower_bound=1
)
_PEER = flags.DEFINE_enum(
    "peer", None, ["jax"], "Time the same updates of plain JAX, too; needs regan-tf[bench]."
)
_OUTPUT = flags.DEFINE_string(
    "output",
    "",
    "Also write the figures to this JSON file, and those of --growth to a PNG beside it.",
)

UPDATES = {
    "reinforce": {"estimator": "reinforce"},
    "rebar": {"estimator": "rebar"},
    "relax": {"estimator": "relax"},
    "rebar step": {"estimator": "rebar", "control_variate": "step"},
    "relax step": {"estimator": "relax", "control_variate": "step"},
    "relax step, per-example loss": {
        "estimator": "relax",
        "control_variate": "step",
        "variance_loss": "per_example",
    },
    "rebar rollout": {"estimator": "rebar", "control_variate": "rollout"},
    "actor_critic": {"estimator": "actor_critic"},
    "doubly_robust": {"estimator": "doubly_robust"},
}
# TensorFlow counts calls and traces of a method over all objects that have it. Each update is a
# Trainer of its own, traced once, and with fewer calls of each it takes that for one function that
# is traced again and again, and warns.
_WARM_UP = 4
_LONG = ("discriminator epoch", "whole iteration")  # called once a round
_SIZES = {
    "seq_len": _SEQ_LEN,
    "batch_size": _BATCH_SIZE,
    "vocab_size": _VOCAB_SIZE,
    "hidden_dim": _HIDDEN_DIM,
    "mean_length": _MEAN_LENGTH,
}


def main():
    """Prints the figures; returns the exit code."""
    updates = _UPDATES.value or list(UPDATES)
    for name in updates:
        if name not in UPDATES:
            raise UserError(
                f"--updates={name} is not allowed: it must be among {', '.join(UPDATES)}"
            )
    sizes = {name: flag.value for name, flag in _SIZES.items()}
    if _GROWTH.value:
        figures = growth(*_growth(), sizes, updates)
    elif _WORKERS.value > 1:
        figures = workers(_WORKERS.value, sizes, updates)
    elif _STARTUP.value:
        figures = _startup()
    else:
        if _PEER.value:
            _keep_to(_THREADS.value)
        command.start_tensorflow(_THREADS.value, _PRECISION.value)
        figures = _memory(sizes) if _MEMORY.value else times(sizes, updates)
    if _OUTPUT.value:
        from regan_tf.files import write_atomically

        write_atomically(_OUTPUT.value, json.dumps(figures, indent=2) + "\n")
    return 0


def _growth():
    name, _, values = _GROWTH.value.partition(":")
    values = values.split(",")
    if name not in _SIZES or not all(v.isdigit() and int(v) > 2 for v in values):
        raise UserError(
            f"--growth={_GROWTH.value} is not allowed: write NAME:VALUE,VALUE... with one of "
            f"{', '.join(_SIZES)}"
        )
    return name, [int(v) for v in values]


def times(sizes, updates):
    """Milliseconds of each step, and their ratios to the MLE step, the bare LSTM and the reinforce
    update.
    """
    import numpy as np

    from regan_tf.studies import timed_steps

    options = {name: UPDATES[name] for name in updates}
    steps, operations = timed_steps.steps(sizes, options, _D_STEPS.value, _PEER.value)
    rounds = _timed(steps)
    references = {
        "x MLE": "mle step",
        "x bare LSTM": "bare keras LSTM",
        "x reinforce": "reinforce update",
        "x products": "bare products",
    }
    figures = {}
    for name, values in rounds.items():
        # Ratios are taken within a round, so that a change of the machine's speed touches both
        # sides.
        ratios = {
            title: float(np.median(values / rounds[ref]))
            for title, ref in references.items()
            if ref in rounds
        }
        low, middle, high = np.percentile(values, [25, 50, 75]).tolist()
        figures[name] = {"ms": middle, "1st quartile": low, "3rd": high, **ratios}
    print(_title(sizes))
    print(
        tabulate(
            [[n, *f.values()] for n, f in figures.items()],
            ["step", *next(iter(figures.values()))],
            floatfmt=".2f",
        )
    )
    print(
        "bare products of a reinforce update: "
        f"{operations / 1e6 / figures['bare products']['ms']:.1f} GFLOP/s"
    )
    if _PEER.value:
        figures["peer over ours"] = _beside_peer(rounds)
    parts = rounds["reinforce update"] + rounds["discriminator epoch"]
    ratio = float(np.median(rounds["whole iteration"] / parts))
    print(f"a whole iteration over its update and its discriminator epoch: {ratio:.3f}")
    return figures | {"iteration over its parts": ratio}


def _keep_to(threads):
    """Keeps this process to so many processors: JAX takes as many threads as it sees of these."""
    if hasattr(os, "sched_setaffinity"):  # on Linux
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: threads or None])


def _beside_peer(rounds):
    """By what factor the peer's steps take longer than ours, round by round: quartiles of each."""
    import numpy as np

    ratios = {
        name: np.percentile(rounds[f"{_PEER.value}: {name}"] / values, [25, 50, 75]).tolist()
        for name, values in rounds.items()
        if f"{_PEER.value}: {name}" in rounds
    }
    rows = [[name, middle, low, high] for name, (low, middle, high) in ratios.items()]
    headers = [f"{_PEER.value} over ours", "median", "1st quartile", "3rd"]
    print(tabulate(rows, headers, floatfmt=".2f"))
    return ratios


def growth(name, values, sizes, updates):
    """Milliseconds, seconds of tracing and peak memory of each update at each size, and the
    exponent a of time ~ size^a.
    """
    import numpy as np

    from regan_tf.plots import measurements

    figures = {update: [] for update in updates}
    with tqdm(total=len(values) * len(updates), desc="points") as bar:
        for value in values:
            for update in updates:
                figures[update] += _points(sizes | {name: value}, update)
                bar.update()
    exponents = {
        update: float(np.log(points[-1]["ms"] / points[0]["ms"]) / np.log(values[-1] / values[0]))
        for update, points in figures.items()
    }
    print(_title({k: v for k, v in sizes.items() if k != name}))
    for quantity, form in (("ms", ".2f"), ("tracing [s]", ".1f"), ("peak memory [MB]", ".0f")):
        rows = [
            [u, *(p[quantity] for p in points), *([exponents[u]] if quantity == "ms" else [])]
            for u, points in figures.items()
        ]
        print(
            tabulate(rows, [quantity, *[f"{name}={v}" for v in values], "exponent"], floatfmt=form)
            + "\n"
        )
    if _OUTPUT.value:
        picture = _OUTPUT.value.removesuffix(".json") + ".png"
        measurements.plot_growth(name, values, figures, picture)
    return {name: values, "exponents": exponents, **figures}


def workers(count, sizes, updates):
    """Milliseconds of each update on one worker and on several, and the ratio: the speed-up."""
    figures = {}
    for update in tqdm(updates, desc="updates"):
        (alone,), shared = _points(sizes, update), _points(sizes, update, _tf_configs(count))
        one, several = alone["ms"], max(point["ms"] for point in shared)
        figures[update] = {
            "one worker [ms]": one,
            f"{count} workers [ms]": several,
            "speed-up": one / several,
        }
    print(f"{_title(sizes)} a worker, {count} workers")
    print(
        tabulate(
            [[n, *f.values()] for n, f in figures.items()],
            ["update", *next(iter(figures.values()))],
            floatfmt=".2f",
        )
    )
    return figures


def _points(sizes, update, tf_configs=(None,)):
    """What each of so many processes measures of an update, all at once: one alone, or workers,
    each by its TF_CONFIG.

    In a process of its own, since its peak memory is then the update's.
    """
    arguments = (sizes, update, _THREADS.value, _PRECISION.value, _ROUNDS.value)
    with concurrent.futures.ProcessPoolExecutor(
        len(tf_configs), multiprocessing.get_context("spawn")
    ) as pool:
        points = [pool.submit(_point, *arguments, config) for config in tf_configs]
        return [point.result() for point in points]


def _tf_configs(count):
    """TF_CONFIG of so many workers on this machine."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    addresses = [f"localhost:{s.getsockname()[1]}" for s in sockets]
    for each in sockets:
        each.close()
    return [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}})
        for i in range(count)
    ]


def _point(sizes, update, threads, precision, rounds, tf_config):
    if tf_config:
        os.environ["TF_CONFIG"] = tf_config
    command.start_tensorflow(threads, precision)
    import numpy as np

    from regan_tf import replicas
    from regan_tf.studies import timed_steps

    with replicas.strategy("multi_worker" if tf_config else "none").scope():
        step = timed_steps.update(sizes, UPDATES[update])
        before = _peak_memory()
        first, *seconds = [_seconds(step) for _ in range(1 + rounds)]
    figures = {"ms": 1e3 * float(np.median(seconds)), "tracing [s]": first - min(seconds)}
    return figures | {"peak memory [MB]": _peak_memory(), "of it before [MB]": before}


def _seconds(call):
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _timed(steps):
    """Medians of `calls` calls in each round, in milliseconds: a dict of name to [rounds]."""
    import numpy as np

    for call in tqdm(steps.values(), desc="tracing", leave=False):
        for _ in range(_WARM_UP):
            call()
    rounds = {name: [] for name in steps}
    for _ in tqdm(range(_ROUNDS.value), desc="timing", leave=False):
        for name, call in steps.items():
            calls = 1 if name.endswith(_LONG) else _CALLS.value
            rounds[name].append(1e3 * np.median([_seconds(call) for _ in range(calls)]))
    return {name: np.array(values) for name, values in rounds.items()}


def _startup():
    from regan_tf.studies import startup

    _keep_to(_THREADS.value)
    return startup.seconds(_ROUNDS.value)


def _memory(sizes):
    from regan_tf.studies import run_memory

    sized = {name: sizes[name] for name in ("seq_len", "batch_size")}
    return run_memory.resident(_MEMORY.value, pretrain_epochs=0, d_steps=_D_STEPS.value, **sized)


def _peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _title(sizes):
    listed = ", ".join(f"{name}={value}" for name, value in sizes.items())
    return f"{listed}, {_THREADS.value} thread(s), {_PRECISION.value}"


if __name__ == "__main__":
    command.run(main)
