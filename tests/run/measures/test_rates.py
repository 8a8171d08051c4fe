"""Rates and gaps against numbers by hand, against fairlearn, and against a loop over records."""

import warnings

import fairlearn.metrics as fl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, precision_score, recall_score

from upright.errors import UserError
from upright.run.measures import rates as r

Floats = NDArray[np.float64]
# A: TP 40, FP 10, FN 10, TN 40. B: 20, 5, 20, 55.
TABLE = np.array([[[40, 10], [10, 40]], [[55, 5], [20, 20]]], dtype=float)
BY_HAND = {
    "selection rate": (50 / 100, 25 / 100),
    "base rate": (50 / 100, 40 / 100),
    "true positive rate": (40 / 50, 20 / 40),
    "false positive rate": (10 / 50, 5 / 60),
    "false negative rate": (10 / 50, 20 / 40),
    "true negative rate": (40 / 50, 55 / 60),
    "positive predictive value": (40 / 50, 20 / 25),
    "negative predictive value": (40 / 50, 55 / 75),
    "false discovery rate": (10 / 50, 5 / 25),
    "false omission rate": (10 / 50, 20 / 75),
    "accuracy": (80 / 100, 75 / 100),
    "error rate": (20 / 100, 25 / 100),
    "F1": (80 / 100, 40 / 65),
    "false negatives per false positive": (10 / 10, 20 / 5),
}
tables = arrays(float, (3, 2, 2), elements=st.integers(0, 30).map(float))


@pytest.mark.parametrize("name", r.NAMES)
def test_every_rate_by_hand(name: str) -> None:
    assert_allclose(r.rate(TABLE, name), BY_HAND[name], atol=1e-15)


def test_gaps_by_hand() -> None:
    """Selection .5/.25: difference .25, ratio .5, variance .125². The rest against the rates of both together:
    FPR 15/110, so FPED |.2 - .13636| + |.08333 - .13636| = .116667; FNR 30/90, FNED |.2 - .3333| + |.5 - .3333| = .3.
    """
    m = r.rates(TABLE)
    assert_allclose([r.difference(m)[0], r.ratio(m)[0], r.variance(m)[0]], [0.25, 0.5, 0.125**2])
    away = dict(zip(r.NAMES, r.deviations(m, r.overall(TABLE)), strict=True))
    assert_allclose([away["false positive rate"], away["false negative rate"]], [0.35 / 3, 0.3])
    bad = dict(zip(r.NAMES, r.worst(m, r.BEST_LARGE), strict=True))
    assert_allclose([bad["true positive rate"], bad["false positive rate"]], [0.5, 0.2])


def test_odds_by_hand() -> None:
    """ΔTPR = .3, ΔFPR = .2 - 1/12; both fall from A to B, so the signed average is minus the plain one."""
    odds = r.equalised_odds(TABLE)
    assert_allclose(odds, [0.3, (0.3 + 0.2 - 1 / 12) / 2, -(0.3 + 0.2 - 1 / 12) / 2])


def test_signed_odds_cancel() -> None:
    """TPR .8 → .5, FPR .2 → .5: the signed average is 0 where the larger gap is .3; three groups have no sign."""
    cells = np.array([[[40, 10], [10, 40]], [[25, 25], [25, 25]]], dtype=float)
    odds = r.equalised_odds(cells)
    assert_allclose([odds.larger, odds.signed], [0.3, 0.0], atol=1e-12)
    assert np.isnan(r.equalised_odds(np.concatenate([cells, cells[:1]])).signed)


def test_disparity_by_hand() -> None:
    """A has 50 of 125 rejected and 50 of 75 accepted: .4 - 2/3."""
    assert_allclose(r.demographic_disparity(TABLE), [0.4 - 2 / 3, 0.6 - 1 / 3])


def test_conditional_by_hand() -> None:
    """Strata of 100 and 300 records. Group a is selected .2 and .6: .25·.2 + .75·.6 = .5; b .4 and .4: .4.
    Simpson's case follows: the same rates in every stratum give no conditional gap, whatever the plain gap.
    """
    rate = np.array([[0.2, 0.4], [0.6, 0.4]])
    size = np.array([[50, 50], [100, 200]])
    cells = np.zeros((2, 2, 2, 2))
    cells[..., 0, 1], cells[..., 0, 0] = size * rate, size * (1 - rate)
    selected, _ = r.conditional(cells)
    assert_allclose(selected, [0.5, 0.4])
    same = np.zeros((2, 2, 2, 2))
    size, rate = np.array([[90, 10], [10, 90]]), np.array([[0.1, 0.1], [0.8, 0.8]])
    same[..., 0, 1], same[..., 0, 0] = size * rate, size * (1 - rate)
    assert_allclose(r.difference(r.conditional(same)[0]), 0.0, atol=1e-12)
    assert r.difference(r.rates(same.sum(0))[0]) > 0.5


def test_conditional_disparity_weighs_strata() -> None:
    """Each stratum's disparity times its share; TABLE against itself with the groups swapped cancels."""
    swapped = np.stack([TABLE, TABLE[::-1]])
    assert_allclose(r.conditional(swapped)[1], [0.0, 0.0], atol=1e-12)


@given(tables)
def test_impossibility_holds_in_every_table(cells: Floats) -> None:
    left = r.impossibility(cells)
    assert_allclose(left[~np.isnan(left)], 0.0, atol=1e-9)


@given(tables)
def test_nothing_below_the_line_is_nan(cells: Floats) -> None:
    _, below = r.parts(cells)
    m = r.rates(cells)
    assert (np.isnan(m) == (below == 0)).all()
    ratio, largest = r.ratio(m), r.largest(m)
    assert np.isnan(ratio[(largest == 0) | np.isnan(largest)]).all()


