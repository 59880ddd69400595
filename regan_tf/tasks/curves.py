"""A curve over sampling temperatures, read where one of its coordinates has a given value; and
the mixture of two temperatures that has that value.
"""

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
    resampled = [_shares(rng, len(rows)) @ rows for rows in (x, y)]
    found = {}
    for level in levels:
        value = _crossing(temperatures, x.mean(axis=0), y.mean(axis=0), level)
        others = [_crossing(temperatures, *each, level) for each in zip(*resampled, strict=True)]
        found[level] = value, _spread(value, others)
    return found


def of_mixture(
    x: np.ndarray, log_q: np.ndarray, length: int, levels: Sequence[float]
) -> dict[float, tuple[float | None, float | None]]:
    """The mean of - log q, in nats a token, where q is the mixture of two generators, a cold one
    with the share a and a warm one, each sequence being of one of them:

        q = a q_cold + (1 - a) q_warm,   a such that the mean of x is at each level

    The mean of x is linear in a, while no sequence's - log q is above that of the warm generator by
    more than - log(1 - a): shared by T tokens, that is next to nothing.

    Args:
      x: [N, 2], of samples of the cold one and of the warm one, a number for each sequence.
      log_q: [M, 2], of test sequences under the two, in nats a sequence.
      length: T, tokens of a sequence.
      levels: of x.
    Returns:
      By level (value, error), as `at_levels`; both are None where no share comes to the level.
    """
    rng = np.random.default_rng(_SEED)
    of_x, of_test = (_shares(rng, len(rows)) for rows in (x, log_q))
    found = {}
    for level in levels:
        value = _mixed(x.mean(axis=0), log_q, level)
        others = []
        if value is not None:
            means = of_x @ x
            others = [
                _mixed(mean, log_q, level, weights)
                for mean, weights in zip(means, of_test, strict=True)
            ]
        error = _spread(value, others)
        found[level] = value and value / length, error and error / length
    return found


def _mixed(means, log_q, level, weights=None):
    """The mean of - log q of the mixture whose mean of x is the level; None: no mixture's is.

    means: of x, of the cold and of the warm part. log_q: [M, 2]. weights: of its rows, [M].
    """
    cold, warm = means
    share = (warm - level) / (warm - cold) if warm != cold else np.nan
    if not 0 <= share < 1:
        return None
    with np.errstate(divide="ignore"):
        mixed = np.logaddexp(np.log(share) + log_q[:, 0], np.log1p(-share) + log_q[:, 1])
    return float(-np.average(mixed, weights=weights))


def _shares(rng, size):
    """Of so many sequences in each bootstrap sample: [resamples, size], rows that sum to 1."""
    return rng.multinomial(size, np.full(size, 1 / size), _RESAMPLES) / size


def _spread(value, others):
    """The standard error of a value, from those of bootstrap samples; None where some have none."""
    if value is None or None in others:
        return None
    return float(np.std(others, ddof=1))


def _crossing(temperatures, x, y, level):
    """y at the highest temperature at which x, [K], is at the level; None: there is none."""
    # It takes half a second to load, which runs without a curve do without.
    from scipy.interpolate import PchipInterpolator

    found = PchipInterpolator(temperatures, x).solve(level, extrapolate=False)
    found = found[np.isfinite(found)]
    return float(PchipInterpolator(temperatures, y)(found.max())) if len(found) else None
