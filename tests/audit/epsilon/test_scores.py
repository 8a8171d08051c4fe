"""Reading canary scores: every format, and every mistake by its line."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.tables import write_table
from upright.audit.epsilon.config import ColumnsConfig
from upright.audit.epsilon.scores import read_scores
from upright.errors import UserError

COLUMNS = ColumnsConfig()
TABLE = pl.DataFrame({"score": [0.5, -1.0, None, 2.0], "included": [1, 0, 1, 0]})


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_every_format_gives_the_same_canaries(tmp_path: Path, ending: str) -> None:
    found = read_scores(write_table(TABLE, tmp_path / f"scores{ending}"), COLUMNS, many=False)
    np.testing.assert_array_equal(found.score, [0.5, -1.0, np.nan, 2.0])
    assert found.included.tolist() == [True, False, True, False]
    assert (found.inside.tolist(), found.outside.tolist()) == ([0.5, -np.inf], [-1.0, 2.0])
    assert found.unscored.tolist() == [2]


@pytest.mark.parametrize("words", [("True", "False"), ("true", "false"), ("1", "0"), (" 1", "0 "), ("1.0", "0.0")])
def test_included_is_read_as_people_write_it(tmp_path: Path, words: tuple[str, str]) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(f"score,included\n1,{words[0]}\n2,{words[1]}\n", encoding="utf-8")
    assert read_scores(path, COLUMNS, many=False).included.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("score,included\n1,1\nx,0\n", "line 3, score: got 'x'; must be a number"),
        ("score,included\n1,1\n2,2\n3,0\n", "line 3, included: got 2; must be 0 or 1"),
        ("score,included\n1,1\n2,\n3,0\n4,\n", r"line 3, included: got None; must be 0 or 1 \(and 1 more rows\)"),
        ("scores,included\n1,1\n2,0\n", "unknown column in .*'score'.*did you mean 'scores'"),
        ("score,included\n1,1\n2,1\n", "2 of 2 canaries are in; needs some in and some out"),
        ("score,included\n", "holds no rows"),
        ("", "cannot be read as a csv table"),
        ("score,included,run\n1,1,a\n2,0,b\n", "holds 2 runs; one run is judged at a time"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_scores(path, COLUMNS, many=False)
    assert "\n" not in str(caught.value)


def test_many_runs_take_one_row_each(tmp_path: Path) -> None:
    path = write_table(TABLE.with_columns(run=pl.Series(["a", "b", "a", "c"])), tmp_path / "runs.csv")
    with pytest.raises(UserError, match="run 'a' stands in lines 2, 4; many-runs takes one row a run"):
        read_scores(path, COLUMNS, many=True)
    path = write_table(TABLE.with_columns(run=pl.Series([1, 2, 3, 4])), tmp_path / "fine.csv")
    assert read_scores(path, COLUMNS, many=True).score.size == 4


def test_other_names_endings_and_types(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(json.dumps({"loss": i, "member": i % 2 == 0}) for i in range(4)), encoding="utf-8")
    found = read_scores(path, ColumnsConfig(score="loss", included="member"), many=False)
    assert (found.score.tolist(), found.included.tolist()) == ([0, 1, 2, 3], [True, False, True, False])
    with pytest.raises(UserError, match=r"got a \.txt file; must be one of \.csv, \.parquet, \.jsonl"):
        read_scores(tmp_path / "x.txt", COLUMNS, many=False)
    with pytest.raises(UserError, match=r"absent\.csv: is not there"):
        read_scores(tmp_path / "absent.csv", COLUMNS, many=False)
    nested = write_table(pl.DataFrame({"score": [[1.0], [2.0]], "included": [0, 1]}), tmp_path / "nested.parquet")
    with pytest.raises(UserError, match=r"score holds List\(Float64\); must be numbers"):
        read_scores(nested, COLUMNS, many=False)
    path.write_text('{"score": 1, "included": 1}\n{"score": ', encoding="utf-8")
    with pytest.raises(UserError, match=r"x\.jsonl: cannot be read as a jsonl table"):
        read_scores(path, COLUMNS, many=False)
