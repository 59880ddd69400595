"""The pictures: of one run and of groups of runs, in the manner of the paper's figures, and of
`compare`.
"""

from pathlib import Path

import matplotlib
import numpy as np
from scipy import optimize

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

plt.rcParams["axes.formatter.useoffset"] = False  # 6.0159, not 0.0009 with a +6.015 in the corner

_VARIANCE_RANGE = 35  # nats that are shown
_SMALLEST_LACK = 1e-4  # of goodness: an evaluation's 10,000 samples show no less
_LETTERS_PER_INCH = 13  # of a legend's font
_LABEL_ROOM = (15, 8)  # points of space that a temperature's label takes
_LABEL_OFFSETS = ((10, -7), (-10, 7))  # points of space from what it names to its middle
_XLABELS = {"pretrain": "Minibatch of pre-training", "adversarial": "Adversarial iteration"}


def over_seeds(groups):
    """What a mean over the groups' seeds is, in words; of one seed there is no interval."""
    counts = [len(group.runs) for group in groups]
    if max(counts) == 1:
        return "1 seed"
    seeds = str(max(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    return f"mean over {seeds} seeds with 95 % interval"


def plot_run(records, task, directory, ideal=None):
    """Draws log_variance.png and the task's own figures into `directory`.

    Args:
      records: of metrics.jsonl.
      task: of the run.
      directory: is made if it is not there.
      ideal: the metrics that a perfect generator would have, drawn beside its own.
    """
    directory = Path(directory)
    directory.mkdir(exist_ok=True)
    title = f"{task.config.estimator.upper()}, length {task.config.seq_len}"
    for name, panels in task.run_figures:
        _write(_run_figure(panels, records, ideal or {}, title), directory / name)
    measured = [r for r in records if r["log_variance"] is not None]
    if measured:
        figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
        for score, color, label in (
            ("log_variance", "C1", "first parameter of the last layer (the paper's)"),
            ("log_variance_all", "C2", "mean over all parameters"),
        ):
            x, y = ([r[name] for r in measured] for name in ("iteration", score))
            axes.plot(x, y, color=color, label=label)
        axes.set(title=title, ylabel="Log variance of the gradient [nats]")
        axes.legend(frameon=False)
        _number_iterations(axes)
        _write(figure, directory / "log_variance.png")


def _run_figure(panels, records, ideal, title):
    """`RunPanel`s side by side, with a legend in the only one, or below several."""
    is_single, curves = len(panels) == 1, panels[0].curves
    has_legend = any(curves.values())
    size = (7, 4.2) if is_single else (10, 4.6) if has_legend else (10, 4.2)
    figure, all_axes = plt.subplots(
        1, len(panels), figsize=size, layout="constrained", squeeze=False
    )
    for axes, panel in zip(all_axes.flat, panels, strict=True):
        _draw_run_panel(axes, panel, records, ideal, "0.4" if is_single else None)
    if is_single:
        axes.set(title=title)
        axes.legend(frameon=False)
    else:
        figure.suptitle(title)
        if has_legend:
            _legend_below(figure, axes, columns=len(curves))
    return figure


def _draw_run_panel(axes, panel, records, ideal, ideal_color):
    records = [r for r in records if r["phase"] == panel.phase]
    for i, (metric, label) in enumerate(panel.curves.items()):
        x, y = ([r[name] for r in records if metric in r] for name in ("iteration", metric))
        axes.plot(x, y, "o-" if panel.few else "-", markersize=3, color=f"C{i}", label=label)
        if panel.ideal and metric in ideal:
            style = {"color": ideal_color or f"C{i}", "linestyle": "--", "linewidth": 1}
            axes.axhline(ideal[metric], label=panel.ideal.format(label), **style)
    if panel.from_zero:
        axes.set_ylim(bottom=0)
    axes.set(ylabel=panel.ylabel)
    _number_iterations(axes, panel.phase)


def plot_groups(groups, name, path):
    """Draws how groups of runs went over the iterations, in the task's four panels.

    Bold the mean over seeds, in a band that is its 95 % bootstrap interval; faint the seeds.

    Args:
      groups: a list of `results.Group` on the same data.
      name: of the data, as in `results.grouped`.
      path: of the PNG.
    """
    task = groups[0].task
    figure, axes = plt.subplots(2, 2, figsize=(12, 8.6), layout="constrained")
    for each, panel in zip(axes.flat, task.panels, strict=True):
        perfect = task.perfect(panel.score) if panel.lacks else None
        for group, style in zip(groups, _styles(len(groups)), strict=True):
            _draw_curve(each, group, panel.score, style, perfect)
        if panel.lacks:
            each.set_yscale("log")
        elif panel.score.startswith(
            "log_variance"
        ):  # one that underflows to zero must not squeeze the others
            bottom, top = each.get_ylim()
            each.set_ylim(bottom=max(bottom, top - _VARIANCE_RANGE))
        each.set_title(panel.title, fontsize=10)
        _number_iterations(each)
    words = over_seeds(groups)
    figure.suptitle(f"{task.title(name)}: {words}" + ("" if words == "1 seed" else ", seeds faint"))
    _legend_below(figure, axes[0, 0])
    _write(figure, path)


def plot_variance_and_learning(groups, name, path):
    """Draws what learning (the mean headline over the run) lacks of perfect against the log
    variance (mean over the run).

    Args:
      groups: a list of `results.Group` on the same data; what was not measured is not drawn.
      name: of the data, as in `results.grouped`.
      path: of the PNG.
    """
    task = groups[0].task
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for group, style in zip(groups, _styles(len(groups)), strict=True):
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
    _write(figure, path)


def plot_against(field, lines, title, path):
    """Draws the task's scores against a numeric flag, log scale, each with the 95 % bootstrap
    interval of its mean over seeds; those that have a perfect value, as parts of it.

    Args:
      field: the flag.
      lines: a dict from label to the list of `results.Group` on it, in the order of the flag.
      title: of the figure.
      path: of the PNG.
    """
    panels = next(iter(lines.values()))[0].task.flag_panels
    has_zero = any(getattr(g.config, field) == 0 for groups in lines.values() for g in groups)
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.4), layout="constrained")
    for each, (name, ylabel, _) in zip(axes.flat, panels, strict=True):
        for (text, groups), style in zip(lines.items(), _styles(len(lines)), strict=True):
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
    _legend_below(figure, axes[0, 0])
    _write(figure, path)


