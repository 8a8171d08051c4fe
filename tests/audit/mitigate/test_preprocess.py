import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from upright.audit.mitigate.preprocess import Repair, decorrelation, reweighing


def biased(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (n, 3) that shift and stretch with three groups (n,)."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, n)
    return rng.normal(size=(n, 3)) * (1 + group[:, None]) + 2.0 * group[:, None], group


def test_weights_by_hand() -> None:
    """A has 50 of 100 favourable labels, B 40 of 100, both together 45 %: so A weighs .45 / .5 and .55 / .5, B .45 / .4
    and .55 / .6, and the weighted base rates are .45 in both."""
    group = np.repeat([0, 1], 100)
    label = np.r_[np.ones(50), np.zeros(50), np.ones(40), np.zeros(60)].astype(int)
    weights = reweighing(group, label)
    assert weights[[0, 50, 100, 140]] == pytest.approx([0.9, 1.1, 1.125, 0.916667], abs=1e-6)
    for g in (0, 1):
        inside = group == g
        assert np.average(label[inside], weights=weights[inside]) == pytest.approx(0.45)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=80))
def test_weighted_label_and_group_are_independent_where_all_cells_are_filled(rows: list[tuple[int, int]]) -> None:
    group, label = np.array([g for g, _ in rows]), np.array([y for _, y in rows])
    table = np.zeros((4, 2))
    np.add.at(table, (group, label), reweighing(group, label))
    present = np.unique(group)
    if all(((group == g) & (label == y)).any() for g in present for y in (0, 1)):
        expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
        assert table == pytest.approx(expected)
        assert table.sum() == pytest.approx(len(rows))


def test_repair_by_hand() -> None:
    """1, 2, 3 and 3, 5, 7 are the quantiles 1/6, 1/2, 5/6 of their groups; the midpoints are 2, 3.5 and 5."""
    values, group = np.array([[1.0], [2.0], [3.0], [3.0], [5.0], [7.0]]), np.array([0, 0, 0, 1, 1, 1])
    assert Repair(values, group)(values, group).ravel().tolist() == [2, 3.5, 5, 2, 3.5, 5]
    assert Repair(values, group, 0.5)(values, group).ravel().tolist() == [1.5, 2.75, 4, 2.5, 4.25, 6]
    assert Repair(values, group, 0.0)(values, group).tolist() == values.tolist()


def test_repaired_groups_have_one_law_and_keep_their_order() -> None:
    values, group = biased()
    repaired = Repair(values, group)(values, group)
    for column in range(3):
        before = ks_2samp(values[group == 0, column], values[group == 2, column]).statistic
        after = ks_2samp(repaired[group == 0, column], repaired[group == 2, column]).statistic
        assert before > 0.5
        assert after < 0.02  # one step of the smaller group's law is 1/n, n > 100
        inside = group == 1
        assert (np.argsort(values[inside, column]) == np.argsort(repaired[inside, column])).all()


def test_repair_carries_over_to_new_rows() -> None:
    values, group = biased()
    fresh, fresh_group = biased(seed=1)
    repaired = Repair(values, group)(fresh, fresh_group)
    assert ks_2samp(repaired[fresh_group == 0, 0], repaired[fresh_group == 2, 0]).pvalue > 0.01


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_nothing_linear_in_the_group_is_left(seed: int) -> None:
    values, group = biased(seed=seed)
    cleaned = decorrelation(values, group, 1.0)(values, group)
    indicators = np.eye(3)[group]
    assert np.abs(np.corrcoef(cleaned.T, indicators.T)[:3, 3:]).max() < 1e-10
    half = decorrelation(values, group, 0.5)(values, group)
    assert half == pytest.approx((values + cleaned) / 2)
