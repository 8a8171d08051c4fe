"""Intervals and p-values: numbers by hand, exact oracles by enumeration, and coverage over simulated tables."""

from itertools import permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from upright.audit.fairness import resample
from upright.audit.fairness.resample import (
    bootstrap,
    draw,
    effective,
    permutation,
    shuffled,
    simultaneous_odds,
    simultaneous_ratio,
)
from upright.run.measures import rates as r
from upright.run.measures.intervals import clopper_pearson, simultaneous_range

Floats = NDArray[np.float64]
TABLE = np.array([[[40, 10], [10, 40]], [[55, 5], [20, 20]]], dtype=float)


def gaps(tables: Floats) -> Floats:
    m = r.rates(tables)
    odds = r.equalised_odds(tables)
    return np.stack([r.difference(m)[:, 0], r.ratio(m)[:, 0], odds.larger, odds.average], -1)


def test_simultaneous_odds_by_hand() -> None:
    """Four rates at level .05/4: TPR 40/50, 20/40 give [0, .6188], FPR 10/50, 5/60 [0, .3555]; the larger ends."""
    ends = simultaneous_odds(([40, 20], [50, 40]), ([10, 5], [50, 60]))
    assert_allclose(ends, (0.0, 0.6188), atol=5e-5)
    assert_allclose(simultaneous_range([10, 5], [50, 60], rates=4), (0.0, 0.3555), atol=5e-5)


def test_simultaneous_ratio_by_hand() -> None:
    """Two exact intervals at 97.5 %, of 25/100 and 50/100: the ratio lies between min l / max u and min u / max l."""
    low, high = clopper_pearson([25, 50], [100, 100], 0.025)
    assert_allclose(simultaneous_ratio([25, 50], [100, 100]), (low[0] / high[1], high[0] / low[1]))
    assert_allclose(simultaneous_ratio([0, 0], [5, 5]), (0.0, 1.0))  # nothing seen, nothing known


def test_simultaneous_intervals_cover() -> None:
    """At least 95 % of tables with 2 to 6 groups of 20 to 500 records, for gap and ratio."""
    rng = np.random.default_rng(0)
    hit = np.zeros(2)
    trials = 600
    for _ in range(trials):
        size = rng.integers(20, 500, rng.integers(2, 7))
        p = rng.uniform(0.05, 0.95, len(size))
        x = rng.binomial(size, p)
        for i, (ends, truth) in enumerate(
            [(simultaneous_range(x, size), np.ptp(p)), (simultaneous_ratio(x, size), p.min() / p.max())]
        ):
            hit[i] += ends[0] <= truth <= ends[1]
    assert (hit / trials >= 0.95).all()


@pytest.mark.parametrize("groups", [2, 5])
def test_bootstrap_covers(groups: int) -> None:
    """93 to 97 % of 1,000 tables in the long run; here 300, so within three standard errors of that."""
    rng = np.random.default_rng(groups)
    law = np.stack([rng.dirichlet([6, 2, 2, 5]) for _ in range(groups)]).reshape(groups, 2, 2) / groups
    truth = gaps(law[None] * 1e9)[0]
    hit = np.zeros(4)
    trials = 300
    for _ in range(trials):
        cells = rng.multinomial(400 * groups, law.ravel()).reshape(groups, 2, 2)
        low, high = bootstrap(cells, gaps, 300, rng)
        hit += (low <= truth) & (truth <= high)
    assert (hit / trials > 0.95 - 3 * np.sqrt(0.05 * 0.95 / trials)).all()


def test_bootstrap_is_the_bootstrap_of_records() -> None:
    """Standard deviation of the gap: over cells, over rows drawn with replacement, and √(Σ p(1-p)/n) agree."""
    rng = np.random.default_rng(1)
    cells = draw(TABLE, gaps, 4000, rng)[:, 0].std()
    row = np.repeat(np.arange(8), TABLE.ravel().astype(int))
    drawn = rng.choice(row, (1500, len(row)))
    by_row = gaps(np.stack([np.bincount(one, minlength=8) for one in drawn]).reshape(-1, 2, 2, 2).astype(float))
    exact = np.sqrt(0.5 * 0.5 / 100 + 0.25 * 0.75 / 100)
    assert_allclose([cells, by_row[:, 0].std()], exact, rtol=0.06)


def test_a_rate_that_never_varies_is_no_point() -> None:
    """No one is selected in either group of 50: the gap is 0, and its interval must reach above."""
    cells = np.array([[[30, 0], [20, 0]], [[25, 0], [25, 0]]], dtype=float)
    low, high = bootstrap(cells, lambda t: r.difference(r.rates(t))[:, :1], 500, np.random.default_rng(0))
    assert low[0] == 0.0
    assert 0.005 < high[0] < 0.2


