"""Columns of a table that must hold numbers, or 0 and 1: the first bad value is named by its line."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from upright.errors import UserError
from upright.run.tables import line_of

IN, OUT = ("1", "1.0", "true"), ("0", "0.0", "false")


def numbers(path: Path, column: pl.Series) -> NDArray[np.float64]:
    """Its numbers (n,), NaN where there is none. Raises UserError for what is no number."""
    if column.dtype == pl.Boolean or column.dtype.is_nested() or column.dtype.is_temporal():
        raise UserError(f"{path}: {column.name} holds {column.dtype}; must be numbers")
    found = column.cast(pl.Float64, strict=False)
    _refuse(path, column, (column.is_not_null() & found.is_null()).to_numpy(), "a number")
    return found.fill_null(float("nan")).to_numpy().astype(float)


def flags(path: Path, column: pl.Series) -> NDArray[np.bool_]:
    """Whether a value is 1 (n,), as numbers, truth values or words. Raises UserError for anything but 0 and 1."""
    if column.dtype.is_nested():
        raise UserError(f"{path}: {column.name} holds {column.dtype}; must be 0 or 1")
    words = column.cast(pl.String).str.strip_chars().str.to_lowercase().fill_null("")
    _refuse(path, column, (~words.is_in([*IN, *OUT])).to_numpy(), "0 or 1")
    return words.is_in(IN).to_numpy()


def _refuse(path: Path, column: pl.Series, bad: NDArray[np.bool_], allowed: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        more = f" (and {rows.size - 1} more rows)" if rows.size > 1 else ""
        place = f"{path}, line {line_of(path, int(rows[0]))}, {column.name}"
        raise UserError(f"{place}: got {column[int(rows[0])]!r}; must be {allowed}{more}")
