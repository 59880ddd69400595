"""A run in its directory: go on where it was, show progress, keep what matters; interrupted, or to
the end.
"""

import contextlib
from datetime import datetime
from pathlib import Path

import tensorflow as tf

from regan_tf import replicas
from regan_tf.cli import command, config_flags
from regan_tf.config import UserError
from regan_tf.estimators import reward_functions
from regan_tf.files import NotWrittenError
from regan_tf.tasks.registry import task_of
from regan_tf.training import algorithm, closing, memory, outcome
from regan_tf.training.bars import Bars
from regan_tf.training.callbacks import call
from regan_tf.training.checkpoints import restore
from regan_tf.training.events import EventLog
from regan_tf.training.experiment import Experiment
from regan_tf.training.interruption import Interruption
from regan_tf.training.records import SUMMARY, read_of, summary
from regan_tf.training.workdir import CALLS, Workdir, call_lines, reading_calls, resume_command

_WORTH_SAYING = 100 * 2**20  # bytes
_SEQUENCE = (
    "the paper's sequence form of {0} is biased for an LSTM; "
    "--control_variate=step and rollout are not"
)
_ROLLOUT = (
    "the rollout form's gradient has a heavy tail beyond a few steps; "
    "--control_variate=step has none"
)
_STRAIGHT_THROUGH = (
    "{} is biased; reinforce, and rebar and relax with --control_variate=step, are not"
)
_ALL_ACTIONS = (
    "all_actions_biased is biased by what its critic gets wrong; "
    "doubly_robust, with the same critic, is not"
)
_DISCOUNT = (
    "with --discount below 1 an update is no gradient of a mean reward; --discount=1 has one"
)
_COT = (
    "cot leaves later divergences out, so its updates are no gradient of the whole one; "
    "cot_unbiased has them"
)
_REUSE = (
    "sequences that are used again make updates biased; --updates_per_batch=1 --replay=0 are not"
)


def run(config, wait=False, callbacks=(), own_reward=None, ends_process=False):
    """Runs, or goes on with, the configured experiment. Returns the process' exit code.

    Args:
      wait: while another process runs in the directory, wait for it.
      callbacks: of class Callback.
      own_reward: what --reward names, if it is there already.
      ends_process: whether a second Ctrl-C may end the process while Python does not hear it.
    Raises:
      UserError: the directory, a checkpoint or the export does not allow it; or NotFiniteError.
    """
    with contextlib.ExitStack() as held:  # its directory: given back however it ends
        return _run(config, wait, callbacks, own_reward, held, Interruption(ends_process))


def _run(config, wait, callbacks, own_reward, held, interruption):
    path = directory(config)
    task = task_of(config)
    dataset = task.load()
    config = task.completed(dataset)
    with _disk(config, path), replicas.strategy(config.distribution).scope():
        needed = memory.require(config, len(dataset.vocabulary), replicas.count())
        if not replicas.is_chief():
            return _assist(config, dataset, path, own_reward)
        workdir = held.enter_context(Workdir(path, config, wait))
        experiment = held.enter_context(_experiment(config, dataset, path, own_reward))
        resumed = _restored(experiment, path, workdir.append_calls)
        if experiment.progress.finished and summary(path) is not None:
            _say_that_it_is_finished(experiment.progress, path)
            return 0
        changed = _change_of_reward(config, path)
        workdir.cut_calls()
        workdir.record(config, dataset.vocabulary)  # nothing is changed before all is read
        # Of a shorter run that goes on: it is written again at the end.
        (workdir.path / SUMMARY).unlink(missing_ok=True)
        _introduce(config, dataset, needed)
        if changed:
            print(changed)
        if "valid" in getattr(experiment.black_box, "names", ()):
            print("note: a sequence that the reward calls invalid has reward 0")
        print(
            f"{config.estimator}, length {config.seq_len}: "
            f"{'going on in' if resumed else 'run in'} {path}"
        )
        workdir.go_on_from(resumed, experiment.progress.recorded)
        if not _train(experiment, workdir, callbacks, interruption):
            print(f"\ninterrupted; this goes on:\n  {resume_command(path, config)}")
            return command.INTERRUPTED
    if config.distribution != "none":  # what is measured and exported at the end is one replica's
        experiment = held.enter_context(_experiment(config, dataset, path, own_reward))
        _restored(experiment, path, workdir.append_calls)
    with _disk(config, path):
        closing.finish(experiment, workdir, _records(experiment, workdir.path))
    return 0


def _experiment(config, dataset, path, own_reward):
    """The Experiment at its start, to be closed by a `with`."""
    calls = Path(path) / CALLS
    has_calls = calls.exists() and calls.stat().st_size > 0
    return contextlib.closing(Experiment(config, dataset, own_reward, has_calls))


def _restored(experiment, path, append_calls=None):
    """Brings it to where the run is: its newest checkpoint that can be read and whose records and
    calls are all there. What is known in calls.jsonl is not asked again. Returns which; None at the
    start. Raises UserError.
    """

    def require():
        _records(experiment, path)
        if box := experiment.black_box:
            with reading_calls(path):
                box.keep_record(lambda: call_lines(path), experiment.progress.calls, append_calls)

    return restore(path, experiment.checkpoint, require=require) or require()


