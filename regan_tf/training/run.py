"""A run in its directory: go on where it was, show progress, keep what matters, and end with
figures, samples and an export.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
from datetime import datetime
from pathlib import Path

import tensorflow as tf
from tabulate import tabulate
from tensorboard.plugins.hparams import api as hparams
from tqdm import tqdm

from regan_tf import replicas
from regan_tf.cli import command, config_flags
from regan_tf.config import UserError
from regan_tf.files import NotWrittenError, writing
from regan_tf.plots import runs
from regan_tf.serving import publishing
from regan_tf.tasks.registry import task_of
from regan_tf.training import memory
from regan_tf.training.experiment import Experiment, NotFiniteError
from regan_tf.training.workdir import SAMPLES, SUMMARY, Workdir, restore, resume_command

_SAMPLES_KEPT, _SAMPLES_SHOWN = 100, 8
_NOT_SHOWN = ("goodness_max", "samples", "phase", "iteration", "seconds", "nll")
_FAR_WORSE = 0.1  # of the best, or nats a token
_WORTH_SAYING = 100 * 2**20  # bytes
_STOPPING = (
    "\nstopping after this step; press Ctrl-C again to stop at once "
    "(what is since the last checkpoint is lost)\n"
)
_SEQUENCE = (
    "the paper's sequence form of {0} is biased for an LSTM; "
    "--control_variate=step and rollout are not"
)
_ROLLOUT = (
    "the rollout form's gradient has a heavy tail beyond a few steps; "
    "--control_variate=step has none"
)
_STRAIGHT_THROUGH = (
    "straight_through is biased; "
    "reinforce, and rebar and relax with --control_variate=step, are not"
)
_REMARKS = {
    ("rebar", "sequence"): _SEQUENCE.format("rebar"),
    ("relax", "sequence"): _SEQUENCE.format("relax"),
    ("rebar", "rollout"): _ROLLOUT,
    ("relax", "rollout"): _ROLLOUT,
    ("straight_through", None): _STRAIGHT_THROUGH,
}


def run(config, wait=False):
    """Runs, or goes on with, the configured experiment. Returns the process' exit code.

    Args:
      wait: while another process runs in the directory, wait for it.
    Raises:
      UserError: the directory, a checkpoint or the export does not allow it; or NotFiniteError.
    """
    if config.distribution == "multi_worker" and not config.workdir:
        raise UserError(
            "--distribution=multi_worker needs --workdir: a directory that all workers see"
        )
    path = (
        config.workdir
        or f"runs/{datetime.now():%Y%m%d-%H%M%S-%f}-{config.estimator}-{config.seq_len}"
    )
    task = task_of(config)
    dataset = task.load()
    config = task.described(dataset)
    with _disk(config, path), replicas.strategy(config.distribution).scope():
        needed = memory.require(config, len(dataset.vocabulary), replicas.count())
        if not replicas.is_chief():
            return _assist(config, dataset, path)
        workdir = Workdir(path, config, wait)
        experiment = Experiment(config, dataset)
        resumed = restore(path, experiment.checkpoint)
        if experiment.finished and (workdir.path / SUMMARY).exists():
            flag = "--patience" if experiment.converged else "--iterations"
            print(
                f"{path} is finished: {experiment.iteration} iterations. A higher {flag} goes on "
                "with it."
            )
            return 0
        workdir.record(config)
        # Of a shorter run that goes on: it is written again at the end.
        (workdir.path / SUMMARY).unlink(missing_ok=True)
        if remark := _REMARKS.get((config.estimator, config.control_variate)) or _REMARKS.get(
            (config.estimator, None)
        ):
            print(f"note: {remark}")
        for remark in dataset.remarks:
            print(remark)
        if needed >= _WORTH_SAYING:
            print(
                f"an update takes about {needed / 2**20:.0f} MB of memory; a larger --row_parts "
                f"(now {config.row_parts}) less"
            )
        print(
            f"{config.estimator}, length {config.seq_len}: "
            f"{'going on in' if resumed else 'run in'} {path}"
        )
        records = workdir.cut_metrics(lambda r: _is_kept(r, experiment))
        try:
            with (
                _Interruption() as interruption,
                _EventLog(
                    workdir.path / "events", config, records, experiment.task.event_metrics
                ) as events,
                _others(config, path),
            ):
                if not _train(experiment, workdir, records, events, interruption):
                    print(f"\ninterrupted; this goes on:\n  {resume_command(path, config)}")
                    return command.INTERRUPTED
        except NotFiniteError as error:
            raise NotFiniteError(
                f"{error}; the last good checkpoint is in {path}/checkpoints"
            ) from None
    if config.distribution != "none":  # what is measured and exported at the end is one replica's
        experiment = Experiment(config, dataset)
        restore(path, experiment.checkpoint)
    with _disk(config, path):
        _finish(experiment, workdir, records)
    return 0


@contextlib.contextmanager
def _disk(config, path):
    """Says how to go on where something could not be written."""
    try:
        yield
    except NotWrittenError as error:
        has_begun = (Path(path) / config_flags.FILE_NAME).exists()
        how = f"go on with: {resume_command(path, config)}" if has_begun else "start again"
        raise UserError(
            f"{error}; put that right (if the disk is full, free some space), then {how}"
        ) from None


def _assist(config, dataset, path):
    """The part of a worker that is not the first: takes every step and writes nothing. It reads the
    same directory.
    """
    experiment = Experiment(config, dataset)
    restore(path, experiment.checkpoint)
    with _others(config, path):
        while experiment.pretraining:
            experiment.pretrain_epoch()
        if experiment.iteration < 0:
            experiment.measure_start()
        while not experiment.finished:
            experiment.iterate()
    return 0


@contextlib.contextmanager
def _others(config, path):
    """Says it in one line when a worker is lost, or has ended after a Ctrl-C: the others cannot go
    on without it.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if config.distribution != "multi_worker":
            raise
        raise UserError(
            f"another worker is gone ({str(error.message).splitlines()[0][:160]}). When all have "
            "ended, start them again with\n"
            f"  {resume_command(path, config)}"
        ) from None


