"""Generalised entropy against numbers by hand and its own identities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from upright.audit.fairness import inequality as q

Floats = NDArray[np.float64]
TABLE = np.array([[[40, 10], [10, 40]], [[55, 5], [20, 20]]], dtype=float)
WEIGHT = q.benefit_weights(TABLE)
EVERYONE = WEIGHT.sum(0)


def test_by_hand() -> None:
    """Benefits 0 × 30, 1 × 155, 2 × 15 of 200: mean .925. GE₂ = ½(mean b² / .925² - 1) = ½(215/200/.855625 - 1).
    Theil = (155 ln(1/.925) + 30 ln(2/.925)) / (200 · .925).
    """
    assert_allclose((q.BENEFIT * EVERYONE).sum() / 200, 0.925)
    assert_allclose(q.generalised_entropy(q.BENEFIT, EVERYONE), 0.5 * (215 / 200 / 0.925**2 - 1))
    assert_allclose(q.generalised_entropy(q.BENEFIT, EVERYONE), 0.128196, atol=5e-7)
    assert_allclose(q.theil(q.BENEFIT, EVERYONE), (155 * np.log(1 / 0.925) + 30 * np.log(2 / 0.925)) / 185)
    assert_allclose(q.theil(q.BENEFIT, EVERYONE), 0.190364, atol=5e-7)
    assert_allclose(q.variation(q.BENEFIT, EVERYONE), 0.506351, atol=5e-7)


def test_means_by_hand() -> None:
    """A has 40 + 40 right, 10 undeserved, 10 missed: (80 + 20) / 100; B (75 + 10) / 100."""
    assert_allclose(q.means(q.BENEFIT, WEIGHT), [1.0, 0.85])


def test_split_by_hand() -> None:
    """Group means 1 and .85 about .925: between = ½ (.075/.925)², within is the rest."""
    between, within = q.split(q.BENEFIT, WEIGHT)
    assert_allclose([between, within], [0.5 * (0.075 / 0.925) ** 2, 0.124909], atol=5e-7)


positive = arrays(float, (3, 5), elements=st.integers(1, 9).map(float))


@given(positive, st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]))
def test_split_adds_up(weights: Floats, alpha: float) -> None:
    benefits = np.array([0.5, 1.0, 2.0, 3.5, 7.0])
    between, within = q.split(benefits, weights, alpha)
    assert_allclose(between + within, q.generalised_entropy(benefits, weights.sum(0), alpha), atol=1e-9)


@given(arrays(float, 6, elements=st.floats(0.1, 10)), st.sampled_from([0.0, 1.0, 2.0]), st.floats(0.1, 10))
def test_unit_and_replication_do_not_matter(benefits: Floats, alpha: float, factor: float) -> None:
    value = q.generalised_entropy(benefits, alpha=alpha)
    assert value >= -1e-12
    assert_allclose(q.generalised_entropy(factor * benefits, alpha=alpha), value, atol=1e-9)
    assert_allclose(q.generalised_entropy(np.tile(benefits, 3), alpha=alpha), value, atol=1e-9)


def test_variation_is_sd_over_mean() -> None:
    b = np.random.default_rng(0).random(50)
    assert_allclose(q.variation(b), b.std() / b.mean())


def test_equal_benefits_are_equal() -> None:
    assert_allclose([q.generalised_entropy([2, 2, 2], alpha=a) for a in (0, 1, 2)], 0.0, atol=1e-15)


def test_all_zero_is_undefined() -> None:
    assert np.isnan(q.theil([0.0, 0.0]))
    assert np.isinf(q.generalised_entropy([0.0, 1.0], alpha=0))


def test_negative_benefit() -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        q.theil([1.0, -0.5])
