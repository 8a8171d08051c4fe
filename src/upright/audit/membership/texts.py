"""Members and non-members as texts: reading them, and taking out what stands on both sides."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from upright.errors import UserError, unknown
from upright.run.tables import read_table

Bools = NDArray[np.bool_]

NGRAM = 8
"""Words in a shingle: long enough that two texts rarely share one by chance."""


class Text(NamedTuple):
    """One row of a file."""

    row: str
    """File and number of the row, from 1."""
    text: str
    group: str | None


class Drop(NamedTuple):
    """A row that is not used, and why."""

    reason: str
    row: str


def read_texts(path: Path, column: str, group: str | None) -> tuple[list[Text], list[Drop]]:
    """The texts of a file, and the rows without one.

    Raises UserError for a missing column and for a text that is not a string, with its row.
    """
    frame = read_table(path)
    for name in (column, *([group] if group else [])):
        if name not in frame.columns:
            raise unknown(f"column of {path}", name, frame.columns)
    if frame.schema[column] not in (pl.String, pl.Null):
        raise UserError(f"{path}: column {column!r} holds {frame.schema[column]}; needs texts")
    groups = frame[group].cast(pl.String).to_list() if group else [None] * frame.height
    rows = [
        Text(f"{path.name}:{number}", text or "", name)
        for number, (text, name) in enumerate(zip(frame[column], groups, strict=True), 1)
    ]
    return [row for row in rows if row.text.strip()], [Drop("no text", row.row) for row in rows if not row.text.strip()]


# --- copies ----------------------------------------------------------------------------------------------------


def without_copies(
    members: Sequence[Text], nonmembers: Sequence[Text], share: float
) -> tuple[list[Text], list[Text], list[Drop]]:
    """Both sides without repeats and without texts that stand, wholly or for the most part, on the other side too.

    A text goes when `share` of its 8-grams of words (the whole text, if it is shorter) is found on the other side.
    Both copies go: taking them from one side alone would make the sides differ in law.
    """
    sides = [_once(members), _once(nonmembers)]
    grams = [[shingles(row.text) for row in side.kept] for side in sides]
    known = [set().union(*side) for side in grams]
    drops = [*sides[0].drops, *sides[1].drops]
    kept: list[list[Text]] = []
    for side, own, other in zip(sides, grams, reversed(known), strict=True):
        copied = [len(gram & other) >= share * len(gram) for gram in own]
        kept.append([row for row, copy in zip(side.kept, copied, strict=True) if not copy])
        drops += [Drop("also on the other side", row.row) for row, copy in zip(side.kept, copied, strict=True) if copy]
    return kept[0], kept[1], drops


class _Side(NamedTuple):
    kept: list[Text]
    drops: list[Drop]


def _once(rows: Sequence[Text]) -> _Side:
    seen: set[str] = set()
    side = _Side([], [])
    for row in rows:
        words = " ".join(row.text.casefold().split())
        if words in seen:
            side.drops.append(Drop("repeats an earlier row", row.row))
        else:
            seen.add(words)
            side.kept.append(row)
    return side


def shingles(text: str, size: int = NGRAM) -> set[int]:
    """Hashes of all runs of `size` words, ignoring case and white space; of the whole text where it is shorter."""
    words = text.casefold().split()
    return set(_runs(words, size)) or {hash(tuple(words))}


def _runs(words: list[str], size: int) -> Iterator[int]:
    return (hash(run) for run in zip(*(words[i:] for i in range(size)), strict=False))
