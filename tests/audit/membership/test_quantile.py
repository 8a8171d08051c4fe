"""The quantile attack keeps its error on fresh non-members, and finds what is unusual for its kind."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.stats import kstest

from upright.audit.membership.quantile import cross_fitted, normal_head, threshold
from upright.run.measures.intervals import clopper_pearson
from upright.run.measures.roc import auc

Floats = NDArray[np.float64]


def law(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Features and scores whose mean and spread depend on the feature: N(3 x, (0.2 + x)²), x uniform."""
    x = rng.random((n, 1))
    return x, 3 * x[:, 0] + (0.2 + x[:, 0]) * rng.normal(size=n)


@pytest.mark.parametrize("alpha", [0.1, 0.02])
def test_false_alarms_on_fresh_nonmembers(alpha: float) -> None:
    """FPR of 20,000 fresh records inside the exact interval around alpha for the 2,000 that set the shift."""
    rng = np.random.default_rng(0)
    q = threshold(*law(4000, rng), alpha, rng)
    x, s = law(20_000, rng)
    low, high = clopper_pearson(alpha * 2000, 2000)
    assert low <= (s > q(x)).mean() <= high


def test_too_few_nonmembers_flag_nobody() -> None:
    rng = np.random.default_rng(1)
    q = threshold(*law(60, rng), 0.01, rng)
    assert np.isposinf(q(law(5, rng)[0])).all()


def test_alpha_is_a_share() -> None:
    with pytest.raises(ValueError, match="must be in"):
        threshold(np.zeros((4, 1)), np.zeros(4), 0.0, np.random.default_rng(0))


def test_normal_head_standardises() -> None:
    """On fresh records the head's scores are near N(0, 1) up to one scale: ranks of x and of the score unrelated."""
    rng = np.random.default_rng(2)
    judge = normal_head(*law(6000, rng), seed=0)
    x, s = law(4000, rng)
    z = judge(x, s)
    assert abs(np.corrcoef(x[:, 0], z)[0, 1]) < 0.05
    assert abs(np.corrcoef(x[:, 0], np.abs(z))[0, 1]) < 0.08
    assert kstest((z - z.mean()) / z.std(), "norm").statistic < 0.04


def test_cross_fitting_treats_both_sides_alike() -> None:
    """Without leakage: AUC ½. With +1 for members, above what the raw score shows, whose spread comes from x."""
    rng = np.random.default_rng(3)
    x, s = law(2000, rng)
    member = rng.random(2000) < 0.5
    plain = cross_fitted(x, s, member, rng)
    found = auc(plain[member], plain[~member])
    assert (found.ci_low or 0) <= 0.5 <= (found.ci_high or 0)
    leaked = np.where(member, s + 0.7, s)
    better = cross_fitted(x, leaked, member, rng)
    assert (auc(better[member], better[~member]).ci_low or 0) > (auc(leaked[member], leaked[~member]).ci_high or 1)


def test_cross_fitting_needs_nonmembers() -> None:
    rng = np.random.default_rng(4)
    x, s = law(30, rng)
    assert np.isnan(cross_fitted(x, s, np.arange(30) < 15, rng)).all()


def test_an_exact_fit_is_finite() -> None:
    z = normal_head(np.ones((50, 1)), np.ones(50), seed=0)(np.ones((2, 1)), np.array([1.0, 2.0]))
    assert_allclose(z[0], 0.0)
    assert np.isfinite(z).all()
