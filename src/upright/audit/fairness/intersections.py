"""Groups made by crossing columns: differential fairness, and the subgroup that is treated worst.

Searching many subgroups finds something in any data; each search here says how often it would in fair data.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upright.audit.fairness.rates import quotient
from upright.audit.fairness.resample import draw, shuffled

Floats = NDArray[np.float64]
ANY = None
MOST_SUBGROUPS = 20_000


# --- differential fairness -------------------------------------------------------------------------------------


def differential_fairness(outcomes: ArrayLike, smoothing: float = 1.0) -> Floats:
    """Smoothed empirical ε (...,): the largest |ln p(y|g) - ln p(y|h)| (Foulds et al. 2020).

    Outcomes are counts (..., G, K); p(y|g) = (N_{y,g} + a) / (N_g + K a), so that small groups do not blow it up.

    >>> round(float(differential_fairness([[50, 50], [75, 25]])), 4)
    0.6737
    """
    n = np.asarray(outcomes, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log((n + smoothing) / (n.sum(-1, keepdims=True) + n.shape[-1] * smoothing))
    return np.asarray((log.max(-2) - log.min(-2)).max(-1))


def bias_amplification(tables: ArrayLike, smoothing: float = 1.0) -> Floats:
    """ε of the predictions less ε of the labels (Foulds et al. 2020), of tables (..., G, K, K)."""
    cells = np.asarray(tables, dtype=float)
    return differential_fairness(cells.sum(-2), smoothing) - differential_fairness(cells.sum(-1), smoothing)


# --- subgroups -------------------------------------------------------------------------------------------------


class Subgroups(NamedTuple):
    """All conjunctions of attribute values: names, and member (M, I), 1 where a finest group belongs to one."""

    names: list[str]
    member: Floats


def subgroups(values: Sequence[tuple[str, ...]], columns: Sequence[str]) -> Subgroups:
    """Every combination of "this value" or "any" over the columns that occurs, except the one of all records.

    Raises:
        ValueError: when there are more than MOST_SUBGROUPS.
    """
    grid = np.array(values, dtype=object)
    levels = [[ANY, *sorted(set(grid[:, j]))] for j in range(len(columns))]
    if np.prod([len(level) for level in levels]) > MOST_SUBGROUPS:
        raise ValueError(f"more than {MOST_SUBGROUPS:,} subgroups of {', '.join(columns)}; cross fewer columns")
    equal = [
        {value: np.ones(len(grid)) if value is ANY else (grid[:, j] == value).astype(float) for value in levels[j]}
        for j in range(len(columns))
    ]
    names, rows = [], []
    for chosen in product(*levels):
        row = np.prod([equal[j][value] for j, value in enumerate(chosen)], axis=0)
        if row.any() and any(value is not ANY for value in chosen):
            names.append(", ".join(f"{columns[j]}={v}" for j, v in enumerate(chosen) if v is not ANY))
            rows.append(row)
    return Subgroups(names, np.array(rows))


def surplus(hits: ArrayLike, n: ArrayLike, member: ArrayLike, records: float) -> Floats:
    """(1/records) (hits_S - m n_S) for each subgroup, m the overall rate: signed P(S, y) (m_S - m), as (..., M).

    With hits the false positives and n the negatives, its size is what Kearns et al. (2018) bound: the gap
    of a subgroup weighted with how many it hits. Arrays hits, n (..., I) over the finest groups.
    """
    x, m = np.asarray(hits, dtype=float), np.asarray(n, dtype=float)
    whole = quotient(x.sum(-1, keepdims=True), m.sum(-1, keepdims=True))
    return np.asarray((np.nan_to_num(x - whole * m) @ np.asarray(member, dtype=float).T) / records)


class Worst(NamedTuple):
    """The subgroup whose weighted gap is largest."""

    place: int
    gap: float
    """P(S, y) |m_S - m|."""
    low: float
    high: float
    """Simultaneous 95 % interval: it holds for all subgroups at once, so also for the one that was picked."""
    above: int
    shuffles: int
    """Shuffles (the observed one included) whose largest gap is at least this one: their ratio is the p-value."""


def worst_subgroup(
    hits: ArrayLike, n: ArrayLike, member: Floats, records: float, draws: int, rng: np.random.Generator
) -> Worst:
    """Search all subgroups for the largest weighted gap of a rate (hits, n) (I,) over the finest groups.

    The interval is ± the 95 % quantile over bootstrap tables of the largest move of any subgroup. The p-value
    shuffles group membership among the records below the line: exact for the null that the rate ignores groups.
    """
    x, m = np.asarray(hits, dtype=float), np.asarray(n, dtype=float)
    seen = surplus(x, m, member, records)

    def moved(tables: Floats) -> Floats:
        away = surplus(tables[..., 1], tables.sum(-1), member, records) - seen
        return np.asarray(np.abs(away).max(-1, keepdims=True))

    drawn = draw(np.stack([m - x, x], -1), moved, draws, rng)
    wide = float(np.quantile(drawn, 0.95))
    null = np.abs(surplus(shuffled(x, m, draws, rng), m, member, records)).max(-1)
    at = int(np.abs(seen).argmax())
    gap = float(np.abs(seen[at]))
    above = int((null >= gap - 1e-12).sum()) + 1
    return Worst(at, gap, max(0.0, gap - wide), gap + wide, above, draws + 1)
