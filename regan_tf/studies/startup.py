"""How long a run takes to begin and to end, beside TensorFlow's import. No TensorFlow here."""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from tabulate import tabulate
from tqdm import tqdm

# The main job, ended after the first of its iterations.
_JOB = ("-m", "regan_tf.main", "--estimator=rebar", "--temperature=0.1", "--iterations=1")


def seconds(rounds: int, job: tuple[str, ...] = _JOB) -> dict[str, dict[str, float]]:
    """Seconds that the main job takes with one adversarial iteration, beside `import tensorflow`:
    processes in turn, medians of the rounds, and of their ratios.

    Wall time, and the processor's, which a machine that is shared disturbs less.

    job: arguments of Python; flags for its directories follow.
    """
    found = {"wall": [], "CPU": []}
    for _ in tqdm(range(rounds), "rounds", leave=False):
        with tempfile.TemporaryDirectory() as path:
            directories = f"--workdir={path}/run", f"--export_dir={path}/export"
            pair = _seconds("-c", "import tensorflow"), _seconds(*job, *directories)
        for kind, values in zip(found, zip(*pair, strict=True), strict=True):
            found[kind].append(values)
    figures = {
        kind: {
            "import tensorflow [s]": statistics.median(one for one, _ in pairs),
            "main job, one iteration [s]": statistics.median(other for _, other in pairs),
            "ratio": statistics.median(other / one for one, other in pairs),
        }
        for kind, pairs in found.items()
    }
    rows = [[kind, *each.values()] for kind, each in figures.items()]
    print(tabulate(rows, ["", *figures["wall"]], floatfmt=".2f"))
    return figures


def _seconds(*arguments):
    """Wall and processor's seconds of a Python process. Raises CalledProcessError."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime
