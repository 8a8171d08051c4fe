"""Separation, calibration and laws of scores, against pairs, sklearn, scipy and numbers by hand."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import ks_2samp, sem, wasserstein_distance
from sklearn.metrics import brier_score_loss, roc_auc_score

from upright.audit.fairness import counts as c
from upright.audit.fairness import scored
from upright.audit.fairness import scores as s
from upright.audit.fairness.config import Config
from upright.run.measures import roc

Floats = NDArray[np.float64]
Sample = tuple[NDArray[np.int64], Floats, NDArray[np.int64]]


def sample(seed: int, n: int = 400, groups: int = 3, decimals: int = 2) -> Sample:
    rng = np.random.default_rng(seed)
    y, g = rng.integers(0, 2, n), rng.integers(0, groups, n)
    score = np.round(np.clip(rng.normal(0.4 + 0.2 * y + 0.05 * g, 0.2), 0, 1), decimals)
    return y, score.astype(float), g


def pairs(positives: Floats, negatives: Floats) -> float:
    """P(r⁺ > r⁻), ties half, over all pairs."""
    apart = positives[:, None] - negatives[None]
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_aucs_equal_all_pairs(seed: int) -> None:
    y, r, g = sample(seed, 120)
    found = s.aucs(s.histogram(y, r, g)[1])
    for i in range(3):
        own, other = g == i, g != i
        assert_allclose(found.subgroup[i], pairs(r[own & (y == 1)], r[own & (y == 0)]))
        assert_allclose(found.bpsn[i], pairs(r[other & (y == 1)], r[own & (y == 0)]))
        assert_allclose(found.bnsp[i], pairs(r[own & (y == 1)], r[other & (y == 0)]))


def test_cross_auc_by_hand() -> None:
    """Positives at .2 and .8, negatives at .2 and .5: wins 0 + ½, and 2, of 4 pairs: .625."""
    assert_allclose(s.cross_auc([1, 0, 1], [1, 1, 0]), 2.5 / 4)
    assert np.isnan(s.cross_auc([0, 0], [1, 1]))


def test_delong_equals_the_one_over_records() -> None:
    y, r, g = sample(1)
    value, error = s.delong(s.histogram(y, r, g)[1])
    for i in range(3):
        own = r[(g == i) & (y == 1)], r[(g == i) & (y == 0)]
        wanted = roc.auc(*own)
        assert wanted.ci_low is not None
        assert_allclose(value[i], roc_auc_score(y[g == i], r[g == i]), atol=1e-12)
        low = expit(np.log(value[i] / (1 - value[i])) - 1.959964 * error[i] / (value[i] * (1 - value[i])))
        assert_allclose(low, wanted.ci_low, atol=1e-6)


def test_laws_equal_scipy() -> None:
    y, r, g = sample(2, groups=4)
    _, cells, at = s.histogram(y, r, g)
    every = [(a, b) for a in range(4) for b in range(a)]
    apart = [ks_2samp(r[g == a], r[g == b]).statistic for a, b in every]
    moved = [wasserstein_distance(r[g == a], r[g == b]) for a, b in every]
    assert_allclose(s.kolmogorov_smirnov(cells.sum(1)), max(apart), atol=1e-12)
    assert_allclose(s.wasserstein(cells.sum(1), at), max(moved), atol=1e-12)


def test_brier_and_balance() -> None:
    y, r, g = sample(3)
    _, cells, at = s.histogram(y, r, g)
    for i in range(3):
        assert_allclose(s.brier(cells, at)[i], brier_score_loss(y[g == i], r[g == i]))
        means = [r[(g == i) & (y == label)].mean() for label in (0, 1)]
        assert_allclose(s.balance(cells, at)[i], means)


def test_calibration_by_hand() -> None:
    """Two bins of equal mass: 50 at .2 with 20 positives, 50 at .8 with 40. Gaps .2 and 0: ECE .1, largest gap .2."""
    bins = s.calibration([[30, 10], [20, 40]], [0.2, 0.8], 2)
    assert_allclose(np.stack(bins), np.array([[50, 50], [0.4, 0.8], [0.2, 0.8]]))
    assert_allclose([s.ece(bins), s.largest_bin_gap(bins)], [0.1, 0.2])


@pytest.mark.parametrize(("records", "bins"), [(10, 1), (120, 2), (750, 15), (10**6, 15)])
def test_bins_for(records: int, bins: int) -> None:
    assert s.bins_for(records) == bins


def test_null_of_the_calibration_error() -> None:
    """Over 200 sets of labels a calibrated score shows the ECE its null promises; one that is off by .2 far more."""
    rng = np.random.default_rng(4)
    r = np.round(rng.uniform(0.1, 0.7, 1000), 2)
    shown = []
    for _ in range(200):
        _, cells, at = s.histogram(rng.random(1000) < r, r, np.zeros(1000))
        shown.append(s.ece(s.calibration(cells[0], at)))
    law = s.ece_if_calibrated(cells[0], at, 400, rng)
    assert_allclose(np.mean(shown), law.mean(), rtol=0.05)
    _, cells, at = s.histogram(rng.random(1000) < r + 0.2, r, np.zeros(1000))
    assert s.ece(s.calibration(cells[0], at)) > 2 * law.max()


def test_recalibration_finds_what_was_put_in() -> None:
    """Labels from logit⁻¹(.5 + .7 logit r): both within three standard errors, which shrink as 1/√n."""
    rng = np.random.default_rng(5)
    r = np.round(rng.uniform(0.05, 0.95, 20_000), 3)
    _, cells, at = s.histogram(rng.random(20_000) < expit(0.5 + 0.7 * np.log(r / (1 - r))), r, np.zeros(20_000))
    fit = s.recalibration(cells[0], at)
    assert fit is not None
    assert abs(fit.intercept - 0.5) < 3 * fit.intercept_error
    assert abs(fit.slope - 0.7) < 3 * fit.slope_error
    more = s.recalibration(4 * cells[0], at)
    assert more is not None
    assert_allclose(more.slope_error, fit.slope_error / 2, rtol=1e-6)


@pytest.mark.parametrize(
    "cells", [[[5.0, 0], [5, 0]], [[5, 5], [0, 0]], [[9, 0], [0, 9]]], ids=["one score", "one label", "separated"]
)
def test_recalibration_without_an_answer(cells: list[list[float]]) -> None:
    assert s.recalibration(cells, [0.3, 0.6]) is None


def test_multicalibration_by_hand() -> None:
    """One bin. Group a: 10 records at .5 with 8 positives, surplus 3; b 10 at .5 with 5, 0. Both: 3. Over 20: .15."""
    cells = np.array([[[2.0], [8.0]], [[5.0], [5.0]]])
    assert_allclose(s.multicalibration(cells, [0.5], np.array([[1, 0], [0, 1], [1, 1]]), 1), 0.15)


def test_coarser_keeps_sums_and_orders() -> None:
    y, r, g = sample(6, 3000, decimals=4)
    _, cells, at = s.histogram(y, r, g)
    few, means = s.coarser(cells, at, 64)
    assert few.shape[-1] <= 64
    assert (np.diff(means) > 0).all()
    assert_allclose(few.sum(-1), cells.sum(-1))
    assert_allclose((few.sum((0, 1)) * means).sum(), r.sum())
    assert_allclose(s.aucs(few).subgroup, s.aucs(cells).subgroup, atol=0.005)


def test_histogram_refuses_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="got 1 that are not finite"):
        s.histogram([0, 1], [0.5, np.nan], [0, 0])


def test_two_positives_are_no_area() -> None:
    """Group b has 2 positives of 200: no AUC of its own, and no gap of AUCs that hangs on them; negatives it has."""
    rng = np.random.default_rng(0)
    records = np.zeros((2, 1, 2, 2))
    records[:, 0, :, 1] = [[100, 100], [198, 2]]
    cells = np.stack([np.stack([rng.multinomial(k, np.full(20, 0.05)) for k in own]) for own in [[100, 100], [198, 2]]])
    table = c.Table("g", ["a", "b"], [""], ["0", "1"], records, records, records.sum((1, 2, 3)), [("a",), ("b",)])
    config = Config(table=Path("t.csv"), groups=["g"], label="y", score="s", draws=200)
    given = scored.Scored(table, cells.astype(float), np.linspace(0.02, 0.98, 20), np.ones(2), config)
    found = {(m.name, m.split): m.value for m in scored.score_metrics(given, rng)}
    assert found["AUC", "g: a"] is not None
    for name in ("AUC", "AUC, background negative", "mean score of positives"):
        assert found[name, "g: b"] is None
    assert found["AUC, background positive", "g: b"] is not None
    assert found["mean score of negatives", "g: b"] is not None
    assert found["AUC, difference", "by g"] == 0.0


@pytest.mark.parametrize(("shift", "even"), [(0.0, True), (0.25, False)])
def test_differences_of_scores_can_be_none(shift: float, even: bool) -> None:
    """Two groups scored by one law, and by two: only then the interval of a gap leaves 0."""
    rng = np.random.default_rng(1)
    y, g = rng.integers(0, 2, 1200), np.repeat(["a", "b"], 600)
    score = np.round(np.clip(rng.normal(0.3 + 0.2 * y + shift * (g == "b"), 0.15), 0, 1), 2)
    names, cells, at = s.histogram(y, score, g)
    records = np.zeros((2, 1, 2, 2))
    records[:, 0, :, 1] = cells.sum(-1)
    table = c.Table("g", names, [""], ["0", "1"], records, records, records.sum((1, 2, 3)), [("a",), ("b",)])
    config = Config(table=Path("t.csv"), groups=["g"], label="y", score="s", draws=200)
    given = scored.Scored(table, cells, at, np.ones(2), config)
    found = {m.name: m for m in scored.score_metrics(given, rng) if m.split == "by g"}
    for name in ("balance for the positive class, difference", "balance for the negative class, difference"):
        assert (found[name].ci_low == 0.0) == even
    assert found["AUC, difference"].ci_low == 0.0  # a shift changes no order within a group
    error = [sem(score[(g == group) & (y == 1)]) for group in "ab"]
    assert_allclose(scored._means(cells[:, 1], at)[1], error)


def test_one_score_for_all_leaves_room() -> None:
    """Every pair is a tie: ½, give or take the rule of three for 100 of each label."""
    cells = np.full((1, 2, 1), 100.0)
    records = np.full((1, 1, 2, 2), 50.0)
    table = c.Table("g", ["a"], [""], ["0", "1"], records, records, records.sum((1, 2, 3)), [("a",)])
    config = Config(table=Path("t.csv"), groups=["g"], label="y", score="s", draws=200)
    (area,) = scored._separation(scored.Scored(table, cells, np.array([0.5]), np.ones(1), config))
    assert [area.value, area.ci_low, area.ci_high] == pytest.approx([0.5, 0.47, 0.53])
