"""The end of a run: samples, the best of what a reward was asked for, figures, an export, the
summary.
"""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np

from regan_tf.estimators.calls import auc_top
from regan_tf.files import writing
from regan_tf.plots import runs
from regan_tf.serving import publishing
from regan_tf.training import outcome
from regan_tf.training.records import SUMMARY
from regan_tf.training.workdir import BEST, SAMPLES

_SAMPLES_KEPT = 100
_BEST_KEPT = 100


def finish(experiment, workdir, records):
    """Measures the last and the best generator, writes what a finished run leaves, and prints it.

    records: those of its metrics.jsonl. Raises NotWrittenError.
    """
    config, progress, evaluation = experiment.config, experiment.progress, experiment.evaluation
    start = next(r for r in records if r["phase"] == "adversarial" and r["iteration"] == 0)
    columns = {"start": start} | _measured(evaluation, progress)
    samples = experiment.dataset.vocabulary.to_text(evaluation.samples[:_SAMPLES_KEPT])
    if config.reward:
        _add_reward(columns, experiment, records)
    curves = _add_conclusions(columns, experiment)
    best = _best_sequences(experiment, workdir) if experiment.black_box else []
    workdir.write(SAMPLES, "".join(f"{line}\n" for line in samples))
    _plot(records, experiment.task, workdir.path / "figures", evaluation.ideal)
    summary = {
        "dataset": config.dataset,
        "estimator": config.estimator,
        "seq_len": config.seq_len,
        "temperature": config.temperature,
        "seed": config.seed,
        "iterations": progress.iteration,
        "converged": progress.converged,
        "stalled": progress.stalled,
        "best_iteration": progress.best_iteration,
        **columns,
        "calls": _of_calls(experiment),
        "ideal": evaluation.ideal,
        **({"temperature_curve": curves} if curves else {}),
        "export": _export(experiment, columns, workdir),
        "seconds": sum(r["seconds"] for r in records),
    }
    workdir.write(SUMMARY, json.dumps(summary, indent=2) + "\n")
    outcome.report(experiment.task, experiment.dataset, workdir.path, summary, samples, best)


def _measured(evaluation, progress):
    """The metrics of the best and of the last generator, whose samples are those drawn last. One
    that is both is measured once.
    """
    best = {}
    if progress.best_iteration != progress.iteration:
        best = evaluation.measure(progress.iteration, "best")
    last = evaluation.measure(progress.iteration)
    return {"last": last, "best": best or dict(last)}


def _add_reward(columns, experiment, records):
    """The reward of the first iteration; the mean by which the best evaluation point was judged;
    and that of the end, if it is an evaluation point, or else over the last --eval_every
    iterations.
    """
    progress = experiment.progress
    at = {r["iteration"]: r for r in records if r["phase"] == "adversarial"}
    last = range(progress.iteration - experiment.config.eval_every + 1, progress.iteration + 1)
    found = [at[i]["reward"] for i in last if at.get(i, {}).get("reward") is not None]
    values = {
        "start": at.get(1, {}).get("reward"),
        "last": float(np.mean(found)) if found else None,
        "best": at.get(progress.best_iteration, {}).get("mean_reward"),
    }
    values["last"] = at.get(progress.iteration, {}).get("mean_reward", values["last"])
    for name, value in values.items():
        reward = {"reward": value}
        columns[name] = reward | columns[name] | reward  # it comes first


def _add_conclusions(columns, experiment):
    """What is told of a generator once, at the end, where the law of the data is known. Returns the
    curves over temperatures, by the generator's name.
    """
    progress, curves = experiment.progress, {}
    if experiment.dataset.law is None:
        return curves
    for which in ("last", "best"):
        is_same = which == "best" and progress.best_iteration == progress.iteration
        if not is_same:
            found, curve = experiment.evaluation.conclude(which)
        columns[which] |= found
        curves[which] = curve
    return curves


def _of_calls(experiment):
    """What the reward's calls came to: how many there were, the best ones' means, and PMO's score;
    {} where none are counted.
    """
    box = experiment.black_box
    if not box or not box.calls:
        return {}
    budget = experiment.config.reward_calls
    score = auc_top(box.ledger.column("reward"), 10, budget)
    return experiment.describe_calls() | {"auc_top_10": score}


def _best_sequences(experiment, workdir):
    """Writes the table of the best sequences; returns them with their texts, dicts."""
    box, vocabulary = experiment.black_box, experiment.dataset.vocabulary
    tokens, _ = box.best(_BEST_KEPT)
    texts, found = vocabulary.to_text(tokens), box.ledger.best(_BEST_KEPT)
    names = box.ledger.names
    text = io.StringIO()
    table = csv.writer(text, "excel-tab", lineterminator="\n")
    table.writerow(["rank", *names, "iteration", "call", "sequence"])
    for rank, (each, sequence) in enumerate(zip(found, texts, strict=True), start=1):
        numbers = (each[name] for name in (*names, "iteration", "call"))
        table.writerow([rank, *numbers, sequence])
    workdir.write(BEST, text.getvalue())
    return [each | {"text": sequence} for each, sequence in zip(found, texts, strict=True)]


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
    config, which = experiment.config, experiment.config.export_generator
    if which == "none":
        return None
    target = Path(config.export_dir) / config.model_name
    models, progress = experiment.models, experiment.progress
    return str(
        publishing.publish_run(models, progress, which, columns[which], workdir.path, target)
    )
