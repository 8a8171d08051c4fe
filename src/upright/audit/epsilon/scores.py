"""The scores of canaries: reading a table of them, with every bad row named by its line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from upright.audit.columns import flags, numbers
from upright.audit.epsilon.config import ColumnsConfig
from upright.errors import UserError
from upright.run.measures.intervals import Floats
from upright.run.tables import line_of, need_columns, read_table


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
    found = Scores(numbers(path, table[columns.score]), flags(path, table[columns.included]))
    count = int(found.included.sum())
    if count in (0, len(table)):
        raise UserError(f"{path}: {count} of {len(table)} canaries are in; needs some in and some out")
    return found


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
