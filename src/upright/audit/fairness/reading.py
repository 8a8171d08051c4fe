"""From files to `Counts`, streamed: a table may be larger than memory, its counts are not.

Values are compared as text, whole numbers without a decimal point, so that 1, 1.0 and "1" are one class. A missing
group or stratum is a group of its own; a row whose label, prediction, score or weight cannot be used is counted with
the reason, never lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from upright.audit.fairness import counts as c
from upright.audit.fairness.config import Config
from upright.audit.fairness.counts import Counts
from upright.errors import UserError, unknown
from upright.run.tables import SCANNERS, need_columns, scan_table, table_file

BINS = 2**14  # of equal width over [0, 1], for scores
LISTED = 1000  # unusable rows that failures.jsonl names one by one
MOST_GROUPS, MOST_CLASSES = 2000, 100
MOST_CELLS = 2**26  # of each array that counts scores: half a gigabyte
Array = NDArray[Any]
LABEL_MISSING = "label is missing"
TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True)
class Source:
    """Where each column is; `prediction` None means: from the score."""

    frame: pl.LazyFrame
    kinds: dict[str, Any]
    config: Config

    def number(self, name: str) -> pl.Expr:
        """A column as numbers, null where it holds none."""
        column = pl.col(name)
        if self.kinds[name] == pl.String:
            column = column.str.strip_chars()
        return column.cast(pl.Float64, strict=False)


def files(path: Path) -> list[Path]:
    """The file itself, or the tables of a folder in the order of their names."""
    if not path.is_dir():
        return [table_file(path)]
    found = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in SCANNERS)
    if not found:
        raise UserError(f"{path}: holds no table; must hold {', '.join(SCANNERS)} files")
    return found


def scan(path: Path, config: Config) -> Source:
    """A lazy view of a file. Raises UserError for a kind that cannot be read and columns that are not there."""
    frame = scan_table(path)
    schema = frame.collect_schema()
    need_columns(path, columns_of(config), schema.names())
    return Source(frame, dict(schema), config)


def columns_of(config: Config) -> list[str]:
    """The columns a configuration names."""
    named = [config.label, config.prediction, config.score, config.strata, config.weight, config.query]
    named += [config.swapped, config.swapped_score]
    return [*config.groups, *(name for name in named if name is not None), *config.features]


# --- expressions -----------------------------------------------------------------------------------------------


def reason(source: Source, scored: bool = True) -> pl.Expr:
    """Why a row cannot be used; null when it can."""
    config = source.config
    checks: list[tuple[pl.Expr, str]] = [(_missing(source, config.label), LABEL_MISSING)]
    if config.prediction is not None:
        checks.append((_missing(source, config.prediction), "prediction is missing"))
    if config.score is not None and scored:
        score = source.number(config.score)
        checks.append((score.is_null() | score.is_nan(), "score is missing or not a number"))
        checks.append(((score < 0) | (score > 1), "score is outside 0 to 1"))
    if config.weight is not None:
        weight = source.number(config.weight)
        checks.append((weight.is_null() | ~weight.is_finite(), "weight is missing or not a number"))
        checks.append((weight < 0, "weight is negative"))
    if config.classes:
        for name in filter(None, (config.label, config.prediction)):
            checks.append((~plain(pl.col(name), source.kinds[name]).is_in(config.classes), f"{name} is no class"))
    return pl.coalesce([pl.when(bad).then(pl.lit(text)) for bad, text in checks])


def _missing(source: Source, name: str) -> pl.Expr:
    kind = source.kinds[name]
    if kind.is_float():
        return pl.col(name).is_null() | pl.col(name).is_nan()
    if kind == pl.String:
        return pl.col(name).is_null() | (pl.col(name).str.strip_chars() == "")
    return pl.col(name).is_null()


def plain(column: pl.Expr, kind: Any) -> pl.Expr:
    """Values as text in one form: 1.0 as 1, booleans as true and false, no space around; NaN is missing."""
    text = (column.fill_nan(None) if kind.is_float() else column).cast(pl.String)
    if kind == pl.String or kind.is_float():
        text = text.str.strip_chars().str.replace(r"^(-?\d+)\.0+$", "${1}")
    return text


def _keys(source: Source) -> list[pl.Expr]:
    config = source.config
    keys = [pl.col(name).alias(f"g:{name}") for name in config.groups]
    keys.append((pl.col(config.strata) if config.strata else pl.lit("")).alias(c.STRATUM))
    keys.append(pl.col(config.label).alias(c.LABEL))
    if config.prediction is not None:
        keys.append(pl.col(config.prediction).alias(c.PREDICTION))
    else:
        keys.append((source.number(str(config.score)) >= config.threshold).alias(c.PREDICTION))
    return [*keys, reason(source).alias(c.REASON)]


# --- counting --------------------------------------------------------------------------------------------------


def count(path: Path, config: Config) -> Counts:
    """Counts of one file, streamed: one pass for the decisions, a second one for the scores.

    Raises:
        UserError: for a file or a column that cannot be used as it is named.
    """
    source = scan(path, config)
    weight = source.number(config.weight).fill_null(0.0) if config.weight else pl.lit(1.0)
    rows = source.frame.select([*_keys(source), weight.alias("w")])
    sums = [pl.len().alias(c.RECORDS)]
    if config.weight:
        sums += [pl.col("w").sum().alias(c.WEIGHT), (pl.col("w") ** 2).sum().alias(c.SQUARES)]
    groups = [f"g:{name}" for name in config.groups]
    try:
        found = rows.group_by([*groups, c.STRATUM, c.LABEL, c.PREDICTION, c.REASON]).agg(sums)
        decisions = found.collect(engine="streaming")
        scores = None if config.score is None else _score_law(source, weight, decisions.select([*groups, c.LABEL]))
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path}: cannot be read to its end: {str(error).splitlines()[0]}") from error
    return Counts(tuple(config.groups), _tidy(decisions), None if scores is None else _tidy(scores))


def _score_law(source: Source, weight: pl.Expr, keys: pl.DataFrame) -> pl.DataFrame:
    """Usable scores by groups, label and bin. Batches are added into arrays, as long as those are small."""
    kinds = keys.unique().with_row_index("kind")
    score = source.number(str(source.config.score)).alias("score")
    rows = source.frame.filter(reason(source).is_null()).select([*_keys(source)[:-1], score, weight.alias("w")])
    rows = rows.select([*keys.columns, "score", "w"])
    batches = (
        batch.join(kinds, on=keys.columns, how="left", nulls_equal=True, maintain_order="left")
        for batch in rows.collect_batches(chunk_size=source.config.speed.batch_rows, maintain_order=True)
    )
    law = Law(len(kinds))
    for batch in batches:
        law.add(*(batch[name].to_numpy() for name in ("kind", "score", "w")))
    return kinds.join(law.frame(), on="kind", how="inner").drop("kind")


class Law:
    """Sums by kind of record and score bin, that grow with every batch."""

    def __init__(self, kinds: int) -> None:
        if kinds * BINS > MOST_CELLS:
            most = MOST_CELLS // BINS
            raise UserError(f"--groups: got {kinds:,} groups and labels; with a --score at most {most:,}")
        self.sums = {name: np.zeros(kinds * BINS) for name in (c.RECORDS, c.WEIGHT, c.SQUARES, c.TOTAL)}
        self.low, self.high = np.full(BINS, np.inf), np.full(BINS, -np.inf)

    def add(self, kind: Array, score: Array, weight: Array) -> None:
        """Count records (n,)."""
        where = np.minimum((score * BINS).astype(np.int64), BINS - 1)
        cell = kind.astype(np.int64) * BINS + where
        for name, values in ((c.WEIGHT, weight), (c.SQUARES, weight**2), (c.TOTAL, weight * score)):
            self.sums[name] += np.bincount(cell, weights=values, minlength=len(self.sums[name]))
        self.sums[c.RECORDS] += np.bincount(cell, minlength=len(self.sums[c.RECORDS]))
        np.minimum.at(self.low, where, score)
        np.maximum.at(self.high, where, score)

    def frame(self) -> pl.DataFrame:
        """The cells that hold a record; lowest and highest score are those of the bin."""
        at = np.flatnonzero(self.sums[c.RECORDS])
        columns = {name: values[at] for name, values in self.sums.items()}
        columns |= {c.LOW: self.low[at % BINS], c.HIGH: self.high[at % BINS]}
        keys = {"kind": (at // BINS).astype(np.uint32), c.BIN: (at % BINS).astype(np.int32)}
        return pl.DataFrame(keys | columns)


def _tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """Values in one form; done on the few rows that are left after counting."""
    texts = [name for name in frame.columns if name.startswith("g:") or name in (c.STRATUM, c.LABEL, c.PREDICTION)]
    frame = frame.with_columns(plain(pl.col(name), frame.schema[name]).alias(name) for name in texts)
    groups = [name for name in texts if name.startswith("g:")]
    frame = frame.with_columns(pl.col(groups).replace("", None).fill_null(c.MISSING))
    if c.STRATUM in texts:  # "" where no strata are asked for
        frame = frame.with_columns(pl.col(c.STRATUM).fill_null(c.MISSING))
    if c.WEIGHT not in frame.columns:
        ones = [pl.col(c.RECORDS).cast(pl.Float64).alias(name) for name in (c.WEIGHT, c.SQUARES)]
        frame = frame.with_columns(ones)
    frame = frame.with_columns(pl.col(c.RECORDS).cast(pl.Int64))
    return c._merged([frame], [*c.SUMS, *(c.RANGE if c.LOW in frame.columns else [])])


def unusable(path: Path, config: Config, most: int = LISTED) -> list[dict[str, Any]]:
    """The first rows of a file that cannot be used: number (from 1, without a header), reason and values."""
    source = scan(path, config)
    values = pl.struct(list(dict.fromkeys(columns_of(config)))).alias("values")
    rows = source.frame.select([reason(source).alias(c.REASON), values]).with_row_index("row", offset=1)
    return rows.filter(pl.col(c.REASON).is_not_null()).head(most).collect(engine="streaming").to_dicts()


# --- checks ----------------------------------------------------------------------------------------------------


def check(counts: Counts, config: Config) -> None:
    """Refuse what no audit can be made of, in one line."""
    usable, dropped = int(counts.usable[c.RECORDS].sum()), counts.dropped
    lost = sum(dropped.values())
    if not usable + lost:
        raise UserError(f"{config.table}: holds no rows; give a table with a row for each decision")
    if lost > usable:
        worst = max(dropped, key=lambda name: dropped[name])
        raise UserError(
            f"{config.table}: {lost:,} of {usable + lost:,} rows cannot be used, most as their {worst}; "
            "check the columns that were named"
        )
    if config.prediction is not None:
        _same_classes(counts, config)
    for column in counts.columns:
        values = counts.usable[f"g:{column}"].n_unique()
        if values < 2:
            raise UserError(f"--groups {column}: got one group only ({counts.usable[f'g:{column}'][0]}); needs two")
        if values > MOST_GROUPS:
            raise UserError(f"--groups {column}: got {values:,} groups; at most {MOST_GROUPS:,}: bin the column first")


def positive_words(classes: Sequence[str], config: Config) -> tuple[str, ...] | None:
    """What counts as positive, or None when there are several classes and none was named.

    1, true and yes are one class where only such words occur, as labels are often numbers and decisions booleans.
    """
    if len(classes) > MOST_CLASSES:
        raise UserError(
            f"--label {config.label}: got {len(classes):,} classes; at most {MOST_CLASSES} (numbers: --task regression)"
        )
    words = {name: TRUTHS.get(name.lower()) for name in [*classes, *filter(None, [config.positive])]}
    if None not in words.values():
        wanted = words[config.positive] if config.positive is not None else True
        return tuple(name for name in words if words[name] is wanted)
    if config.positive is not None:
        if config.positive not in classes:
            raise unknown("--positive value", config.positive, classes)
        return (config.positive,)
    if len(classes) > 2:
        return None
    usual = tuple(name for name in classes if words[name])
    if len(usual) == 1:
        return usual
    raise UserError(f"--positive is missing: classes are {', '.join(classes)}; name the positive one")


def classes_of(counts: Counts, config: Config) -> list[str]:
    """The classes that were named, else those that occur."""
    return config.classes or counts.classes([c.LABEL, *([c.PREDICTION] if config.prediction is not None else [])])


def _same_classes(counts: Counts, config: Config) -> None:
    """Refuse labels and predictions that have no value in common: no prediction would ever be right."""
    said, labels = counts.classes([c.PREDICTION]), counts.classes([c.LABEL])
    if not set(said) & set(labels) and not TRUTHS.keys() >= {name.lower() for name in said + labels}:
        raise UserError(
            f"--prediction {config.prediction}: got {_few(said)}, but --label {config.label} has {_few(labels)}; "
            "write both in the same words"
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
