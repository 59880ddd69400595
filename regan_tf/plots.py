"""The pictures: of one run and of groups of runs, in the manner of the paper's figures, and of
`compare`.
"""

from pathlib import Path

import matplotlib
import numpy as np
from scipy import optimize

from regan_tf.config import BLEU_ORDERS

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

plt.rcParams["axes.formatter.useoffset"] = False  # 6.0159, not 0.0009 with a +6.015 in the corner

_VARIANCE_RANGE = 35  # nats that are shown
_SMALLEST_LACK = 1e-4  # of goodness: an evaluation's 10,000 samples show no less
_LETTERS_PER_INCH = 13  # of a legend's font
_LABEL_ROOM = (15, 8)  # points of space that a temperature's label takes
_LABEL_OFFSETS = ((10, -7), (-10, 7))  # points of space from what it names to its middle

# Of `plot_groups`: what is drawn, and the title.
_PANELS = (
    ("goodness", "Goodness Score (the paper's a)"),
    ("lack", "What goodness lacks of perfect, log scale"),
    ("log_variance", "Log variance of one parameter of the last layer [nats] (the paper's b)"),
    ("log_variance_all", "Log mean variance over all parameters [nats]"),
)
_TEXT_PANELS = (
    ("nll_per_token", "Held-out NLL [nats per token]"),
    ("bleu_4", "BLEU-4 against the held-out texts"),
    ("self_bleu_4", "Self-BLEU-4: lower is more varied"),
    ("log_variance_all", "Log mean variance of the gradient, all parameters [nats]"),
)


