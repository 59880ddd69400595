"""The picture of a leaderboard: who has the lowest variance, at what bias and time."""

from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter

from regan_tf.plots import drawing

_UNBIASED, _BIASED, _TAIL = "C0", "C3", "0.6"
_MARKERS = ("o", "s", "D", "^", "v")
_ROW, _HEAD = 0.3, 1.5  # inches of a row, and of all else
_MOST = 10  # a larger variance is an arrow with its number
_STEP = 0.22  # of a row, between its points


def plot_standings(standings, has_tail, path):
    """Draws variances relative to the yardstick's, log scale: a row an estimator, the best first; a
    panel for each length of frozen states, one for runs, and the times.

    Red: a bias is seen in a state, and the row's name has its range. Grey: a tail, no variance.

    Args:
      standings: a list of `standings.Standing`, the unbiased first.
      has_tail: says of a result at a state whether it has a tail.
      path: of the PNG.
    """
    lengths = sorted({r["seq_len"] for s in standings for r in s.at_states.values()})
    runs = any(s.along_runs for s in standings)
    size = 2.7 + 2.7 * len(lengths) + 1.8 * runs, _HEAD + _ROW * len(standings)
    widths = [2.5] * len(lengths) + [1.7] * runs + [0.4 * len(lengths)]
    figure, axes = drawing.subplots(1, len(widths), figsize=size, squeeze=False, widths=widths)
    axes, names = list(axes[0]), {}
    for each, length in zip(axes, lengths, strict=False):
        rows = [s.of_length(length) for s in standings]
        names |= _draw_points(each, rows, lambda r: _colour(r, has_tail))
        each.set_title(f"Frozen states of length {length}", fontsize=10)
    if runs:
        _draw_points(axes[-2], [s.along_runs for s in standings], lambda r: _UNBIASED)
        axes[-2].set_title("Along runs", fontsize=10)
        _mark_legend(axes[-2], list(dict.fromkeys(n for s in standings for n in s.along_runs)))
    _write_times(axes[-1], standings, lengths)
    for each in axes:
        _rule_rows(each, standings)
    _name_rows(axes[0], standings)
    figure.suptitle("Variance of one estimate relative to reinforce_loo's, lowest first")
    _legend(figure, names)
    drawing.write(figure, path)


def _colour(result, has_tail):
    return _TAIL if has_tail(result) else _BIASED if result["bias_seen"] else _UNBIASED


def _draw_points(axes, rows, colour):
    """A point, with its interval, for each result of each row; returns the strengths' markers."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    for y, row in enumerate(rows):
        for k, name in enumerate(names):
            if name in row:
                place = y + _STEP * (k - (len(names) - 1) / 2)
                _draw_point(axes, row[name], place, _MARKERS[k], colour(row[name]))
    axes.axvline(1, color="0.4", linewidth=0.8, linestyle="--", zorder=0)
    axes.set(xscale="log")
    low, _ = axes.get_xlim()
    axes.set_xlim(min(low, 0.5), 1.6 * _MOST)
    axes.xaxis.set_major_locator(FixedLocator([10.0**k for k in range(-6, 2)]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    return {name.split("_")[0]: _MARKERS[k] for k, name in enumerate(names)}


def _draw_point(axes, result, y, marker, color):
    value = result["variance"]
    style = {"color": color, "markersize": 5, "linestyle": "none"}
    if value > _MOST:
        axes.plot(_MOST, y, marker=">", **style)
        axes.annotate(
            f"{value:.2g}" if value < 100 else f"{value:.0f}",
            (_MOST, y),
            xytext=(-5, 0),
            textcoords="offset points",
            horizontalalignment="right",
            verticalalignment="center",
            fontsize=6,
            color=color,
        )
        return
    errors = [[value - result["variance_low"]], [result["variance_high"] - value]]
    axes.errorbar(value, y, xerr=errors, marker=marker, elinewidth=1, **style)


def _write_times(axes, standings, lengths):
    """Of one estimate, in units of the yardstick's, a column a length."""
    axes.set_title("Time", fontsize=10)
    axes.set_xlim(-0.5, len(lengths) - 0.5)
    for x, length in enumerate(lengths):
        for y, standing in enumerate(standings):
            times = sorted(r["relative_time"] for r in standing.of_length(length).values())
            time = times[len(times) // 2]
            text = f"{time:.1f}" if time < 10 else f"{time:.0f}"
            axes.text(x, y, text, ha="center", va="center", fontsize=8)
    axes.set_xticks(range(len(lengths)), [f"T={length}" for length in lengths], fontsize=8)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _rule_rows(axes, standings):
    axes.set_ylim(len(standings) - 0.5, -0.5)
    axes.set_yticks([])
    for y in range(0, len(standings), 2):
        axes.axhspan(y - 0.5, y + 0.5, color="0.96", zorder=-1)
    unbiased = sum(not s.biased for s in standings)
    axes.axhline(unbiased - 0.5, color="0.3", linewidth=0.8)


def _name_rows(axes, standings):
    axes.set_yticks(range(len(standings)), [_name(s) for s in standings], fontsize=9)
    axes.tick_params(axis="y", length=0)
    for label, standing in zip(axes.get_yticklabels(), standings, strict=True):
        label.set_color(_BIASED if standing.biased else "black")


def _name(standing):
    seen = [100 * r["bias"] for r in standing.at_states.values() if r["bias_seen"]]
    if not seen:
        return standing.estimator
    span = f"{min(seen):.0f}" + (f" to {max(seen):.0f}" if len(seen) > 1 else "")
    return f"{standing.estimator}\nbias {span} %"


def _mark_legend(axes, names):
    handles = [_handle(name, _MARKERS[k], _UNBIASED) for k, name in enumerate(names)]
    axes.legend(handles=handles, fontsize=7, loc="lower left", frameon=False)


def _legend(figure, names):
    handles = [_handle(f"{name} discriminator", marker, "0.2") for name, marker in names.items()]
    handles += [
        _handle("no bias seen", "o", _UNBIASED),
        _handle("bias seen", "o", _BIASED),
        _handle("tail: one batch is over 10 %", "o", _TAIL),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)


def _handle(label, marker, color):
    return Line2D([], [], linestyle="none", marker=marker, color=color, label=label, markersize=5)