def _records(experiment, path):
    """The records so far. They are in the run's file alone: a long run has many."""
    return read_of(path, experiment.progress.recorded)


def _change_of_reward(config, path):
    """Says that a reward is not what it was, for what it gave then is kept; "" if it is."""
    file, calls = reward_functions.source(config.reward), Path(path) / CALLS
    if file is None or not calls.exists() or file.stat().st_mtime <= calls.stat().st_mtime:
        return ""
    return (
        f"note: {file} has changed since the run's last call; what it gave before stays in "
        f"{calls} and among the best. If it is another reward now, give another --workdir"
    )


def directory(config):
    """Where the run is kept: --workdir, or a new directory. Raises UserError."""
    if config.distribution == "multi_worker" and not config.workdir:
        raise UserError(
            "--distribution=multi_worker needs --workdir: a directory that all workers see"
        )
    return config.workdir or f"runs/{datetime.now():%Y%m%d-%H%M%S-%f}-{config.name}"


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


def _say_that_it_is_finished(progress, path):
    done = f"{path} is finished: {progress.iteration} iterations"
    if progress.stalled:
        print(f"{done}, in the last of which the generator wrote hardly anything new.")
        return
    flag = "--iterations"
    if progress.converged or progress.spent:
        flag = "--patience" if progress.converged else "--reward_calls"
    print(f"{done}. A higher {flag} goes on with it.")


def _introduce(config, dataset, needed):
    """Says what to know of the estimator, the texts, and the memory that is needed, in bytes."""
    if remark := _remark(config):
        print(f"note: {remark}")
    for remark in dataset.remarks:
        print(remark)
    if needed >= _WORTH_SAYING:
        print(
            f"an update takes about {needed / 2**20:.0f} MB of memory; a larger --row_parts "
            f"(now {config.row_parts}) less"
        )


def _remark(config):
    spec = config.estimator_spec
    if spec.traits.relaxed:
        forms = {"sequence": _SEQUENCE.format(spec.estimator), "rollout": _ROLLOUT}
        return forms.get(spec.control_variate)
    if spec.updates_per_batch > 1 or config.replay:
        return _REUSE
    if config.discount < 1:
        return _DISCOUNT
    if spec.traits.signal is None and spec.traits.mediator:
        return _COT
    if spec.traits.all_actions and spec.traits.signal is None:
        return _ALL_ACTIONS
    is_straight_through = spec.traits.tokens == "straight_through"
    return _STRAIGHT_THROUGH.format(spec.estimator) if is_straight_through else None


def _assist(config, dataset, path, own_reward):
    """The part of a worker that is not the first: takes every step and writes nothing. It reads the
    same directory.
    """
    experiment = Experiment(config, dataset, own_reward)
    _restored(experiment, path)
    with contextlib.closing(experiment), _others(config, path):
        for _ in algorithm.regan(experiment):
            pass
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


def _train(experiment, workdir, callbacks, interruption):
    """Trains to the end; returns False if it was interrupted, with a checkpoint behind it."""
    config, progress = experiment.config, experiment.progress
    try:
        with (
            interruption,
            _event_log(experiment, workdir.path) as events,
            _others(config, workdir.path),
            Bars(config, progress, experiment.task.headline) as bars,
        ):
            for record in algorithm.regan(experiment):
                if record:
                    _keep(record, experiment, workdir, events)
                    judged = record["iteration"] % config.eval_every == 0
                    call(callbacks, record, experiment.generator, judged)
                bars.show(record)
                if record and progress.iteration == 0:
                    bars.say(_doubts(experiment, workdir.path))
                # The interruption is asked about once a step: what ends the loop is also saved.
                stop = bool(interruption)
                if stop or _is_due(record, experiment):
                    workdir.save(experiment.checkpoint, progress.steps)
                if stop:
                    break
    except algorithm.NotFiniteError as error:
        where = (
            f"the last good checkpoint is in {workdir.path}/checkpoints"
            if workdir.has_checkpoint()
            else "there is no checkpoint yet"
        )
        raise algorithm.NotFiniteError(f"{error}; {where}") from None
    return progress.finished


def _event_log(experiment, path):
    return EventLog(path / "events", experiment.task, _records(experiment, path))


def _doubts(experiment, path):
    """Warnings of what pre-training left, at iteration 0, before the adversarial phase."""
    *pretraining, start = _records(experiment, path)
    found = experiment.task.doubts(pretraining, start, experiment.evaluation.ideal)
    return [f"warning: {doubt}" for doubt in found]


def _keep(record, experiment, workdir, events):
    workdir.append_metrics(record)
    events.write(record)
    at_evaluation_point = record["iteration"] % experiment.config.eval_every == 0
    if record["phase"] == "pretrain" or at_evaluation_point:
        samples = experiment.evaluation.samples[: outcome.SAMPLES_SHOWN]
        events.write_samples(record, experiment.dataset.vocabulary.to_text(samples))


def _is_due(record, experiment):
    """Whether a checkpoint follows on a step."""
    if record is None or experiment.progress.finished:
        return experiment.progress.finished
    at_checkpoint = record["iteration"] % experiment.config.checkpoint_every == 0
    return record["phase"] == "pretrain" or at_checkpoint