def over_seeds(groups):
    """What a mean over the groups' seeds is, in words; of one seed there is no interval."""
    counts = [len(group.runs) for group in groups]
    if max(counts) == 1:
        return "1 seed"
    seeds = str(max(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    return f"mean over {seeds} seeds with 95 % interval"


def plot_run(records, config, directory, ideal=None):
    """Draws log_variance.png, and goodness.png or, of texts, likelihood.png and bleu.png, into
    `directory`.

    Args:
      records: of metrics.jsonl.
      config: of the run.
      directory: is made if it is not there.
      ideal: the metrics of training texts, drawn beside the texts' own.
    """
    directory = Path(directory)
    directory.mkdir(exist_ok=True)
    pretraining = [r for r in records if r["phase"] == "pretrain"]
    records = [r for r in records if r["phase"] == "adversarial"]
    name = f"{config.estimator.upper()}, length {config.seq_len}"

    if config.is_text:
        _plot_text(pretraining, [r for r in records if "nll" in r], ideal or {}, name, directory)
    else:
        figure, axes = _axes(name, "Goodness Score")
        axes.plot(
            [r["iteration"] for r in records],
            [r["goodness"] for r in records],
            color="C0",
            label="generated",
        )
        axes.axhline(config.seq_len - 2, color="0.4", linestyle="--", linewidth=1, label="perfect")
        axes.set_ylim(bottom=0)
        _save(figure, axes, directory / "goodness.png")

    measured = [r for r in records if r["log_variance"] is not None]
    if measured:
        figure, axes = _axes(name, "Log variance of the gradient [nats]")
        iterations = [r["iteration"] for r in measured]
        axes.plot(
            iterations,
            [r["log_variance"] for r in measured],
            color="C1",
            label="first parameter of the last layer (the paper's)",
        )
        axes.plot(
            iterations,
            [r["log_variance_all"] for r in measured],
            color="C2",
            label="mean over all parameters",
        )
        _save(figure, axes, directory / "log_variance.png")


def _plot_text(pretraining, records, ideal, name, directory):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    panels = (
        (left, pretraining, "Minibatch of pre-training"),
        (right, records, "Adversarial iteration"),
    )
    for axes, points, xlabel in panels:
        axes.plot(
            [r["iteration"] for r in points],
            [r["nll_per_token"] for r in points],
            "o-",
            markersize=3,
        )
        _number_iterations(axes, xlabel)
    left.set(ylabel="Held-out NLL [nats per token]")
    figure.suptitle(name)
    _write(figure, directory / "likelihood.png")

    figure, both = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    for axes, measure, ylabel in zip(
        both, ("bleu", "self_bleu"), ("BLEU", "Self-BLEU: lower is more varied"), strict=True
    ):
        for n in BLEU_ORDERS:
            score, color = f"{measure}_{n}", f"C{n - 2}"
            axes.plot(
                [r["iteration"] for r in records],
                [r[score] for r in records],
                "o-",
                markersize=3,
                color=color,
                label=f"n = {n}",
            )
            if score in ideal:
                axes.axhline(
                    ideal[score],
                    linestyle="--",
                    linewidth=1,
                    color=color,
                    label=f"n = {n}, training texts",
                )
        axes.set(ylabel=ylabel)
        _number_iterations(axes, "Adversarial iteration")
    figure.suptitle(name)
    _legend_below(figure, both[0], columns=len(BLEU_ORDERS))
    _write(figure, directory / "bleu.png")


def plot_groups(groups, name, path):
    """Draws how groups of runs went over the iterations: goodness, what it lacks, and both log
    variances; of texts likelihood, BLEU, self-BLEU and one log variance.

    Bold the mean over seeds, in a band that is its 95 % bootstrap interval; faint the seeds.

    Args:
      groups: a list of `results.Group` on the same data.
      name: of the data, as in `results.grouped`: the grammar's length, or the texts' name.
      path: of the PNG.
    """
    panels = _TEXT_PANELS if isinstance(name, str) else _PANELS
    figure, axes = plt.subplots(2, 2, figsize=(12, 8.6), layout="constrained")
    for each, (score, title) in zip(axes.flat, panels, strict=True):
        for group, style in zip(groups, _styles(len(groups)), strict=True):
            if score == "lack":
                _draw_curve(
                    each,
                    group,
                    "goodness",
                    style,
                    lambda values: np.maximum(name - 2 - values, _SMALLEST_LACK),
                )
            else:
                _draw_curve(each, group, score, style)
        if score == "lack":
            each.set_yscale("log")
        elif score.startswith(
            "log_variance"
        ):  # one that underflows to zero must not squeeze the others
            bottom, top = each.get_ylim()
            each.set_ylim(bottom=max(bottom, top - _VARIANCE_RANGE))
        each.set_title(title, fontsize=10)
        _number_iterations(each, "Adversarial iteration")
    title = name if isinstance(name, str) else f"Length {name}"
    words = over_seeds(groups)
    figure.suptitle(f"{title}: {words}" + ("" if words == "1 seed" else ", seeds faint"))
    _legend_below(figure, axes[0, 0])
    _write(figure, path)


def plot_variance_and_learning(groups, seq_len, path):
    """Draws what learning (mean goodness over the run) lacks of perfect against the log variance
    (mean over the run).

    Args:
      groups: a list of `results.Group` of one length; what was not measured is not drawn.
      seq_len: that length.
      path: of the PNG.
    """
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for group, style in zip(groups, _styles(len(groups)), strict=True):
        variance, learning = (
            np.array(list(group.scores(name).values())) for name in ("log_variance_all", "learning")
        )
        lack, marker = seq_len - 2 - learning, "D" if style["linestyle"] == "-" else "s"
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
    axes.set_ylabel("What the mean goodness over the run lacks of perfect")
    large = "" if over_seeds(groups) == "1 seed" else "; large: means over seeds"
    axes.set_title(
        f"Length {seq_len}: does a lower variance learn faster? Lower is better{large}", fontsize=10
    )
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    _write(figure, path)


def plot_against(field, lines, title, path):
    """Draws scores against a numeric flag, log scale, each with the 95 % bootstrap interval of its
    mean over seeds.

    Args:
      field: the flag.
      lines: a dict from label to the list of `results.Group` on it, in the order of the flag.
      title: of the figure.
      path: of the PNG.
    """
    panels = {
        "goodness": "Goodness at the end / perfect",
        "learning": "Mean goodness over the run / perfect",
        "log_variance_all": "Log mean variance [nats]",
        "nll_excess": "Held-out NLL excess [nats]",
    }
    is_text = next(iter(lines.values()))[0].config.is_text
    if is_text:
        panels = {
            "bleu_4": "BLEU-4 at the end",
            "self_bleu_4": "Self-BLEU-4 at the end",
            "log_variance_all": "Log mean variance [nats]",
            "nll_per_token": "Held-out NLL [nats per token]",
        }
    has_zero = any(getattr(g.config, field) == 0 for groups in lines.values() for g in groups)
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.4), layout="constrained")
    for each, (name, ylabel) in zip(axes.flat, panels.items(), strict=True):
        for (text, groups), style in zip(lines.items(), _styles(len(lines)), strict=True):
            scale = [
                g.config.seq_len - 2 if not is_text and name in ("goodness", "learning") else 1
                for g in groups
            ]
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


def _draw_curve(axes, group, name, style, transform=lambda values: values):
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


def _number_iterations(axes, xlabel):
    axes.set_xlabel(xlabel)
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


def _axes(title, ylabel):
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    axes.set(title=title, ylabel=ylabel)
    _number_iterations(axes, "Adversarial iteration")
    return figure, axes


def _save(figure, axes, path):
    axes.legend(frameon=False)
    _write(figure, path)


def _write(figure, path):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=120, format="png")
    temporary.replace(path)
    plt.close(figure)
