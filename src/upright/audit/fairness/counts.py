"""What an audit of decisions needs to know of a table: how many records there are of each kind.

`Counts` of two parts of a table add up to the counts of the whole, so shards, days and sites can be counted apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from upright.errors import UserError
from upright.run.files import atomic
from upright.run.measures.rates import summed

Floats = NDArray[np.float64]
STRATUM, LABEL, PREDICTION, REASON = "stratum", "label", "prediction", "reason"
RECORDS, WEIGHT, SQUARES = "records", "weight", "squares"
BIN, LOW, HIGH, TOTAL = "bin", "low", "high", "total"
MISSING = "(missing)"
CROSS = " × "
SUMS = [pl.col(RECORDS).sum(), pl.col(WEIGHT).sum(), pl.col(SQUARES).sum()]
RANGE = [pl.col(TOTAL).sum(), pl.col(LOW).min(), pl.col(HIGH).max()]


@dataclass(frozen=True)
class Counts:
    """Records, weight Σw and Σw² of each combination that occurs."""

    columns: tuple[str, ...]
    """The group columns, which stand in the frames as `g:NAME`."""
    decisions: pl.DataFrame
    """By groups, stratum, label, prediction, and the reason why rows cannot be used (null: they can)."""
    scores: pl.DataFrame | None = None
    """By groups, label, and score bin; with the bin's lowest, highest and weighted total score."""

    def __add__(self, other: "Counts") -> Self:
        """Counts of two tables together. Raises ValueError when they count different columns."""
        if self.columns != other.columns or (self.scores is None) != (other.scores is None):
            raise ValueError(f"counts of {self.columns} and {other.columns} do not add up; count the same columns")
        return type(self)(
            self.columns,
            _merged([self.decisions, other.decisions], SUMS),
            None if self.scores is None else _merged([self.scores, *_some(other.scores)], [*SUMS, *RANGE]),
        )

    @property
    def usable(self) -> pl.DataFrame:
        """The decisions that can be used."""
        return self.decisions.filter(pl.col(REASON).is_null())

    @property
    def dropped(self) -> dict[str, int]:
        """Rows that cannot be used, by reason."""
        rows = self.decisions.filter(pl.col(REASON).is_not_null()).group_by(REASON).agg(pl.col(RECORDS).sum())
        return dict(rows.sort(REASON).iter_rows())

    @property
    def weighted(self) -> bool:
        """Whether a record counts other than once."""
        frame = self.usable
        return bool((frame[WEIGHT] != frame[RECORDS]).any() or (frame[SQUARES] != frame[RECORDS]).any())

    def classes(self, columns: Sequence[str] = (LABEL, PREDICTION)) -> list[str]:
        """Values of these columns that occur; numbers in numeric order."""
        return _ordered({value for name in columns for value in self.usable[name].unique()})

    def binary(self, positive: Sequence[str], said: Sequence[str] | None = None) -> Self:
        """The same with the classes 1 and 0: the words `positive`, of predictions `said`, against all others."""

        def two(name: str, words: Sequence[str] = positive) -> pl.Expr:
            return pl.when(pl.col(name).is_in(list(words))).then(pl.lit("1")).otherwise(pl.lit("0")).alias(name)

        usable = pl.col(REASON).is_null()
        kept = self.decisions.filter(usable).with_columns(two(LABEL), two(PREDICTION, said or positive))
        scores = None if self.scores is None else _merged([self.scores.with_columns(two(LABEL))], [*SUMS, *RANGE])
        return type(self)(self.columns, _merged([kept, self.decisions.filter(~usable)], SUMS), scores)

    def save(self, decisions: Path, scores: Path) -> None:
        """Write both frames as Parquet."""
        for path, frame in ((decisions, self.decisions), (scores, self.scores)):
            if frame is not None:
                with atomic(path) as part:
                    frame.write_parquet(part)

    @classmethod
    def load(cls, decisions: Path, scores: Path) -> Self:
        """Read what `save` wrote."""
        frame = pl.read_parquet(decisions)
        names = tuple(name.removeprefix("g:") for name in frame.columns if name.startswith("g:"))
        return cls(names, frame, pl.read_parquet(scores) if scores.exists() else None)


def _some(frame: pl.DataFrame | None) -> list[pl.DataFrame]:
    return [] if frame is None else [frame]


def _merged(frames: Sequence[pl.DataFrame], sums: Sequence[pl.Expr]) -> pl.DataFrame:
    """Frames summed over equal keys, in the order of the keys, so that equal data give equal frames."""
    known = {expression.meta.output_name() for expression in sums}
    keys = [name for name in frames[0].columns if name not in known]
    together = pl.concat(frames, how="vertical_relaxed")
    return together.group_by(keys).agg(sums).sort(keys, nulls_last=True).select(frames[0].columns)


