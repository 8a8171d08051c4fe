from pathlib import Path

import polars as pl
import pytest

from tests.tables import write_table
from upright import lab
from upright.errors import UserError
from upright.run.tables import check_table, line_of, need_columns, read_table, scan_table, table_file

ROWS = pl.DataFrame({"name": ["a", "b"], "score": [1.0, 2.5]})


@pytest.fixture(params=["csv", "parquet", "jsonl"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same two rows in each format."""
    return write_table(ROWS, tmp_path / f"table.{request.param}")


def test_every_format_gives_the_same_rows(path: Path) -> None:
    assert read_table(path).equals(ROWS)
    assert scan_table(path).collect().cast({"score": pl.Float64}).equals(ROWS)
    assert line_of(path, 1) == (3 if path.suffix == ".csv" else 2)


def test_types_come_from_all_rows(tmp_path: Path) -> None:
    """The 2,000th row is the first that is no whole number."""
    path = tmp_path / "late.csv"
    path.write_text("x\n" + "1\n" * 1999 + "0.5\n")
    assert read_table(path)["x"].sum() == 1999.5


def test_tables_of_the_lab_go_by_name() -> None:
    assert table_file(Path("lab:loans")) == lab.table("loans")
    assert read_table(Path("lab:loans")).height == 6000
    with pytest.raises(UserError, match="did you mean 'loans'"):
        read_table(Path("lab:loan"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.xls", "", r"got a \.xls file; must be one of \.csv, \.parquet, \.jsonl"),
        ("x.csv", "a,b\n", "holds no rows"),
        ("x.csv", "", "cannot be read as a csv table"),
        ("x.jsonl", "{broken\n", "cannot be read as a jsonl table"),
        ("x.parquet", "PAR", "cannot be read as a parquet table"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        read_table(tmp_path / name)
    with pytest.raises(UserError, match=r"absent\.csv: is not there"):
        scan_table(tmp_path / "absent.csv")


def test_missing_columns_list_the_others() -> None:
    with pytest.raises(UserError, match=r"unknown column in t\.csv: 'ago' \(allowed: age, sex\); did you mean 'age'"):
        need_columns(Path("t.csv"), ["sex", "ago"], ["age", "sex"])
    with pytest.raises(UserError, match="unknown column in lab:loans: 'incom'"):
        check_table(Path("lab:loans"), ["sex", "incom"])
