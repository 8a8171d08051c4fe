"""The bias scan against enumeration of all subgroups, and its p-value under the null."""

from itertools import combinations, product

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from upright.audit.fairness.scan import Cells, bias_scan, subset_score

Floats = NDArray[np.float64]


def test_scores_by_hand() -> None:
    """8 of 10 at p ½: q = 4, 8 ln 4 - 10 ln 2.5. 10 of 10: q → ∞, 10 ln 2. 2 of 10 downward is 8 of 10 mirrored."""
    assert_allclose(subset_score(8, [10], [0.5]), (8 * np.log(4) - 10 * np.log(2.5), 4.0))
    assert_allclose(subset_score(8, [10], [0.5])[0], 1.9274, atol=5e-5)
    assert_allclose(subset_score(10, [10], [0.5])[0], 10 * np.log(2))
    assert_allclose(subset_score(2, [10], [0.5], up=False), (subset_score(8, [10], [0.5])[0], 0.25))
    assert subset_score(5, [10], [0.5]) == (0.0, 1.0)
    assert_allclose(subset_score(0, [10], [0.5], up=False), (10 * np.log(2), 0.0))


def test_score_is_the_largest_over_q() -> None:
    n, p, seen = np.array([20.0, 30.0, 10.0]), np.array([0.1, 0.4, 0.8]), 30.0
    q = np.exp(np.linspace(0, 5, 20_001))
    grid = seen * np.log(q) - (n * np.log(1 - p + q[:, None] * p)).sum(1)
    assert_allclose(subset_score(seen, n, p)[0], grid.max(), atol=1e-6)


def best_by_enumeration(
    codes: NDArray[np.int64], levels: list[int], observed: Floats, n: Floats, p: Floats, penalty: float, up: bool
) -> float:
    sets = [[c for k in range(1, level + 1) for c in combinations(range(level), k)] for level in levels]
    best = 0.0
    for chosen in product(*sets):
        inside = np.all([np.isin(codes[:, a], values) for a, values in enumerate(chosen)], axis=0)
        named = sum(len(v) for v, level in zip(chosen, levels, strict=True) if len(v) < level)
        best = max(best, subset_score(observed[inside].sum(), n[inside].sum(0), p, up)[0] - penalty * named)
    return best


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_the_scan_equals_enumeration(seed: int, up: bool) -> None:
    """7 · 7 · 3 subgroups of 18 cells: the ascent finds the best of all."""
    rng = np.random.default_rng(seed)
    levels = [3, 3, 2]
    codes = np.array(list(product(range(3), range(3), range(2))))
    n, p = rng.integers(5, 40, (18, 2)).astype(float), np.array([0.2, 0.5])
    shift = np.where((codes[:, 0] < 2) & (codes[:, 2] == 1), 0.25 if up else -0.15, 0.0)
    observed = rng.binomial(n.astype(int), np.clip(p + shift[:, None], 0, 1)).sum(1).astype(float)
    found = bias_scan(Cells(codes, levels, n, p), observed, rng, up=up, rescans=0, restarts=8)
    assert_allclose(found.score, best_by_enumeration(codes, levels, observed, n, p, 0.5, up), atol=2e-2)


def test_the_scan_finds_what_was_put_in() -> None:
    rng = np.random.default_rng(9)
    codes = np.array(list(product(range(4), range(3))))
    n = np.full((12, 1), 200.0)
    hot = (codes[:, 0] == 2) & (codes[:, 1] > 0)
    observed = rng.binomial(200, np.where(hot, 0.45, 0.3)).astype(float)
    found = bias_scan(Cells(codes, [4, 3], n, np.array([0.3])), observed, rng, rescans=99)
    assert found.chosen == [[2], [1, 2]]
    assert found.above == 1
    assert_allclose([found.records, found.expected], [400, 120])


def test_false_alarms_stay_below_their_level() -> None:
    """100 tables that are as expected: p ≤ .1 in about 10 % of them, for all the searching."""
    rng = np.random.default_rng(3)
    codes = np.array(list(product(range(3), range(2))))
    n, p = np.full((6, 1), 60.0), np.array([0.3])
    small = 0
    for _ in range(100):
        found = bias_scan(Cells(codes, [3, 2], n, p), rng.binomial(60, 0.3, 6), rng, rescans=39, restarts=2)
        small += found.above / found.rescans <= 0.1
    assert small <= 10 + 3 * 3
