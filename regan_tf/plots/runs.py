"""The pictures of one run."""

import itertools
from pathlib import Path

import numpy as np

from regan_tf.plots import drawing


def plot_run(records, task, directory, ideal=None):
    """Draws log_variance.png, for a reward of one's own reward.png, and the task's own figures into
    `directory`.

    Args:
      records: of metrics.jsonl.
      task: of the run.
      directory: is made if it is not there.
      ideal: the metrics that a perfect generator would have, drawn beside its own.
    """
    directory = Path(directory)
    directory.mkdir(exist_ok=True)
    title = f"{task.config.estimator.upper()}, length {task.config.seq_len}"
    line = "-" if task.judges_each_iteration else "o-"  # few points are marked
    for name, panels in task.run_figures:
        drawing.write(_run_figure(panels, records, ideal or {}, title, line), directory / name)
    if task.config.reward:
        updates = [r for r in records if r["reward"] is not None]
        drawing.write(_reward_figure(updates, title), directory / "reward.png")
    measured = [r for r in records if r["log_variance"] is not None]
    if measured:
        variances = {
            "log_variance": ("first parameter of the last layer (the paper's)", "C1"),
            "log_variance_all": ("mean over all parameters", "C2"),
        }
        figure = _of_updates(measured, variances, "Log variance of the gradient [nats]", title)
        drawing.write(figure, directory / "log_variance.png")


def _reward_figure(updates, title):
    """The reward over the iterations; where calls are counted over these, with the best ones and
    its components beside it.
    """
    if "calls" not in (updates or [{}])[0]:
        return _of_updates(updates, {"reward": (None, "C0")}, "Mean reward of an update", title)
    names = dict.fromkeys(itertools.chain(*updates))  # a component may come late: invalid at first
    components = [name for name in names if name.startswith("reward_")]
    layout = [["reward", *([name] if name else [])] for name in components or [""]]
    height, width = max(4.2, 1.6 * len(components)), 12 if components else 7
    figure, axes = drawing.mosaic(layout, figsize=(width, height))
    calls = [r["calls"] for r in updates]
    labels = {
        "top_1": "best so far",
        "top_10": "mean of the 10 best",
        "top_100": "mean of the 100 best",
        **dict.fromkeys(components),
        "reward": "mean of an update",
    }
    for i, (name, label) in enumerate(labels.items()):
        style = {"alpha": 0.7, "linewidth": 0.9} if name == "reward" else {"color": f"C{i + 1}"}
        values = [np.nan if r.get(name) is None else r[name] for r in updates]
        axes.get(name, axes["reward"]).plot(calls, values, label=label, **style)
    for name, each in axes.items():
        each.set(ylabel="Reward" if name == "reward" else name.removeprefix("reward_"))
        each.grid(alpha=0.3)
        each.set_xlim(left=0)
    for name in {"reward", *components[-1:]}:
        axes[name].set_xlabel("Calls: different sequences that the reward was asked for")
    axes["reward"].legend(frameon=False)
    figure.suptitle(title)
    return figure


def _of_updates(records, curves, ylabel, title):
    """Scores over the iterations; curves: by score, its label, None for none, and its color."""
    figure, axes = drawing.subplots(figsize=(7, 4.2))
    for score, (label, color) in curves.items():
        x, y = ([r[name] for r in records] for name in ("iteration", score))
        axes.plot(x, y, color=color, label=label)
    axes.set(title=title, ylabel=ylabel)
    if len(curves) > 1:
        axes.legend(frameon=False)
    drawing.number_iterations(axes)
    return figure


def _run_figure(panels, records, ideal, title, line):
    """`RunPanel`s side by side, with a legend in the only one, or below several."""
    is_single, curves = len(panels) == 1, panels[0].curves
    has_legend = any(curves.values())
    size = (7, 4.2) if is_single else (10, 4.6) if has_legend else (10, 4.2)
    figure, all_axes = drawing.subplots(1, len(panels), figsize=size, squeeze=False)
    for axes, panel in zip(all_axes.flat, panels, strict=True):
        _draw_run_panel(axes, panel, records, ideal, line, "0.4" if is_single else None)
    if is_single:
        axes.set(title=title)
        axes.legend(frameon=False)
    else:
        figure.suptitle(title)
        if has_legend:
            drawing.legend_below(figure, axes, columns=len(curves))
    return figure


def _draw_run_panel(axes, panel, records, ideal, line, ideal_color):
    records = [r for r in records if r["phase"] == panel.phase]
    for i, (metric, label) in enumerate(panel.curves.items()):
        x, y = ([r[name] for r in records if metric in r] for name in ("iteration", metric))
        axes.plot(x, y, line, markersize=3, color=f"C{i}", label=label)
        if panel.ideal and metric in ideal:
            style = {"color": ideal_color or f"C{i}", "linestyle": "--", "linewidth": 1}
            axes.axhline(ideal[metric], label=panel.ideal.format(label), **style)
    if panel.from_zero:
        axes.set_ylim(bottom=0)
    axes.set(ylabel=panel.ylabel)
    drawing.number_iterations(axes, panel.phase)
