"""Shares of clustered things: numbers by hand, brute force, and how often the intervals hold the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.run.evidence import wilson
from upright.synthesis.evaluation.clusters import effect, excess, jackknife, quotient, share, variance

NAME, SPLIT = "share", "synthetic"


def test_variance_and_effect_by_hand() -> None:
    """Two clusters of two, one hit as a whole: residuals 1 and -1, so 2 * 2 / 16; four independent ones have 1/16."""
    assert variance([2, 0], [2, 2]) == 0.25
    assert effect([2, 0], [2, 2]) == 4.0
    assert effect([2, 0], [2, 2], more=0.25) == 8.0
    assert effect([1, 1], [2, 2]) == 1.0  # more even than chance is no reason for a narrower interval


def test_where_nothing_is_hit_clusters_count_as_wholes() -> None:
    assert effect([0, 0, 0], [1, 2, 3]) == pytest.approx(14 / 6)
    found = share(NAME, [0, 0], [5, 5], split=SPLIT)
    assert (found.value, found.n, found.ci_low) == (0.0, 10, 0.0)
    assert found.ci_high == pytest.approx(wilson(0, 2)[1])


def test_single_things_have_the_interval_of_wilson() -> None:
    hits = np.repeat([1.0, 0.0], [30, 70])
    found = share(NAME, hits, np.ones(100), split=SPLIT)
    d = effect(hits, np.ones(100))
    assert d == pytest.approx(100 / 99)
    assert (found.ci_low, found.ci_high) == pytest.approx(wilson(30, 100), abs=2e-3)


@given(st.lists(st.sets(st.integers(0, 8), max_size=4), min_size=2, max_size=6))
def test_jackknife_is_leaving_out_each_cluster(held: list[set[int]]) -> None:
    def found(rows: list[set[int]]) -> float:
        return len(set().union(*rows)) / 9

    shares = np.array([found([*held[:i], *held[i + 1 :]]) for i in range(len(held))])
    brute = (len(held) - 1) / len(held) * ((shares - shares.mean()) ** 2).sum()
    only = [len(own - set().union(*held[:i], *held[i + 1 :])) for i, own in enumerate(held)]
    assert jackknife(only, 9) == pytest.approx(brute)


def clustered(rng: np.random.Generator, units: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Units of one to fifteen things that are hit as a whole."""
    sizes = rng.integers(1, 16, units)
    return sizes * (rng.random(units) < rate), sizes


def test_intervals_hold_the_truth_where_independent_ones_do_not() -> None:
    rng, inside, naive, ratios = np.random.default_rng(0), 0, 0, 0
    for _ in range(400):
        hits, sizes = clustered(rng, 60, 0.3)
        found = share(NAME, hits, sizes, split=SPLIT)
        inside += (found.ci_low or 0) <= 0.3 <= (found.ci_high or 0)
        low, high = wilson(int(hits.sum()), int(sizes.sum()))
        naive += low <= 0.3 <= high
        _, low, high = quotient((hits, sizes), clustered(rng, 60, 0.3))
        ratios += low <= 1 <= high
    assert inside / 400 > 0.92
    assert ratios / 400 > 0.92
    assert naive / 400 < 0.65


def test_nothing_and_one_cluster() -> None:
    assert share(NAME, [], [], split=SPLIT).value is None
    assert excess(NAME, [], [], split=SPLIT).value is None
    alone = excess(NAME, [1], [4], split=SPLIT)
    assert (alone.value, alone.ci_low, alone.n) == (0.25, None, 1)
