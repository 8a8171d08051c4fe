import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.synthesis.evaluation.mauve import area, mauve, over_halves, principal

counts = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8).filter(
    lambda pairs: any(p for p, _ in pairs) and any(q for _, q in pairs)
)


def naive(p: np.ndarray, q: np.ndarray, c: float) -> float:
    """The curve at many points, and trapezoids under it, from its definition."""
    points = []
    for t in np.linspace(-30, 30, 6001):
        weight = 1 / (1 + np.exp(-t))
        r = weight * p + (1 - weight) * q
        kl = [sum(a * np.log(a / b) for a, b in zip(law, r, strict=True) if a > 0) for law in (q, p)]
        points.append([np.exp(-c * kl[0]), np.exp(-c * kl[1])])
    x, y = np.array(points).T
    return float(-np.trapezoid(y, x) + x[-1])


def test_equal_laws_have_one_and_disjoint_ones_one_in_252() -> None:
    assert area([3, 1, 6], [3, 1, 6]) == pytest.approx(1, abs=1e-14)
    assert area([1, 0], [0, 1]) == pytest.approx(1 / 252, abs=1e-15)
    assert area([1, 2, 0, 0], [0, 0, 5, 7]) == pytest.approx(1 / 252, abs=1e-15)


def test_disjoint_laws_at_another_scale() -> None:
    """(c!)² / (2c)! at c = 2: 4 / 24."""
    assert area([1, 0], [0, 1], c=2) == pytest.approx(1 / 6, abs=1e-14)


@pytest.mark.parametrize(("p", "q"), [([1, 2, 0, 4], [0, 3, 1, 1]), ([5, 5], [9, 1]), ([99, 1], [100, 0])])
def test_it_is_the_area_under_the_curve(p: list[int], q: list[int]) -> None:
    first, second = np.array(p) / sum(p), np.array(q) / sum(q)
    assert area(p, q) == pytest.approx(naive(first, second, 5.0), abs=2e-5)


@given(counts)
def test_it_is_symmetric_and_in_its_range(pairs: list[tuple[int, int]]) -> None:
    p, q = (np.array(column) for column in zip(*pairs, strict=True))
    assert area(p, q) == pytest.approx(area(q, p), abs=1e-12)
    assert 1 / 252 - 1e-12 <= area(p, q) <= 1 + 1e-12


def test_a_rare_cluster_of_one_side_alone_costs_little() -> None:
    """Where x falls slowly towards 0 the tail of the sum is a series of its own: the reverse is the same number."""
    assert area([1000, 0], [1000, 1]) == pytest.approx(area([1000, 1], [1000, 0]), abs=1e-12)
    assert 0.999 < area([1000, 0], [1000, 1]) < 1


def test_principal_components_by_hand() -> None:
    """Points on a line have one component: their distances from the middle, for either shape of the table."""
    line = np.array([[0.0, 0], [3, 4], [6, 8]])
    wide = np.hstack([line, np.zeros((3, 5))])
    for vectors in (line, wide):
        found = principal(vectors)
        assert found.shape == (3, 1)
        assert np.abs(found[:, 0]) == pytest.approx([5, 0, 5])


def test_components_keep_what_was_asked_for() -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 6)) * [10, 5, 2, 1, 0.5, 0.1]
    shares = np.sort(np.linalg.eigvalsh(np.cov(vectors.T)))[::-1]
    expected = int((np.cumsum(shares) / shares.sum() < 0.99).sum()) + 1
    assert principal(vectors, 0.99).shape == (200, expected)
    assert principal(vectors, most=3).shape == (200, 3)


def test_the_same_cloud_is_near_one_and_a_far_one_at_the_floor() -> None:
    rng = np.random.default_rng(0)
    near, same, far = rng.normal(size=(300, 8)), rng.normal(size=(300, 8)), rng.normal(size=(300, 8)) + 50
    assert mauve(near, same, seed=0) > 0.9
    assert mauve(near, far, seed=0) == pytest.approx(1 / 252)


def test_equal_vectors_make_one_cluster() -> None:
    assert mauve(np.ones((30, 4)), np.ones((30, 4)), seed=0) == pytest.approx(1)


def test_halves_give_a_value_each() -> None:
    rng = np.random.default_rng(1)
    rows = [(rng.permutation(80)[:40], rng.permutation(80)[:40]) for _ in range(3)]
    clouds = rng.normal(size=(80, 5)), rng.normal(size=(80, 5))
    first = over_halves(*clouds, rows, seed=0)
    assert first.shape == (3,)
    assert (first == over_halves(*clouds, rows, seed=0)).all()
