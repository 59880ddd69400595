"""A picture of an RNA's structure, laid out by ViennaRNA."""

import RNA
from matplotlib import pyplot

from examples.rna.reward import pairs_of

_COLORS = {"A": "#f2c14e", "C": "#7fb7e6", "G": "#e08e79", "U": "#9fce8f"}
_INCHES = 0.035  # per unit of the layout, in which neighbours are 15 apart


def draw(path, rna, target, title):
    """Draws the structure of least free energy; pairs that the target lacks are red.

    Args:
      path: of the PNG.
      rna: its letters, 5' to 3'.
      target: a dot-bracket of its length.
      title: stands above.
    """
    structure, _ = RNA.fold(rna)
    points = [(p.X, p.Y) for p in list(RNA.naview_xy_coordinates(structure))[: len(rna)]]
    x, y = zip(*points, strict=True)
    size = [max(3.0, _INCHES * (max(c) - min(c)) + 1) for c in (x, y)]
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    axes.plot(x, y, color="0.6", linewidth=1, zorder=1)
    for i, j in pairs_of(structure):
        color = "0.2" if (i, j) in pairs_of(target) else "red"
        axes.plot([x[i], x[j]], [y[i], y[j]], color=color, linewidth=2, zorder=1)
    axes.scatter(x, y, s=190, c=[_COLORS[s] for s in rna], edgecolors="0.3", zorder=2)
    for point, letter in zip(points, rna, strict=True):
        axes.annotate(letter, point, ha="center", va="center", fontsize=8, zorder=3)
    for i, side in ((0, "5'"), (-1, "3'")):
        axes.annotate(side, points[i], (12, 12), textcoords="offset points", fontsize=8)
    axes.set(title=title, aspect="equal")
    axes.title.set_fontsize(8)
    axes.margins(0.12)
    axes.axis("off")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
