"""Estimates against naive twins, `upright.run.measures.roc`, resampled data, and the share of intervals that cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upright.audit.interplay.measure import Attack, Draws, Estimate, power, power_global, rates
from upright.run.measures.roc import auc, tpr_at_fpr


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_draws_are_resamples_of_records_and_of_one_seed_less() -> None:
    draws = Draws.make(50, 4, 300, rng())
    assert (draws.records[:, 0] == 1).all()
    assert (draws.seeds[0] == 1).all()
    assert (draws.records.sum(0) == 50).all()
    assert (draws.seeds[1:].sum(1) == 3).all()
    assert float(draws.records[:, 1:].var()) == pytest.approx(1 - 1 / 50, abs=0.05)  # binomial(50, 1/50)


def test_one_seed_is_left_as_it_is() -> None:
    assert (Draws.make(10, 1, 20, rng()).seeds == 1).all()


def test_rates_by_hand_leave_out_what_is_not_used() -> None:
    """Group 0: values 1, 0, 1 in use, mean 2/3 from 2 records. Group 1: nothing in use, undefined."""
    values = np.array([[1.0, 0.0], [1.0, np.nan], [5.0, 5.0]])
    use = np.array([[True, True], [True, False], [False, False]])
    found = rates(values, use, np.array([0, 0, 1]), Draws.make(3, 2, 20, rng()))
    assert found.point[0] == pytest.approx(2 / 3)
    assert np.isnan(found.point[1])
    assert found.n.tolist() == [2, 0]
    assert found.interval(1) is None


def test_a_draw_of_rates_is_the_rate_of_the_resampled_table() -> None:
    values, use = rng().random((30, 3)), rng(1).random((30, 3)) < 0.6
    group, draws = rng(2).integers(0, 2, 30), Draws.make(30, 3, 20, rng(3))
    found = rates(values, use, group, draws)
    for b in (0, 1, 7, 20):
        for g in range(2):
            weight = draws.records[:, b, None] * draws.seeds[b] * use * (group == g)[:, None]
            assert found.values[b, g] == pytest.approx((weight * values).sum() / weight.sum(), rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30), st.booleans())
def test_auc_and_power_are_those_of_the_roc_also_on_resampled_records(seed: int, levels: int, tied: bool) -> None:
    """Few levels make ties. A draw's weights repeat records, so its AUC is that of the repeated records."""
    source = rng(seed)
    score = source.integers(0, levels, (120, 1)).astype(float) if tied else source.random((120, 1))
    member = source.random((120, 1)) < 0.5
    member[:2, 0] = [True, False]
    draws = Draws.make(120, 1, 200, source)
    found = power(Attack(score, member), np.zeros(120, dtype=np.int64), draws, 0.05)
    for b in (0, 1, 2, 111):
        rows = np.repeat(np.arange(120), draws.records[:, b].astype(int))
        inside, outside = (score[rows, 0][side] for side in (member[rows, 0], ~member[rows, 0]))
        if not inside.size or not outside.size:
            continue
        assert found.auc.values[b, 0] == pytest.approx(auc(inside, outside).value, abs=1e-6)
        wanted = tpr_at_fpr(inside, outside, 0.05).value
        if wanted is not None:
            assert found.tpr.values[b, 0] == pytest.approx(wanted, abs=1e-6)


def test_power_at_a_rate_that_cannot_be_seen_is_unknown_and_groups_are_apart() -> None:
    """Group 0 is told perfectly, group 1 by chance; 60 outside cannot show 1 %."""
    member = np.tile([[True], [False]], (120, 1))
    group = np.repeat([0, 1], 120)
    score = np.where(group[:, None] == 0, member.astype(float), 0.5)
    found = power(Attack(score, member), group, Draws.make(240, 1, 200, rng()), 0.01)
    assert found.auc.point.tolist() == [1.0, 0.5]
    assert np.isnan(found.tpr.point).all()
    assert (found.auc.n.tolist(), found.tpr.n.tolist()) == ([120, 120], [60, 60])
    both = power_global(Attack(score, member), group, Draws.make(240, 1, 200, rng()), 0.01)
    assert both.point.tolist() == [1.0, 0.0]


def test_scores_that_are_missing_are_left_out() -> None:
    score, member = rng().random((200, 1)), np.tile([[True], [False]], (100, 1))
    holes = score.copy()
    holes[:40] = np.nan
    group = np.zeros(200, dtype=np.int64)
    found = power(Attack(holes, member), group, Draws.make(200, 1, 200, rng()), 0.05).auc
    assert found.point[0] == pytest.approx(auc(score[40::2, 0], score[41::2, 0]).value)
    assert found.n.tolist() == [160]


# --- intervals -------------------------------------------------------------------------------------------------


def test_range_by_hand() -> None:
    """Groups at 0.2 and 0.5 that move together: the difference has no spread, so the range is 0.3 exactly."""
    noise = rng().normal(size=(401, 1)) * 0.1
    noise[0] = 0
    found = Estimate(np.array([[0.2, 0.5]]) + noise, np.array([9, 9])).range()
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.3, 0.3))
    assert (found.least, found.most) == (0, 1)


def test_range_needs_two_groups_and_may_be_nothing() -> None:
    values = np.column_stack([rng().normal(size=400), np.full(400, np.nan)])
    assert Estimate(values, np.array([9, 0])).range() is None
    same = Estimate(rng(1).normal(size=(400, 3)), np.array([9, 9, 9])).range()
    assert same is not None
    assert same.low == 0.0


def test_more_looks_ask_for_more() -> None:
    """A value 2.5 standard errors above 0 holds alone and not among 100."""
    values = rng().normal(size=(5001, 1))
    values[1:] = (values[1:] - values[1:].mean()) / values[1:].std(ddof=1) + 2.5
    values[0] = 2.5
    estimate = Estimate(values, np.array([9]))
    assert estimate.over(0)
    assert not estimate.over(0, tests=100)


@pytest.mark.parametrize(("records", "seeds"), [(1.0, 0.0), (0.6, 0.1)])
def test_intervals_cover_when_records_and_seeds_both_vary(records: float, seeds: float) -> None:
    """200 tables of 150 records and 4 seeds with crossed effects: at least 90 % of the 95 % intervals hold the truth.

    Below 90.5 % is what 200 fair 95 % intervals give once in 200 times (binomial); 4 seeds cannot promise more.
    """
    held, source = 0, rng(11)
    for _ in range(200):
        values = records * source.normal(size=(150, 1)) + seeds * source.normal(size=4) + source.normal(size=(150, 4))
        use = source.random((150, 4)) < 0.5
        found = rates(values, use, np.zeros(150, dtype=np.int64), Draws.make(150, 4, 200, source)).interval(0)
        assert found is not None
        held += found[0] <= 0 <= found[1]
    assert held >= 180