def plot_temperature_curves(curves, ideal, order, path):
    """Draws BLEU against self-BLEU, and held-out NLL against self-BLEU, over sampling temperatures;
    a ring is temperature 1.

    Args:
      curves: a dict from label to its points, dicts of `TextMetrics` and the temperature.
      ideal: the metrics of training texts, drawn as a star.
      order: n of BLEU-n.
      path: of the PNG.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.4), layout="constrained")
    diversity = f"self_bleu_{order}"
    for (label, points), style in zip(curves.items(), _styles(len(curves)), strict=True):
        for axes, quality in ((left, f"bleu_{order}"), (right, "nll_per_token")):
            x, y = ([p[name] for p in points] for name in (diversity, quality))
            axes.plot(x, y, marker=".", label=label, **style)
            ring = [(p[diversity], p[quality]) for p in points if p["temperature"] == 1]
            axes.plot(*np.reshape(ring, [-1, 2]).T, "o", mfc="none", ms=10, color=style["color"])
    left.plot(ideal[diversity], ideal[f"bleu_{order}"], "k*", markersize=13, label="training texts")
    left.set(
        ylabel=f"BLEU-{order} against the held-out texts",
        title="Quality against diversity: higher is better; rings: temperature 1",
    )
    right.set(
        ylabel="Held-out NLL [nats per token]",
        title="Likelihood at that temperature: lower is better",
    )
    for axes in (left, right):
        axes.set_xlabel(f"Self-BLEU-{order}: lower is more varied")
        axes.grid(alpha=0.3)
    _legend_below(figure, left)
    figure.draw_without_rendering()  # the layout: from here on a point's place in pixels is known
    for axes, quality in ((left, f"bleu_{order}"), (right, "nll_per_token")):
        _label_temperatures(axes, curves, diversity, quality)
    _write(figure, path)


def plot_growth(name, values, figures, path):
    """Draws the time, the tracing and the peak memory of updates against a size; in the first a
    linear law is dashed.

    Args:
      name, values: the size, and where it was measured.
      figures: a dict from update to its points, dicts by quantity, as `benchmark` measures them.
      path: of the PNG.
    """
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    for each, quantity in zip(axes, ("ms", "tracing [s]", "peak memory [MB]"), strict=True):
        for (update, points), style in zip(figures.items(), _styles(len(figures)), strict=True):
            each.plot(values, [p[quantity] for p in points], marker="o", label=update, **style)
        if quantity == "ms":
            least = min(points[0]["ms"] for points in figures.values())
            each.plot(
                values,
                least * np.array(values) / values[0],
                color="grey",
                linestyle="--",
                label="linear",
            )
        each.set(
            xlabel=name,
            ylabel={"ms": "milliseconds an update"}.get(quantity, quantity),
            xscale="log",
        )
        each.set_yscale("log" if quantity == "ms" else "linear")
        each.set_xticks(values, values)
        each.minorticks_off()
        each.set_ylim(bottom=None if quantity == "ms" else 0)
        each.grid(alpha=0.3)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    _write(figure, path)


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


def _label_temperatures(axes, curves, x, y):
    """Writes the temperatures at the curves' points, in the curve's colour: on the side where the
    curves' points are farther away, and only where neither these nor another label are in the way.
    """
    scale = 72 / axes.figure.dpi  # pixels to points
    places = {
        name: scale * axes.transData.transform([(p[x], p[y]) for p in points])
        for name, points in curves.items()
    }
    every, placed = np.concatenate(list(places.values())), []
    half = np.array(_LABEL_ROOM) / 2

    def distance(place):
        return np.min(np.linalg.norm(every - place, axis=1))

    for (name, points), style in zip(curves.items(), _styles(len(curves)), strict=True):
        for p, point in zip(points, places[name], strict=True):
            offset = max(_LABEL_OFFSETS, key=lambda o, point=point: distance(point + o))
            place = point + offset
            is_free = all(np.any(np.abs(place - other) > _LABEL_ROOM) for other in placed)
            if is_free and np.all(np.any(np.abs(every - place) > half, axis=1)):
                placed.append(place)
                axes.annotate(
                    f"{p['temperature']:g}",
                    (p[x], p[y]),
                    textcoords="offset points",
                    xytext=offset,
                    ha="center",
                    va="center",
                    fontsize=7,
                    color=style["color"],
                )


def _legend_below(figure, axes, columns=3):
    """The legend under the figure, in as many columns as hold the labels in full, and no more than
    that.
    """
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels), default=0) + 6  # the line, and the space between columns
    ncols = min(columns, max(1, int(figure.get_figwidth() * _LETTERS_PER_INCH / longest)))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=ncols, frameon=False, fontsize=9
    )


def _number_iterations(axes, phase="adversarial"):
    axes.set_xlabel(_XLABELS[phase])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def _styles(count):
    """Distinct line styles: ten colours, then the same dashed."""
    return [
        {"color": f"C{i % 10}", "linestyle": ("-", "--", ":")[i // 10 % 3]} for i in range(count)
    ]


def plot_bias_and_variance(results, title, path):
    """Draws variance against bias, log scales, from the results of `compare`.

    The names stand in a column, each with a line to its point.
    A filled cross is a bias seen; a ring is none seen, drawn at the bias that noise alone could
    show.
    """
    gap, axes_share = 0.17, 0.8  # inches from name to name; of the figure's height
    height = max(6, gap * len(results) / axes_share)
    figure, axes = plt.subplots(figsize=(11, height), layout="constrained")
    several = len({r["temperature"] for r in results}) > 1
    points = []
    for r in results:
        seen = r["bias_seen"]
        x, y = r["bias"] if seen else max(r["bias_error"], 1e-5), r["relative_variance"]
        axes.plot(
            x,
            y,
            "X" if seen else "o",
            color="C3" if seen else "C0",
            markerfacecolor="C3" if seen else "none",
            markersize=8,
        )
        label = f"{r['estimator']} @ {r['temperature']:g}" if several else r["estimator"]
        points.append((y, x, label))
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="Relative bias: red crosses; blue rings: none seen, drawn at the noise level",
    )
    axes.set_ylabel(f"Total variance, relative to {results[0]['estimator']}")
    axes.margins(0.1)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3, which="both")
    points = sorted(points)
    axes.autoscale_view()
    to_axes = axes.transData - axes.transAxes
    wanted = [to_axes.transform((x, y))[1] for y, x, _ in points]
    places = _spread(wanted, gap / (axes_share * height))
    for (y, x, label), place in zip(points, places, strict=True):
        line = {"arrowstyle": "-", "color": "0.7", "linewidth": 0.6}
        at = {"xytext": (1.03, place), "textcoords": "axes fraction", "verticalalignment": "center"}
        axes.annotate(label, (x, y), fontsize=8, arrowprops=line, zorder=1, **at)
    _write(figure, path)


def _spread(wanted, gap):
    """Places in [0, 1] at least `gap` apart, in least squares nearest to the wanted (ascending)."""
    steps = gap * np.arange(len(wanted))
    return np.clip(optimize.isotonic_regression(wanted - steps).x, 0, max(1 - steps[-1], 0)) + steps


def _write(figure, path):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=120, format="png")
    temporary.replace(path)
    plt.close(figure)
