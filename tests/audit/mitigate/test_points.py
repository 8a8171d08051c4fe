from collections.abc import Callable

import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from upright.audit.mitigate import points

MEASURES: dict[str, Callable[[points.Rates], points.Floats]] = {
    "accuracy": points.accuracy,
    "balanced": points.balanced_accuracy,
    "parity": lambda found: np.abs(points.parity_differences(found)).max(1),
    "odds": lambda found: np.abs(points.odds_differences(found)).max(1),
}


def decisions(seed: int, n: int = 300, methods: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    group, label = rng.integers(0, 3, n), rng.integers(0, 2, n)
    return group, label, (rng.random((n, methods)) < 0.3 + 0.1 * group[:, None] + 0.2 * label[:, None]).astype(float)


def of_all_rows(cells: points.Cells) -> points.Rates:
    return points.rates(cells.size[None], cells)


def test_the_textbook_table() -> None:
    """A: TP 40, FP 10, FN 10, TN 40; B: 20, 5, 20, 55. Selection .5 and .25; TPR .8 and .5, FPR .2 and .0833."""
    rows = [(0, 1, 1)] * 40 + [(0, 0, 1)] * 10 + [(0, 1, 0)] * 10 + [(0, 0, 0)] * 40
    rows += [(1, 1, 1)] * 20 + [(1, 0, 1)] * 5 + [(1, 1, 0)] * 20 + [(1, 0, 0)] * 55
    group, label, said = np.array(rows).T
    found = of_all_rows(points.tally(group, label, said[:, None].astype(float)))
    assert points.parity_differences(found).ravel() == pytest.approx([0.25])
    assert points.odds_differences(found).ravel() == pytest.approx([0.3, 0.2 - 5 / 60])
    assert points.accuracy(found).ravel() == pytest.approx([155 / 200])
    assert points.balanced_accuracy(found).ravel() == pytest.approx([(60 / 90 + 95 / 110) / 2])


@pytest.mark.parametrize("seed", range(3))
def test_measures_against_sklearn_and_fairlearn(seed: int) -> None:
    group, label, said = decisions(seed)
    found = of_all_rows(points.tally(group, label, said))
    for method in range(said.shape[1]):
        own = {name: measure(found)[0, method] for name, measure in MEASURES.items()}
        s = said[:, method].astype(int)
        assert own["accuracy"] == pytest.approx(accuracy_score(label, s))
        assert own["balanced"] == pytest.approx(balanced_accuracy_score(label, s))
        assert own["parity"] == pytest.approx(demographic_parity_difference(label, s, sensitive_features=group))
        assert own["odds"] == pytest.approx(equalized_odds_difference(label, s, sensitive_features=group))


def test_averages_over_repeats_are_averages_of_rates() -> None:
    group, label, said = decisions(5, methods=2)
    mean = points.tally(group, label, said.mean(1, keepdims=True))
    each = points.tally(group, label, said)
    assert of_all_rows(mean).favourable[..., 0] == pytest.approx(of_all_rows(each).favourable.mean(-1))


def test_the_bootstrap_over_cells_is_the_bootstrap_over_rows() -> None:
    """Both resample n rows with replacement, so their spread agrees; 5 % is more than 3 errors of 3000 draws."""
    group, label, said = decisions(2)
    cells, rng = points.tally(group, label, said), np.random.default_rng(0)
    ours = MEASURES["odds"](points.drawn(cells, 3000, rng))
    naive = []
    for _ in range(3000):
        rows = rng.integers(0, len(group), len(group))
        naive.append(MEASURES["odds"](of_all_rows(points.tally(group[rows], label[rows], said[rows])))[0])
    assert ours.std(0) == pytest.approx(np.std(naive, axis=0), rel=0.05)
    assert ours.mean(0) == pytest.approx(np.mean(naive, axis=0), rel=0.03)


def test_methods_are_resampled_together() -> None:
    """Two methods that say the same differ by exactly nothing in every resample."""
    group, label, said = decisions(1, methods=1)
    found = points.drawn(points.tally(group, label, np.hstack([said, said])), 500, np.random.default_rng(0))
    for measure in MEASURES.values():
        values = measure(found)
        assert (values[:, 0] == values[:, 1]).all()
        assert values[:, 0].std() > 0


@pytest.mark.parametrize("resamples", [300, 1300])  # too few for the tail of a pair, and enough
@pytest.mark.parametrize(("rates", "truth"), [((0.5, 0.5, 0.5), 0.0), ((0.4, 0.5, 0.6), 0.2)])
def test_the_interval_of_the_largest_gap_covers(rates: tuple[float, ...], truth: float, resamples: int) -> None:
    """200 tables of three groups of 100: with a coverage of 95 % fewer than 178 hits have probability 2e-4."""
    rng, hits = np.random.default_rng(4), 0
    group, label = np.repeat(np.arange(3), 100), np.tile([0, 1], 150)
    for _ in range(200):
        said = (rng.random(300) < np.array(rates)[group]).astype(float)[:, None]
        cells = points.tally(group, label, said)
        value, draws = (points.parity_differences(f) for f in (of_all_rows(cells), points.drawn(cells, resamples, rng)))
        found = points.largest_gap(value[0], draws)
        assert found.low[0] <= found.value[0] <= found.high[0]
        hits += found.low[0] <= truth <= found.high[0]
    assert hits >= 178


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_the_frontier_is_what_no_point_beats(pairs: list[tuple[int, int]]) -> None:
    utility, gap = np.array([u for u, _ in pairs], float), np.array([g for _, g in pairs], float)
    listed = points.frontier(utility, gap)

    def beats(a: int, b: int) -> bool:
        (u, g), (v, h) = pairs[a], pairs[b]
        return u >= v and g <= h and (u > v or g < h)

    every = range(len(pairs))
    for b in every:
        assert listed[b] == (not any(beats(a, b) for a in every))
        assert listed[b] or any(beats(a, b) and listed[a] for a in every)


def test_rates_of_one_keep_room_for_error() -> None:
    """All right, of 6 positives and 6 negatives a group: no resample errs, yet 0 of 6 leaves up to 46 % (exact, 97.5 %)
    of errors possible. Of 600 the room is .6 %. A second method that says the same differs by nothing.
    """
    widths = []
    for n in (6, 600):
        group, label = np.repeat([0, 1], 2 * n), np.tile([0, 1], 2 * n)
        cells = points.tally(group, label, np.column_stack([label, label]).astype(float))
        own, draws = of_all_rows(cells), points.drawn(cells, 2000, np.random.default_rng(0))
        gap = points.largest_gap(points.odds_differences(own)[0], points.odds_differences(draws))
        assert gap.value[0] == gap.low[0] == 0
        widths.append(gap.high[0])
        right = points.estimate(points.accuracy(own)[0], points.accuracy(draws))
        assert right.low[0] < right.value[0] == right.high[0] == 1
        assert (points.accuracy(draws)[:, 0] == points.accuracy(draws)[:, 1]).all()
    assert 0.25 < widths[0] < 0.6
    assert 0.003 < widths[1] < 0.01
