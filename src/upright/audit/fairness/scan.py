"""Bias scan (MDSS; Zhang & Neill 2016): the subgroup whose outcomes depart most from what was expected of them.

A subgroup takes any set of values of each attribute. Outcomes are y ~ Bernoulli(p) under the null, p an expectation
for each record; in the subgroup the odds are multiplied by q, up (q > 1) or down (q < 1). Records with equal
attributes and equal p are one cell, so the cost does not depend on their number. All replicates of the null are scanned
together with the data.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

Floats = NDArray[np.float64]
LOG_ODDS = np.geomspace(0.02, 6.0, 60)  # ln q of the search; the score of what it finds is exact
MOST_ROUNDS = 20


def subset_score(observed: float, n: ArrayLike, p: ArrayLike, up: bool = True) -> tuple[float, float]:
    """The largest over q > 1 (or < 1) of Σ [y ln q - ln(1 - p + q p)] and the q that gives it.

    Args:
        observed: Σ y of the subset.
        n, p: (B,) how many records have each expectation.
        up: whether outcomes are more frequent than expected; else less.

    >>> round(subset_score(8, [10], [0.5])[0], 4)
    1.9274
    """
    count, chance = np.asarray(n, dtype=float), np.asarray(p, dtype=float)
    expected = float((count * chance).sum())
    if (observed <= expected) if up else (observed >= expected):
        return 0.0, 1.0
    if observed >= count.sum() or observed <= 0:  # q → ∞ or 0: the likelihood of all ones, all zeros
        sure = chance if observed > 0 else 1 - chance
        return float(-(count * np.log(np.maximum(sure, 1e-300))).sum()), np.inf if observed > 0 else 0.0

    def slope(log_q: float) -> float:
        q = np.exp(log_q)
        return float(observed - (count * q * chance / (1 - chance + q * chance)).sum())

    log_q = float(brentq(slope, 0.0, 50.0) if up else brentq(slope, -50.0, 0.0))
    score = observed * log_q - (count * np.log(1 - chance + np.exp(log_q) * chance)).sum()
    return float(score), float(np.exp(log_q))


class Found(NamedTuple):
    """The subgroup that departs most."""

    score: float
    """Log-likelihood ratio, less the penalty for each value that narrows it."""
    q: float
    """Factor of the odds."""
    chosen: list[list[int]]
    """For each attribute, the values it takes."""
    records: float
    observed: float
    expected: float
    above: int
    rescans: int
    """Rescans (the data included) that score at least as much: their ratio is the p-value."""


class Cells(NamedTuple):
    """Records of equal attributes, I cells of A attributes, and how many of each expect what."""

    codes: NDArray[np.int64]
    """(I, A) the attribute values of each cell, from 0."""
    levels: Sequence[int]
    """Number of values of each attribute."""
    n: Floats
    """(I, B) how many records of a cell have each expectation; whole numbers."""
    p: Floats
    """(B,) the expectations."""


def bias_scan(
    cells: Cells,
    observed: ArrayLike,
    rng: np.random.Generator,
    *,
    up: bool = True,
    rescans: int = 199,
    restarts: int = 4,
    penalty: float = 0.5,
) -> Found:
    """Scan all subgroups by coordinate ascent over attributes, with random restarts.

    Given all other attributes, the best set of values of one is found exactly for each q (the score is a sum over
    values then). The p-value draws y ~ Bernoulli(p) for every record and scans again, so it pays for the search.

    Args:
        cells: attributes and expectations.
        observed: (I,) Σ y.
        rng: draws the null and the restarts.
        up: look for more outcomes than expected; else for fewer.
        rescans: of data drawn from the null.
        restarts: starting points of the ascent; the first takes everyone.
        penalty: cost of each value named, unless all of an attribute are.
    """
    levels = cells.levels
    whole = cells.n.astype(np.int64)
    drawn = [rng.binomial(whole, cells.p).sum(-1) for _ in range(rescans)]
    outcomes = np.stack([np.asarray(observed, dtype=float), *drawn])
    log_q = LOG_ODDS if up else -LOG_ODDS
    cost = np.stack([cells.n @ np.log(1 - cells.p + np.exp(value) * cells.p) for value in log_q], -1)  # (I, Q)
    best, masks = np.full(len(outcomes), -np.inf), [np.ones((len(outcomes), level), bool) for level in levels]
    for start in range(restarts):
        found, taken = _ascend(cells, outcomes, cost, log_q, penalty, _start(levels, len(outcomes), start, rng))
        better = found > best
        best = np.where(better, found, best)
        masks = [np.where(better[:, None], new, old) for new, old in zip(taken, masks, strict=True)]
    return _found(cells, outcomes[0], best, [mask[0] for mask in masks], up, penalty)


def _start(levels: Sequence[int], replicates: int, start: int, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """All values at first, then random halves."""
    if start == 0:
        return [np.ones((replicates, level), bool) for level in levels]
    masks = [rng.random((replicates, level)) < 0.5 for level in levels]
    return [np.where(mask.any(1, keepdims=True), mask, True) for mask in masks]


def _ascend(
    cells: Cells,
    outcomes: Floats,
    cost: Floats,
    log_q: Floats,
    penalty: float,
    masks: list[NDArray[np.bool_]],
) -> tuple[Floats, list[NDArray[np.bool_]]]:
    """Improve one attribute after the other, in all replicates (R,) at once, until none gets better."""
    score = np.full(len(outcomes), -np.inf)
    for _ in range(MOST_ROUNDS):
        before = score.copy()
        for a in range(len(masks)):
            found, mask = _improve(cells, outcomes, cost, log_q, penalty, masks, a)
            better = found > score + 1e-12
            masks[a] = np.where(better[:, None], mask, masks[a])
            score = np.where(better, found, score)
        if (score <= before + 1e-9).all():
            break
    return score, masks


def _improve(
    cells: Cells,
    outcomes: Floats,
    cost: Floats,
    log_q: Floats,
    penalty: float,
    masks: list[NDArray[np.bool_]],
    a: int,
) -> tuple[Floats, NDArray[np.bool_]]:
    """The best set of values of attribute `a`, and its score, given the sets of the others."""
    inside = np.ones_like(outcomes)
    named = np.zeros(len(outcomes))
    for j, mask in enumerate(masks):
        if j != a:
            inside = inside * mask[:, cells.codes[:, j]]
            named = named + np.where(mask.all(1), 0, mask.sum(1))
    members = [np.flatnonzero(cells.codes[:, a] == v) for v in range(cells.levels[a])]
    hits = np.stack([(inside[:, at] * outcomes[:, at]).sum(1) for at in members], 1)  # (R, V)
    loss = np.stack([inside[:, at] @ cost[at] for at in members], 1)  # (R, V, Q)
    gain = hits[..., None] * log_q - loss
    some: Floats = np.maximum(gain - penalty, 0).sum(1) - penalty * named[:, None]
    every: Floats = gain.sum(1) - penalty * named[:, None]
    best = np.maximum(some, every).argmax(1)
    row = np.arange(len(outcomes))
    everyone = np.greater_equal(every[row, best], some[row, best])[:, None]
    taken: NDArray[np.bool_] = np.logical_or(everyone, gain[row, :, best] > penalty)
    score = np.maximum(some, every)[row, best]
    nonempty: NDArray[np.bool_] = np.atleast_1d(taken.any(1))
    return np.where(nonempty, score, 0.0), np.where(nonempty[:, None], taken, masks[a])


def _found(
    cells: Cells, observed: Floats, best: Floats, masks: list[NDArray[np.bool_]], up: bool, penalty: float
) -> Found:
    inside = np.prod([mask[cells.codes[:, a]] for a, mask in enumerate(masks)], axis=0).astype(bool)
    n = cells.n[inside].sum(0)
    hits = float(observed[inside].sum())
    score, q = subset_score(hits, n, cells.p, up)
    named = sum(0 if mask.all() else int(mask.sum()) for mask in masks)
    above = int((best[1:] >= best[0] - 1e-9).sum()) + 1
    return Found(
        score - penalty * named,
        q,
        [np.flatnonzero(mask).tolist() for mask in masks],
        float(n.sum()),
        hits,
        float((n * cells.p).sum()),
        above,
        len(best),
    )
