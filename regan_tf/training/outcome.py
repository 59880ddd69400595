"""What a run prints at its end: metrics, samples, what to look at next, whether it collapsed."""

import contextlib
import json
from pathlib import Path

from tabulate import tabulate

from regan_tf.cli import command, config_flags
from regan_tf.serving.versions import MANIFEST

SAMPLES_SHOWN = 8
_NOT_SHOWN = {"samples", "phase", "iteration", "seconds", "nll"}
_FAR_WORSE = 0.1  # of the best, or nats a token
_POOR = 0.5  # of the variety at iteration 0


def report(task, dataset, path, summary, samples, best=()):
    """Prints it.

    Args:
      task: the run's Task.
      dataset: its data.Dataset.
      path: the run's directory.
      summary: what is in its summary.json, a dict.
      samples: lines, the last generator's.
      best: records of the calls of a reward in Python that gave most, with their texts.
    """
    print("\n" + _metrics_table(task, summary))
    real = dataset.vocabulary.to_text(dataset.real[:SAMPLES_SHOWN])
    print("\n" + _beside_each_other(task, real, samples[:SAMPLES_SHOWN]))
    if best:
        rows = [[command.figure(r["reward"]), f" {r['text']}"] for r in best[:SAMPLES_SHOWN]]
        headers = ["reward", f" best of {summary['calls']['calls']} sequences"]
        print("\n" + tabulate(rows, headers, disable_numparse=True, preserve_whitespace=True))
    ending = "converged" if summary["converged"] else "done"
    print(f"\n{ending} in {summary['seconds']:.1f} s. Now look at {path}/figures, and try")
    print(f"  {command.typed('sample', f'--workdir={path}')}")
    print(f"  tensorboard --logdir={path}/events")
    if summary["export"]:
        print(f"The SavedModel for TF Serving is in {summary['export']}; try it with")
        version = Path(summary["export"])
        print(f"  {command.typed('serve', f'--model_dir={version.parent}')}")
        _tell_of_another_run(version, path)
    else:
        export = command.typed("export", f"--workdir={path}")
        print(f"Nothing was exported; this does: {export}")
    _tell_of_calls_left(task.config, summary)
    _warn_of_lost_variety(summary)
    has_collapsed = _has_collapsed(task, summary["last"], summary["best"])
    if task.config.export_generator != "best" and has_collapsed:
        _warn_of_collapse(task.config, path, summary)


def _tell_of_calls_left(config, summary):
    """Says that a run ended before its --reward_calls were made, where nobody asked for that."""
    made = summary["calls"].get("calls", 0) if config.reward_calls else 0
    if made >= config.reward_calls or summary["converged"]:
        return
    why = (
        "the last 100 iterations had fewer new sequences than a batch has. A smaller "
        "--generator_learning_rate, --prior_kl or --entropy keep a generator searching"
        if summary["stalled"]
        else f"--iterations={config.iterations} came first"
    )
    print(f"warning: {made} of --reward_calls={config.reward_calls} were made: {why}")


def _warn_of_lost_variety(summary):
    """Says so if a reward has made the samples far less various than pre-training left them."""
    start, last = summary["start"], summary["last"]
    lost = [n for n in ("unique", "diversity") if last.get(n, 1) < _POOR * start.get(n, 0)]
    if lost:
        numbers = " and ".join(
            f"{name} {command.figure(last[name])} (at iteration 0 {command.figure(start[name])})"
            for name in lost
        )
        print(
            f"warning: the samples have lost their variety: {numbers}. A smaller "
            "--generator_learning_rate, --prior_kl, --entropy, or an end before (--reward_calls, "
            "--patience) keeps more of it"
        )


def _tell_of_another_run(version, path):
    """Says whose the version before is, if it is another run's: a server takes the newest."""
    before = version.with_name(str(int(version.name) - 1)) / MANIFEST
    with contextlib.suppress(OSError, ValueError, KeyError):
        run = json.loads(before.read_text(encoding="utf-8"))["run"]
        if run != Path(path).resolve().name:
            print(
                f"note: version {before.parent.name} there is of {run}; --model_name keeps the "
                "models of different runs apart"
            )


def _metrics_table(task, summary):
    shown = [summary[column] for column in ("start", "last", "best", "ideal")]
    columns, errors = [_flat(c) for c in shown], [c.get("standard_error", {}) for c in shown]
    if "reward" in columns[1]:
        reward = {"reward": columns[1]["reward"]}
        columns[1] = reward | summary.get("calls", {}) | columns[1]
    rows = [
        [name, *(_cell(c.get(name), e.get(name)) for c, e in zip(columns, errors, strict=True))]
        for name in columns[1]
        if name not in _NOT_SHOWN | task.not_shown
        and any(column.get(name) is not None for column in columns)
    ]
    headers = [
        "",
        "iteration 0",
        f"last ({summary['iterations']})",
        f"best ({summary['best_iteration']})",
        task.perfect_name,
    ]
    alignment = ["left", *["right"] * len(columns)]
    return tabulate(rows, headers, disable_numparse=True, colalign=alignment)


def _cell(value, error):
    return command.figure(value) + ("" if error is None else f" +- {command.figure(error)}")


def _beside_each_other(task, real, generated):
    """Real and generated samples: texts, which are longer, below each other."""
    if task.sample_fills_line:
        real, generated = ([f"  {line}" for line in lines] for lines in (real, generated))
        return "\n".join(["real", *real, "generated", *generated])
    return tabulate(
        zip(real, generated, strict=False),
        ["real", "generated"],
        disable_numparse=True,
        preserve_whitespace=True,
    )


def _has_collapsed(task, last, best):
    """Whether the last generator is far worse than the best by --metric: by a tenth, or by 0.1 nats
    a token of likelihood. A reward may be negative.
    """
    name = task.config.metric
    if name == "reward":
        if best[name] is None:  # no update was judged
            return False
        return best[name] - last[name] > _FAR_WORSE * abs(best[name])
    if name not in task.lower_is_better:
        return not last[name] >= (1 - _FAR_WORSE) * best[name]
    return not last[name] - best[name] <= _FAR_WORSE * task.mean_length(best)


def _warn_of_collapse(config, path, summary):
    last, best = (command.figure(summary[column][config.metric]) for column in ("last", "best"))
    where = [
        flag
        for flag in config_flags.export_flags(config)
        if not flag.startswith("--export_generator")
    ]
    export = command.typed("export", f"--workdir={path}", *where, "--generator=best")
    print(
        "warning: the last generator is far worse than the best, that of iteration "
        f"{summary['best_iteration']}, "
        f"by --metric={config.metric}: {last} against {best}. This exports the best:\n  {export}"
    )


def _flat(metrics):
    """Metrics without the levels between: {"unigram": {"x": 0.5}} -> {"unigram of x": 0.5}."""
    parts = {
        f"{name} of {part}": share
        for name, value in metrics.items()
        if isinstance(value, dict) and name != "standard_error"
        for part, share in value.items()
    }
    return {name: value for name, value in metrics.items() if not isinstance(value, dict)} | parts
