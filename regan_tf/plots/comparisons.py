"""The pictures of groups of runs, in the manner of the paper's figures."""

import numpy as np

from regan_tf.plots import drawing

_VARIANCE_RANGE = 35  # nats that are shown
_SMALLEST_LACK = 1e-4  # of goodness: an evaluation's 10,000 samples show no less
_REWARD_PANELS = {
    "top_1": "Reward of the best sequence so far",
    "top_10": "Mean reward of the 10 best",
    "top_100": "Mean reward of the 100 best",
    "reward": "Mean reward of an update",
}


def over_seeds(groups):
    """What a mean over the groups' seeds is, in words; of one seed there is no interval."""
    counts = [len(group.runs) for group in groups]
    if max(counts) == 1:
        return "1 seed"
    runs = str(max(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    return f"mean over {runs} {groups[0].repeats} with 95 % interval"


def plot_groups(groups, name, path):
    """Draws how groups of runs went over the iterations, in the task's four panels.

    Bold the mean over seeds, in a band that is its 95 % bootstrap interval; faint the seeds.

    Args:
      groups: a list of `grouping.Group` on the same data.
      name: of the data, as in `grouping.grouped`.
      path: of the PNG.
    """
    task = groups[0].task
    figure, axes = drawing.subplots(2, 2, figsize=(12, 8.6))
    for each, panel in zip(axes.flat, task.panels, strict=True):
        perfect = task.perfect(panel.score) if panel.lacks else None
        for group, style in zip(groups, drawing.styles(len(groups)), strict=True):
            _draw_curve(each, group, panel.score, style, perfect)
        if panel.lacks:
            each.set_yscale("log")
        elif panel.score.startswith(
            "log_variance"
        ):  # one that underflows to zero must not squeeze the others
            bottom, top = each.get_ylim()
            each.set_ylim(bottom=max(bottom, top - _VARIANCE_RANGE))
        each.set_title(panel.title, fontsize=10)
        drawing.number_iterations(each)
    words = over_seeds(groups)
    figure.suptitle(f"{task.title(name)}: {words}" + ("" if words == "1 seed" else ", seeds faint"))
    drawing.legend_below(figure, axes[0, 0])
    drawing.write(figure, path)


def _draw_curve(axes, group, name, style, perfect=None):
    """A score's mean over the seeds, and each; or what these lack of perfect."""

    def transform(values):
        return values if perfect is None else np.maximum(perfect - values, _SMALLEST_LACK)

    iterations, mean, low, high = group.curve(name)
    if not len(iterations):
        return
    for curve in (run.curve(name) for run in group.runs):
        axes.plot(
            list(curve),
            transform(np.array(list(curve.values()))),
            color=style["color"],
            alpha=0.12,
            linewidth=0.5,
        )
    marker = "o" if len(iterations) == 1 else ""
    axes.plot(iterations, transform(mean), linewidth=1.4, marker=marker, label=group.label, **style)
    if np.isfinite(low).all():
        axes.fill_between(
            iterations,
            transform(low),
            transform(high),
            color=style["color"],
            alpha=0.2,
            linewidth=0,
        )


def plot_rewards(groups, name, path):
    """Draws what groups of runs had of their rewards over the calls that they made: the mean over
    seeds, in a band that is its 95 % bootstrap interval.

    Args:
      groups: a list of `grouping.Group` on the same data; of those that count no calls nothing is
        drawn.
      name: of the data, as in `grouping.grouped`.
      path: of the PNG.
    """
    figure, axes = drawing.subplots(2, 2, figsize=(12, 8.6))
    for each, (score, title) in zip(axes.flat, _REWARD_PANELS.items(), strict=True):
        for group, style in zip(groups, drawing.styles(len(groups)), strict=True):
            calls, mean, low, high = group.curve_over_calls(score)
            each.plot(calls, mean, linewidth=1.4, label=group.label, **style)
            each.fill_between(calls, low, high, color=style["color"], alpha=0.2, linewidth=0)
        each.set(xlabel="Calls: different sequences that the reward was asked for")
        each.set_title(title, fontsize=10)
        each.grid(alpha=0.3)
    figure.suptitle(f"{groups[0].task.title(name)}: {over_seeds(groups)}")
    drawing.legend_below(figure, axes[0, 0])
    drawing.write(figure, path)


def plot_variance_and_learning(groups, name, path):
    """Draws what learning (the mean headline over the run) lacks of perfect against the log
    variance (mean over the run).

    Args:
      groups: a list of `grouping.Group` on the same data; what was not measured is not drawn.
      name: of the data, as in `grouping.grouped`.
      path: of the PNG.
    """
    task = groups[0].task
    figure, axes = drawing.subplots(figsize=(9, 5))
    for group, style in zip(groups, drawing.styles(len(groups)), strict=True):
        variance, learning = (
            np.array(list(group.scores(score).values()))
            for score in ("log_variance_all", "learning")
        )
        lack, marker = (
            task.perfect("learning") - learning,
            "D" if style["linestyle"] == "-" else "s",
        )
        axes.plot(variance, lack, "o", color=style["color"], alpha=0.3, markersize=4)
        axes.plot(
            variance.mean(),
            lack.mean(),
            marker,
            color=style["color"],
            label=group.label,
            markersize=8,
        )
    axes.set(xlabel="Log mean variance of the gradient, mean over the run [nats]", yscale="log")
    axes.set_ylabel(f"What the mean {task.headline} over the run lacks of perfect")
    large = "" if over_seeds(groups) == "1 seed" else "; large: means over seeds"
    question = "does a lower variance learn faster? Lower is better"
    axes.set_title(f"{task.title(name)}: {question}{large}", fontsize=10)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    drawing.write(figure, path)


def plot_against(field, lines, title, path):
    """Draws the task's scores against a numeric flag, log scale, each with the 95 % bootstrap
    interval of its mean over seeds; those that have a perfect value, as parts of it.

    Args:
      field: the flag.
      lines: a dict from label to the list of `grouping.Group` on it, in the order of the flag.
      title: of the figure.
      path: of the PNG.
    """
    panels = next(iter(lines.values()))[0].task.flag_panels
    has_zero = any(getattr(g.config, field) == 0 for groups in lines.values() for g in groups)
    figure, axes = drawing.subplots(2, 2, figsize=(11, 7.4))
    for each, (name, ylabel, _) in zip(axes.flat, panels, strict=True):
        for (text, groups), style in zip(lines.items(), drawing.styles(len(lines)), strict=True):
            scale = [g.task.perfect(name) or 1 for g in groups]
            mean, low, high = (
                np.array(v) / scale for v in zip(*(g.mean(name) for g in groups), strict=True)
            )
            x = [getattr(g.config, field) for g in groups]
            errors = np.maximum(np.nan_to_num([mean - low, high - mean]), 0)
            each.errorbar(x, mean, errors, marker="o", label=text, capsize=3, **style)
        each.set(xlabel=field, ylabel=ylabel)
        each.set_xscale("symlog" if has_zero else "log")
        occurring = sorted({getattr(g.config, field) for groups in lines.values() for g in groups})
        each.set_xticks(occurring, [f"{value:.12g}" for value in occurring])
        each.minorticks_off()
        each.grid(alpha=0.3)
    figure.suptitle(title)
    drawing.legend_below(figure, axes[0, 0])
    drawing.write(figure, path)
