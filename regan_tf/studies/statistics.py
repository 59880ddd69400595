"""Intervals of means and of their ratios, and tests of differences between groups of runs."""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEAST_SEEDS = 6  # of a paired test, whose p cannot be below 0.05 with fewer
_RNG_SEED = 0  # of resampling, so that a report can be repeated


def mean_and_interval(values):
    """Mean over the first axis (seeds) with its 95 % bootstrap interval, by percentiles; one seed
    has none (NaN).

    With few seeds the percentile bootstrap is too narrow: on normal data it covers about 90 % with
    ten, 84 % with six.

    Returns:
      mean, low, high, each of the shape of values[0].
    """
    mean = values.mean(axis=0)
    if len(values) < 2 or values.size == 0 or np.isnan(values).any():
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    rng = np.random.default_rng(_RNG_SEED)
    found = stats.bootstrap(
        (values,), np.mean, axis=0, method="percentile", n_resamples=2_000, batch=100, rng=rng
    )
    return mean, found.confidence_interval.low, found.confidence_interval.high


def ratio_of_means(above, below):
    """The ratio of two means of independent positive numbers, with its 95 % interval.

    The log of the ratio is taken as normal, with the variance that the delta method gives,
    var(a)/(n mean(a)^2) + var(b)/(m mean(b)^2), and Student's t for it, with the degrees of freedom
    of Welch and Satterthwaite. Normality is that of the means: numbers with a heavy tail ask for
    more of them than there are.

    Args:
      above, below: [N] and [M], at least two each.
    Returns:
      ratio, low, high.
    """
    ratio = float(np.mean(above) / np.mean(below))
    errors = [stats.sem(x) ** 2 / np.mean(x) ** 2 if np.any(x) else 0.0 for x in (above, below)]
    if not sum(errors):
        return ratio, ratio, ratio
    freedom = sum(errors) ** 2 / (
        errors[0] ** 2 / (len(above) - 1) + errors[1] ** 2 / (len(below) - 1)
    )
    factor = float(np.exp(stats.t.ppf(0.975, freedom) * np.sqrt(sum(errors))))
    return ratio, ratio / factor, ratio * factor


@dataclass(frozen=True)
class Difference:
    """Mean of one group's score less another's over the seeds that both have, and how surely it is
    not zero.

    p is that of the sign-flip permutation test of the paired differences, exact up to 13 seeds; q
    is p after Benjamini and Hochberg's correction for all pairs of groups.
    """

    mean: float
    p: float
    q: float
    seeds: int

    @property
    def significant(self):
        return self.q < 0.05


def differences(groups, name):
    """Paired differences of one score between all groups: a dict from (i, j), i < j, to Difference
    of i less j.

    Pairs with fewer than `LEAST_SEEDS` in common are left out; so are scores that were not
    measured, and learning over different numbers of iterations.
    """
    found = {}
    for (i, first), (j, second) in itertools.combinations(enumerate(groups), 2):
        one, other = first.scores(name), second.scores(name)
        seeds = sorted(set(one) & set(other))
        paired = np.array([one[s] - other[s] for s in seeds])
        comparable = (
            name != "learning"
            or len({len(run.records) for g in (first, second) for run in g.runs}) == 1
        )
        if len(seeds) >= LEAST_SEEDS and comparable and np.isfinite(paired).all():
            found[i, j] = (float(paired.mean()), paired_p(paired), len(seeds))
    if not found:
        return {}
    adjusted = stats.false_discovery_control([p for _, p, _ in found.values()])
    return {
        pair: Difference(mean, p, float(q), n)
        for (pair, (mean, p, n)), q in zip(found.items(), adjusted, strict=True)
    }


def paired_p(paired: np.ndarray) -> float:
    """Two-sided p of the mean of paired differences: the share of their signs' flips that give it,
    or more; all flips, or 9,999 of them where they are more than that.
    """
    rng = np.random.default_rng(_RNG_SEED)
    test = stats.permutation_test(
        (paired,), np.mean, permutation_type="samples", vectorized=True, n_resamples=9_999, rng=rng
    )
    return float(test.pvalue)