@given(tables, st.permutations(range(3)))
def test_order_of_groups_does_not_matter(cells: Floats, order: list[int]) -> None:
    for measure in (r.difference, r.ratio, r.variance):
        assert_allclose(measure(r.rates(cells)), measure(r.rates(cells[order])), atol=1e-12)


@given(arrays(float, (4, 2, 2), elements=st.integers(1, 30).map(float)))
def test_two_classes_give_back_the_binary_definitions(cells: Floats) -> None:
    assert_allclose(r.parity_distance(cells), r.difference(r.rate(cells, "selection rate")))
    assert_allclose(r.odds_distance(cells), r.equalised_odds(cells).larger)
    assert_allclose(r.one_against_rest(cells)[1], cells)


def test_several_classes_by_hand() -> None:
    """Laws (.5, .3, .2) and (.2, .3, .5): total variation .3. Within label 0 (.9, .1, 0) and (.4, .6, 0): .5."""
    first = np.array([[90.0, 10, 0], [5, 45, 0], [5, 5, 40]])
    second = np.array([[20.0, 30, 0], [10, 15, 25], [10, 15, 75]])
    cells = np.stack([first, second])
    assert_allclose(r.parity_distance(cells), 0.3)
    within = [0.5, 0.5 * (abs(0.1 - 0.2) + abs(0.9 - 0.3) + 0.5), 0.5 * (0 + 0.05 + 0.05)]
    assert_allclose(r.odds_distance(cells), max(within))
    rest = r.one_against_rest(cells)
    assert_allclose(rest[1, 0].ravel(), [200 - 50 - 15, 15, 5, 45])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("groups", [2, 3, 7])
def test_equals_fairlearn(groups: int, weighted: bool) -> None:
    rng = np.random.default_rng(groups)
    n = 1500
    g = rng.integers(0, groups, n)
    y = (rng.random(n) < 0.3 + 0.05 * g).astype(int)
    said = (rng.random(n) < 0.2 + 0.4 * y + 0.03 * g).astype(int)
    w = rng.random(n) + 0.1 if weighted else np.ones(n)
    cells = r.count(y, said, g, w).cells
    m = dict(zip(r.NAMES, r.rates(cells), strict=True))
    peers = {
        "selection rate": fl.selection_rate,
        "true positive rate": fl.true_positive_rate,
        "false positive rate": fl.false_positive_rate,
        "false negative rate": fl.false_negative_rate,
        "true negative rate": fl.true_negative_rate,
        "accuracy": accuracy_score,
        "positive predictive value": precision_score,
    }
    extra = {"sample_weight": w}
    frame = fl.MetricFrame(
        metrics=peers, y_true=y, y_pred=said, sensitive_features=g, sample_params=dict.fromkeys(peers, extra)
    )
    for name in peers:
        assert_allclose(m[name], frame.by_group[name], atol=1e-9)
        assert_allclose(r.difference(m[name]), frame.difference()[name], atol=1e-9)
        assert_allclose(r.ratio(m[name]), frame.ratio()[name], atol=1e-9)
    shared = {"sensitive_features": g, "sample_weight": w}
    odds = r.equalised_odds(cells)
    assert_allclose(r.difference(m["selection rate"]), fl.demographic_parity_difference(y, said, **shared), atol=1e-9)
    assert_allclose(r.ratio(m["selection rate"]), fl.demographic_parity_ratio(y, said, **shared), atol=1e-9)
    assert_allclose(odds.larger, fl.equalized_odds_difference(y, said, **shared), atol=1e-9)
    assert_allclose(odds.average, fl.equalized_odds_difference(y, said, agg="mean", **shared), atol=1e-9)
    assert_allclose(
        min(r.ratio(m["true positive rate"]), r.ratio(m["false positive rate"])),
        fl.equalized_odds_ratio(y, said, **shared),
        atol=1e-9,
    )
    assert_allclose(
        r.difference(m["true positive rate"]), fl.equal_opportunity_difference(y, said, **shared), atol=1e-9
    )


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_count_equals_a_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    y, said, g = (rng.integers(0, 3, n) for _ in range(3))
    w = rng.random(n)
    found = r.count(y, said, g, w, classes=[0, 1, 2])
    wanted = np.zeros((len(found.groups), 3, 3))
    for a, b, group, weight in zip(y, said, g, w, strict=True):
        wanted[found.groups.index(str(group)), a, b] += weight
    assert_allclose(found.cells, wanted)


def test_recall_is_the_true_positive_rate_of_one_class() -> None:
    rng = np.random.default_rng(3)
    y, said = rng.integers(0, 4, 300), rng.integers(0, 4, 300)
    cells = r.count(y, said, np.zeros(300)).cells
    assert_allclose(
        r.rate(r.one_against_rest(cells), "true positive rate")[:, 0], recall_score(y, said, average=None), atol=1e-12
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0, 1], [0, 1, 1], [0, 0]), "must be equal"),
        (([0, 1], [0, 2], [0, 0], None, [0, 1]), "got the value 2; classes are 0, 1"),
        (([0, 1], [0, 1], [0, 0], [1, -1]), "must be 0 or more"),
        (([0, 1], [0, 1], [0, 0], [1, np.nan]), "must be 0 or more"),
        (([0, np.nan], [0, 1.0], [0, 0]), "NaN"),
    ],
)
def test_count_refuses(columns: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        r.count(*columns)  # type: ignore[arg-type]


def test_an_unknown_rate_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="did you mean 'accuracy'"):
        r.rate(TABLE, "acuracy")


def test_all_nan_stays_quiet() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        m = np.full((2, 3), np.nan)
        assert np.isnan([r.difference(m), r.ratio(m), r.variance(m)]).all()