def _ordered(values: set[str]) -> list[str]:
    def number(value: str) -> tuple[int, float, str]:
        try:
            return 0, float(value), value
        except ValueError:
            return 1, 0.0, value

    return sorted(values, key=number)


# --- dense tables ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """Decisions as an array, for one way of grouping."""

    name: str
    """The group columns, crossed."""
    groups: list[str]
    strata: list[str]
    classes: list[str]
    cells: Floats
    """Weights (G, S, K, K) by group, stratum, label and prediction."""
    records: Floats
    """Records (G, S, K, K)."""
    squares: Floats
    """Sums of squared weights (G,)."""
    values: list[tuple[str, ...]]
    """Values of the group columns (G)."""

    @property
    def size(self) -> Floats:
        """Records (G,)."""
        return np.asarray(self.records.sum((1, 2, 3)))

    def pick(self, groups: NDArray[np.bool_]) -> Self:
        """The table of some of its groups."""
        at = np.flatnonzero(groups)
        return type(self)(
            self.name,
            [self.groups[i] for i in at],
            self.strata,
            self.classes,
            self.cells[at],
            self.records[at],
            self.squares[at],
            [self.values[i] for i in at],
        )


def table(counts: Counts, columns: Sequence[str], classes: Sequence[str]) -> Table:
    """The usable decisions by the crossing of some group columns."""
    frame = counts.usable
    values, group = _crossing(frame, columns)
    strata, stratum = _codes(frame[STRATUM])
    label, said = (_coded(frame[name], classes) for name in (LABEL, PREDICTION))
    k, s = len(classes), len(strata)
    at = ((group * s + stratum) * k + label) * k + said

    def dense(name: str) -> Floats:
        flat = summed(at, len(values) * s * k * k, frame[name].to_numpy().astype(float))
        return flat.reshape(len(values), s, k, k)

    squares = summed(group, len(values), frame[SQUARES].to_numpy().astype(float))
    names = [CROSS.join(value) for value in values]
    return Table(CROSS.join(columns), names, strata, list(classes), dense(WEIGHT), dense(RECORDS), squares, values)


def score_table(counts: Counts, columns: Sequence[str], values: Sequence[tuple[str, ...]]) -> tuple[Floats, Floats]:
    """Score cells (G, 2, B) of the named groups, and the mean score (B,) of each bin."""
    frame = counts.scores
    if frame is None:
        raise ValueError("these counts hold no scores")
    found, group = _crossing(frame, columns)
    place = {value: i for i, value in enumerate(values)}
    wanted = np.array([place.get(value, -1) for value in found])[group]
    bins, which = np.unique(frame[BIN].to_numpy(), return_inverse=True)
    weight = frame[WEIGHT].to_numpy().astype(float)
    total = summed(which, len(bins), frame[TOTAL].to_numpy())
    mass = summed(which, len(bins), weight)
    label = _coded(frame[LABEL], ["0", "1"])
    at = (wanted * 2 + label) * len(bins) + which
    here = wanted >= 0
    flat = summed(at[here], len(values) * 2 * len(bins), weight[here])
    score = np.divide(
        total, mass, out=frame.group_by(BIN).agg(pl.col(LOW).min()).sort(BIN)[LOW].to_numpy().copy(), where=mass > 0
    )
    return flat.reshape(len(values), 2, len(bins)), score


def exact(counts: Counts) -> bool:
    """Whether each score bin holds one distinct score, so that nothing is lost by counting bins."""
    frame = counts.scores
    if frame is None:
        return True
    ends = frame.group_by(BIN).agg(pl.col(LOW).min(), pl.col(HIGH).max())
    return bool((ends[LOW] == ends[HIGH]).all())


def _crossing(frame: pl.DataFrame, columns: Sequence[str]) -> tuple[list[tuple[str, ...]], NDArray[np.int64]]:
    """Distinct values of the columns together, in order, and which of them each row has."""
    names = [f"g:{column}" for column in columns]
    distinct = frame.select(names).unique().sort(names).with_row_index("code")
    codes = frame.select(names).join(distinct, on=names, how="left", maintain_order="left")["code"]
    return list(distinct.select(names).iter_rows()), codes.to_numpy().astype(np.int64)


def _codes(values: pl.Series) -> tuple[list[str], NDArray[np.int64]]:
    names = sorted(values.unique().to_list())
    return names, _coded(values, names)


def _coded(values: pl.Series, names: Sequence[str]) -> NDArray[np.int64]:
    place = {name: i for i, name in enumerate(names)}
    codes = values.replace_strict(list(place), list(place.values()), default=None, return_dtype=pl.Int64)
    if codes.null_count():
        astray = values.filter(codes.is_null())[0]
        raise UserError(f"got the value {astray!r}; classes are {', '.join(names)}")
    return codes.to_numpy()
