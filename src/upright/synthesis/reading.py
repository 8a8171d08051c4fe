"""The private table: read as a corpus and checked before any work, the first bad row named by file and line."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from upright.errors import UserError, unknown
from upright.run.tables import line_of, need_columns, scan_table
from upright.synthesis.config import Config
from upright.synthesis.corpus import Corpus

FEWEST = 40
"""Records below which neither training nor any comparison says a thing."""
RESERVED = ("id", "text")
"""Columns of the synthetic table, besides the codes."""


def read(config: Config) -> Corpus:
    """The private records, all of them, with values of the code columns as text.

    Raises:
        UserError: for a missing column, a record without text, label, group or unit, a value that is not public, a
            unit with too many records, and fewer than 40 records.
    """
    columns = (*config.labels, *config.groups)
    _check_names(config, columns)
    frame = _rows(config, columns)
    corpus = Corpus(
        columns,
        [text.strip() for text in frame["text"]],
        list(zip(*(frame[f"code {i}"] for i in range(len(columns))), strict=True)) or [()] * frame.height,
        frame["unit"].to_list() if config.unit else (),
    )
    _check_values(config.data, corpus, config.codes.values)
    _check_sizes(config, corpus)
    return corpus


def _check_names(config: Config, columns: Sequence[str]) -> None:
    """Each column has one part to play, and settings by column name one that is there."""
    played = Counter([config.text, *columns, *([config.unit] if config.unit else [])])
    twice = [name for name, times in played.items() if times > 1]
    if twice:
        raise UserError(f"column {twice[0]!r} is named twice among --text, --labels, --groups and --unit; name it once")
    taken = [name for name in columns if name in RESERVED]
    if taken:
        raise UserError(f"column {taken[0]!r}: the synthetic table has a column of that name already; rename yours")
    for settings in (config.codes.values, config.codes.names):
        for name in settings:
            if name not in columns:
                raise unknown("code column", name, columns)


def _rows(config: Config, columns: Sequence[str]) -> pl.DataFrame:
    """The columns that are used, as text."""
    path, unit = config.data, [config.unit] if config.unit else []
    frame = scan_table(path)  # which reads a CSV file as text, so that 007 and 7 stay two units
    schema = frame.collect_schema()
    need_columns(path, [config.text, *columns, *unit], schema.names())
    if schema[config.text] not in (pl.String, pl.Null):
        raise UserError(f"{path}: column {config.text!r} holds {schema[config.text]}; must hold texts")
    named = {"text": config.text, **{f"code {i}": name for i, name in enumerate(columns)}}
    if config.unit:
        named["unit"] = config.unit
    picked = frame.select(pl.col(name).cast(pl.String).alias(key) for key, name in named.items())
    try:
        found = picked.collect()
    except pl.exceptions.PolarsError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: cannot be read as a table: {reason}") from error
    for key, name in named.items():
        _check_filled(path, found[key], name)
    return found


def _check_filled(path: Path, values: pl.Series, name: str) -> None:
    empty = values.is_null() | (values.str.strip_chars() == "")
    if empty.any():
        first = line_of(path, int(empty.arg_max() or 0))
        raise UserError(
            f"{path}, line {first}: {name!r} is empty (as in {int(empty.sum())} of {len(values)} records); "
            "fill it in, or leave such records out"
        )


def _check_values(path: Path, corpus: Corpus, public: Mapping[str, Sequence[str]]) -> None:
    for name, allowed in public.items():
        known = set(allowed)
        for row, value in enumerate(corpus.column(name)):
            if value not in known:
                raise unknown(f"{name} in {path}, line {line_of(path, row)}:", value, allowed)


def _check_sizes(config: Config, corpus: Corpus) -> None:
    if len(corpus) < FEWEST:
        raise UserError(f"{config.data}: holds {len(corpus)} records; must be at least {FEWEST}")
    if not corpus.units:
        return
    unit, count = Counter(corpus.units).most_common(1)[0]
    if count > config.units.most:
        raise UserError(
            f"{config.data}: {config.unit} {unit!r} has {count} records; at most {config.units.most} are allowed: "
            "raise --units.most, or leave some out"
        )
