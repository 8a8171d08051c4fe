"""Codes: their words, their noised counts, and how many records each gets."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.errors import UserError
from upright.synthesis.codes import BARE, Codes
from upright.synthesis.config import CodeConfig
from upright.synthesis.corpus import Corpus
from upright.synthesis.shares import apportion, balanced, contributions, drawn, noised_shares, public_shares, settled

CORPUS = Corpus(("kind", "sex"), ["x"] * 3, [("b", "f"), ("a", "m"), ("a", "f")])


def codes(**settings: Any) -> Codes:
    return Codes.of(CORPUS, CodeConfig(**settings))


def test_a_prompt_says_each_value_in_public_words() -> None:
    assert codes().prompt(("a", "f")) == "kind: a; sex: f\n"
    assert codes(names={"sex": {"f": "female"}}).prompt(("a", "f")) == "kind: a; sex: female\n"
    assert codes(template="A {sex} note, {kind}:").prompt(("a", "f")) == "A f note, a:"
    assert Codes.of(Corpus((), ["x"], [()]), CodeConfig()).prompt(()) == BARE


def test_a_neutral_prompt_says_no_value_and_is_never_empty() -> None:
    assert codes().neutral == "kind: ; sex: \n"
    assert codes(template="{sex} {kind}").neutral == BARE


def test_combinations_are_all_of_public_values_not_those_seen() -> None:
    assert codes().combinations == [("a", "f"), ("a", "m"), ("b", "f"), ("b", "m")]
    given = {"kind": ["b", "a", "c"]}
    assert codes(values=given).combinations[:3] == [("b", "f"), ("b", "m"), ("a", "f")]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"template": "{kind} {six}"},
            "unknown column in codes.template 'six' (allowed: kind, sex); did you mean 'sex'?",
        ),
        ({"template": "{kind}"}, "lacks {sex}"),
        ({"template": "{kind"}, "write {COLUMN} for a value"),
        ({"template": "  "}, "is empty"),
        ({"names": {"sex": {"x": "other"}}}, "unknown value of sex 'x' (allowed: f, m)"),
        ({"values": {"kind": [str(i) for i in range(10_001)]}}, "20,002 combinations of values (kind: 10001, sex: 2)"),
    ],
)
def test_mistakes(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        codes(**settings)
    assert message in str(error.value)


def test_a_unit_adds_at_most_one() -> None:
    a, b, c = ("a",), ("b",), ("c",)
    found = contributions([[a], [a, b], [a, a, a, b, b, b, b], []], [a, b, c])
    root = math.sqrt(0.5)
    expected = np.array([[1, 0, 0], [root, root, 0], [0.6, 0.8, 0], [0, 0, 0]])
    np.testing.assert_allclose(found.to_dense().numpy(), expected, atol=1e-6)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_every_unit_has_the_same_length(kinds: list[int]) -> None:
    found = contributions([[(str(k),) for k in kinds]], [(str(k),) for k in range(6)])
    assert float(found.to_dense().norm()) == pytest.approx(1, abs=1e-6)


def test_what_noise_alone_explains_is_dropped() -> None:
    """Four codes and noise 10: the threshold is 10 sqrt(2 ln 4) = 16.65."""
    found = noised_shares(np.array([60.0, 16.6, -30.0, 20.0]), 10.0)
    assert found.tolist() == [0.75, 0, 0, 0.25]
    assert not noised_shares(np.array([5.0, -5.0]), 10.0).any()
    assert noised_shares(np.array([3.0, 0.0, 1.0]), 0.0).tolist() == [0.75, 0, 0.25]
    assert noised_shares(np.array([7.0]), 3.0).tolist() == [1.0]


def test_a_public_table_gives_the_shares(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    pl.DataFrame({"sex": ["f", "m"], "kind": ["a", "b"], "count": [3, 1]}).write_csv(path)
    assert public_shares(path, codes()).tolist() == [0.75, 0, 0, 0.25]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"sex": ["f"], "count": [1]}, "unknown column in"),
        ({"sex": ["f", "x"], "kind": ["a", "a"], "count": [1, 1]}, "line 3: 'x' (allowed: f, m)"),
        ({"sex": ["f"], "kind": ["a"], "count": [-1]}, "line 2: count=-1; must be a number of 0 or more"),
        ({"sex": ["f"], "kind": ["a"], "count": ["many"]}, "count='many'"),
        ({"sex": ["f"], "kind": ["a"], "count": [0]}, "all counts are 0"),
    ],
)
def test_a_wrong_public_table(tmp_path: Path, table: dict[str, list[Any]], message: str) -> None:
    path = tmp_path / "counts.csv"
    pl.DataFrame(table).write_csv(path)
    with pytest.raises(UserError) as error:
        public_shares(path, codes())
    assert message in str(error.value)


def test_largest_remainders_by_hand() -> None:
    """10 seats for 41, 35, 24 %: 4.1, 3.5, 2.4, so the odd one goes to the second."""
    assert apportion(np.array([0.41, 0.35, 0.24]), 10).tolist() == [4, 4, 2]


def test_balance_spreads_a_part_evenly() -> None:
    assert balanced(np.array([0.7, 0.3, 0.0, 0.0]), 0.2).tolist() == pytest.approx([0.61, 0.29, 0.05, 0.05])


def test_drowned_counts_are_said_to_be() -> None:
    shares, said = settled(np.zeros(4))
    assert shares.tolist() == [0.25] * 4
    assert "drowned" in said[0]


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=30), st.integers(0, 500))
def test_apportioned_numbers_are_near_their_shares(weights: list[float], total: int) -> None:
    shares = np.array(weights) / sum(weights)
    found = apportion(shares, total)
    assert found.sum() == total
    assert (np.abs(found - shares * total) < 1 + 1e-6).all()


def test_codes_are_drawn_in_shares_and_mixed() -> None:
    found = drawn([("a",), ("b",)], np.array([0.75, 0.25]), 8, seed=0)
    assert sorted(found) == [("a",)] * 6 + [("b",)] * 2
    assert found != sorted(found)
    assert found == drawn([("a",), ("b",)], np.array([0.75, 0.25]), 8, seed=0)
