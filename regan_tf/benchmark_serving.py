"""Measures what is served: rows a second of the exported generator beside the live one, and the
local server under load.

  python -m regan_tf.benchmark_serving --workdir=RUN --model_dir=export/regan-rebar-15

The first table is of one process and thread; the second is of a server in a process of its own,
with and without batching, asked by --clients at once, each for one row at a time over one
connection of its own; with --hostile=20 also beside so many bad requests a second. What the server
uses is told before, at each quarter of the time, and when all clients have left.
"""

import asyncio
import subprocess
import sys
import time

import numpy as np
from absl import flags
from tabulate import tabulate

from regan_tf.cli import command, config_flags
from regan_tf.config import UserError
from regan_tf.serving.versions import has_version, versions_in
from regan_tf.studies import processes

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run.", required=True)
_MODEL_DIR = flags.DEFINE_string(
    "model_dir", None, "Directory of the run's exported model.", required=True
)
_BATCHES = flags.DEFINE_list(
    "batch_sizes", ["1", "64", "1024"], "Rows of a call, in the first table."
)
_ROUNDS = flags.DEFINE_integer("rounds", 50, "Calls of each, one after the other.", 2)
_CLIENTS = flags.DEFINE_integer("clients", 32, "Clients at once, in the second table.", 1)
_SECONDS = flags.DEFINE_float(
    "seconds", 60.0, "Length of each load; 0 leaves the second table out.", 0
)

_HOSTILE = flags.DEFINE_float(
    "hostile", 0.0, "Also a load with so many hostile requests a second among the others.", 0
)


def main():
    """Prints the two tables."""
    if wrong := [text for text in _BATCHES.value if not (text.isdecimal() and int(text))]:
        raise UserError(f"--batch_sizes={wrong[0]} is not allowed: they must be numbers above 0")
    config = config_flags.read_run(_WORKDIR.value)
    if not has_version(_MODEL_DIR.value):
        raise UserError(f"--model_dir={_MODEL_DIR.value} holds no version")
    command.start_tensorflow(1)
    _print_throughput(config)
    if _SECONDS.value:
        _print_load()


def _print_throughput(config):
    import tensorflow as tf

    from regan_tf.graphs import compiled
    from regan_tf.tasks.registry import task_of
    from regan_tf.training.models import Models

    models = Models(config, task_of(config).vocabulary())
    models.restore(_WORKDIR.value)
    served = tf.saved_model.load(str(versions_in(_MODEL_DIR.value)[-1])).signatures["generate"]
    table = []
    for size in map(int, _BATCHES.value):
        live = compiled(lambda seed, size=size: models.generator.sample(size, seed))
        inputs = {"temperature": tf.ones([size]), "prefix": tf.fill([size], "")}
        calls = {
            "live": lambda i, live=live: live(tf.constant([0, i])),
            "served": lambda i, size=size, inputs=inputs: served(
                seed=tf.range(i, i + size, dtype=tf.int64), **inputs
            ),
        }
        seconds = _interleaved(calls)
        live, served_ = (size / np.median(seconds[name]) for name in ("live", "served"))
        table.append([size, live, served_, np.median(seconds["live"] / seconds["served"])])
    headers = ["rows a call", "live rows/s", "served rows/s", "served / live"]
    print(f"length {config.seq_len}, medians of {_ROUNDS.value} rounds, one thread\n")
    print(tabulate(table, headers, floatfmt=("", ".0f", ".0f", ".2f")), flush=True)


def _interleaved(calls):
    """Seconds of each call, in rounds: a dict from name to array."""
    seconds = {name: [] for name in calls}
    for i in range(_ROUNDS.value + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call(i)
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values[1:]) for name, values in seconds.items()}  # the first call traces


def _print_load():
    table = [
        _loaded("--batching", 0),
        *([_loaded("--batching", _HOSTILE.value)] if _HOSTILE.value else []),
        _loaded("--nobatching", 0),
    ]
    print(f"\n{_CLIENTS.value} clients for {_SECONDS.value:g} s, REST, one row a request\n")
    headers = ["", "hostile/s", "requests/s", "p50 [ms]", "p99 [ms]", "errors", "5xx"]
    headers += ["resident [MB]", "descriptors"]
    print(tabulate(table, headers, floatfmt=("", "g", ".0f", ".1f", ".1f", "")))


def _loaded(flag, hostile):
    """A row of the table: of a server with this flag, beside so many hostile requests a second."""
    server = [sys.executable, "-m", "regan_tf.serve", f"--model_dir={_MODEL_DIR.value}"]
    server += ["--rest_port=0", "--grpc_port=0", flag]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().split("REST at ")[1].split(",")[0]
            url = f"{address}/v1/models/regan:predict"
            milliseconds, clean, bad, usage = asyncio.run(_load(url, hostile, process.pid))
        finally:
            process.terminate()
            process.communicate()
    p50, p99 = np.percentile(milliseconds, [50, 99])
    errors = clean.total() - clean[200]
    failures = sum(n for code, n in (clean + bad).items() if code is not None and code >= 500)
    megabytes, descriptors = (" ".join(map(str, column)) for column in zip(*usage, strict=True))
    speed = len(milliseconds) / _SECONDS.value
    return [flag, hostile, speed, p50, p99, errors, failures, megabytes, descriptors]


async def _load(url, hostile, pid):
    """Of both kinds of clients what `server_load` gives; and what the server uses: before, after
    each quarter of the time, and when all have left.
    """
    from regan_tf.studies import server_load

    end = time.monotonic() + _SECONDS.value
    usage = [_usage(pid)]

    async def watch():
        for _ in range(4):
            await asyncio.sleep(_SECONDS.value / 4)
            usage.append(_usage(pid))

    (milliseconds, clean), bad, _ = await asyncio.gather(
        server_load.ask(url, _CLIENTS.value, end), server_load.attack(url, hostile, end), watch()
    )
    await asyncio.sleep(1)
    return milliseconds, clean, bad, [*usage, _usage(pid)]


def _usage(pid):
    """Resident megabytes and open descriptors of a process."""
    return int(processes.resident(pid)), processes.descriptors(pid)


if __name__ == "__main__":
    command.run(main)
