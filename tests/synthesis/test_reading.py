"""The private table and its mistakes, and that the three parts of it share nobody."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.tables import write_table
from upright.errors import UserError
from upright.synthesis.config import Config, SplitConfig
from upright.synthesis.corpus import Corpus
from upright.synthesis.reading import read
from upright.synthesis.split import split


def rows(count: int = 48) -> dict[str, list[Any]]:
    """A table in which each of 007, 1, 2, ... has two records."""
    return {
        "text": [f" note {i} " for i in range(count)],
        "kind": ["a" if i % 3 else "b" for i in range(count)],
        "sex": ["f", "m"] * (count // 2),
        "who": ["007" if i < 2 else str(i // 2) for i in range(count)],
    }


def written(folder: Path, table: dict[str, list[Any]], name: str = "d.csv") -> Path:
    return write_table(pl.DataFrame(table), folder / name)


def settings(path: Path, **more: Any) -> Config:
    return Config(**{"data": path, "labels": ["kind"], "groups": ["sex"], "unit": "who", **more})


@pytest.mark.parametrize("name", ["d.csv", "d.parquet", "d.jsonl"])
def test_a_table_becomes_a_corpus(tmp_path: Path, name: str) -> None:
    found = read(settings(written(tmp_path, rows(), name)))
    assert (found.columns, len(found), found.texts[1]) == (("kind", "sex"), 48, "note 1")
    assert found.codes[:2] == [("b", "f"), ("a", "m")]
    assert found.units[:3] == ["007", "007", "1"]


def test_a_table_without_codes_and_units(tmp_path: Path) -> None:
    found = read(Config(data=written(tmp_path, rows())))
    assert (found.columns, set(found.codes), tuple(found.units)) == ((), {()}, ())


def test_numbers_are_values_too(tmp_path: Path) -> None:
    found = read(settings(written(tmp_path, {**rows(), "kind": [7] * 48}, "d.parquet")))
    assert set(found.column("kind")) == {"7"}


def broken(column: str, row: int, value: Any) -> dict[str, list[Any]]:
    table = rows()
    table[column][row] = value
    return table


@pytest.mark.parametrize(
    ("table", "more", "message"),
    [
        (broken("text", 3, "  "), {}, "line 5: 'text' is empty (as in 1 of 48 records)"),
        (broken("kind", 0, None), {}, "line 2: 'kind' is empty"),
        (broken("who", 47, None), {}, "line 49: 'who' is empty"),
        (rows(), {"labels": ["king"]}, "unknown column in"),
        (rows(), {"groups": ["kind"]}, "column 'kind' is named twice"),
        (rows(), {"codes": {"values": {"kind": ["a"]}}}, "line 2: 'b' (allowed: a)"),
        (rows(), {"codes": {"values": {"kid": ["a"]}}}, "unknown code column 'kid' (allowed: kind, sex); did you mean"),
        (rows(), {"units": {"most": 1}}, "who '007' has 2 records; at most 1 are allowed: raise --units.most"),
        (rows(38), {}, "holds 38 records; must be at least 40"),
        ({**rows(), "id": ["x"] * 48}, {"groups": ["id"]}, "'id': the synthetic table has a column of that name"),
    ],
)
def test_a_mistake_is_named_before_any_work(
    tmp_path: Path, table: dict[str, list[Any]], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as error:
        read(settings(written(tmp_path, table), **more))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_texts_must_be_texts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="column 'text' holds Int64; must hold texts"):
        read(settings(written(tmp_path, {**rows(), "text": list(range(48))}, "d.parquet")))


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        Config(data=Path("d.csv"), epsilon=0)


# --- split -----------------------------------------------------------------------------------------------------


def corpus(units: Sequence[str]) -> Corpus:
    return Corpus((), [f"text {i}" for i in range(len(units))], [()] * len(units), units)


def test_parts_share_no_unit_and_lose_no_record() -> None:
    whole = corpus([f"p{i // 3}" for i in range(900)])
    parts = split(whole, SplitConfig(), seed=1)
    held = [set(part.units) for part in parts]
    assert sum(map(len, held)) == len(set(whole.units))
    assert sorted(text for part in parts for text in part.texts) == sorted(whole.texts)
    sizes = [len(part) / 900 for part in parts]
    assert sizes == pytest.approx([0.64, 0.16, 0.2], abs=0.06)
    assert split(whole, SplitConfig(), seed=1) == parts
    assert split(whole, SplitConfig(), seed=2) != parts


@given(st.sets(st.integers(0, 400), min_size=60, max_size=80), st.integers(0, 2**31))
def test_a_unit_more_moves_no_other(units: set[int], seed: int) -> None:
    """What the guarantee rests on: neighbouring tables give neighbouring training sets."""
    names = [str(unit) for unit in units]
    with_all, without = (split(corpus(some), SplitConfig(), seed) for some in (names, names[1:]))
    assert [set(part.units) - {names[0]} for part in with_all] == [set(part.units) for part in without]


def test_equal_records_stay_together() -> None:
    texts = ["the same"] * 20 + [f"text {i}" for i in range(80)]
    parts = split(Corpus((), texts, [()] * 100), SplitConfig(), seed=0)
    assert sum("the same" in part.texts for part in parts) == 1


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(UserError, match="give more units"):
        split(corpus(["one"] * 50), SplitConfig(), seed=0)
