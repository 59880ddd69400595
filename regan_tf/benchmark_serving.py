"""Measures what is served: rows a second of the exported generator beside the live one, and the
local server under load.

  python -m regan_tf.benchmark_serving --workdir=RUN --model_dir=export/regan-rebar-15

The first table is of one process and thread; the second is of a server in a process of its own,
with and without batching, asked by --clients at once, each for one row at a time over one
connection of its own.
"""

import asyncio
import json
import subprocess
import sys
import time

import numpy as np
from absl import flags
from tabulate import tabulate

from regan_tf.cli import command, config_flags
from regan_tf.config import UserError
from regan_tf.serving.versions import versions_in

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


def main():
    """Prints the two tables."""
    if wrong := [text for text in _BATCHES.value if not (text.isdecimal() and int(text))]:
        raise UserError(f"--batch_sizes={wrong[0]} is not allowed: they must be numbers above 0")
    config = config_flags.read_run(_WORKDIR.value)
    if not versions_in(_MODEL_DIR.value):
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
    table = []
    for batching in (True, False):
        flag = "--batching" if batching else "--nobatching"
        server = [
            sys.executable,
            "-m",
            "regan_tf.serve",
            f"--model_dir={_MODEL_DIR.value}",
            "--rest_port=0",
            "--grpc_port=0",
            flag,
        ]
        with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
            try:
                url = (
                    process.stdout.readline().split("REST at ")[1].split(",")[0]
                    + "/v1/models/regan:predict"
                )
                milliseconds, errors = asyncio.run(_load(url))
            finally:
                process.terminate()
                process.communicate()
        p50, p99 = np.percentile(milliseconds, [50, 99])
        table.append([flag, len(milliseconds) / _SECONDS.value, p50, p99, errors])
    print(f"\n{_CLIENTS.value} clients for {_SECONDS.value:g} s, REST, one row a request\n")
    print(
        tabulate(
            table,
            ["", "requests/s", "p50 [ms]", "p99 [ms]", "errors"],
            floatfmt=("", ".0f", ".1f", ".1f", ""),
        )
    )


async def _load(url):
    """Milliseconds of every answer, and the number of answers that were errors."""
    import aiohttp

    milliseconds, errors, end = [], 0, time.monotonic() + _SECONDS.value

    async def client(session, seed):
        nonlocal errors
        while time.monotonic() < end:
            body = json.dumps({"instances": [{"seed": seed, "temperature": 1.0, "prefix": ""}]})
            start = time.perf_counter()
            async with session.post(url, data=body) as response:
                await response.read()
                errors += response.status != 200
            milliseconds.append(1000 * (time.perf_counter() - start))
            seed += _CLIENTS.value

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(session, seed) for seed in range(_CLIENTS.value)))
    return milliseconds, errors


if __name__ == "__main__":
    command.run(main)
