"""The table to learn from: read, checked, with labels and groups as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import selectors as cs

from upright.audit.mitigate.config import Config
from upright.errors import UserError, unknown
from upright.run.folder import RunFolder
from upright.run.tables import read_table, table_file

MIN_EVENTS = 5
ROW = "__row"
ALIASES = {"1": ("1", "1.0", "true"), "0": ("0", "0.0", "false")}  # truth values and numbers read back as text


@dataclass(frozen=True)
class Table:
    """Rows that can be used, n of them."""

    features: pl.DataFrame
    """The columns a model may use."""
    row: NDArray[np.int64]
    """Place of each row in the file (n,), from 0."""
    label: NDArray[np.int64]
    """1 for the favourable outcome (n,)."""
    group: NDArray[np.int64]
    """Number of the group (n,), an index into `names`."""
    names: list[str]
    """Names of the groups; crossed attributes are joined by " × "."""


def read_people(config: Config, folder: RunFolder) -> Table:
    """The usable rows. Rows without label or group and rows of groups too small to judge go to `folder.fail`.

    Raises:
        UserError: for a file that is no table, unknown columns, a label without exactly two values, or fewer than two
            groups of sufficient size.
    """
    folder.input(table_file(config.table))
    frame = read_table(config.table).with_row_index(ROW)
    chosen = _features(config, frame.columns)
    needed = [config.label, *config.groups]
    known = frame.filter(pl.all_horizontal(pl.col(needed).is_not_null()))
    _fail(folder, frame.join(known, on=ROW, how="anti"), "label or group is missing")
    label = _labels(config, known[config.label])
    crossed = known.select(pl.concat_str([pl.col(name).cast(pl.String) for name in config.groups], separator=" × "))
    large = _large(crossed.to_series(), label, config)
    _fail(folder, known.filter(~large), f"its group has under {config.min_group} rows or {MIN_EVENTS} of an outcome")
    kept = known.filter(large)
    names, group = np.unique(crossed.to_series().filter(large).to_numpy(), return_inverse=True)
    if len(names) < 2:
        raise UserError(
            f"{config.table}: {len(names)} groups of {', '.join(config.groups)} have {config.min_group} rows and "
            f"{MIN_EVENTS} of each outcome; a gap needs two (give more rows, other --groups or a lower --min-group)"
        )
    return Table(
        kept.select(chosen), kept[ROW].cast(pl.Int64).to_numpy(), label[large.to_numpy()], group, [*map(str, names)]
    )


def _features(config: Config, columns: Sequence[str]) -> list[str]:
    """The columns a model may use. Raises UserError for names the table lacks, or a label among the features."""
    own = [name for name in columns if name != ROW]
    for name in (config.label, *config.groups, *config.features):
        if name not in own:
            raise unknown("column", name, own)
    if config.label in (*config.features, *config.groups):
        raise UserError(f"--label {config.label}: is also a feature or group; give it once")
    chosen = config.features or [name for name in own if name not in (config.label, *config.groups)]
    if not chosen:
        raise UserError(f"{config.table}: has no column left to learn from; name some with --features")
    return chosen


def _labels(config: Config, column: pl.Series) -> NDArray[np.int64]:
    values = sorted(column.cast(pl.String).unique().to_list())
    if len(values) != 2:
        shown = ", ".join(values[:5])
        raise UserError(f"--label {config.label}: got {len(values)} values ({shown}); must be two")
    wanted = ALIASES.get(config.positive.lower(), (config.positive,))
    found = [value for value in values if value in wanted]
    if not found:
        raise UserError(f"--positive {config.positive!r}: not a value of {config.label} (allowed: {', '.join(values)})")
    favourable: NDArray[np.int64] = (column.cast(pl.String) == found[0]).to_numpy().astype(np.int64)
    return favourable


def _large(crossed: pl.Series, label: NDArray[np.int64], config: Config) -> pl.Series:
    """Whether each row's group has enough rows, and enough of each outcome."""
    sizes = pl.DataFrame({"group": crossed, "label": label}).with_columns(
        n=pl.len().over("group"), positives=pl.col("label").sum().over("group")
    )
    enough = (pl.col("n") >= config.min_group) & (pl.col("positives") >= MIN_EVENTS)
    return sizes.select(enough & (pl.col("n") - pl.col("positives") >= MIN_EVENTS)).to_series()


def _fail(folder: RunFolder, rows: pl.DataFrame, reason: str) -> None:
    for row in rows[ROW].to_list():
        folder.fail("table", reason, {"row": row})


class Encoder:
    """Columns as a matrix of numbers, learned from training rows: numbers standardised, words one-hot.

    A missing number becomes the column's mean. Words seen fewer than 10 times share one column.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        from sklearn.preprocessing import OneHotEncoder

        self._numbers = frame.select(cs.numeric() | cs.boolean()).columns
        self._words = [name for name in frame.columns if name not in self._numbers]
        numbers = self._matrix(frame)
        seen = np.isfinite(numbers)
        count = np.maximum(seen.sum(0), 1)
        self._mean = np.where(seen, numbers, 0.0).sum(0) / count
        spread = np.sqrt((np.where(seen, numbers - self._mean, 0.0) ** 2).sum(0) / count)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._one_hot = None
        if self._words:
            self._one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10, sparse_output=False)
            self._one_hot.fit(self._text(frame))

    @property
    def numbers(self) -> int:
        """How many of the first columns of the matrix are numbers; the rest are one-hot."""
        return len(self._numbers)

    def __call__(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """The matrix (n, p) of these rows."""
        numbers = (self._matrix(frame) - self._mean) / self._spread
        parts = [np.where(np.isfinite(numbers), numbers, 0.0)]
        if self._one_hot is not None:
            parts.append(self._one_hot.transform(self._text(frame)))
        return np.hstack(parts)

    def _matrix(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        return frame.select(pl.col(self._numbers).cast(pl.Float64)).to_numpy().reshape(frame.height, -1)

    def _text(self, frame: pl.DataFrame) -> NDArray[np.object_]:
        return frame.select(pl.col(self._words).cast(pl.String).fill_null("")).to_numpy()
