"""A curve over sampling temperatures, read where one of its coordinates has a given value."""

from collections.abc import Sequence

import numpy as np

_RESAMPLES = 200
_SEED = 0  # of resampling, so that a number can be repeated


def at_levels(
    temperatures: Sequence[float], x: np.ndarray, y: np.ndarray, levels: Sequence[float]
) -> dict[float, tuple[float | None, float | None]]:
    """The mean of y where that of x is at each level, with its standard error.

    Both means are interpolated over the temperature, by cubics that are monotone where the points
    are. The error is that of the bootstrap over the sequences, of which all temperatures have the
    same: it holds the noise of both.

    Args:
      temperatures: K, ascending.
      x, y: [N, K] and [M, K], a sequence in each row.
    Returns:
      By level (value, error). Both are None where the curve does not come to the level; the error
      alone, where resampled curves do not.
    """
    rng = np.random.default_rng(_SEED)
    resampled = [
        rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), _RESAMPLES) @ rows / len(rows)
        for rows in (x, y)
    ]
    found = {}
    for level in levels:
        value = _crossing(temperatures, x.mean(axis=0), y.mean(axis=0), level)
        others = [_crossing(temperatures, *each, level) for each in zip(*resampled, strict=True)]
        kept = [other for other in others if other is not None]
        is_known = value is not None and len(kept) == len(others)
        found[level] = value, float(np.std(kept, ddof=1)) if is_known else None
    return found


def _crossing(temperatures, x, y, level):
    """y at the highest temperature at which x, [K], is at the level; None: there is none."""
    # It takes half a second to load, which runs without a curve do without.
    from scipy.interpolate import PchipInterpolator

    found = PchipInterpolator(temperatures, x).solve(level, extrapolate=False)
    found = found[np.isfinite(found)]
    return float(PchipInterpolator(temperatures, y)(found.max())) if len(found) else None
