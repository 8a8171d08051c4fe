"""Each method as a point, utility against gap, with intervals from one bootstrap for all methods.

Held-out rows are counted in cells: group, label, and what every method said. One multinomial draw over the cells is
one resample of the rows, so all methods are resampled together and their differences are paired.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm

from upright.run.measures.intervals import resampled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
DRAWS_AT_ONCE = 2**22
TAIL_DRAWS = 10


class Cells(NamedTuple):
    """Rows that agree in everything that counts, U kinds of them, for M methods."""

    size: Ints
    """Rows of each kind (U,)."""
    group: Ints
    label: Ints
    said: Floats
    """Share of favourable decisions over the repeats (U, M)."""


class Rates(NamedTuple):
    """P(favourable | group, label) and how many rows it stands on, for B tables."""

    favourable: Floats
    """(B, G, 2, M); not a number where a table has no such row."""
    rows: Ints
    """(B, G, 2)."""


class Estimate(NamedTuple):
    """A number for each method with its 95 % interval, each (M,)."""

    value: Floats
    low: Floats
    high: Floats


def tally(group: Ints, label: Ints, said: Floats) -> Cells:
    """Count rows: group and label (n,), shares of favourable decisions (n, M)."""
    rows = np.column_stack([group, label, said])
    kinds, count = np.unique(rows, axis=0, return_counts=True)
    return Cells(count, kinds[:, 0].astype(np.int64), kinds[:, 1].astype(np.int64), kinds[:, 2:])


def rates(tables: Ints, cells: Cells) -> Rates:
    """Rates of tables (B, U) over the cells."""
    groups = int(cells.group.max()) + 1
    favourable = np.empty((len(tables), groups, 2, cells.said.shape[1]))
    rows = np.empty((len(tables), groups, 2), dtype=np.int64)
    for g in range(groups):
        for y in (0, 1):
            inside = (cells.group == g) & (cells.label == y)
            some = tables[:, inside]
            rows[:, g, y] = some.sum(1)
            with np.errstate(invalid="ignore"):
                favourable[:, g, y] = (some @ cells.said[inside]) / rows[:, g, y, None]
    return Rates(favourable, rows)


def drawn(cells: Cells, draws: int, rng: np.random.Generator) -> Rates:
    """Rates of `draws` resamples of the rows.

    A rate of 0 or 1 stays what it is in every resample, however few its rows are. There the rate is drawn from
    Jeffreys' posterior, Beta(hits + ½, misses + ½), the same draw for all methods that have it.
    """
    size = max(1, DRAWS_AT_ONCE // len(cells.size))
    parts = [rates(resampled(cells.size, min(size, draws - start), rng), cells) for start in range(0, draws, size)]
    favourable, rows = (np.concatenate(part) for part in zip(*parts, strict=True))
    own = rates(cells.size[None], cells)
    level = rng.random(rows.shape)
    for g, y in np.ndindex(*rows.shape[1:]):
        n = own.rows[0, g, y]
        for end in (0.0, 1.0):
            fixed = own.favourable[0, g, y] == end
            if fixed.any():
                favourable[:, g, y, fixed] = beta.ppf(level[:, g, y], end * n + 0.5, (1 - end) * n + 0.5)[:, None]
    return Rates(favourable, rows)


# --- measures: (B, M) or, for signed differences, (B, K, M) ---


def accuracy(found: Rates) -> Floats:
    """Share of rows decided as labelled."""
    right = np.stack([1 - found.favourable[:, :, 0], found.favourable[:, :, 1]], axis=2)
    right = np.where(found.rows[..., None] > 0, right, 0.0)
    return np.asarray((right * found.rows[..., None]).sum((1, 2)) / found.rows.sum((1, 2))[:, None])


def balanced_accuracy(found: Rates) -> Floats:
    """Mean of TPR and TNR over all groups together."""
    said = np.where(found.rows[..., None] > 0, found.favourable, 0.0)
    pooled = (said * found.rows[..., None]).sum(1) / found.rows.sum(1)[..., None]
    return np.asarray((pooled[:, 1] + 1 - pooled[:, 0]) / 2)


def parity_differences(found: Rates) -> Floats:
    """Selection rate of one group minus that of another, for each pair of groups: K = G (G - 1) / 2."""
    rows = found.rows[..., None]
    selected = (np.where(rows > 0, found.favourable, 0.0) * rows).sum(2) / rows.sum(2)
    return _pairs(selected)


def odds_differences(found: Rates) -> Floats:
    """TPR and FPR of one group minus those of another, for each pair of groups: K = G (G - 1)."""
    return np.concatenate([_pairs(found.favourable[:, :, 1]), _pairs(found.favourable[:, :, 0])], axis=1)


def _pairs(rate: Floats) -> Floats:
    first, second = np.triu_indices(rate.shape[1], k=1)
    return rate[:, first] - rate[:, second]


# --- intervals ---


def estimate(value: Floats, draws: Floats, alpha: float = 0.05) -> Estimate:
    """Percentile interval of `draws` (B, M) around `value` (M,)."""
    low, high = np.nanquantile(draws, [alpha / 2, 1 - alpha / 2], axis=0)
    return Estimate(value, np.minimum(low, value), np.maximum(high, value))


def largest_gap(value: Floats, draws: Floats, alpha: float = 0.05) -> Estimate:
    """The largest of K absolute differences (K, M), from their signed draws (B, K, M).

    A percentile interval of the largest difference never reaches 0, not even where groups are equal. Here each signed
    difference has its interval at level 1 - alpha / K, so that all hold together with 1 - alpha (Bonferroni); the
    largest difference then lies between the largest lower and the largest upper end.
    Where the draws are too few to show such a tail, the interval is the normal one with their standard deviation.
    """
    tail = alpha / value.shape[0] / 2
    if len(draws) * tail >= TAIL_DRAWS:
        low, high = np.nanquantile(draws, [tail, 1 - tail], axis=0)
    else:
        half = norm.ppf(1 - tail) * np.nanstd(draws, axis=0)
        low, high = np.maximum(value - half, -1.0), np.minimum(value + half, 1.0)
    seen = np.abs(value).max(0)
    ends = np.maximum(np.maximum(low, -high), 0.0).max(0), np.maximum(np.abs(low), np.abs(high)).max(0)
    return Estimate(seen, np.minimum(ends[0], seen), np.maximum(ends[1], seen))


# --- the frontier ---


def frontier(utility: Floats, gap: Floats) -> Bools:
    """Which of M points no other beats: none has at least the utility and at most the gap, and one of them better.

    Works on (..., M).
    """
    more, less = utility[..., :, None], gap[..., :, None]
    own, gap_own = utility[..., None, :], gap[..., None, :]
    beats = (more >= own) & (less <= gap_own) & ((more > own) | (less < gap_own))
    return np.asarray(~beats.any(-2))
