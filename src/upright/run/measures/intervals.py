"""Intervals for counts and for differences between groups: pure functions on arrays, 95 % unless told otherwise.

Wilson's interval for one proportion stands in `upright.run.evidence`; here are the exact one, those for two
proportions, the simultaneous one for the range over many groups, and the bootstrap over cells of a table.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, norm

from upright.run.evidence import Z_95

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """Both ends; arrays where the arguments were arrays."""

    low: Floats
    high: Floats


def clopper_pearson(hits: ArrayLike, n: ArrayLike, alpha: float = 0.05) -> Interval:
    """Exact interval of a proportion (Clopper & Pearson 1934): it covers with at least 1 - alpha. Nothing seen: [0, 1].

    >>> low, high = clopper_pearson(40, 50)
    >>> round(float(low), 4), round(float(high), 4)
    (0.6628, 0.8997)
    """
    x, m = np.asarray(hits, dtype=float), np.asarray(n, dtype=float)
    with np.errstate(invalid="ignore"):
        low = np.where(x > 0, beta.ppf(alpha / 2, x, m - x + 1), 0.0)
        high = np.where(x < m, beta.ppf(1 - alpha / 2, x + 1, m - x), 1.0)
    return Interval(low, high)


def wilson(hits: ArrayLike, n: ArrayLike) -> Interval:
    """Wilson's 95 % interval for arrays of counts; [0, 1] where n = 0."""
    x, m = np.asarray(hits, dtype=float), np.asarray(n, dtype=float)
    z2, some = Z_95**2, np.where(m > 0, m, 1.0)
    share = x / some
    centre = (share + z2 / (2 * some)) / (1 + z2 / some)
    half = Z_95 / (1 + z2 / some) * np.sqrt(share * (1 - share) / some + z2 / (4 * some**2))
    return Interval(
        np.where(m > 0, np.where(x <= 0, 0.0, centre - half), 0.0),
        np.where(m > 0, np.where(x >= m, 1.0, centre + half), 1.0),
    )


def newcombe(hits1: ArrayLike, n1: ArrayLike, hits2: ArrayLike, n2: ArrayLike) -> Interval:
    """95 % interval of p1 - p2 from both Wilson intervals (Newcombe 1998, method 10); [-1, 1] where an n = 0."""
    x1, m1, x2, m2 = (np.asarray(a, dtype=float) for a in (hits1, n1, hits2, n2))
    (l1, u1), (l2, u2) = wilson(x1, m1), wilson(x2, m2)
    p1, p2, some = x1 / np.where(m1 > 0, m1, 1.0), x2 / np.where(m2 > 0, m2, 1.0), (m1 > 0) & (m2 > 0)
    low = p1 - p2 - np.sqrt((p1 - l1) ** 2 + (u2 - p2) ** 2)
    high = p1 - p2 + np.sqrt((u1 - p1) ** 2 + (p2 - l2) ** 2)
    return Interval(np.where(some, low, -1.0), np.where(some, high, 1.0))


def katz(hits1: ArrayLike, n1: ArrayLike, hits2: ArrayLike, n2: ArrayLike) -> Interval:
    """95 % interval of p1 / p2 on the log scale (Katz et al. 1978); [0, inf] where a count is 0."""
    x1, m1, x2, m2 = (np.asarray(a, dtype=float) for a in (hits1, n1, hits2, n2))
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log((x1 / m1) / (x2 / m2))
        half = Z_95 * np.sqrt(1 / x1 - 1 / m1 + 1 / x2 - 1 / m2)
        some = (x1 > 0) & (x2 > 0)
        return Interval(np.where(some, np.exp(log - half), 0.0), np.where(some, np.exp(log + half), np.inf))


def walter(hits1: ArrayLike, n1: ArrayLike, hits2: ArrayLike, n2: ArrayLike) -> tuple[Floats, Interval]:
    """p1 / p2 and its 95 % interval on the log scale with 1/2 added to every count (Walter 1975): finite with no hits.

    >>> value, (low, high) = walter(0, 100, 0, 100)
    >>> float(value), round(float(low), 2), round(float(high), 1)
    (1.0, 0.02, 49.9)
    """
    x1, m1, x2, m2 = (np.asarray(a, dtype=float) + 0.5 for a in (hits1, n1, hits2, n2))
    log = np.log(x1 / m1) - np.log(x2 / m2)
    half = Z_95 * np.sqrt(np.maximum(0.0, 1 / x1 - 1 / m1 + 1 / x2 - 1 / m2))
    return np.exp(log), Interval(np.exp(log - half), np.exp(log + half))


def simultaneous_range(hits: ArrayLike, n: ArrayLike, alpha: float = 0.05, rates: int | None = None) -> Interval:
    """Interval of max - min over groups (G,), which covers with at least 1 - alpha whatever the groups.

    Each of the `rates` (default: G) proportions gets its exact interval at level 1 - alpha / rates (Bonferroni).
    """
    x = np.asarray(hits, dtype=float)
    low, high = clopper_pearson(x, n, alpha / (rates or x.size))
    return Interval(np.maximum(0.0, low.max() - high.min()), high.max() - low.min())


def range_of_means(value: ArrayLike, error: ArrayLike, alpha: float = 0.05) -> Interval:
    """Interval of max - min over groups (G,) of means with standard errors: normal ones at 1 - alpha / G, together."""
    v, half = np.asarray(value, dtype=float), np.asarray(error, dtype=float)
    half = norm.ppf(1 - alpha / (2 * v.size)) * half
    low, high = v - half, v + half
    return Interval(np.maximum(0.0, low.max() - high.min()), high.max() - low.min())


def resampled(counts: ArrayLike, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Bootstrap tables (draws, *cells): n records drawn with replacement, as one multinomial draw over the cells.

    The same law as resampling rows, at a cost that does not depend on their number.
    """
    table = np.asarray(counts)
    if (table < 0).any() or not np.isfinite(table).all() or table.sum() <= 0:
        raise ValueError("counts must be finite, not negative, and not all zero")
    n = int(table.sum())
    drawn = rng.multinomial(n, table.ravel() / table.sum(), size=draws)
    return drawn.reshape(draws, *table.shape)


def percentile(values: ArrayLike, alpha: float = 0.05) -> Interval:
    """Percentile interval over the first axis; draws that are not a number (an empty denominator) are left out."""
    low, high = np.nanquantile(np.asarray(values, dtype=float), [alpha / 2, 1 - alpha / 2], axis=0)
    return Interval(low, high)
