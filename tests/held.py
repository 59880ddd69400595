"""Runs regan_tf.main, which stops itself once its run has recorded an iteration:
`python -m tests.held ITERATION FLAGS`.

A test then does to it what the test is about, at a moment that it has made instead of hoped for:
see `command`, `wait_until_held`.
"""

import os
import runpy
import signal
import sys

from regan_tf.training.workdir import Workdir


def command(iteration, *flags):
    """What to run for a `regan_tf.main` that stops itself after the iteration."""
    return [sys.executable, "-m", "tests.held", str(iteration), *flags]


def wait_until_held(process):
    """Returns once the command has stopped itself. Raises RuntimeError if it has ended instead."""
    state = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if state.si_code != os.CLD_STOPPED:
        raise RuntimeError(f"the command ended before it could be held: {state}")


def _hold_at(iteration):
    append_metrics = Workdir.append_metrics

    def append_and_hold(workdir, record):
        append_metrics(workdir, record)
        if (record["phase"], record["iteration"]) == ("adversarial", iteration):
            os.kill(os.getpid(), signal.SIGSTOP)

    Workdir.append_metrics = append_and_hold


if __name__ == "__main__":
    _hold_at(int(sys.argv.pop(1)))
    runpy.run_module("regan_tf.main", run_name="__main__", alter_sys=True)
