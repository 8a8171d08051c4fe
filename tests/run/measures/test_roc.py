"""ROC, AUC and power against the normal oracle, naive twins and exact tests."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import mannwhitneyu

from upright.run.measures.roc import (
    advantage,
    auc,
    auc_interval,
    delong,
    power_p_value,
    resolvable,
    roc,
    threshold_at,
    tpr_at_fpr,
)

Scores = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("mu", "area", "powers", "best"),
    [(1.0, 0.7602, (0.2595, 0.0924, 0.0183), 0.3829), (2.0, 0.9214, (0.6388, 0.3721, 0.1378), 0.6827)],
)
def test_normal_oracle(mu: float, area: float, powers: tuple[float, ...], best: float) -> None:
    """Members N(mu, 1), non-members N(0, 1).

    AUC = Φ(mu / √2), TPR = Φ(mu − Φ⁻¹(1 − FPR)), advantage = 2 Φ(mu / 2) − 1.
    """
    rng = np.random.default_rng(0)
    members, others = rng.normal(mu, 1, 300_000), rng.normal(0, 1, 300_000)
    assert auc(members, others).value == pytest.approx(area, abs=2e-3)
    for fpr, power in zip((0.05, 0.01, 0.001), powers, strict=True):
        assert tpr_at_fpr(members, others, fpr).value == pytest.approx(power, abs=6e-3)
    assert_allclose(advantage(members, others), best, atol=4e-3)


@given(Scores, Scores)
@settings(deadline=None, max_examples=60)
def test_auc_is_the_share_of_pairs(members: list[float], others: list[float]) -> None:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(members, others)]
    found = auc(members, others)
    assert found.value is not None
    assert found.ci_low is not None
    assert found.ci_high is not None
    assert_allclose(found.value, np.mean(pairs))
    assert 0 <= found.ci_low <= found.value <= found.ci_high <= 1
    curve = roc(members, others)
    assert_allclose(np.trapezoid(curve.tpr, curve.fpr), found.value)


def test_delong_by_hand() -> None:
    """Members 3, 1; non-members 2, 0.

    Member 3 beats both, member 1 one of two: V = (1, ½), variance ⅛; non-member 2 loses to one of two, 0 to both:
    (½, 1), variance ⅛. AUC ¾, error √(⅛/2 + ⅛/2).
    """
    assert_allclose(delong([3, 1], [2, 0]), (0.75, np.sqrt(0.125)))


@pytest.mark.parametrize("mu", [0.0, 1.0, 2.5])
def test_interval_covers(mu: float) -> None:
    """With 40 and 60 records the interval holds Φ(mu / √2) in about 95 % of 400 draws (three errors: 3.3 points)."""
    truth = {0.0: 0.5, 1.0: 0.7602, 2.5: 0.9615}[mu]
    rng = np.random.default_rng(5)
    found = [auc(rng.normal(mu, 1, 40), rng.normal(0, 1, 60)) for _ in range(400)]
    assert np.mean([(m.ci_low or 0) <= truth <= (m.ci_high or 0) for m in found]) >= 0.95 - 0.033


def test_interval_without_spread_takes_the_rule_of_three() -> None:
    """−ln 0.05 / 100 = 0.02996 on the sides where there is room."""
    assert_allclose(auc_interval(1.0, 0.0, 100), (1 - 0.02996, 1.0), atol=1e-5)
    assert_allclose(auc_interval(0.0, 0.0, 100), (0.0, 0.02996), atol=1e-5)
    assert_allclose(auc_interval(0.5, 0.0, 100), (0.5 - 0.02996, 0.5 + 0.02996), atol=1e-5)


@pytest.mark.parametrize(("fpr", "enough"), [(0.01, 299), (0.001, 2995), (0.05, 59)])
def test_a_rate_needs_that_many_nonmembers(fpr: float, enough: int) -> None:
    """(1 − fpr)^n ≤ 0.05."""
    assert resolvable(fpr, enough)
    assert not resolvable(fpr, enough - 1)
    scores = np.arange(float(enough))
    assert tpr_at_fpr([1e9], scores, fpr).value == 1.0
    short = tpr_at_fpr([1e9], scores[1:], fpr)
    assert (short.value, short.ci_low) == (None, None)


@given(Scores, st.lists(st.integers(0, 6).map(float), min_size=59, max_size=90), st.sampled_from([0.05, 0.1, 0.29]))
@settings(deadline=None, max_examples=60)
def test_tpr_is_the_best_of_all_thresholds(members: list[float], others: list[float], fpr: float) -> None:
    pos, neg = np.array(members), np.array(others)
    limits = [-np.inf, *np.unique(others)]
    best = max(float((pos > t).mean()) for t in limits if (neg > t).mean() <= fpr + 1e-12)
    assert tpr_at_fpr(pos, neg, fpr).value == best
    assert (neg > threshold_at(neg, fpr)).mean() <= fpr + 1e-12


def test_whole_numbers_are_not_lost_to_rounding() -> None:
    """0.29 · 100 is 28.999999999999996 in floating point; 29 of 100 may be flagged."""
    assert threshold_at(np.arange(100.0), 0.29) == 70.0


def test_power_p_value_by_hand() -> None:
    """Three members above all 59 non-members, two of which may be flagged.

    The event: of the 3 + 2 highest of 62 scores at most 2 are non-members. The five hold k members with
    probability C(3, k) C(59, 5 − k) / C(62, 5); k = 3: C(59, 2) / C(62, 5) = 1711 / 6471002.
    """
    others = np.arange(59.0)
    assert_allclose(power_p_value([100, 101, 102], others, 0.05), 1711 / 6471002, rtol=1e-9)
    assert power_p_value([-1, -2], others, 0.05) == 1.0


def test_power_p_value_is_valid_without_leakage() -> None:
    """Members and non-members of one law: p ≤ 0.05 in at most 5 % of 2,000 draws (three errors: 1.5 points)."""
    rng = np.random.default_rng(3)
    found = np.array([power_p_value(rng.normal(size=320), rng.normal(size=320), 0.01) for _ in range(2000)])
    assert (found <= 0.05).mean() <= 0.05 + 0.015


def test_auc_agrees_with_mann_whitney() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 9, 70), rng.integers(0, 8, 50)
    assert auc(a, b).value == pytest.approx(mannwhitneyu(a, b).statistic / (70 * 50))


@pytest.mark.parametrize(("members", "others"), [([], [1.0]), ([1.0], []), ([float("nan")], [1.0])])
def test_what_cannot_be_ranked_is_refused(members: list[float], others: list[float]) -> None:
    with pytest.raises(ValueError, match="needs some, all numbers"):
        auc(members, others)
