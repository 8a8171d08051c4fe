"""The table that a classifier is trained on: read, checked, with labels and groups as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from upright.audit.task import Task
from upright.errors import UserError, unknown
from upright.run.folder import RunFolder
from upright.run.tables import check_table, read_table, table_file

ROW = "__row"
CROSS = " × "
ALIASES = (("1", "1.0", "true"), ("0", "0.0", "false"))  # truth values and numbers read back as text

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class People:
    """Rows that can be used, n of them."""

    features: pl.DataFrame
    """The columns a model may use."""
    row: Ints
    """Place of each row in the file (n,), from 0."""
    label: Ints
    """1 for the favourable outcome (n,)."""
    group: Ints
    """Number of the group (n,), an index into `names`."""
    names: list[str]
    """Names of the groups; crossed attributes are joined by " × "."""

    def pick(self, rows: Ints) -> "People":
        """Some of the rows."""
        return People(self.features[rows], self.row[rows], self.label[rows], self.group[rows], self.names)


def check_people(task: Task) -> None:
    """Raises UserError for a table or a column that is not there; no row is read."""
    check_table(task.table, [task.label, *task.groups, *task.features])


def read_people(task: Task, folder: RunFolder, outcomes: int) -> People:
    """The usable rows. Rows without label or group and rows of groups too small to judge go to `folder.fail`.

    Args:
        outcomes: rows of each outcome that a group needs.

    Raises:
        UserError: for columns or labels that do not fit, or fewer than two groups of sufficient size.
    """
    frame = read_table(task.table).with_row_index(ROW)
    folder.input(table_file(task.table))
    chosen = _features(task, [name for name in frame.columns if name != ROW])
    _flat(frame, chosen)
    known = frame.filter(~pl.any_horizontal(_missing(frame, name) for name in (task.label, *task.groups)))
    _fail(folder, frame.join(known, on=ROW, how="anti"), "label or group is missing")
    label = _labels(task, known[task.label])
    crossed = known.select(pl.concat_str([pl.col(name).cast(pl.String) for name in task.groups], separator=CROSS))
    large = _large(crossed.to_series(), label, task.min_group, outcomes)
    _fail(folder, known.filter(~large), f"its group has under {task.min_group} rows or {outcomes} of an outcome")
    kept = known.filter(large)
    names, group = np.unique(crossed.to_series().filter(large).to_numpy(), return_inverse=True)
    if len(names) < 2:
        raise UserError(
            f"--groups {','.join(task.groups)}: got {len(names)} groups with {task.min_group} rows and {outcomes} of "
            "each outcome; must be two or more (give more rows, other columns, or a lower --min-group)"
        )
    row = kept[ROW].cast(pl.Int64).to_numpy()
    return People(kept.select(chosen), row, label[large.to_numpy()], group, [str(name) for name in names])


def _features(task: Task, columns: Sequence[str]) -> list[str]:
    """The columns a model may use. Raises UserError for names the table lacks, or a label among the features."""
    for name in (task.label, *task.groups, *task.features):
        if name not in columns:
            raise unknown("column", name, columns)
    if task.label in (*task.features, *task.groups):
        raise UserError(f"--label {task.label}: is also a feature or group; give it once")
    chosen = task.features or [name for name in columns if name not in (task.label, *task.groups)]
    if not chosen:
        raise UserError(f"{task.table}: has no column left to learn from; name some with --features")
    return chosen


def _flat(frame: pl.DataFrame, features: Sequence[str]) -> None:
    for name in features:
        if frame.schema[name].is_nested():
            raise UserError(f"--features {name}: got {frame.schema[name]} values; must be numbers or words")


def _missing(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Null, not a number, or blank."""
    column, kind = pl.col(name), frame.schema[name]
    if kind.is_float():
        return column.is_null() | column.is_nan()
    return column.is_null() | (column.str.strip_chars() == "") if kind == pl.String else column.is_null()


def _labels(task: Task, column: pl.Series) -> Ints:
    words = column.cast(pl.String).str.strip_chars()
    same = next((alike for alike in ALIASES if task.positive.lower() in alike), None)
    hits = words.is_in((task.positive,)) if same is None else words.str.to_lowercase().is_in(same)
    if not hits.any() or hits.all():
        values = sorted(words.unique().to_list())
        shown = ", ".join(values[:8]) + (", …" if len(values) > 8 else "")
        raise UserError(
            f"--positive {task.positive!r}: must be one of two or more values of {task.label} (got: {shown})"
        )
    favourable: Ints = hits.to_numpy().astype(np.int64)
    return favourable


def _large(crossed: pl.Series, label: Ints, rows: int, outcomes: int) -> pl.Series:
    """Whether each row's group has enough rows, and enough of each outcome."""
    sizes = pl.DataFrame({"group": crossed, "label": label}).with_columns(
        n=pl.len().over("group"), ones=pl.col("label").sum().over("group")
    )
    enough = (pl.col("ones") >= outcomes) & (pl.col("n") - pl.col("ones") >= outcomes)
    return sizes.select(enough & (pl.col("n") >= rows)).to_series()


def _fail(folder: RunFolder, rows: pl.DataFrame, reason: str) -> None:
    for row in rows[ROW].to_list():
        folder.fail("table", reason, {"row": row})
