"""The picture of a leaderboard: who has the lowest variance, at what bias and time."""

from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter

from regan_tf.plots import drawing

_UNBIASED, _BIASED, _TAIL = "C0", "C3", "0.6"
_OF_STATES, _OF_RUNS = ("o", "s", "D"), ("^", "v", "<", "P", "*")  # markers
_ROW, _HEAD = 0.3, 1.5  # inches of a row, and of all else
_MOST = 10  # a larger variance is an arrow with its number
_LEAST = 1e-5  # a smaller one is not shown
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
    axes, markers = list(axes[0]), {}
    for each, length in zip(axes, lengths, strict=False):
        rows = [s.of_length(length) for s in standings]
        drawn = _draw_points(each, rows, _OF_STATES, lambda r: _colour(r, has_tail))
        markers |= {f"{name.split('_')[0]} discriminator": m for name, m in drawn.items()}
        each.set_title(f"Frozen states of length {length}", fontsize=10)
    if runs:
        rows = [s.along_runs for s in standings]
        biased = {s.estimator for s in standings if s.biased}
        drawn = _draw_points(
            axes[-2],
            rows,
            _OF_RUNS,
            lambda r: _BIASED if r["estimator"] in biased else _UNBIASED,
        )
        markers |= {f"along {name}": marker for name, marker in drawn.items()}
        axes[-2].set_title("Along runs", fontsize=10)
    _write_times(axes[-1], standings, lengths)
    for each in axes:
        _rule_rows(each, standings)
    _name_rows(axes[0], standings)
    title = "Variance and time of one estimate, relative to reinforce_loo's; lowest variance first"
    figure.suptitle(title, fontsize=11)
    _legend(figure, markers)
    drawing.write(figure, path)


def _colour(result, has_tail):
    return _TAIL if has_tail(result) else _BIASED if result["bias_seen"] else _UNBIASED


def _draw_points(axes, rows, markers, colour):
    """A point, with its interval, for each result of each row; returns what has which marker."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    found = {name: markers[k % len(markers)] for k, name in enumerate(names)}
    for y, row in enumerate(rows):
        for k, name in enumerate(names):
            if name in row:
                place = y + _STEP * (k - (len(names) - 1) / 2)
                _draw_point(axes, row[name], place, found[name], colour(row[name]))
    axes.axvline(1, color="0.4", linewidth=0.8, linestyle="--", zorder=0)
    axes.set(xscale="log")
    low = min(r["variance_low"] for row in rows for r in row.values())
    axes.set_xlim(0.6 * min(max(low, _LEAST), 0.5), 1.6 * _MOST)
    axes.xaxis.set_major_locator(FixedLocator([10.0**k for k in range(-6, 2)]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    return found


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
    seen = [100 * bias for bias in standing.biases]
    if not seen:
        return standing.estimator
    span = f"{min(seen):.0f}" + (f" to {max(seen):.0f}" if len(seen) > 1 else "")
    return f"{standing.estimator}\nbias {span} %"


def _legend(figure, markers):
    handles = [_handle(label, marker, "0.2") for label, marker in markers.items()]
    handles += [
        _handle("no bias seen", "o", _UNBIASED),
        _handle("bias seen", "o", _BIASED),
        _handle("tail: one batch is over 10 %", "o", _TAIL),
    ]
    columns = max(2, int(figure.get_figwidth() // 2.5))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )


def _handle(label, marker, color):
    return Line2D([], [], linestyle="none", marker=marker, color=color, label=label, markersize=5)
