"""Curves over sampling temperatures of generators of texts: BLEU against self-BLEU, and how much
higher one's BLEU is than another's at equal self-BLEU.
"""

import itertools
import json
import math
from pathlib import Path

import numpy as np
from scipy.interpolate import PchipInterpolator

from regan_tf.files import write_atomically
from regan_tf.plots.temperature import plot_temperature_curves
from regan_tf.studies import statistics
from regan_tf.studies.law_curves import mean_curve
from regan_tf.studies.tables import to_text

_BEST = """\
Best: the temperature at which BLEU and self-BLEU are closest to those of as many training texts
(< or >: the first or last of --temperatures). NLL: of the held-out texts under the distribution at
that temperature."""
_GAINS = f"""\
{{quality}} above another's: at equal {{diversity}}, mean over the temperatures (their number) at
which the other's curve has it, too. With {statistics.LEAST_SEEDS} seeds or more in common: each
seed's above its own baseline, the mean of these, its 95 % interval, and p of a sign-flip test. With
fewer: +- the standard deviation of a single curve's above a single one of the other's, over the
draws and seeds of both (none where either has one curve)."""
_LIKELIHOODS = """\
Least NLL: of the held-out texts at the temperature that is best for each run, in nats a token, by a
parabola in log temperature through the three of --temperatures that are around it. At temperature
1 a generator that is too sure of itself loses what another temperature mends."""


def show(groups: list, curves: dict, ideal: dict, order: int, output: Path) -> None:
    """Prints the tables, writes curve.json and the picture.

    Args:
      groups: list of grouping.Group, on the same texts.
      curves: by the groups' label, then by `Group.key`: a list with a curve for each draw, which is
        a list of points, dicts of `TextMetrics` and the temperature.
      ideal: the metrics of training texts.
      order: n of the BLEU-n and self-BLEU-n that are shown.
      output: a directory.
    """
    drawn = {label: _flat(of_label) for label, of_label in curves.items()}
    means = {label: mean_curve(of_label) for label, of_label in drawn.items()}
    quality, diversity = f"bleu_{order}", f"self_bleu_{order}"
    _print_best(means, ideal, quality, diversity)
    baselines = _baselines(groups)
    _print_gains(curves, baselines, quality, diversity)
    if len(next(iter(means.values()))) > 2:
        _print_likelihoods(curves, baselines)
    _print_untempered(means, drawn, ideal)
    text = json.dumps({"curves": means, "training texts": ideal, "draws": curves}, indent=2)
    write_atomically(output / "curve.json", text + "\n")
    plot_temperature_curves(means, ideal, order, output / "temperature_curve.png")


def gain(curves: dict, baseline: dict, quality: str, diversity: str) -> str:
    """How much higher the quality of curves is than another's at equal diversity, as text: see
    `_GAINS`. The other's curve is interpolated by monotone cubics: it is concave, so that a point
    between two of its own would be above a straight line though it gained nothing.

    Args:
      curves, baseline: by the run's key: lists with a curve for each draw.
      quality, diversity: names of metrics.
    """

    def above(curve, below):
        """At each temperature at which `below` has the curve's diversity."""
        x, y = ([p[name] for p in below] for name in (diversity, quality))
        at = _interpolator(x, y)
        return [p[quality] - at(p[diversity]) for p in curve if min(x) <= p[diversity] <= max(x)]

    def means(pairs):
        """Of each pair that has any, [pairs], and of how many temperatures in the mean."""
        found = [gains for gains in itertools.starmap(above, pairs) if gains]
        return np.array([np.mean(gains) for gains in found]), np.mean([*map(len, found)] or 0)

    common = sorted(set(curves) & set(baseline))
    paired = len(common) >= statistics.LEAST_SEEDS
    if paired:
        pairs = [(mean_curve(curves[key]), mean_curve(baseline[key])) for key in common]
    else:
        base = mean_curve(_flat(baseline))
        pairs = [(curve, base) for curve in _flat(curves)]
    gains, number = means(pairs)
    if not len(gains):
        return "no overlap"
    if paired:
        return f"{_tested(gains)} ({number:.3g})"
    mean = mean_curve(_flat(curves))
    others, _ = means((mean, below) for below in _flat(baseline))
    spread = ""
    if min(len(gains), len(others)) > 1:
        spread = f" +- {math.sqrt(np.var(gains, ddof=1) + np.var(others, ddof=1)):.4f}"
    return f"{np.mean(gains):+.4f}{spread} ({number:.3g})"


