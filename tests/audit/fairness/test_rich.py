"""Rich subgroups: regressions by hand and against scikit-learn, what is planted is found, chance is not."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from upright.audit.fairness import rich

AGES = [str(age) for age in range(20, 60, 5)]
PEOPLE = [(sex, age) for sex in "fm" for age in AGES]
FEATURES = rich.features(PEOPLE, ["sex", "age"])


def test_columns_as_numbers() -> None:
    assert FEATURES.names == ["sex=m", "age"]
    assert FEATURES.low == ["sex=f", ""]
    assert_allclose(FEATURES.x[0], [0, 20])
    few = rich.features([("1",), ("2",), ("(missing)",)], ["g"])
    assert few.names == ["g=(missing)", "g=1", "g=2"]


def test_a_tree_by_hand() -> None:
    """Targets -1, -1, 1, 1 at 1 … 4: one cut halfway between 2 and 3 leaves no error."""
    f = rich.features([(str(i),) for i in range(1, 5)], ["age"])
    rule = rich.tree(f, np.array([-1.0, -1, 1, 1]), np.ones(4), above=True)
    assert rule.member.tolist() == [False, False, True, True]
    assert rule.words == "age > 2.5"
    other = rich.tree(f, np.array([-1.0, -1, 1, 1]), np.ones(4), above=False)
    assert (other.member == ~rule.member).all()


@pytest.mark.parametrize("seed", range(5))
def test_regressions_equal_sklearn(seed: int) -> None:
    """The signs of both fits are those of scikit-learn's on the same weighted cells."""
    rng = np.random.default_rng(seed)
    target, weight = rng.normal(size=16), rng.integers(1, 50, 16).astype(float)
    line = LinearRegression().fit(FEATURES.x, target, sample_weight=weight).predict(FEATURES.x)
    assert (rich.linear(FEATURES, target, weight, above=True).member == (line > 0)).all()
    cart = DecisionTreeRegressor(max_depth=rich.DEPTH, random_state=0).fit(FEATURES.x, target, sample_weight=weight)
    assert (rich.tree(FEATURES, target, weight, above=True).member == (cart.predict(FEATURES.x) > 0)).all()


def test_empty_cells_are_harmless() -> None:
    target, weight = np.r_[np.full(8, -1.0), np.full(8, 1.0)], np.r_[np.zeros(4), np.ones(12)]
    assert rich.tree(FEATURES, target, weight, above=True).member[8:].all()
    assert np.isfinite(rich.linear(FEATURES, target, weight, above=True).member).all()


def drawn(rng: np.random.Generator, bent: float) -> tuple[np.ndarray, np.ndarray]:
    """Women from 45 on have a rate of .1 + bent, others of .1."""
    n = rng.integers(80, 120, 16)
    rate = np.array([0.1 + bent * (sex == "f" and int(age) >= 45) for sex, age in PEOPLE])
    return rng.binomial(n, rate), n


def test_what_is_planted_is_found() -> None:
    """Three of 16 cells; m_S - m is .4 less what S itself adds to m, times its share of all records."""
    rng = np.random.default_rng(1)
    hits, n = drawn(rng, 0.4)
    found = rich.rich_subgroup(hits, n, FEATURES, 2 * n.sum(), rng)
    assert found is not None
    assert [PEOPLE[i] for i in np.flatnonzero(found.rule.member)] == [("f", "45"), ("f", "50"), ("f", "55")]
    assert found.rule.words == "age > 42.5 and sex=f"
    assert found.p < 1e-6
    share = found.n / (n.sum() / 2)
    assert found.low < 0.5 * share * (1 - share) * 0.4 < found.high
    assert found.hits / found.n == pytest.approx(0.5, abs=0.12)


def test_fewer_is_found_as_well() -> None:
    rng = np.random.default_rng(2)
    hits, n = drawn(rng, 0.4)
    found = rich.rich_subgroup(n - hits, n, FEATURES, n.sum(), rng)
    assert found is not None
    assert found.hits / found.n < found.whole
    assert found.gap > 0
    assert found.low > 0


def test_halves_are_all_records_and_the_judge_is_unseen() -> None:
    """The numbers of the judging half, recomputed from its own draw."""
    hits, n = drawn(np.random.default_rng(3), 0.4)
    found = rich.rich_subgroup(hits, n, FEATURES, n.sum(), np.random.default_rng(9))
    seen = np.random.default_rng(9).multivariate_hypergeometric(np.r_[hits, n - hits], n.sum() // 2, method="marginals")
    left, size = hits - seen[:16], n - seen[:16] - seen[16:]
    assert found is not None
    inside = found.rule.member
    assert (found.hits, found.n) == (left[inside].sum(), size[inside].sum())
    whole = left.sum() / size.sum()
    assert found.gap == pytest.approx(abs(left[inside].sum() - whole * size[inside].sum()) / (n.sum() / 2))


def test_chance_is_not_taken_for_a_finding() -> None:
    """300 fair tables: p ≤ .05 in 5 %, give or take 3 standard errors, as one rule is tested on unseen records."""
    rng = np.random.default_rng(4)
    low = 0
    for _ in range(300):
        hits, n = drawn(rng, 0.0)
        found = rich.rich_subgroup(hits, n, FEATURES, n.sum(), rng)
        low += found is not None and found.p <= 0.05
    assert low <= 300 * (0.05 + 3 * np.sqrt(0.05 * 0.95 / 300))


def test_one_outcome_says_nothing() -> None:
    assert rich.rich_subgroup(np.zeros(16), np.full(16, 9), FEATURES, 144, np.random.default_rng(0)) is None