def _train(experiment, workdir, records, events, interruption):
    """Trains to the end; returns False if it was interrupted, with a checkpoint behind it."""
    config, headline = experiment.config, experiment.task.headline

    def keep(record):
        records.append(record)
        workdir.append_metrics(record)
        events.write(record)
        if record["phase"] == "pretrain" or record["iteration"] % config.eval_every == 0:
            events.write_samples(
                record, experiment.dataset.vocabulary.to_text(experiment.evaluated(_SAMPLES_SHOWN))
            )

    with _bar("pre-training", experiment.pretrained, experiment.pretrain_batches) as bar:
        # The interruption is asked about once a step: what ends a loop has also been saved.
        stop = False
        while experiment.pretraining and not stop:
            record = experiment.pretrain_group()
            stop = bool(interruption)
            if record:
                keep(record)
                bar.set_postfix({headline: f"{record[headline]:.3f}"}, refresh=False)
            bar.update(experiment.pretrained - bar.n)
            if record or stop:
                workdir.save(experiment.checkpoint, _position(experiment))
    if experiment.iteration < 0 and not stop:
        keep(experiment.measure_start())
        workdir.save(experiment.checkpoint, _position(experiment))
    stop = stop or bool(interruption) or experiment.finished
    shown_headline = {}
    with _bar(config.estimator, max(experiment.iteration, 0), config.iterations) as bar:
        while not stop:
            keep(experiment.iterate())
            stop = bool(interruption) or experiment.finished
            shown = {"reward": f"{records[-1]['reward']:.3f}"}
            if headline in records[-1]:
                shown_headline = {headline: f"{records[-1][headline]:.3f}"}
            bar.set_postfix(shown_headline | shown, refresh=False)
            bar.update()
            if stop or experiment.iteration % config.checkpoint_every == 0:
                workdir.save(experiment.checkpoint, _position(experiment))
    return experiment.finished


