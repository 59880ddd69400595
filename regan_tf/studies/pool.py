"""Runs many jobs, each in a process of its own, on this machine's cores or on a Ray cluster.

A job has a `log`, the path of a file, and `work()`, which starts TensorFlow and returns an exit
code.
"""

import concurrent.futures
import multiprocessing
import os
import sys
import tempfile
import threading
from collections import namedtuple
from multiprocessing import forkserver

from regan_tf.cli import command
from regan_tf.config import UserError

# What became of a job: its process' exit code (0 is good, negative a signal), and the last line
# that it printed.
Outcome = namedtuple("Outcome", "exit_code, last_line")

# Processes are forked from one that has loaded TensorFlow but started nothing of it: that saves
# seconds a run.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["regan_tf.training.run"])


class _Running:
    """The processes that run; once stopped, none starts."""

    def __init__(self):
        self._lock, self._processes, self._stopped = threading.Lock(), set(), False

    def start(self, process):
        """Starts it, unless stopped; returns whether it did."""
        with self._lock:
            if not self._stopped:
                process.start()
                self._processes.add(process)
            return not self._stopped

    def discard(self, process):
        """Forgets one that ended."""
        with self._lock:
            self._processes.discard(process)

    def stop(self):
        """Ends all: each run writes a checkpoint first."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.terminate()


def on_this_machine(jobs, workers):
    """Yields (job, Outcome) as the jobs end, `workers` of them at a time. Closed before the end, it
    ends them.
    """
    with command.silent_stderr():  # TensorFlow greets
        forkserver.ensure_running()
    running = _Running()
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        try:
            futures = {executor.submit(run_job, job, running): job for job in jobs}
            for future in concurrent.futures.as_completed(futures):
                yield futures[future], future.result()
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
            running.stop()


def connect(address):
    """Joins a Ray cluster; returns its number of cores. Raises UserError if Ray is not installed or
    the cluster does not answer.
    """
    try:
        import ray

        ray.init(address, log_to_driver=False, configure_logging=False)
    except ImportError:
        raise UserError(
            "--ray_address needs Ray, which is not installed: pip install 'regan-tf[ray]'"
        ) from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"--ray_address={address}: {str(error).splitlines()[0]}") from None
    cores = int(ray.cluster_resources().get("CPU", 0))
    if not cores:
        raise UserError(f"--ray_address={address}: the cluster has no CPU")
    return cores


def on_ray(jobs):
    """Yields (job, Outcome) as the jobs end on the cluster, a core each.

    Its nodes need this package and the runs' directory, under the same paths. A job whose node is
    lost goes on elsewhere, three times at most.
    """
    import ray

    remote = ray.remote(num_cpus=1, max_retries=3)(run_job)
    pending = {remote.remote(job): job for job in jobs}
    try:
        while pending:
            (reference,), _ = ray.wait(list(pending))
            try:
                outcome = ray.get(reference)
            except ray.exceptions.RayError as error:
                outcome = Outcome(1, str(error).splitlines()[0])
            yield pending.pop(reference), outcome
    finally:
        for reference in pending:
            ray.cancel(reference)


def run_job(job, running=None):
    """Runs the job to its end in a fresh process, its output in `job.log`; returns its Outcome.
    running: those that are stopped together.

    A process that a killed sweep left behind in the run's directory is waited for, not fought: its
    work counts.
    """
    process = _CONTEXT.Process(target=_main, args=(job,))
    running = running or _Running()
    try:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.log.unlink(missing_ok=True)
        if not running.start(process):
            return Outcome(command.INTERRUPTED, "")
        process.join()
        lines = job.log.read_text(encoding="utf-8", errors="replace").split("\n")
        return Outcome(
            process.exitcode, next((line for line in reversed(lines) if line.strip()), "")
        )
    except OSError as error:
        return Outcome(1, str(error))
    except BaseException:  # Ray cancels a task so
        if process.is_alive():
            process.terminate()
            process.join()
        raise
    finally:
        running.discard(process)


def _main(job):
    os.setsid()  # a Ctrl-C goes to the sweep, which passes it on once
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        # TensorFlow removes its temporary files at exit, which a forked process does not come to.
        with tempfile.TemporaryDirectory(prefix="regan_tf-") as tempfile.tempdir:
            sys.exit(job.work())
    except KeyboardInterrupt:
        sys.exit(command.INTERRUPTED)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
