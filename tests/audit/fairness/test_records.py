"""Alike people, rankings and predicted numbers: by hand, and against loops over records and pairs."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import ks_2samp
from sklearn.metrics import mean_absolute_error, ndcg_score, root_mean_squared_error

from upright.audit.fairness import individual, ranking, regression
from upright.audit.fairness.scores import kolmogorov_smirnov


def test_consistency_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    x, said = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    away = []
    for i in range(60):
        near = [j for j in np.argsort(np.linalg.norm(x - x[i], axis=1)) if j != i][:5]
        away.append(abs(said[i] - said[near].mean()))
    assert_allclose(individual.departures(said, x), away)
    assert_allclose(individual.consistency(said, x), 1 - np.mean(away))


def test_a_record_is_not_its_own_neighbour() -> None:
    """Two equal records that are treated unlike: both differ from their only neighbour by 1."""
    x = np.array([[0.0], [0.0], [9.0], [9.0]])
    assert_allclose(individual.departures([0, 1, 1, 1], x, 1), [1, 1, 0, 0])


def test_lipschitz_by_hand() -> None:
    """One pair, .3 apart in score at distance 2: steepness .15, more than .1 and less than .2."""
    x, f = [[0.0, 0.0], [0.0, 2.0]], [0.2, 0.5]
    steep = individual.lipschitz(f, x, 0.1, np.random.default_rng(0))
    assert (steep.violations, steep.pairs) == (1, 1)
    assert_allclose(steep.largest, 0.15)
    assert individual.lipschitz(f, x, 0.2, np.random.default_rng(0)).violations == 0


def test_equal_people_unlike_scores() -> None:
    steep = individual.lipschitz([0.2, 0.5], [[1.0], [1.0]], 10.0, np.random.default_rng(0))
    assert steep.violations == 1
    assert np.isinf(steep.largest)


def test_standardised_features() -> None:
    """(1, 3) has mean 2 and standard deviation 1; a constant says nothing about who is alike."""
    assert_allclose(individual.standardised([[1, 5], [3, 5]]), [[-1, 0], [1, 0]])


def test_too_few_records() -> None:
    with pytest.raises(ValueError, match="got 3 records for 5 neighbours"):
        individual.departures([0, 1, 1], [[0.0], [1.0], [2.0]])


# --- rankings --------------------------------------------------------------------------------------------------

AAABAB = [0, 0, 0, 1, 0, 1]
HALF = [0.5, 0.5]


def test_ranking_by_hand() -> None:
    """a, a, a, b, a, b with halves wanted. b falls short of ⌊i/2⌋ from i = 2 on: 5 prefixes. In the top 4, a has 3/4:
    ln 1.5, b ln ½. Exposure of b: ranks 4 and 6, (1/log₂5 + 1/log₂7) / 2.
    """
    assert ranking.infeasible_index(AAABAB, HALF) == 5
    assert_allclose(ranking.skew(AAABAB, HALF, 4), [np.log(1.5), np.log(0.5)])
    assert_allclose(ranking.ndkl(AAABAB, HALF), 0.49267, atol=5e-6)
    wanted = (1 + 1 / np.log2(3) + 0.5 + 1 / np.log2(6)) / 4, (1 / np.log2(5) + 1 / np.log2(7)) / 2
    assert_allclose(ranking.exposure(AAABAB, 2), wanted)
    assert_allclose(wanted, (0.6294, 0.3934), atol=5e-5)


def test_alternating_is_as_fair_as_it_gets() -> None:
    order = [0, 1] * 50
    assert ranking.infeasible_index(order, HALF) == 0
    assert ranking.ndkl(order, HALF) < ranking.ndkl(sorted(order), HALF)
    assert np.isneginf(ranking.skew(sorted(order), HALF, 10)[1])


def test_exposure_per_relevance() -> None:
    """One item each, relevance 1 and ½: exposure 1 and 1/log₂3 over it."""
    assert_allclose(ranking.exposure_per_relevance([0, 1], [1, 0.5], 2), [1, 2 / np.log2(3)])


def test_ndcg_equals_sklearn() -> None:
    """sklearn has linear gains; with relevance 0 and 1 both agree."""
    rng = np.random.default_rng(1)
    relevance = rng.integers(0, 2, 20)
    assert_allclose(ranking.ndcg(relevance), ndcg_score([relevance], [np.arange(20, 0, -1)]))
    assert np.isnan(ranking.ndcg([0, 0]))


# --- predicted numbers -----------------------------------------------------------------------------------------


def test_errors_equal_sklearn() -> None:
    rng = np.random.default_rng(2)
    y, g = rng.normal(size=500), rng.integers(0, 3, 500)
    f = y + rng.normal(0.1 * g, 0.5)
    m = regression.moments(y, f, g, 3)
    for i in range(3):
        own = g == i
        assert_allclose(regression.mean_residual(m).value[i], (f - y)[own].mean())
        assert_allclose(regression.mean_absolute_error(m).value[i], mean_absolute_error(y[own], f[own]))
        assert_allclose(regression.root_mean_square_error(m).value[i], root_mean_squared_error(y[own], f[own]))
        spread = np.abs(f - y)[own].std(ddof=1) / np.sqrt(own.sum())
        assert_allclose(regression.mean_absolute_error(m).error[i], spread)


def test_error_of_the_root_mean_square() -> None:
    """Standard error by the delta method against 2,000 samples of 200 normal residuals."""
    rng = np.random.default_rng(3)
    e = rng.normal(0.3, 1, (2000, 200))
    m = regression.moments(np.zeros(200), e[0], np.zeros(200, dtype=int), 1)
    assert_allclose(regression.root_mean_square_error(m).error[0], np.sqrt((e**2).mean(1)).std(), rtol=0.25)


def test_pairs_by_hand() -> None:
    """Labels 0 … 3, predictions that swap the upper two: whichever pairs are drawn, only (3, 2) is wrong."""
    rng = np.random.default_rng(0)
    right, every = np.zeros((2, 2)), np.zeros((2, 2))
    for _ in range(300):
        a, b = regression.pairwise_accuracy([0, 1, 2, 3], [0, 1, 3, 2], [0, 0, 1, 1], 2, 2, rng)
        right, every = right + a, every + b
    assert (right == every)[[0, 1], [0, 0]].all()
    assert right[1, 1] == 0
    assert every[1, 1] > 0
    assert every[0, 1] == 0  # no label of the first group is above one of the second


def test_equal_labels_say_nothing() -> None:
    _, every = regression.pairwise_accuracy([1, 1, 1, 1], [0, 1, 2, 3], [0, 1, 0, 1], 2, 9, np.random.default_rng(0))
    assert every.sum() == 0


@pytest.mark.parametrize("decimals", [1, 9])
def test_laws_of_numbers(decimals: int) -> None:
    """Distinct values are kept; many are binned, which moves the distance by less than a bin's mass."""
    rng = np.random.default_rng(4)
    g = rng.integers(0, 2, 3000)
    v = np.round(rng.normal(0.3 * g, 1), decimals)
    cells, at = regression.laws(v, g, 2)
    assert cells.sum() == 3000
    assert_allclose((cells.sum(0) * at).sum(), v.sum())
    assert_allclose(kolmogorov_smirnov(cells), ks_2samp(v[g == 0], v[g == 1]).statistic, atol=4 / 512)
