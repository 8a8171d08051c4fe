"""Groups made by crossing columns: differential fairness, and the subgroup that is treated worst.

Searching many subgroups finds something in any data; each search here says how often it would in fair data.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from upright.audit.fairness.resample import AT_ONCE, draw, shuffled
from upright.run.measures.rates import quotient

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
    member: csr_array


def subgroups(values: Sequence[tuple[str, ...]], columns: Sequence[str]) -> Subgroups:
    """Every combination of "this value" or "any" over the columns that occurs, except the one of all records.

    Raises:
        ValueError: when there are more than MOST_SUBGROUPS.
    """
    grid = np.array(values, dtype=object)
    levels = [[ANY, *sorted(set(grid[:, j]))] for j in range(len(columns))]
    if np.prod([len(level) for level in levels]) > MOST_SUBGROUPS:
        raise ValueError(f"more than {MOST_SUBGROUPS:,} subgroups of {', '.join(columns)}; cross fewer columns")
    place: dict[tuple[str | None, ...], list[int]] = {}
    for i, value in enumerate(values):
        for chosen in product(*((ANY, own) for own in value)):
            place.setdefault(chosen, []).append(i)
    del place[(ANY,) * len(columns)]
    found = sorted(place, key=lambda chosen: [levels[j].index(value) for j, value in enumerate(chosen)])
    names = [", ".join(f"{columns[j]}={v}" for j, v in enumerate(chosen) if v is not ANY) for chosen in found]
    at = np.concatenate([place[chosen] for chosen in found])
    row = np.repeat(np.arange(len(found)), [len(place[chosen]) for chosen in found])
    return Subgroups(names, csr_array((np.ones(len(at)), (row, at)), shape=(len(found), len(values))))


def surplus(hits: ArrayLike, n: ArrayLike, member: csr_array | Floats, records: float) -> Floats:
    """(1/records) (hits_S - m n_S) for each subgroup, m the overall rate: signed P(S, y) (m_S - m), as (..., M).

    With hits the false positives and n the negatives, its size is what Kearns et al. (2018) bound: the gap
    of a subgroup weighted with how many it hits. Arrays hits, n (..., I) over the finest groups.
    """
    x, m = np.asarray(hits, dtype=float), np.asarray(n, dtype=float)
    whole = quotient(x.sum(-1, keepdims=True), m.sum(-1, keepdims=True))
    apart = np.nan_to_num(x - whole * m)
    found = np.asarray(member @ apart.reshape(-1, apart.shape[-1]).T).T / records
    return np.asarray(found.reshape(*apart.shape[:-1], member.shape[0]))


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
    hits: ArrayLike, n: ArrayLike, member: csr_array | Floats, records: float, draws: int, rng: np.random.Generator
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

    tables = np.stack([m - x, x], -1)
    batch = max(1, AT_ONCE // member.shape[0])
    sizes = [min(batch, draws - begin) for begin in range(0, draws, batch)]
    wide = float(np.quantile(np.concatenate([draw(tables, moved, size, rng) for size in sizes]), 0.95))
    shuffles = (shuffled(x, m, size, rng) for size in sizes)
    null = np.concatenate([np.abs(surplus(drawn, m, member, records)).max(-1) for drawn in shuffles])
    at = int(np.abs(seen).argmax())
    gap = float(np.abs(seen[at]))
    above = int((null >= gap - 1e-12).sum()) + 1
    return Worst(at, gap, max(0.0, gap - wide), gap + wide, above, draws + 1)