def _position(experiment):
    """Counts a run's checkpoints: pre-training minibatches, then adversarial iterations."""
    return experiment.pretrained + experiment.iteration + 1


def _is_kept(record, experiment):
    reached = experiment.pretrained if record["phase"] == "pretrain" else experiment.iteration
    return record["iteration"] <= reached


def _finish(experiment, workdir, records):
    config = experiment.config
    columns = {
        "start": next(r for r in records if r["phase"] == "adversarial" and r["iteration"] == 0),
        "last": experiment.evaluate_last(),
        "best": experiment.evaluate_best(),
    }
    samples = experiment.dataset.vocabulary.to_text(experiment.evaluated(_SAMPLES_KEPT))
    workdir.write(SAMPLES, "".join(f"{line}\n" for line in samples))
    ideal = experiment.metrics.ideal(experiment.eval_samples)
    _plot(records, experiment.task, workdir.path / "figures", ideal)
    summary = {
        "dataset": config.dataset,
        "estimator": config.estimator,
        "seq_len": config.seq_len,
        "temperature": config.temperature,
        "seed": config.seed,
        "iterations": experiment.iteration,
        "converged": experiment.converged,
        "best_iteration": experiment.best_iteration,
        **columns,
        "ideal": ideal,
        "export": _export(experiment, columns, workdir),
        "seconds": sum(r["seconds"] for r in records),
    }
    workdir.write(SUMMARY, json.dumps(summary, indent=2) + "\n")
    _print_report(experiment, workdir, summary, samples)


def _plot(records, task, directory, ideal):
    with writing(directory):
        try:
            runs.plot_run(records, task, directory, ideal)
        except OSError:
            shutil.rmtree(directory, ignore_errors=True)  # no half a picture
            raise


def _export(experiment, columns, workdir):
    """Publishes the generator that --export_generator asks for; returns the new version's path, or
    None for none.
    """
    config = experiment.config
    which = config.export_generator
    if which == "none":
        return None
    target = Path(config.export_dir) / config.model_name
    return str(publishing.publish_run(experiment, which, columns[which], workdir.path, target))


def _print_report(experiment, workdir, summary, samples):
    columns = [_flat(summary[column]) for column in ("start", "last", "best", "ideal")]
    rows = [
        [name, *(column.get(name) for column in columns)]
        for name in columns[1]
        if name not in _NOT_SHOWN
    ]
    rows = [[name, *(command.figure(value) for value in values)] for name, *values in rows]
    headers = [
        "",
        "iteration 0",
        f"last ({summary['iterations']})",
        f"best ({summary['best_iteration']})",
        experiment.task.real,
    ]
    alignment = ["left", *["right"] * len(columns)]
    print("\n" + tabulate(rows, headers, disable_numparse=True, colalign=alignment))
    real = experiment.dataset.vocabulary.to_text(experiment.dataset.real[:_SAMPLES_SHOWN])
    if experiment.task.sample_fills_line:
        print(
            "\n".join(
                [
                    "",
                    "real",
                    *(f"  {line}" for line in real),
                    "generated",
                    *(f"  {line}" for line in samples[:_SAMPLES_SHOWN]),
                ]
            )
        )
    else:
        shown = zip(real, samples, strict=False)
        print(
            "\n"
            + tabulate(
                shown, ["real", "generated"], disable_numparse=True, preserve_whitespace=True
            )
        )
    ending = "converged" if summary["converged"] else "done"
    print(f"\n{ending} in {summary['seconds']:.1f} s. Now look at {workdir.path}/figures, and try")
    print(f"  python -m regan_tf.sample --workdir={workdir.path}")
    print(f"  tensorboard --logdir={workdir.path}/events")
    if summary["export"]:
        print(f"The SavedModel for TF Serving is in {summary['export']}; try it with")
        print(f"  make serve MODEL={Path(summary['export']).parent}")
    else:
        print(
            f"Nothing was exported; this does: python -m regan_tf.export --workdir={workdir.path}"
        )
    if experiment.config.export_generator != "best" and _has_collapsed(
        experiment.task, summary["last"], summary["best"]
    ):
        _warn_of_collapse(experiment.config, workdir.path, summary)


