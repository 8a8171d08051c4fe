"""The scores of canaries: reading a table of them, with every bad row named by its line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from upright.audit.epsilon.config import ColumnsConfig
from upright.audit.intervals import Floats
from upright.errors import UserError
from upright.run.tables import line_of, need_columns, read_table

IN, OUT = ("1", "1.0", "true"), ("0", "0.0", "false")


@dataclass(frozen=True)
class Scores:
    """Canaries in the order of the file: `score` (m,), NaN where there is none; `included` (m,) booleans."""

    score: Floats
    included: NDArray[np.bool_]

    @property
    def inside(self) -> Floats:
        """Scores of what was in, NaN as -inf: a canary without a score is called out."""
        return np.nan_to_num(self.score[self.included], nan=-np.inf, posinf=np.inf, neginf=-np.inf)

    @property
    def outside(self) -> Floats:
        """Scores of what was out, likewise."""
        return np.nan_to_num(self.score[~self.included], nan=-np.inf, posinf=np.inf, neginf=-np.inf)

    @property
    def unscored(self) -> NDArray[np.int64]:
        """Rows without a score, from 0."""
        return np.flatnonzero(np.isnan(self.score))


def read_scores(path: Path, columns: ColumnsConfig, many: bool) -> Scores:
    """The canaries of a file.

    Args:
        many: whether each row must be a run of its own; else all rows must be of one run.

    Raises:
        UserError: if a column is missing, a value is none, a run stands twice, or nothing is in or out.
    """
    table, first = read_table(path), line_of(path, 0)
    need_columns(path, [columns.score, columns.included], table.columns)
    if columns.run in table.columns:
        _check_runs(path, table[columns.run], first, many)
    found = Scores(_numbers(path, table[columns.score], first), _flags(path, table[columns.included], first))
    count = int(found.included.sum())
    if count in (0, len(table)):
        raise UserError(f"{path}: {count} of {len(table)} canaries are in; needs some in and some out")
    return found


def _numbers(path: Path, column: pl.Series, first: int) -> Floats:
    if column.dtype == pl.Boolean or column.dtype.is_nested() or column.dtype.is_temporal():
        raise UserError(f"{path}: {column.name} holds {column.dtype}; must be numbers")
    numbers = column.cast(pl.Float64, strict=False)
    _refuse(path, column, (column.is_not_null() & numbers.is_null()).to_numpy(), first, "a number")
    return numbers.fill_null(float("nan")).to_numpy().astype(float)


def _flags(path: Path, column: pl.Series, first: int) -> NDArray[np.bool_]:
    if column.dtype.is_nested():
        raise UserError(f"{path}: {column.name} holds {column.dtype}; must be 0 or 1")
    words = column.cast(pl.String).str.strip_chars().str.to_lowercase().fill_null("")
    known = words.is_in([*IN, *OUT])
    _refuse(path, column, (~known).to_numpy(), first, "0 or 1")
    return words.is_in(IN).to_numpy()


def _refuse(path: Path, column: pl.Series, bad: NDArray[np.bool_], first: int, allowed: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        more = f" (and {rows.size - 1} more rows)" if rows.size > 1 else ""
        raise UserError(
            f"{path}, line {first + rows[0]}, {column.name}: got {column[int(rows[0])]!r}; must be {allowed}{more}"
        )


def _check_runs(path: Path, runs: pl.Series, first: int, many: bool) -> None:
    twice = np.flatnonzero(runs.is_duplicated().to_numpy())
    if many and twice.size:
        lines = _lines(runs, runs[int(twice[0])], first)
        raise UserError(
            f"{path}: run {runs[int(twice[0])]!r} stands in lines {lines}; many-runs takes one row a run "
            "(many canaries of one run: --method one-run)"
        )
    if not many and runs.n_unique() > 1:
        raise UserError(
            f"{path}: holds {runs.n_unique():,} runs; one run is judged at a time (one canary in many runs: "
            "--method many-runs)"
        )


def _lines(runs: pl.Series, name: Any, first: int) -> str:
    rows: Sequence[int] = np.flatnonzero((runs == name).fill_null(runs.is_null()).to_numpy()).tolist()
    return ", ".join(str(first + row) for row in rows[:3]) + (", …" if len(rows) > 3 else "")
