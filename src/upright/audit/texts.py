"""Texts of members and of non-members: reading them, and taking out what repeats or stands on both sides."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import polars as pl

from upright.errors import UserError
from upright.models.causal import CausalModel, prompt_ids
from upright.run.tables import READERS, line_of, need_columns, read_table, table_file

T = TypeVar("T")

SIDES = ("members", "non-members")
NGRAM = 8
"""Words in a shingle: long enough that two texts rarely share one by chance."""
COPY = 0.8
"""A text is a copy if this share of its shingles is found on the other side."""


class Text(NamedTuple):
    """One row of a file."""

    row: str
    """File and line."""
    text: str
    tag: str | None
    """What else was asked for: its group, or an attribute."""


class Drop(NamedTuple):
    """A row that is not used, and why."""

    reason: str
    row: str


class Sides(NamedTuple):
    """The texts of each side, and what was dropped."""

    texts: dict[str, list[Text]]
    drops: list[Drop]


def read_sides(files: Mapping[str, Path], column: str, tag: str | None, share: float = COPY) -> Sides:
    """The texts of one side or of both, each once, and none that also stands on the other side.

    Raises UserError as `read_texts` does.
    """
    sides, drops = {}, list[Drop]()
    for side, path in files.items():
        sides[side], few = read_texts(path, column, tag)
        drops += few
    return _without_repeats(Sides(sides, drops), share)


def read_texts(path: Path, column: str, tag: str | None) -> tuple[list[Text], list[Drop]]:
    """The texts of a table, or of a .txt file with one a line, and the rows without one.

    Raises UserError for a missing column, and for a column that does not hold texts.
    """
    suffix = table_file(path).suffix.lower()
    if suffix not in (".txt", *READERS):
        raise UserError(f"{path}: got a {suffix or 'nameless'} file; must be one of {', '.join(READERS)}, .txt")
    frame = _lines(path, tag) if suffix == ".txt" else _columns(path, column, tag)
    rows = [
        Text(f"{path.name}:{line_of(path, i)}", text or "", name)
        for i, (text, name) in enumerate(zip(frame["text"], frame["tag"], strict=True))
    ]
    return [row for row in rows if row.text.strip()], [Drop("no text", row.row) for row in rows if not row.text.strip()]


def _columns(path: Path, column: str, tag: str | None) -> pl.DataFrame:
    frame = read_table(path)
    need_columns(path, [column, *([tag] if tag else [])], frame.columns)
    if frame.schema[column] not in (pl.String, pl.Null):
        raise UserError(f"{path}: column {column!r} holds {frame.schema[column]}; needs texts")
    tags = pl.col(tag) if tag else pl.lit(None)
    return frame.select(text=pl.col(column).cast(pl.String), tag=tags.cast(pl.String))


def _lines(path: Path, tag: str | None) -> pl.DataFrame:
    if tag is not None:
        raise UserError(f"{path}: plain text has no column {tag!r}; give a table with text and {tag}")
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from error
    return pl.DataFrame({"text": lines, "tag": [None] * len(lines)}, schema={"text": pl.String, "tag": pl.String})


def some(rows: Sequence[T], count: int, rng: random.Random) -> list[T]:
    """At most `count` of them, picked at random, in their order."""
    chosen = sorted(rng.sample(range(len(rows)), min(count, len(rows))))
    return [rows[i] for i in chosen]


def lead_tokens(model: CausalModel) -> int:
    """Tokens that the tokenizer puts before every text: 1 for a BOS, else 0."""
    alone = model.tokenizer("a", add_special_tokens=False)["input_ids"]
    return len(prompt_ids(model.tokenizer, ["a"])[0]) - len(alone)


# --- copies ----------------------------------------------------------------------------------------------------


def _without_repeats(given: Sides, share: float) -> Sides:
    """Every text once, and none of which `share` of the 8-grams of words (all of it, if shorter) stand elsewhere.

    Both copies go: taking them from one side alone would make the sides differ in law.
    """
    texts, drops = {}, list(given.drops)
    for side, rows in given.texts.items():
        texts[side], repeats = _once(rows)
        drops += repeats
    grams = {side: [shingles(row.text) for row in rows] for side, rows in texts.items()}
    for side, rows in texts.items():
        others = set[int]().union(*(gram for name, own in grams.items() if name != side for gram in own))
        copied = [len(gram & others) >= share * len(gram) for gram in grams[side]]
        texts[side] = [row for row, copy in zip(rows, copied, strict=True) if not copy]
        drops += [Drop("also on the other side", row.row) for row, copy in zip(rows, copied, strict=True) if copy]
    return Sides(texts, drops)


def _once(rows: Sequence[Text]) -> tuple[list[Text], list[Drop]]:
    seen: dict[str, Text] = {}
    drops = []
    for row in rows:
        words = " ".join(row.text.casefold().split())
        if seen.setdefault(words, row) is not row:
            drops.append(Drop("repeats an earlier row", row.row))
    return list(seen.values()), drops


def shingles(text: str, size: int = NGRAM) -> set[int]:
    """Hashes of all runs of `size` words, ignoring case and white space; of the whole text where it is shorter."""
    words = text.casefold().split()
    return set(_runs(words, size)) or {hash(tuple(words))}


def _runs(words: list[str], size: int) -> Iterator[int]:
    return (hash(run) for run in zip(*(words[i:] for i in range(size)), strict=False))
