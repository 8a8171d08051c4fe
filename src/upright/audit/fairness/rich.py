"""Rich subgroups (Kearns et al. 2018): the worst of those that a linear rule or a small tree over columns can cut out.

Auditing every such subgroup is a learning problem: a subgroup whose rate departs is one that a regression of m - hit_i
on the protected columns finds. Records of equal columns are one cell, so the cost does not depend on their number. The
rule is found on one half of the records and judged on the other, where one subgroup is one test.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import hypergeom

from upright.audit.fairness.counts import CROSS, MISSING
from upright.run.measures.intervals import newcombe

Floats = NDArray[np.float64]
DEPTH = 2
NAMED = 6  # finest groups of a linear rule that are named one by one
FEW = 3  # a column of so many different numbers or fewer is taken for words


class Features(NamedTuple):
    """Columns of the finest groups as numbers (I, F), and how a threshold on each is read."""

    x: Floats
    names: list[str]
    low: list[str]
    """What it means that an indicator is 0; "" for numbers."""
    groups: list[str]
    """Names of the finest groups (I,)."""


def features(values: Sequence[tuple[str, ...]], columns: Sequence[str]) -> Features:
    """Numbers as they are, where a column holds more than a few; of other columns an indicator for each value, of two
    values for the second.
    """  # noqa: D205
    parts, names, low = [], [], []
    for j, column in enumerate(columns):
        own = [value[j] for value in values]
        numbers = _numbers(own)
        if numbers is not None and len(set(own)) > FEW:
            parts.append(numbers)
            names.append(column)
            low.append("")
            continue
        levels = sorted(set(own))
        for level in levels[1:] if len(levels) == 2 else levels:
            parts.append(np.array([value == level for value in own], dtype=float))
            names.append(f"{column}={level}")
            low.append(f"{column}={levels[0]}" if len(levels) == 2 else f"{column}≠{level}")
    return Features(np.column_stack(parts), names, low, [CROSS.join(value) for value in values])


def _numbers(values: Sequence[str]) -> Floats | None:
    try:
        found = np.array([float(value) for value in values if value != MISSING])
    except ValueError:
        return None
    return found if len(found) == len(values) and np.isfinite(found).all() else None


class Rule(NamedTuple):
    """A subgroup: which finest groups (I,) are in it, and the rule in words."""

    member: NDArray[np.bool_]
    words: str


# --- regressions -----------------------------------------------------------------------------------------------


def linear(f: Features, target: Floats, weight: Floats, above: bool) -> Rule:
    """Where the least-squares fit of the target on the columns is above 0 (or below)."""
    centre = (weight @ f.x) / weight.sum()
    spread = np.sqrt(weight @ (f.x - centre) ** 2 / weight.sum())
    x = np.column_stack([np.ones(len(f.x)), (f.x - centre) / np.where(spread > 0, spread, 1.0)])
    root = np.sqrt(weight)
    beta = np.linalg.lstsq(x * root[:, None], target * root, rcond=None)[0]
    member = x @ beta > 0 if above else x @ beta < 0
    if member.sum() <= NAMED:
        return Rule(member, "; or ".join(f.groups[i] for i in np.flatnonzero(member)))
    size = beta[1:] / np.where(spread > 0, spread, 1.0)
    largest = np.argsort(-np.abs(beta[1:]))[:4]
    terms = " ".join(f"{size[i]:+.3g} ({f.names[i]})" for i in largest)
    cut = beta[0] - float(size @ centre)
    more = " …" if len(size) > 4 else ""
    return Rule(member, f"{terms}{more} {'>' if above else '<'} {-cut:.3g}")


def tree(f: Features, target: Floats, weight: Floats, above: bool, depth: int = DEPTH) -> Rule:
    """Where a regression tree of the target is above 0 (or below): the leaves with such a mean (CART)."""
    member, found = np.zeros(len(target), dtype=bool), []

    def grow(inside: NDArray[np.bool_], path: tuple[str, ...]) -> None:
        cut = _cut(f.x, target, weight * inside) if len(path) < depth else None
        if cut is not None:
            j, at = cut
            low, high = _sides(f, j, at)
            grow(inside & (f.x[:, j] <= at), (*path, low))
            grow(inside & (f.x[:, j] > at), (*path, high))
        elif (target * weight * inside).sum() * (1 if above else -1) > 0:
            member[inside] = True
            found.append(" and ".join(path) or "everyone")

    grow(np.ones(len(target), dtype=bool), ())
    return Rule(member, "; or ".join(found))


def _cut(x: Floats, target: Floats, weight: Floats) -> tuple[int, float] | None:
    """Column and threshold that lower the squared error most; None where no cut does."""
    best, found = 1e-12, None
    total, mass = float(target @ weight), float(weight.sum())
    for j in range(x.shape[1]):
        levels, which = np.unique(x[:, j], return_inverse=True)
        below = np.cumsum(np.bincount(which, weights=weight))[:-1]
        sums = np.cumsum(np.bincount(which, weights=weight * target))[:-1]
        fine = (below > 0) & (below < mass)
        under, over = np.where(fine, below, 1.0), np.where(fine, mass - below, 1.0)
        gain = np.where(fine, sums**2 / under + (total - sums) ** 2 / over - total**2 / max(mass, 1e-300), -1.0)
        if len(gain) and gain.max() > best:
            at = int(gain.argmax())
            best, found = float(gain[at]), (j, float(levels[at] + levels[at + 1]) / 2)
    return found


def _sides(f: Features, j: int, at: float) -> tuple[str, str]:
    return (f.low[j], f.names[j]) if f.low[j] else (f"{f.names[j]} <= {at:g}", f"{f.names[j]} > {at:g}")


REGRESSIONS: tuple[Callable[[Features, Floats, Floats, bool], Rule], ...] = (linear, tree)


# --- search ----------------------------------------------------------------------------------------------------


class Rich(NamedTuple):
    """The subgroup found on one half, and what the other half says of it."""

    rule: Rule
    hits: float
    n: float
    """Records of the subgroup below the line, in the half that judges."""
    whole: float
    """The rate of all, there."""
    gap: float
    """P(S, y) (m_S - m), turned so that the way it departed in the first half is positive."""
    low: float
    high: float
    """95 % interval, from Newcombe's of m_S - m_rest."""
    p: float
    """P(a gap as large or larger) if the rate does not depend on the subgroup: hypergeometric, exact."""


