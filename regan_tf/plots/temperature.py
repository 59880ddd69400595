"""The pictures of `temperature_curve`."""

import numpy as np

from regan_tf.plots import drawing

_LABEL_ROOM = (15, 8)  # points of space that a temperature's label takes
_LABEL_OFFSETS = ((10, -7), (-10, 7))  # points of space from what it names to its middle


def plot_temperature_curves(curves, ideal, order, path):
    """Draws BLEU against self-BLEU, and held-out NLL against self-BLEU, over sampling temperatures;
    a ring is temperature 1.

    Args:
      curves: a dict from label to its points, dicts of `TextMetrics` and the temperature.
      ideal: the metrics of training texts, drawn as a star.
      order: n of BLEU-n.
      path: of the PNG.
    """
    figure, (left, right) = drawing.subplots(1, 2, figsize=(13, 5.4))
    diversity = f"self_bleu_{order}"
    for (label, points), style in zip(curves.items(), drawing.styles(len(curves)), strict=True):
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
    drawing.legend_below(figure, left)
    figure.draw_without_rendering()  # the layout: from here on a point's place in pixels is known
    for axes, quality in ((left, f"bleu_{order}"), (right, "nll_per_token")):
        _label_temperatures(axes, curves, diversity, quality)
    drawing.write(figure, path)


def plot_law_curves(curves, runs, entropy, level, path):
    """Draws the NLL of a law's data under generators against that of their samples under the law,
    over sampling temperatures; a ring is temperature 1.

    Args:
      curves: a dict from label to its points, dicts with the temperature, `nll_oracle` and
        `nll_test`.
      runs: the same of each run, a list of curves by label: drawn faintly.
      entropy: of the law, where a perfect generator is at temperature 1: a star.
      level: of nll_oracle, marked by a line.
      path: of the PNG.
    """
    figure, both = drawing.subplots(1, 2, figsize=(13, 5.4))
    x, y = "nll_oracle", "nll_test"
    for axes in both:
        for (label, points), style in zip(curves.items(), drawing.styles(len(curves)), strict=True):
            for faint in runs[label] if len(runs[label]) > 1 else []:
                xs, ys = ([p[name] for p in faint] for name in (x, y))
                axes.plot(xs, ys, color=style["color"], alpha=0.25, linewidth=0.8)
            xs, ys = ([p[name] for p in points] for name in (x, y))
            axes.plot(xs, ys, marker=".", label=label, **style)
            ring = [(p[x], p[y]) for p in points if p["temperature"] == 1]
            axes.plot(*np.reshape(ring, [-1, 2]).T, "o", mfc="none", ms=10, color=style["color"])
        axes.plot(entropy, entropy, "k*", markersize=13, label="the oracle")
        axes.axvline(level, color="0.6", linestyle=":", linewidth=1)
        axes.set(xlabel="NLL of samples under the oracle [nats a token]")
        axes.grid(alpha=0.3)
    both[0].set(
        ylabel="NLL of the oracle's data [nats a token]",
        title="Over temperatures: nearer to the star is better; rings: temperature 1",
    )
    _zoom(both[1], [p for points in curves.values() for p in points], level)
    drawing.legend_below(figure, both[0])
    figure.draw_without_rendering()  # the layout: from here on a point's place in pixels is known
    _label_temperatures(both[0], curves, x, y)
    drawing.write(figure, path)


def _zoom(axes, points, level):
    """Shows what is within a nat of the level, if there is something."""
    near = [p["nll_test"] for p in points if abs(p["nll_oracle"] - level) < 1]
    axes.set_title(f"Near NLL oracle {level:g}, at which generators are compared")
    if near:
        margin = 0.05 + 0.1 * (max(near) - min(near))
        axes.set_xlim(level - 1, level + 1)
        axes.set_ylim(min(near) - margin, max(near) + margin)


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

    for (name, points), style in zip(curves.items(), drawing.styles(len(curves)), strict=True):
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
