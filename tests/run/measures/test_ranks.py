import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import skewnorm

from upright.run.measures import ranks


def test_exposure_by_hand() -> None:
    """The likeliest of 100 has rank 1: log2 100 = 6.644 bits. The least likely has rank 100: 0 bits. In the middle of
    two equal ones among 3 others, ranks 2 and 3 are shared: log2 4 - log2 2.5... with one tie, rank 1 + 1 + 1/2."""
    others = np.arange(99.0)
    assert ranks.exposure([-1.0, 200.0], others) == pytest.approx([6.644, 0.0], abs=5e-4)
    assert ranks.exposure([2.0], [1.0, 2.0, 3.0]) == pytest.approx([2 - np.log2(2.5)])


@pytest.mark.parametrize(("size", "expected"), [(100, 1.396), (1000, 1.436)])
def test_chance_gives_the_mean_of_uniform_ranks(size: int, expected: float) -> None:
    found = ranks.exposure(np.arange(size) + 0.5 - 0.5, np.arange(1, size) - 0.5)
    assert found.mean() == pytest.approx(expected, abs=5e-4)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 5))
def test_ranks_against_a_naive_count(others: list[int], canary: int) -> None:
    rank = 1 + sum(o < canary for o in others) + sum(o == canary for o in others) / 2
    assert ranks.exposure([canary], others)[0] == pytest.approx(np.log2(len(others) + 1) - np.log2(rank))


@pytest.mark.parametrize("shape", [-3.0, 0.0, 2.0])
def test_the_fit_finds_the_law_it_was_drawn_from(shape: float) -> None:
    law = skewnorm(shape, 40.0, 3.0)
    fitted = ranks.fit(law.rvs(20_000, random_state=np.random.default_rng(0)))
    assert fitted.distance < 0.012
    points = law.ppf([2.0**-4, 2.0**-10])
    assert fitted.exposure(points, 2.0**40) == pytest.approx([4, 10], abs=0.5)


def test_the_estimate_agrees_with_ranks_and_stays_in_the_space() -> None:
    rng = np.random.default_rng(3)
    others, own = rng.normal(size=5000), rng.normal(size=200)
    fitted = ranks.fit(others)
    assert fitted.exposure(own, 1e9) == pytest.approx(ranks.exposure(own, others), abs=0.6)
    assert fitted.exposure([-1000.0], 1024) == pytest.approx([10.0])
    assert ranks.fit(np.full(10, 3.0)).exposure([4.0], 1024) == pytest.approx([0.0])


def test_a_difference_of_means_covers_what_is_true() -> None:
    """200 pairs of samples whose means differ by 1: with 95 % coverage fewer than 178 hits have probability 2e-4."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        found = ranks.difference(rng.exponential(size=60) + 1, rng.exponential(size=60), rng, draws=400)
        hits += found.low <= 1 <= found.high
    assert hits >= 178


def test_without_a_leak_alarms_are_rare() -> None:
    """400 audits of 30 canaries and 30 controls of one law: at 2.5 % a count above 22 has probability 2e-4."""
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(400):
        found = ranks.exposure(rng.normal(size=60), rng.normal(size=500))
        alarms += ranks.difference(found[:30], found[30:], rng, draws=500).low > 0
    assert alarms <= 22
