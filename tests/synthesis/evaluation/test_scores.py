import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from upright.synthesis.evaluation.scores import accuracy, f1, macro_f1, macro_rates, resampled_sets, tally

ONE = np.ones((1, 6))
NOBODY = np.zeros(6, dtype=np.int64)


def test_by_hand() -> None:
    """Classes 0 0 0 1 1 2, said 0 0 1 1 1 1.

    Class 0: TP 2, FP 0, FN 1, F1 4/5. Class 1: TP 2, FP 2, FN 0, F1 4/6. Class 2 is never said: 0, and counts.
    """
    counts = tally(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 1]), NOBODY, (1, 3), ONE)
    assert f1(counts)[0, 0].tolist() == pytest.approx([4 / 5, 4 / 6, 0])
    assert macro_f1(counts)[0, 0] == pytest.approx((4 / 5 + 4 / 6) / 3)
    assert accuracy(counts)[0, 0] == pytest.approx(4 / 6)
    tpr, fpr = macro_rates(counts)
    assert tpr[0, 0] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert fpr[0, 0] == pytest.approx((0 / 3 + 2 / 4 + 0 / 5) / 3)


def test_of_two_classes_the_last_is_the_positive_one() -> None:
    counts = tally(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 1, 0]), NOBODY, (1, 2), ONE)
    tpr, fpr = macro_rates(counts)
    assert (tpr[0, 0], fpr[0, 0]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_macro_f1_is_scikit_learns_over_the_classes_of_the_test_set(pairs: list[tuple[int, int]]) -> None:
    real, said = (np.array(column) for column in zip(*pairs, strict=True))
    counts = tally(real, said, np.zeros(len(pairs), dtype=np.int64), (1, 4), np.ones((1, len(pairs))))
    expected = f1_score(real, said, labels=np.unique(real), average="macro", zero_division=0)
    assert macro_f1(counts)[0, 0] == pytest.approx(expected)


def test_weights_are_repeated_records() -> None:
    rng = np.random.default_rng(0)
    real, said, group = rng.integers(0, 3, 20), rng.integers(0, 3, 20), rng.integers(0, 2, 20)
    weights = resampled_sets(20, 5, seed=1)
    counts = tally(real, said, group, (2, 3), weights)
    for draw, row in enumerate(weights):
        rows = np.repeat(np.arange(20), row.astype(int))
        naive = tally(real[rows], said[rows], group[rows], (2, 3), np.ones((1, 20)))
        assert all((a[draw] == b[0]).all() for a, b in zip(counts, naive, strict=True))


def test_the_first_test_set_is_the_real_one_and_all_are_as_large() -> None:
    weights = resampled_sets(7, 100, seed=0)
    assert (weights[0] == 1).all()
    assert (weights.sum(1) == 7).all()


def test_groups_add_up() -> None:
    counts = tally(
        np.array([0, 1, 1, 0, 1, 0]), np.array([0, 1, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1, 0]), (2, 2), ONE
    )
    assert counts.all.hit.tolist() == [[[2, 2]]]
    assert counts.groups([1]).real.tolist() == [[[1, 2]]]