def rich_subgroup(
    hits: ArrayLike, n: ArrayLike, values: Features, records: float, rng: np.random.Generator
) -> Rich | None:
    """The worst subgroup over thresholded linear and tree regressions; None where a half has one outcome only.

    Args:
        hits, n: (I,) of the finest groups, whole numbers: false positives and negatives, say.
        values: the protected columns of these groups.
        records: all, below the line and not.
        rng: cuts the records into halves.
    """
    x, m = np.asarray(hits).astype(np.int64), np.asarray(n).astype(np.int64)
    drawn = rng.multivariate_hypergeometric(np.r_[x, m - x], int(m.sum()) // 2, method="marginals")
    seen, size = drawn[: len(x)], drawn[: len(x)] + drawn[len(x) :]
    if not (0 < seen.sum() < size.sum() and 0 < (x - seen).sum() < (m - size).sum()):
        return None
    rate = seen.sum() / size.sum()
    target = rate - np.divide(seen, size, out=np.full(len(x), rate), where=size > 0)
    rules = [fit(values, target, size.astype(float), above) for fit in REGRESSIONS for above in (True, False)]
    small = [rule for rule in rules if 0 < size[rule.member].sum() <= size.sum() / 2]  # the rest departs as much
    if not small:
        return None
    gaps = [float((seen - rate * size)[rule.member].sum()) for rule in small]
    best = int(np.argmax(np.abs(gaps)))
    return _judged(small[best], x - seen, m - size, records / 2, 1 if gaps[best] > 0 else -1)


def _judged(rule: Rule, hits: NDArray[np.int64], n: NDArray[np.int64], records: float, way: int) -> Rich:
    k, size = int(hits[rule.member].sum()), int(n[rule.member].sum())
    whole, everyone = int(hits.sum()), int(n.sum())
    low, high = (float(end) for end in newcombe(k, size, whole - k, everyone - size))
    scale = size * (everyone - size) / (everyone * records)  # m_S - m = (1 - P(S)) (m_S - m_rest)
    ends = sorted((way * low * scale, way * high * scale))
    law = hypergeom(everyone, whole, size)
    p = float(law.sf(k - 1) if way > 0 else law.cdf(k))
    gap = way * (k - whole / everyone * size) / records
    return Rich(rule, k, size, whole / everyone, gap, ends[0], ends[1], p)
