import numpy as np
import pytest
from scipy.linalg import sqrtm

from upright.synthesis.evaluation.frechet import Moments, extrapolated, frechet, moments


def test_one_dimension_by_hand() -> None:
    """(μ1 - μ2)² + (s1 - s2)²: values 0, 2 (mean 1, variance 2) and 5, 5 (variance 0)."""
    assert frechet(moments([[0.0], [2.0]]), moments([[5.0], [5.0]])) == pytest.approx(16 + 2)


def test_against_the_general_matrix_root() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)), rng.normal(size=(50, 5)) + 1
    a, b = moments(x), moments(y)
    root = sqrtm(a.covariance @ b.covariance).real
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet(a, b) == pytest.approx(expected)
    assert frechet(b, a) == pytest.approx(expected)


def test_covariances_that_commute() -> None:
    """Diagonal ones: the sum of the one-dimensional distances."""
    a, b = Moments(np.zeros(2), np.diag([4.0, 9.0])), Moments(np.array([1.0, 0]), np.diag([1.0, 0.0]))
    assert frechet(a, b) == pytest.approx(1 + (2 - 1) ** 2 + 3**2)


def test_a_sample_is_at_zero_from_itself_though_its_covariance_has_no_inverse() -> None:
    x = np.random.default_rng(1).normal(size=(10, 40))
    assert frechet(moments(x), moments(x)) == pytest.approx(0, abs=1e-9)


def test_a_rotation_of_both_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 4)), 2 * rng.normal(size=(40, 4))
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    assert frechet(moments(x @ turn), moments(y @ turn)) == pytest.approx(frechet(moments(x), moments(y)))


def test_extrapolation_takes_a_bias_of_1_over_n_away() -> None:
    """Distances 3 + 10/n at n = 100 and at 50."""
    assert extrapolated(3 + 10 / 100, [3 + 10 / 50] * 4) == pytest.approx(3)


def test_two_samples_of_one_law_extrapolate_to_zero() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(600, 10)), rng.normal(size=(600, 10))
    halves = [frechet(moments(x[a]), moments(y[a])) for a in (rng.permutation(600)[:300] for _ in range(20))]
    whole = frechet(moments(x), moments(y))
    assert abs(extrapolated(whole, halves)) < whole / 2