def test_an_undefined_value_has_no_interval() -> None:
    cells = np.array([[[30, 5], [0, 0]], [[25, 5], [0, 0]]], dtype=float)
    low, high = bootstrap(cells, lambda t: r.difference(r.rates(t)), 300, np.random.default_rng(0))
    at = r.NAMES.index("true positive rate")
    assert np.isnan([low[at], high[at]]).all()
    assert np.isfinite([low[0], high[0]]).all()


def test_acceleration_is_the_jackknife_of_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving out each of the 200 records in turn gives the same, whatever the batches."""
    left = np.repeat(TABLE[None], 200, axis=0)
    cell = np.repeat(np.arange(8), TABLE.ravel().astype(int))
    left.reshape(200, 8)[np.arange(200), cell] -= 1
    away = gaps(left).mean(0) - gaps(left)
    wanted = (away**3).sum(0) / (6 * ((away**2).sum(0)) ** 1.5)
    monkeypatch.setattr(resample, "AT_ONCE", 20)
    assert_allclose(resample._acceleration(TABLE, gaps), wanted, atol=1e-12)


def test_same_seed_same_interval() -> None:
    first, second = (bootstrap(TABLE, gaps, 200, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.low, second.low)
    assert np.array_equal(first.high, second.high)


def test_permutation_equals_enumeration() -> None:
    """Groups of 4 and 3 records, 3 hits: all 35 assignments, the share with a gap at least that of (3, 0)."""
    values = np.array([1, 1, 1, 0, 0, 0, 0])
    apart = [abs(values[list(order[:4])].mean() - values[list(order[4:])].mean()) for order in permutations(range(7))]
    exact = np.mean(np.array(apart) >= 0.75 - 1e-12)
    above, all_ = permutation([3, 0], [4, 3], 20_000, np.random.default_rng(0))
    assert_allclose(above / all_, exact, atol=0.01)


def test_permutation_agrees_with_fisher() -> None:
    above, all_ = permutation([30, 18], [60, 60], 20_000, np.random.default_rng(0))
    assert_allclose(above / all_, fisher_exact([[30, 30], [18, 42]]).pvalue, atol=0.01)


def test_permutation_is_level_under_the_null() -> None:
    """P(p ≤ .1) ≤ .1 where both groups have one rate; odds, over two strata at once, as well."""
    rng = np.random.default_rng(2)
    small = np.zeros(2)
    for _ in range(400):
        x, z = rng.binomial([40, 60, 30], 0.4), rng.binomial([50, 20, 30], 0.7)
        for i, more in enumerate([None, (z, [50, 20, 30])]):
            above, all_ = permutation(x, [40, 60, 30], 199, rng, more)
            small[i] += above / all_ <= 0.1
    assert (small / 400 < 0.1 + 3 * 0.015).all()


def test_shuffles_keep_the_margins() -> None:
    drawn = shuffled([3, 0, 7], [10, 5, 20], 500, np.random.default_rng(0))
    assert (drawn.sum(1) == 10).all()
    assert (drawn <= [10, 5, 20]).all()
    assert_allclose(drawn.mean(0), 10 * np.array([10, 5, 20]) / 35, rtol=0.1)


def test_effective_size_by_hand() -> None:
    """Weights 1, 1, 2: (Σw)²/Σw² = 16/6; the other group is not weighted and stays."""
    cells = np.array([[2.0, 2.0], [1.0, 1.0]])
    assert_allclose(effective(cells, [6, 2]).sum(1), [16 / 6, 2])


def test_range_is_biased_upward_under_the_null() -> None:
    """The mean of max - min without any gap, p = .5: .080 for 2 groups of 50, .164 for 5 of 50, .279 for 10 of 30."""
    rng = np.random.default_rng(0)
    for groups, n, wanted in ((2, 50, 0.080), (5, 50, 0.164), (10, 30, 0.279)):
        assert_allclose(r.difference(rng.binomial(n, 0.5, (20_000, groups)) / n).mean(), wanted, atol=0.002)


def test_a_bias_beyond_all_draws_lowers_the_interval() -> None:
    """The range over 20 equal groups of 40: every resample is further apart than the table, which is further apart
    than the truth, 0. The lower end must reach well below what was seen, and not below 0.
    """
    rng = np.random.default_rng(0)
    for _ in range(5):
        hits = rng.binomial(40, 0.5, 20)
        cells = np.stack([40 - hits, hits], -1)
        seen = np.ptp(hits / 40)
        low, high = bootstrap(cells, lambda t: np.ptp(t[..., 1] / t.sum(-1), axis=-1)[:, None], 400, rng)
        assert 0 <= low[0] < seen - 0.08
        assert high[0] >= seen
