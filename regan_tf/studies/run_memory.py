"""Memory of a run as it goes on: whether its iterations leave something behind."""

import contextlib
import io
import tempfile

from tabulate import tabulate

from regan_tf.config import Config
from regan_tf.studies import processes
from regan_tf.training.callbacks import Callback
from regan_tf.training.run import run


class _Watch(Callback):
    """Keeps the resident memory in MB of some iterations."""

    def __init__(self, iterations):
        self._iterations, self.found = set(iterations), {}

    def on_iteration(self, record, generator):
        if record["iteration"] in self._iterations:
            self.found[record["iteration"]] = processes.resident()


def resident(iterations: int, **options) -> dict[int, float]:
    """Resident memory in MB as a run goes on, after 100 iterations, a thousand, and each tenth of
    all. On Linux.

    options: of the Config.
    """
    tenths = range(0, iterations + 1, max(1, iterations // 10))
    watch = _Watch({100, 1000, *tenths} - {0})
    silence = contextlib.redirect_stdout(io.StringIO())  # the run's own report
    with tempfile.TemporaryDirectory() as path, silence:
        fixed = {"iterations": iterations, "export_generator": "none", "workdir": path}
        run(Config(**(options | fixed)).resolved(), callbacks=[watch])
    print(tabulate(watch.found.items(), ["iteration", "resident memory [MB]"], floatfmt=".1f"))
    return watch.found
