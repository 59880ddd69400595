"""The pictures of `compare` and `benchmark`."""

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from scipy import optimize

from regan_tf.plots import drawing

_GAP, _AXES_SHARE = 0.17, 0.8  # inches from name to name; of the figure's height


def plot_bias_and_variance(results, title, path):
    """Draws variance against bias, log scales, from the results of `compare`.

    The names stand in a column, each with a line to its point.
    A filled cross is a bias seen; a ring is none seen, drawn at the bias that noise alone could
    show.
    """
    height = max(3.6, _GAP * len(results) / _AXES_SHARE)
    figure, axes = drawing.subplots(figsize=(9, height))
    several = len({r["temperature"] for r in results}) > 1
    points = []
    for r in results:
        if r["bias_seen"]:
            x, marker = r["bias"], {"marker": "X", "color": "C3", "markerfacecolor": "C3"}
        else:
            x = max(r["bias_error"], 1e-5)
            marker = {"marker": "o", "color": "C0", "markerfacecolor": "none"}
        axes.plot(x, r["relative_variance"], linestyle="none", markersize=8, **marker)
        label = f"{r['estimator']} @ {r['temperature']:g}" if several else r["estimator"]
        points.append((r["relative_variance"], x, label))
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="Relative bias: red crosses; blue rings: none seen, drawn at the noise level",
        ylabel=f"Total variance, relative to {results[0]['estimator']}",
    )
    for axis in (axes.xaxis, axes.yaxis):  # 0.6, not 6 x 10^-1
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.margins(0.1)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3, which="both")
    _name_points(axes, sorted(points), _GAP / (_AXES_SHARE * height))
    drawing.write(figure, path)


def _name_points(axes, points, gap):
    """Names in a column at the right, so far apart; points: (y, x, name), ascending."""
    axes.autoscale_view()
    to_axes = axes.transData - axes.transAxes
    places = _spread([to_axes.transform((x, y))[1] for y, x, _ in points], gap)
    for (y, x, label), place in zip(points, places, strict=True):
        line = {"arrowstyle": "-", "color": "0.7", "linewidth": 0.6}
        at = {"xytext": (1.03, place), "textcoords": "axes fraction", "verticalalignment": "center"}
        axes.annotate(label, (x, y), fontsize=9, arrowprops=line, zorder=1, **at)


def _spread(wanted, gap):
    """Places in [0, 1] at least `gap` apart, in least squares nearest to the wanted (ascending)."""
    steps = gap * np.arange(len(wanted))
    return np.clip(optimize.isotonic_regression(wanted - steps).x, 0, max(1 - steps[-1], 0)) + steps


def plot_growth(name, values, figures, path):
    """Draws the time, the tracing and the peak memory of updates against a size; in the first,
    growth in proportion is dashed.

    Args:
      name, values: the size, and where it was measured.
      figures: a dict from update to its points, dicts by quantity, as `benchmark` measures them.
      path: of the PNG.
    """
    figure, axes = drawing.subplots(1, 3, figsize=(13, 4.2))
    for each, quantity in zip(axes, ("ms", "tracing [s]", "peak memory [MB]"), strict=True):
        for (update, points), style in zip(
            figures.items(), drawing.styles(len(figures)), strict=True
        ):
            each.plot(values, [p[quantity] for p in points], marker="o", label=update, **style)
        each.set(xlabel=name, ylabel=quantity, xscale="log")
        if quantity == "ms":
            least = min(points[0]["ms"] for points in figures.values())
            linear = least * np.array(values) / values[0]
            each.plot(values, linear, color="grey", linestyle="--", label="linear")
            each.set(ylabel="milliseconds an update", yscale="log")
        else:
            each.set_ylim(bottom=0)
        each.set_xticks(values, values)
        each.minorticks_off()
        each.grid(alpha=0.3)
    drawing.legend_below(figure, axes[0], columns=4)
    drawing.write(figure, path)
