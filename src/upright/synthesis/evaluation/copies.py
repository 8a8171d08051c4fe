"""Records that repeat training records word for word, looked for in all of these, however many, in one pass."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upright.engines import Engine, stream
from upright.run.measures.words import Vocabulary
from upright.synthesis.evaluation.tokens import Keys, Tokens

Flags = NDArray[np.bool_]
Whole = NDArray[np.int64]

COPY = 50
"""Words in a row that make a copy."""
SHARD = 2000
"""Texts that are searched at once."""


class Copies(NamedTuple):
    """What was found of the n records of one side."""

    words: Whole
    """Of each record (n,)."""
    passage: Flags
    """Whether it holds COPY words in a row of a text that was searched (n,)."""
    whole: Flags
    """Whether a text that was searched has its words, in order (n,)."""


class Search(NamedTuple):
    """By side what was found, and in how many texts."""

    found: Mapping[str, Copies]
    texts: int


class Hits(NamedTuple):
    """What one text shares with the records of an index: numbers of its passages, and of its whole words or -1."""

    passages: Whole
    whole: int


class Index:
    """The passages of COPY words of some records, and their words as a whole.

    Passages are compared by 64-bit fingerprints: among a million of them and 10^8 others, one is taken for another by
    chance with a probability below 10^-5.

    Attributes:
        sizes: words of each record (n,).
        whole: the number of each record's words (n,), alike for records that are.
        row, passage: the record of each passage (m,) and its number, alike for passages that are.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._known = Vocabulary()
        tokens = Tokens.of(self._known.add(texts))
        self._numbers: dict[bytes, int] = {}
        self.sizes = tokens.lengths
        self.whole = np.array([self._numbers.setdefault(key, len(self._numbers)) for key in _wholes(tokens)], dtype=int)
        keys, self.row = tokens.grams(COPY)
        self._keys, self.passage = np.unique(keys, return_inverse=True)

    def look(self, texts: Sequence[str], _: int = 0) -> list[Hits]:
        """What each of the texts shares with the records: the work of an engine."""
        tokens = Tokens.of(self._known.find(texts))
        keys, rows = tokens.grams(COPY)
        number = self._found(keys)
        number, rows = number[number >= 0], rows[number >= 0]
        ends = np.searchsorted(rows, np.arange(1, len(tokens)))
        passages = np.split(number, ends)
        return [Hits(*pair) for pair in zip(passages, map(self._whole, _wholes(tokens)), strict=True)]

    def _found(self, keys: Keys) -> Whole:
        """The number of each passage (m,), -1 for those of no record."""
        if not self._keys.size:
            return np.full(keys.size, -1)
        at = np.minimum(np.searchsorted(self._keys, keys), self._keys.size - 1)
        return np.where(self._keys[at] == keys, at, -1)

    def _whole(self, key: bytes) -> int:
        return self._numbers.get(key, -1)


def _wholes(tokens: Tokens) -> Iterable[bytes]:
    """The words of each text, as what can be looked up."""
    return (tokens.ids[a:b].tobytes() for a, b in zip(tokens.starts[:-1], tokens.starts[1:], strict=True))


def search(
    sides: Mapping[str, Sequence[str]], texts: Sequence[str], *, engine: Engine = "local", workers: int = 1
) -> Search:
    """The records of each side that repeat one of `texts`, which a cluster may read in shards."""
    index = Index(chain.from_iterable(sides.values()))
    passages, wholes = np.zeros(index.row.size, dtype=bool), np.zeros(index.sizes.size, dtype=bool)
    description = "searching for copies"
    made = stream(lambda: index.look, texts, engine=engine, workers=workers, size=SHARD, description=description)
    for hits in chain.from_iterable(made):
        passages[hits.passages] = True
        if hits.whole >= 0:
            wholes[hits.whole] = True
    holds = np.bincount(index.row, weights=passages[index.passage], minlength=index.sizes.size) > 0
    columns = (index.sizes, holds, wholes[index.whole])
    ends = np.cumsum([len(side) for side in sides.values()])[:-1]
    parts = zip(*(np.split(column, ends) for column in columns), strict=True)
    return Search({name: Copies(*part) for name, part in zip(sides, parts, strict=True)}, len(texts))
