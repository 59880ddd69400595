"""What the pictures share: legends, axes, line styles, files."""

import textwrap
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_LETTERS_PER_INCH = 13  # of a legend's font
_BESIDE_LABEL = 6  # the line, and the space between columns, in letters
_XLABELS = {"pretrain": "Minibatch of pre-training", "adversarial": "Adversarial iteration"}


def subplots(rows=1, columns=1, *, figsize, squeeze=True, widths=None):
    """A figure and its axes, like pyplot's, but without it: the caller's pyplot stays as it is."""
    figure = Figure(figsize=figsize, layout="constrained")
    # 6.0159, not 0.0009 with a +6.015 in the corner.
    with matplotlib.rc_context({"axes.formatter.useoffset": False}):
        return figure, figure.subplots(rows, columns, squeeze=squeeze, width_ratios=widths)


def mosaic(layout, *, figsize):
    """A figure and a dict of its axes by the names in a layout, rows of them."""
    figure = Figure(figsize=figsize, layout="constrained")
    with matplotlib.rc_context({"axes.formatter.useoffset": False}):
        return figure, figure.subplot_mosaic(layout)


def legend_below(figure, axes, columns=3):
    """The legend under the figure, in as many columns as hold the labels in full, and no more than
    that; labels wider than the figure have several lines.
    """
    handles, labels = axes.get_legend_handles_labels()
    width = int(figure.get_figwidth() * _LETTERS_PER_INCH)
    labels = [textwrap.fill(label, width - _BESIDE_LABEL) for label in labels]
    longest = max((len(line) for label in labels for line in label.splitlines()), default=0)
    ncols = min(columns, max(1, width // (longest + _BESIDE_LABEL)))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=ncols, frameon=False, fontsize=9
    )


def number_iterations(axes, phase="adversarial"):
    """Labels the horizontal axis; its ticks are whole numbers."""
    axes.set_xlabel(_XLABELS[phase])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def styles(count):
    """Distinct line styles: ten colours, then the same dashed."""
    return [
        {"color": f"C{i % 10}", "linestyle": ("-", "--", ":")[i // 10 % 3]} for i in range(count)
    ]


def write(figure, path):
    """Writes the PNG, all or nothing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=120, format="png")
    temporary.replace(path)
