"""Estimates by group with intervals over records and seeds: pure functions on arrays.

N records, S seeds (models), G groups, B bootstrap draws. Records and seeds are drawn independently and crossed (the
pigeonhole bootstrap, Owen 2007), the S seeds S - 1 at a time, which makes the variance of their mean unbiased (Rao &
Wu 1988). All estimates of a run share their draws, so that the difference of two is an interval over pairs.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

CHUNK = 2**22


@dataclass(frozen=True)
class Draws:
    """Bootstrap weights of the records (N, 1 + B) and the seeds (1 + B, S); the first draw is the sample itself.

    Weights are whole numbers, so that float32 adds them up exactly (to 16 million).
    """

    records: NDArray[np.float32]
    seeds: Floats

    @classmethod
    def make(cls, records: int, seeds: int, draws: int, rng: np.random.Generator) -> "Draws":
        """B draws of N records with replacement, and of S - 1 seeds (one seed stays as it is)."""
        weights = np.ones((records, 1 + draws), dtype=np.float32)
        size = max(1, CHUNK // records)
        for start in range(1, 1 + draws, size):
            count = min(size, 1 + draws - start)
            places = rng.integers(0, records, (count, records)) * count + np.arange(count)[:, None]
            drawn = np.bincount(places.ravel(), minlength=count * records)
            weights[:, start : start + count] = drawn.reshape(records, count)
        few = max(1, seeds - 1)
        chosen = rng.multinomial(few, np.full(seeds, 1 / seeds), draws) if seeds > 1 else np.ones((draws, 1))
        return cls(weights, np.concatenate([np.ones((1, seeds)), chosen]))


@dataclass(frozen=True)
class Estimate:
    """A quantity of each group: `values` (1 + B, G), the sample's first, NaN where not defined; n records (G,)."""

    values: Floats
    n: Ints

    @property
    def point(self) -> Floats:
        """(G,)."""
        point: Floats = self.values[0]
        return point

    @cached_property
    def error(self) -> Floats:
        """Standard errors (G,); NaN for a group without values."""
        return _sd(self.values)

    def __sub__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.values - other.values, np.minimum(self.n, other.n))

    def __add__(self, number: float) -> "Estimate":
        return Estimate(self.values + number, self.n)

    def interval(self, group: int, alpha: float = 0.05) -> tuple[float, float] | None:
        """Percentile interval; None where it is not defined."""
        draws = self.values[1:, group]
        draws = draws[np.isfinite(draws)]
        if not np.isfinite(self.point[group]) or draws.size < len(self.values) / 2:
            return None
        low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2])
        return float(low), float(high)

    def range(self, alpha: float = 0.05) -> "Range | None":
        """The range max - min over the groups that are defined; None for fewer than two.

        The bootstrap of a maximum is biased upward, so the interval comes from the differences of all pairs, each at
        level 1 - alpha / pairs: the range is at least the largest lower end, at most the largest upper end.
        """
        known = [g for g in range(len(self.point)) if np.isfinite(self.point[g])]
        pairs = list(combinations(known, 2))
        if not pairs:
            return None
        z = norm.ppf(1 - alpha / len(pairs) / 2)
        ends = []
        for a, b in pairs:
            difference = self.values[:, a] - self.values[:, b]
            half, middle = z * float(_sd(difference[:, None])[0]), float(difference[0])
            ends.append((max(0.0, abs(middle) - half), abs(middle) + half))
        least, most = (int(known[int(f(self.point[known]))]) for f in (np.argmin, np.argmax))
        value = float(self.point[most] - self.point[least])
        return Range(value, max(low for low, _ in ends), max(high for _, high in ends), least, most)

    def over(self, group: int, tests: int = 1) -> bool:
        """Whether the value lies above 0 by a two-sided test at 5 %, shared among so many `tests` (Bonferroni)."""
        lower = self.point[group] - norm.ppf(1 - 0.025 / tests) * self.error[group]
        return bool(lower > 0)


class Range(NamedTuple):
    """The range max - min over groups with its interval, and the groups with the smallest and the largest value."""

    value: float
    low: float
    high: float
    least: int
    most: int


def _sd(values: Floats) -> Floats:
    """Standard deviation of the draws (after the first row) of each column."""
    draws = values[1:]
    count = np.isfinite(draws).sum(0)
    filled = np.where(np.isfinite(draws), draws, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(0) / count
        squares = np.where(np.isfinite(draws), (draws - mean) ** 2, 0.0).sum(0)
        return np.asarray(np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan))


def _per_group(group: Ints, use: Bools, groups: int) -> Ints:
    return np.array([int((use.any(1) & (group == g)).sum()) for g in range(groups)])


def rates(values: Floats, use: Bools, group: Ints, draws: Draws) -> Estimate:
    """Mean of `values` (N, S) over the records and seeds in `use` (N, S), by group (N,)."""
    groups = int(group.max()) + 1
    kept, own = np.where(use, values, 0.0), np.eye(groups)[group]
    top, bottom = (_weighted(part, own, draws) for part in (kept, use.astype(float)))
    found = np.where(bottom > 0, top / np.maximum(bottom, 1e-300), np.nan)
    return Estimate(found, _per_group(group, use, groups))


def _weighted(values: Floats, own: Floats, draws: Draws) -> Floats:
    """Sums (1 + B, G) of `values` (N, S) under the weights of records and seeds; `own` (N, G) tells the groups."""
    columns = (values[:, :, None] * own[:, None, :]).reshape(len(values), -1).astype(np.float32)
    sums = (draws.records.T @ columns).reshape(len(draws.seeds), values.shape[1], own.shape[1])
    return np.asarray(np.einsum("bsg,bs->bg", sums.astype(float), draws.seeds))


