"""Tables a person brings: CSV, Parquet and JSONL, told apart by their endings, or `lab:NAME`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import polars as pl

from upright import lab
from upright.errors import UserError, unknown

T = TypeVar("T")

# Types of columns are guessed from all rows: the first may look like whole numbers.
READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": lambda path: pl.read_csv(path, infer_schema_length=None),
    ".parquet": pl.read_parquet,
    ".jsonl": lambda path: pl.read_ndjson(path, infer_schema_length=None),
}
SCANNERS: dict[str, Callable[[Path], pl.LazyFrame]] = {
    ".csv": lambda path: pl.scan_csv(path, infer_schema=False),  # as text: what a column is must not depend on a part
    ".parquet": pl.scan_parquet,
    ".jsonl": pl.scan_ndjson,
}


def table_file(path: Path) -> Path:
    """The file itself, or that of `lab:NAME`."""
    kind, _, name = str(path).partition(":")
    return lab.table(name) if kind == "lab" and name else path


def read_table(path: Path) -> pl.DataFrame:
    """All rows. Raises UserError for a file that is no table or holds no rows."""
    frame = _opened(path, lambda file: READERS[file.suffix.lower()](file))
    if not frame.height:
        raise UserError(f"{path}: holds no rows; give a table with at least one")
    return frame


def scan_table(path: Path) -> pl.LazyFrame:
    """A lazy view of a table that may be larger than memory; the columns of a CSV file are text.

    Raises UserError for a file that is no table.
    """

    def scan(file: Path) -> pl.LazyFrame:
        frame = SCANNERS[file.suffix.lower()](file)
        frame.collect_schema()  # so that a broken file is noticed here
        return frame

    return _opened(path, scan)


def need_columns(path: Path, names: list[str], columns: list[str]) -> None:
    """Raises UserError for the first of `names` that is not among a table's columns."""
    for name in names:
        if name not in columns:
            raise unknown(f"column in {path}:", name, columns)


def check_table(path: Path, names: list[str]) -> None:
    """Raises UserError for a file that is no table or lacks one of the columns; no row is read."""
    need_columns(path, names, scan_table(path).collect_schema().names())


def line_of(path: Path, row: int) -> int:
    """The line of a file on which row number `row`, from 0, stands; in Parquet, its number from 1."""
    return row + (2 if table_file(path).suffix.lower() == ".csv" else 1)


def _opened(path: Path, read: Callable[[Path], T]) -> T:
    file = table_file(path)
    if file.suffix.lower() not in READERS:
        raise UserError(f"{path}: got a {file.suffix or 'nameless'} file; must be one of {', '.join(READERS)}")
    if not file.is_file():
        raise UserError(f"{path}: is not there; give a file that ends in {', '.join(READERS)}")
    try:
        return read(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        broken = "" if isinstance(error, OSError) else _broken_line(file)
        said = broken or (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: cannot be read as a {file.suffix[1:]} table: {said}") from error


def _broken_line(file: Path) -> str:
    """What is wrong with the first line of a JSONL file that is no object; "" if there is none."""
    if file.suffix.lower() != ".jsonl":
        return ""
    filled = 0
    with file.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            filled += bool(line.strip())
            try:
                if line.strip() and not isinstance(json.loads(line), dict):
                    return f"line {number} is no object"
            except ValueError as error:
                return f"line {number} is no JSON: {error}"
    return "" if filled else "it is empty"