def least_nll(curve: list) -> tuple[float, float]:
    """The held-out NLL a token at the temperature that is best for it, and that temperature.

    By the parabola in log temperature through three points, the least and its neighbours or the
    outermost; never beyond the curve's temperatures.
    """
    curve = sorted(curve, key=lambda p: p["temperature"])
    least = int(np.argmin([p["nll_per_token"] for p in curve]))
    first = min(max(least - 1, 0), len(curve) - 3)
    points = curve[first : first + 3]
    x = np.log([p["temperature"] for p in points])
    parabola = np.polynomial.Polynomial.fit(x, [p["nll_per_token"] for p in points], 2)
    candidates = [*parabola.deriv().roots(), x[0], x[-1]]
    best = min((c for c in candidates if x[0] <= c <= x[-1]), key=parabola)
    return float(parabola(best)), math.exp(best)


def _interpolator(x, y):
    """The function of x by monotone cubics through points in any order; of those of one x, as
    there are where texts are few, through their mean.
    """
    x, which = np.unique(x, return_inverse=True)
    y = np.bincount(which, y) / np.bincount(which)
    return PchipInterpolator(x, y) if len(x) > 1 else lambda _: y[0]


def _tested(differences):
    """The mean of paired differences, as text; with its interval and p where they are enough."""
    if len(differences) < statistics.LEAST_SEEDS:
        return f"{differences.mean():+.4f}"
    mean, low, high = statistics.mean_and_interval(differences)
    p = statistics.paired_p(differences)
    return f"{mean:+.4f} [{low:+.4f}, {high:+.4f}], p = {p:.2g}"


def _flat(curves):
    """The curves of all runs and draws, a list."""
    return [curve for of_run in curves.values() for curve in of_run]


def _baselines(groups):
    """Labels of the groups of maximum likelihood alone, or else of the first that has it."""
    of_mle = [group for group in groups if group.config.estimator == "mle"]
    alone = [group for group in of_mle if group.config.iterations == 0]
    return [group.label for group in alone or of_mle[:1]]


def _print_best(means, ideal, quality, diversity):
    rows = []
    for label, points in means.items():
        distances = [
            math.hypot(p[quality] - ideal[quality], p[diversity] - ideal[diversity]) for p in points
        ]
        best = int(np.argmin(distances))
        edge = "<" if best == 0 else ">" if best == len(points) - 1 else ""
        scores = [points[best][name] for name in (quality, diversity, "nll_per_token")]
        temperature = f"{points[best]['temperature']:g}{edge}"
        rows.append([label, temperature, *map(_number, (*scores, min(distances)))])
    rows.append(["training texts", "", _number(ideal[quality]), _number(ideal[diversity]), "", ""])
    headers = ["", "its best temperature", quality, diversity, "NLL a token", "distance"]
    print(to_text(rows, headers))
    print(_BEST)


def _print_gains(curves, baselines, quality, diversity):
    if not baselines:
        print("\nNone of the runs is of maximum likelihood: give one of --estimator=mle")
        return
    rows = [
        [
            label,
            *("" if label == b else gain(of, curves[b], quality, diversity) for b in baselines),
        ]
        for label, of in curves.items()
    ]
    headers = ["", *(f"{quality} above that of {label}" for label in baselines)]
    print(f"\n{to_text(rows, headers)}")
    print(_GAINS.format(quality=quality, diversity=diversity))


def _print_likelihoods(curves, baselines):
    least = {
        label: {key: least_nll(mean_curve(draws)) for key, draws in of.items()}
        for label, of in curves.items()
    }

    def less(label, baseline):
        common = sorted(set(least[label]) & set(least[baseline]))
        if label == baseline or not common:
            return ""
        return _tested(np.array([least[label][k][0] - least[baseline][k][0] for k in common]))

    rows = []
    for label, of in least.items():
        nll, temperature = np.mean(list(of.values()), axis=0)
        differences = (less(label, baseline) for baseline in baselines)
        rows.append([label, _number(nll), f"{temperature:.3f}", *differences])
    headers = ["", "least NLL", "at", *(f"less that of {label}" for label in baselines)]
    print(f"\n{to_text(rows, headers)}\n{_LIKELIHOODS}")


def _print_untempered(means, drawn, ideal):
    """All metrics at temperature 1, if it is among them, +- the standard deviation over draws and
    seeds.
    """
    at_one = [i for i, point in enumerate(next(iter(means.values()))) if point["temperature"] == 1]
    if not at_one:
        return

    def cell(label, name):
        values = [curve[at_one[0]][name] for curve in drawn[label]]
        spread = np.std(values, ddof=1) if len(values) > 1 else 0
        return _number(np.mean(values)) + (f" +- {spread:.4f}" if spread else "")

    names = [
        name
        for name in means[next(iter(means))][0]
        if name not in ("temperature", "samples", "nll")
    ]
    rows = [
        [name, *(cell(label, name) for label in means), _number(ideal.get(name))] for name in names
    ]
    print(f"\nAt temperature 1\n{to_text(rows, ['', *means, 'training texts'])}")


def _number(value):
    return "" if value is None else f"{value:.4f}"
