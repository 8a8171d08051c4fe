"""Intervals and p-values from a table of counts: the bootstrap over its cells, shuffled groups, simultaneous ends.

All cost the same for a thousand records and for a billion. A statistic maps tables (B, *cells) to values (B, M); NaN
says that a draw has no value, and such draws are left out.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from upright.run.measures.intervals import Interval, clopper_pearson, resampled, simultaneous_range
from upright.run.measures.rates import difference, quotient

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]

AT_ONCE = 2**22  # cells of bootstrap tables held at one time, which bounds memory to some 100 MB
MOST_JACKKNIFED = 4096  # cells left out one by one; with more the intervals are only bias-corrected
MOST_UNDEFINED = 0.05  # of the draws; with more the data are too few for an interval


def effective(cells: ArrayLike, squares: ArrayLike) -> Floats:
    """Weighted cells (G, ...) scaled so that each group counts its effective n = (Σw)²/Σw² (Kish 1965).

    `squares` (G,) are the sums of squared weights. Without weights nothing changes.
    """
    table = np.asarray(cells, dtype=float)
    total = table.reshape(len(table), -1).sum(1)
    factor = np.nan_to_num(quotient(total, np.asarray(squares, dtype=float)))
    return np.asarray(table * factor.reshape(-1, *[1] * (table.ndim - 1)))


def draw(cells: ArrayLike, statistic: Statistic, draws: int, rng: np.random.Generator) -> Floats:
    """Values (draws, M) of the statistic on bootstrap tables: records drawn with replacement from all groups."""
    table = np.asarray(cells, dtype=float)
    batch = int(np.clip(AT_ONCE // max(table.size, 1), 1, draws))
    sizes = [min(batch, draws - begin) for begin in range(0, draws, batch)]
    return np.concatenate([statistic(resampled(table, size, rng).astype(float)) for size in sizes])


def bootstrap(
    cells: ArrayLike,
    statistic: Statistic,
    draws: int,
    rng: np.random.Generator,
    alpha: float = 0.05,
    accelerate: bool = True,
) -> Interval:
    """Bootstrap intervals (M,) of a statistic: BCa (Efron 1987), never inside the percentile one.

    A range over groups is biased upward, which BCa corrects at its lower end; near a tie the correction overshoots
    and pulls the upper end below the truth, so there the percentile stays. The acceleration comes from leaving out
    one record; records of one cell are alike, so one table for each cell that is not empty does for all. A value that
    never varies (a rate of 0 or 1 in every group) is drawn again with half a record more in each cell, as its
    interval must not be a point. Where the bias is so large that BCa asks for a draw beyond the outermost (a range
    over many small groups, say), that end is the basic one, 2v - q (Davison & Hinkley 1997, eq. 5.6), within 0 and 1
    where all draws are. NaN where more than 5 % of the draws have no value.

    No bootstrap covers a gap that is exactly 0, as its draws never are: use `permutation` or `simultaneous_range`.
    """
    table = np.asarray(cells, dtype=float)
    value = statistic(table[None])[0]
    values = draw(table, statistic, draws, rng)
    speed = _acceleration(table, statistic) if accelerate else np.zeros_like(value)
    fixed = np.nanmax(values, 0, initial=-np.inf) <= np.nanmin(values, 0, initial=np.inf)
    low, high = _corrected(value, values, speed, alpha)
    if fixed.any():
        ends = _plain(draw(table + 0.5, statistic, draws, rng), alpha)
        low, high = (np.where(fixed, own, drawn) for own, drawn in zip(ends, (low, high), strict=True))
    low, high = np.fmin(low, value), np.fmax(high, value)
    unknown = np.isnan(value) | (np.isnan(values).mean(0) > MOST_UNDEFINED)
    return Interval(np.where(unknown, np.nan, low), np.where(unknown, np.nan, high))


def _corrected(value: Floats, values: Floats, acceleration: Floats, alpha: float) -> Interval:
    ordered = np.sort(values, 0)  # NaN last
    there = (~np.isnan(values)).sum(0)
    below = (values < value).sum(0) + 0.5 * (values == value).sum(0)
    z0 = norm.ppf(np.clip(below / np.maximum(there, 1), 0.5 / (len(values) + 1), 1 - 0.5 / (len(values) + 1)))
    last = np.maximum(there - 1, 0)
    ends = []
    for z, wider in zip(norm.ppf([alpha / 2, 1 - alpha / 2]), (np.minimum, np.maximum), strict=True):
        level = wider(norm.cdf(z0 + (z0 + z) / (1 - acceleration * (z0 + z))), norm.cdf(z))
        basic = 2 * value - _quantile(ordered, norm.cdf(-z), last)
        basic = np.clip(basic, np.where(ordered[0] >= 0, 0.0, -np.inf), np.where(_at(ordered, last) <= 1, 1.0, np.inf))
        beyond = (level * last < 1) | ((1 - level) * last < 1)
        drawn = _quantile(ordered, level, last)
        ends.append(np.where(beyond, wider(basic, drawn), drawn))
    return Interval(*ends)


def _quantile(ordered: Floats, level: Floats | float, last: NDArray[np.int64]) -> Floats:
    """Quantiles of the columns of sorted draws (B, M), of which `last` (M,) are places of the last that is one."""
    at = np.clip(level * last, 0, last)
    under = np.floor(at).astype(int)
    low, high = _at(ordered, under), _at(ordered, np.minimum(under + 1, last))
    return np.asarray(low + (at - under) * (high - low))


def _at(ordered: Floats, rows: NDArray[np.int64]) -> Floats:
    return np.asarray(ordered[rows, np.arange(ordered.shape[1])])


def _plain(values: Floats, alpha: float) -> Interval:
    some = np.where(np.isnan(values).all(0), 0.0, values)  # an empty column would warn; it is NaN in the end anyway
    low, high = np.nanquantile(some, [alpha / 2, 1 - alpha / 2], axis=0)
    return Interval(low, high)


def _acceleration(table: Floats, statistic: Statistic) -> Floats:
    """Σ d³ / (6 (Σ d²)^{3/2}), d the jackknife's deviations, each as often as its cell has records."""
    at = np.argwhere(table >= 1)
    if not 0 < len(at) <= MOST_JACKKNIFED:
        return np.zeros(statistic(table[None]).shape[1])

    def without(cells: NDArray[np.int64]) -> Floats:
        left = np.repeat(table[None], len(cells), axis=0)
        left[(np.arange(len(cells)), *cells.T)] -= 1
        return statistic(left)

    batch = max(1, AT_ONCE // table.size)
    found = np.concatenate([without(at[i : i + batch]) for i in range(0, len(at), batch)])
    often = table[tuple(at.T)][:, None]
    mean = np.nansum(often * found, 0) / often.sum()
    apart = np.nan_to_num(mean - found)
    spread = (often * apart**2).sum(0)
    return np.nan_to_num(quotient((often * apart**3).sum(0), 6 * spread**1.5))


# --- exact forms for the range over groups ---------------------------------------------------------------------


def simultaneous_ratio(hits: ArrayLike, n: ArrayLike, alpha: float = 0.05) -> Interval:
    """Interval of min/max over groups (G,) that covers with at least 1 - alpha: exact ends for each, Bonferroni."""
    x = np.asarray(hits, dtype=float)
    low, high = clopper_pearson(x, n, alpha / x.size)
    top = float(low.max())
    upper = min(1.0, float(high.min()) / top) if top > 0 else 1.0
    return Interval(np.asarray(low.min() / high.max()), np.asarray(upper))


def simultaneous_distance(laws: ArrayLike, alpha: float = 0.05, tests: int | None = None) -> Interval:
    """Interval of the largest total variation between two groups' laws, from counts (G, K).

    Each share gets its exact interval at level 1 - alpha / tests (default: all G K shares; of two classes G). The ends
    of p_c - q_c bound each form of the distance, ½ Σ_c |p_c - q_c| = Σ_c (p_c - q_c)⁺ = Σ_c (q_c - p_c)⁺; the tightest
    count. Groups without records are left out.
    """
    counts = np.asarray(laws, dtype=float)
    counts = counts[counts.sum(1) > 0]
    low, high = clopper_pearson(counts, counts.sum(1, keepdims=True), alpha / (tests or free_shares(counts.shape)))
    least = np.maximum(low[:, None] - high, 0).sum(-1)  # (G, G), of each group over each other
    over = high[:, None] - low
    both = 0.5 * np.maximum(over, over.swapaxes(0, 1)).sum(-1)
    most = np.minimum(np.minimum(both, 1.0), np.maximum(over, 0).sum(-1))
    return Interval(np.asarray(least.max()), np.minimum(most, most.T)[np.triu_indices(len(counts), 1)].max())


def free_shares(shape: tuple[int, ...]) -> int:
    """How many intervals the shares of G groups and K classes need: of two classes one gives the other."""
    groups, classes = shape
    return groups * (classes if classes > 2 else 1)


def simultaneous_smirnov(laws: ArrayLike, alpha: float = 0.05) -> Interval:
    """Interval of the largest Kolmogorov-Smirnov distance between two groups, from counts (G, B), at least 1 - alpha.

    All of F_g lies within √(ln(2 G / alpha) / (2 n_g)) of its estimate, for all groups at once (Massart 1990).
    """
    counts = np.asarray(laws, dtype=float)
    n = counts.sum(1)
    f = np.cumsum(counts, 1) / n[:, None]
    near = np.sqrt(np.log(2 * len(n) / alpha) / (2 * n))
    first, second = np.triu_indices(len(n), 1)
    apart = np.abs(f[first] - f[second]).max(1)
    room = near[first] + near[second]
    return Interval(np.maximum(apart - room, 0.0).max(), np.minimum(apart + room, 1.0).max())


def simultaneous_odds(
    tpr: tuple[ArrayLike, ArrayLike], fpr: tuple[ArrayLike, ArrayLike], alpha: float = 0.05
) -> Interval:
    """Interval of max(ΔTPR, ΔFPR), from (hits, n) over groups of both: covers with at least 1 - alpha."""
    rates = np.size(tpr[0]) + np.size(fpr[0])
    ends = [simultaneous_range(hits, n, alpha, rates) for hits, n in (tpr, fpr)]
    return Interval(np.maximum(ends[0].low, ends[1].low), np.maximum(ends[0].high, ends[1].high))


def shuffled(hits: ArrayLike, n: ArrayLike, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Hits (draws, G) when the groups are shuffled among the records that count: all margins stay as they are."""
    size = np.asarray(n).astype(np.int64)
    total = int(np.asarray(hits).sum())
    drawn: NDArray[np.int64] = rng.multivariate_hypergeometric(size, total, size=draws, method="marginals")
    return drawn


def permutation(
    hits: ArrayLike, n: ArrayLike, draws: int, rng: np.random.Generator, more: tuple[ArrayLike, ArrayLike] | None = None
) -> tuple[int, int]:
    """Shuffles whose range over groups is at least the observed one, and their number, the observed table included.

    Their ratio is a p-value that is exact for the null of no gap (Phipson & Smyth 2010). With `more`, a second pair
    (hits, n) over other records, the statistic is the larger range of the two: equalised odds, shuffled within labels.
    """
    pairs = [(np.asarray(hits), np.asarray(n))] + ([(np.asarray(more[0]), np.asarray(more[1]))] if more else [])
    seen = max(float(difference(x / m)) for x, m in pairs)
    null = np.max([difference(shuffled(x, m, draws, rng) / m) for x, m in pairs], axis=0)
    return int((null >= seen - 1e-12).sum()) + 1, draws + 1