# --- attacks ---------------------------------------------------------------------------------------------------


class Attack(NamedTuple):
    """Scores (N, S), larger for members, of records that are members (N, S) or not; NaN where there is no score."""

    score: Floats
    member: Bools


class Power(NamedTuple):
    """What an attack can do, by group."""

    auc: Estimate
    """P(a member scores higher than a non-member), ties half; the mean over seeds."""
    tpr: Estimate
    """TPR where at most a given share of the group's own non-members is flagged; NaN where these are too few."""


def power(attack: Attack, group: Ints, draws: Draws, fpr: float) -> Power:
    """AUC and TPR at `fpr` of an attack in each group."""
    groups, seeds = int(group.max()) + 1, attack.score.shape[1]
    found = np.full((2, len(draws.seeds), groups, seeds), np.nan)
    usable = np.isfinite(attack.score)
    for g in range(groups):
        for s in range(seeds):
            inside, outside = (
                _ordered(attack.score[:, s], (group == g) & usable[:, s] & side, draws)
                for side in (attack.member[:, s], ~attack.member[:, s])
            )
            if len(inside.score) and len(outside.score):
                found[0, :, g, s] = _auc(inside, outside)
                found[1, :, g, s] = _tpr(inside, outside, fpr)
    auc, tpr = (_over_seeds(values, draws) for values in found)
    both, members = (_per_group(group, some, groups) for some in (usable, usable & attack.member))
    return Power(Estimate(auc, both), Estimate(tpr, members))


def power_global(attack: Attack, group: Ints, draws: Draws, fpr: float) -> Estimate:
    """TPR at `fpr` by group with one threshold a seed, from all non-members; it is held fixed over the draws."""
    usable = np.isfinite(attack.score)
    flagged = np.full(attack.score.shape, np.nan)
    for s in range(attack.score.shape[1]):
        others = np.sort(attack.score[~attack.member[:, s] & usable[:, s], s])[::-1]
        if others.size * fpr >= 1:
            flagged[:, s] = attack.score[:, s] > others[int(np.floor(others.size * fpr))]
    return rates(flagged, attack.member & usable & np.isfinite(flagged), group, draws)


def _over_seeds(values: Floats, draws: Draws) -> Floats:
    """Means (1 + B, G) over the seeds drawn of `values` (1 + B, G, S), leaving out what is not defined."""
    known = np.isfinite(values)
    weights = np.where(known, draws.seeds[:, None], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((np.where(known, values, 0.0) * weights).sum(2) / weights.sum(2))


class _Ordered(NamedTuple):
    """Scores (n,), rising, and weights (n, 1 + B) of one side of an attack."""

    score: Floats
    weight: NDArray[np.float32]


def _ordered(score: Floats, chosen: Bools, draws: Draws) -> _Ordered:
    own = np.flatnonzero(chosen)
    order = own[np.argsort(score[own], kind="stable")]
    return _Ordered(score[order], draws.records[order])


def _auc(inside: _Ordered, outside: _Ordered) -> Floats:
    """Σ_i w_i (weight below i + half of that level with i) / (weight inside · weight outside)."""
    below = _running(outside.weight)
    left, right = (np.searchsorted(outside.score, inside.score, side=side) for side in ("left", "right"))
    beaten = below[left] if (left == right).all() else (below[left] + below[right]) / 2
    total = inside.weight.sum(0, dtype=np.float64) * below[-1]
    won = np.einsum("nb,nb->b", inside.weight, beaten, dtype=np.float64)
    return np.where(total > 0, won / np.maximum(total, 1e-300), np.nan)


def _tpr(inside: _Ordered, outside: _Ordered, fpr: float) -> Floats:
    """The share inside above the largest threshold, one of the outside scores, above which at most `fpr` lies."""
    others = outside.weight.sum(0, dtype=np.float64)
    allowed = np.floor(others * fpr + 1e-9)
    place = _passed(outside.weight[::-1], allowed)
    threshold = outside.score[::-1][place]
    near = np.searchsorted(inside.score, threshold.min(), side="right")  # below it nobody is flagged in any draw
    hits = _running(inside.weight[near:][::-1])
    above = len(inside.score) - np.searchsorted(inside.score, threshold, side="right")
    reached, members = hits[above, np.arange(hits.shape[1])], inside.weight.sum(0, dtype=np.float64)
    return np.where((members > 0) & (others * fpr >= 1), reached / np.maximum(members, 1e-300), np.nan)


def _passed(weight: NDArray[np.float32], allowed: Floats) -> Ints:
    """For each draw the first row (1 + B,) with which the running weight passes what is allowed, else the last.

    Few rows are passed at a low rate, so few are looked at first.
    """
    rows = int(4 * allowed.max()) + 50
    while True:
        some = _running(weight[:rows])[1:]
        if rows >= len(weight) or (some[-1] > allowed).all():
            found: Ints = np.minimum((some <= allowed).sum(0), len(weight) - 1)
            return found
        rows *= 4


def _running(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums (n + 1, 1 + B) of the first 0, 1, …, n rows; row by row, as numpy's own walks down the columns."""
    sums = np.zeros((len(weight) + 1, weight.shape[1]), dtype=np.float32)
    for i, row in enumerate(weight):
        np.add(sums[i], row, out=sums[i + 1])
    return sums