def _has_collapsed(task, last, best):
    """Whether the last generator is far worse than the best by --metric: by a tenth, or by 0.1 nats
    a token of likelihood.
    """
    name = task.config.metric
    if name not in task.lower_is_better:
        return not last[name] >= (1 - _FAR_WORSE) * best[name]
    return not last[name] - best[name] <= _FAR_WORSE * task.tokens(best)


def _warn_of_collapse(config, path, summary):
    last, best = (command.figure(summary[column][config.metric]) for column in ("last", "best"))
    where = [
        flag
        for flag in config_flags.export_flags(config)
        if not flag.startswith("--export_generator")
    ]
    export = shlex.join(
        ["python", "-m", "regan_tf.export", f"--workdir={path}", *where, "--generator=best"]
    )
    print(
        "warning: the last generator is far worse than the best, that of iteration "
        f"{summary['best_iteration']}, "
        f"by --metric={config.metric}: {last} against {best}. This exports the best:\n  {export}"
    )


def _flat(metrics):
    """Metrics without the levels between: {"unigram": {"x": 0.5}} -> {"frequency of x": 0.5}."""
    frequencies = {
        f"frequency of {symbol}": share for symbol, share in metrics.get("unigram", {}).items()
    }
    return {
        name: value for name, value in metrics.items() if not isinstance(value, dict)
    } | frequencies


def _bar(name, done, total):
    interval = 0.1 if sys.stderr.isatty() else 10
    return tqdm(
        desc=name, initial=done, total=total, mininterval=interval, unit="it", dynamic_ncols=True
    )


class _Interruption:
    """True once SIGINT or SIGTERM has come: the step under way is finished first. A second one
    stops at once.
    """

    def __enter__(self):
        self._came = False
        self._previous = {
            s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number, frame):
        if self._came:
            raise KeyboardInterrupt
        self._came = True
        with contextlib.suppress(
            OSError
        ):  # not print: it may be in the middle of a line of the bar, and cannot be entered twice
            os.write(2, _STOPPING.encode())

    def __bool__(self):
        return self._came


class _EventLog:
    """TensorBoard events: the configuration as hyperparameters, the records' numbers, and samples
    at evaluation points.

    A continued run writes them anew from its records, so that nothing beyond its checkpoint is left
    in them. Records hold no
    samples: those from before the interruption are gone.
    """

    def __init__(self, directory, config, records, metrics):
        self._directory = directory
        shutil.rmtree(directory, ignore_errors=True)
        values = {
            name: getattr(config, name)
            for name in config_flags.recorded(config)
            if getattr(config, name) is not None
        }
        with writing(directory):
            self._writer = tf.summary.create_file_writer(str(directory))
            with self._writer.as_default(0):
                hparams.hparams_config(
                    [hparams.HParam(name) for name in values],
                    [hparams.Metric(f"adversarial/{name}") for name in metrics],
                )
                hparams.hparams(values)
        for record in records:
            self.write(record)

    def write(self, record):
        with writing(self._directory), self._writer.as_default(record["iteration"]):
            for name, value in record.items():
                if isinstance(value, float):
                    tf.summary.scalar(f"{record['phase']}/{name}", value)

    def write_samples(self, record, samples):
        """samples: lines, which are what the record was measured on."""
        with writing(self._directory), self._writer.as_default(record["iteration"]):
            # TensorBoard reads Markdown, in which an indented line stands for itself: "*" is an
            # operator of the grammar.
            tf.summary.text(
                f"{record['phase']}/samples", "".join(f"    {line}\n" for line in samples)
            )

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        # What ended the run is what to tell: a full disk fails here once more.
        with contextlib.suppress(tf.errors.OpError) if error else writing(self._directory):
            self._writer.close()
