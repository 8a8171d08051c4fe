import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.sizes import equal, equal_rows, estimate, half_width, halves


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 30), min_size=1), st.integers(0, 5))
def test_every_side_gives_as_many_rows_as_the_smallest_has(sizes: dict[str, int], seed: int) -> None:
    rows = equal_rows(sizes, seed)
    for name, found in rows.items():
        assert len(found) == min(sizes.values())
        assert np.unique(found).size == found.size  # without replacement, in order
        assert (np.diff(found) > 0).all()
        assert found.size == 0 or found.max() < sizes[name]


def test_a_further_side_changes_nothing_for_the_others() -> None:
    few, more = equal_rows({"a": 20, "b": 10}, 3), equal_rows({"a": 20, "b": 10, "c": 15}, 3)
    assert all((few[name] == more[name]).all() for name in few)


def test_records_keep_their_codes() -> None:
    sides = equal(
        {"a": Corpus(("x",), ["0", "1", "2"], [("0",), ("1",), ("2",)]), "b": Corpus(("x",), ["9"], [("9",)])}, 0
    )
    assert len(sides["a"]) == 1
    assert sides["a"].codes[0] == (sides["a"].texts[0],)


def test_the_spread_over_halves_is_the_standard_error_of_the_whole() -> None:
    """For a mean, Var(half | data) = S²/(n/2) · (1 - 1/2) = S²/n: the squared error of the mean of all n."""
    x = np.random.default_rng(0).normal(size=400)
    found = halves(lambda a, _: float(x[a].mean()), 400, 4000, seed=1)
    assert found.std() == pytest.approx(x.std() / 20, rel=0.05)


def test_half_width_by_hand() -> None:
    """Two values 0 and 2: standard deviation √2, t(1 degree of freedom) = 12.706."""
    assert half_width([0, 2]) == pytest.approx(12.7062 * 2**0.5, rel=1e-4)


def test_an_interval_stays_in_its_range() -> None:
    found = estimate("x", 0.9, [0.5, 1.0], 10, split="all", within=(0, 1))
    assert (found.ci_low, found.ci_high) == (0.0, 1.0)
