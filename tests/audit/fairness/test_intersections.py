"""Crossings: differential fairness by hand, all subgroups against a loop, and searches that keep their level."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from upright.audit.fairness import intersections as x
from upright.audit.fairness.resample import draw

TABLE = np.array([[[40, 10], [10, 40]], [[55, 5], [20, 20]]], dtype=float)
CELLS = [(a, b, c) for a in "ab" for b in "uvw" for c in "01"]


def test_differential_fairness_by_hand() -> None:
    """Positives (50+1)/102 and (25+1)/102: ln(51/26) = .673729; negatives ln(76/51) is less. Labels: ln(51/41)."""
    assert_allclose(x.differential_fairness(TABLE.sum(-2)), np.log(51 / 26))
    assert_allclose(np.log(51 / 26), 0.673729, atol=5e-7)
    assert_allclose(x.bias_amplification(TABLE), np.log(51 / 26) - np.log(51 / 41))


def test_smoothing_holds_where_a_cell_is_empty() -> None:
    """0 of 10 against 5 of 10: (6/12) / (1/12)."""
    assert_allclose(x.differential_fairness([[10, 0], [5, 5]]), np.log(6))
    assert np.isinf(x.differential_fairness([[10, 0], [5, 5]], 0.0))


def test_subgroups_are_all_conjunctions() -> None:
    """(2 + 1)(3 + 1)(2 + 1) - 1 = 35, each with exactly the cells that agree with it."""
    found = x.subgroups(CELLS, ["p", "q", "r"])
    assert len(found.names) == 35
    row = found.member[found.names.index("q=v, r=1")]
    assert [cell for cell, inside in zip(CELLS, row, strict=True) if inside] == [("a", "v", "1"), ("b", "v", "1")]
    assert found.member[found.names.index("p=a")].sum() == 6


def test_surplus_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    n = rng.integers(5, 50, 12).astype(float)
    hits = rng.binomial(n.astype(int), 0.3).astype(float)
    found = x.subgroups(CELLS, ["p", "q", "r"])
    for value, member in zip(x.surplus(hits, n, found.member, 1000), found.member.toarray(), strict=True):
        inside = member > 0
        wanted = n[inside].sum() / 1000 * (hits[inside].sum() / n[inside].sum() - hits.sum() / n.sum())
        assert_allclose(value, wanted)


def test_the_worst_subgroup_is_found() -> None:
    """One conjunction has a false positive rate of .6 among .2: found, and far beyond chance."""
    rng = np.random.default_rng(1)
    n = np.full(12, 300.0)
    p = np.array([0.6 if cell[1:] == ("v", "1") else 0.2 for cell in CELLS])
    hits = rng.binomial(300, p).astype(float)
    found = x.subgroups(CELLS, ["p", "q", "r"])
    worst = x.worst_subgroup(hits, n, found.member, 7200, 500, rng)
    assert found.names[worst.place] == "q=v, r=1"
    assert worst.above == 1
    assert 0 < worst.low < worst.gap < worst.high


def test_searching_keeps_its_level_and_covers() -> None:
    """200 fair tables: p ≤ .1 in at most 10 % of them, and the simultaneous interval holds the true gap of 0."""
    rng = np.random.default_rng(2)
    member = x.subgroups(CELLS, ["p", "q", "r"]).member
    n = rng.integers(30, 200, 12).astype(float)
    found = [x.worst_subgroup(rng.binomial(n.astype(int), 0.3), n, member, 5000, 200, rng) for _ in range(200)]
    assert np.mean([w.above / w.shuffles <= 0.1 for w in found]) < 0.1 + 3 * 0.021
    assert np.mean([w.low == 0.0 for w in found]) > 0.95 - 3 * 0.016


def test_epsilon_interval_from_the_bootstrap_contains_it() -> None:
    drawn = draw(TABLE, lambda t: x.differential_fairness(t.sum(-2))[:, None], 500, np.random.default_rng(0))
    assert np.quantile(drawn, 0.025) < np.log(51 / 26) < np.quantile(drawn, 0.975)


def test_too_many_subgroups() -> None:
    with pytest.raises(ValueError, match="cross fewer columns"):
        x.subgroups([(str(i), str(i), str(i)) for i in range(40)], ["a", "b", "c"])
