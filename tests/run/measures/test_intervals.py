"""Published and hand-made numbers for every interval, and that they cover."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from upright.run import evidence
from upright.run.measures.intervals import (
    clopper_pearson,
    katz,
    newcombe,
    percentile,
    resampled,
    simultaneous_range,
    wilson,
)


@pytest.mark.parametrize(
    ("hits", "n", "expected"),
    [(40, 50, (0.6628, 0.8997)), (20, 40, (0.3380, 0.6620)), (0, 20, (0.0, 0.1684)), (20, 20, (0.8316, 1.0))],
)
def test_clopper_pearson(hits: int, n: int, expected: tuple[float, float]) -> None:
    """At 0 of 20 the upper end solves (1 - p)^20 = 0.025, so p = 1 - 0.025^(1/20) = 0.1684."""
    assert_allclose(clopper_pearson(hits, n), expected, atol=5e-5)


def test_nothing_seen_says_nothing() -> None:
    assert_allclose(np.stack(clopper_pearson([0], [0])), [[0.0], [1.0]])
    assert_allclose(np.stack(wilson([0], [0])), [[0.0], [1.0]])
    assert_allclose(newcombe(0, 0, 3, 4), (-1.0, 1.0))
    assert_allclose(np.stack(katz([0], [0], [3], [4])), [[0.0], [np.inf]])


def test_wilson() -> None:
    low, high = wilson([40, 20], [50, 40])
    assert_allclose(low, [0.6696, 0.3520], atol=5e-5)
    assert_allclose(high, [0.8876, 0.6480], atol=5e-5)
    assert_allclose(np.array(wilson(7, 9)), evidence.wilson(7, 9), rtol=1e-12)


def test_newcombe() -> None:
    """Difference of 40/50 and 20/40."""
    assert_allclose(newcombe(40, 50, 20, 40), (0.1028, 0.4720), atol=5e-5)


def test_katz() -> None:
    """ln(1/2) ± 1.96 √(1/25 − 1/100 + 1/50 − 1/100) = −0.6931 ± 0.3920."""
    assert_allclose(katz(25, 100, 50, 100), (0.3379, 0.7400), atol=5e-5)
    assert tuple(float(end) for end in katz(0, 10, 5, 10)) == (0.0, float("inf"))


def test_simultaneous_range_of_two_rates_each() -> None:
    """Equalised odds of table 1, four rates in all: TPR 40/50 and 20/40, FPR 10/50 and 5/60."""
    assert_allclose(simultaneous_range([40, 20], [50, 40], rates=4), (0.0, 0.6188), atol=5e-5)
    assert_allclose(simultaneous_range([10, 5], [50, 60], rates=4), (0.0, 0.3555), atol=5e-5)


@pytest.mark.parametrize("groups", [2, 4, 6])
def test_simultaneous_range_covers(groups: int) -> None:
    """2,000 tables in all with equal and unequal rates and n from 20 to 500: at least 95 % hold the true range."""
    rng = np.random.default_rng(groups)
    inside = 0
    for i in range(700):
        n = rng.integers(20, 501, groups)
        p = np.full(groups, rng.random()) if i % 2 else rng.random(groups)
        low, high = simultaneous_range(rng.binomial(n, p), n)
        inside += bool(low - 1e-12 <= np.ptp(p) <= high + 1e-12)
    assert inside / 700 >= 0.95


@pytest.mark.parametrize(("groups", "n", "expected"), [(2, 50, 0.080), (5, 50, 0.164), (10, 30, 0.279)])
def test_range_without_any_gap(groups: int, n: int, expected: float) -> None:
    """Known means of max - min at p = 1/2: what no gap looks like."""
    rates = np.random.default_rng(0).binomial(n, 0.5, (40_000, groups)) / n
    assert_allclose(np.ptp(rates, axis=1).mean(), expected, atol=1e-3)


def test_resampled_tables_are_multinomial() -> None:
    """Mean n p and variance n p (1 - p) of each cell, as for rows drawn with replacement."""
    counts = np.array([[10, 30], [0, 60]])
    drawn = resampled(counts, 20_000, np.random.default_rng(0))
    assert (drawn.sum(axis=(1, 2)) == 100).all()
    assert_allclose(drawn.mean(axis=0), counts, atol=0.2)
    assert_allclose(drawn.var(axis=0), counts * (1 - counts / 100), atol=0.6)


@pytest.mark.parametrize("counts", [[0, 0], [1, -1], [1.0, np.nan]])
def test_resampled_refuses_what_is_no_table(counts: list[float]) -> None:
    with pytest.raises(ValueError, match="counts must be finite"):
        resampled(counts, 3, np.random.default_rng(0))


def test_bootstrap_of_a_share_agrees_with_its_normal_interval() -> None:
    """300 of 1,000: 0.3 ± 1.96 √(0.21 / 1,000) = 0.3 ± 0.0284."""
    tables = resampled([300, 700], 20_000, np.random.default_rng(1))
    found = percentile(tables[:, 0] / tables.sum(axis=1))
    assert_allclose(found, (0.3 - 0.0284, 0.3 + 0.0284), atol=2e-3)


def test_percentile_leaves_out_empty_denominators() -> None:
    assert_allclose(percentile([np.nan, *np.arange(101.0)]), (2.5, 97.5))
