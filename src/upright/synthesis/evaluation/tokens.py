"""Texts as runs of integers, and their n-grams as 64-bit fingerprints: what counting and comparing stand on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from upright.run.measures.words import Numbered, Vocabulary

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Tokens:
    """The tokens of n texts, one after the other.

    Args:
        ids: (N,) of all texts.
        starts: (n + 1,) where each text begins; the last is N.
    """

    ids: Ints
    starts: Ints

    @classmethod
    def of(cls, words: Numbered) -> "Tokens":
        """Words that have their numbers."""
        return cls(words.ids, _starts(words.sizes))

    def __len__(self) -> int:
        return self.starts.size - 1

    @property
    def lengths(self) -> Ints:
        """Tokens of each text (n,)."""
        return np.diff(self.starts)

    def take(self, rows: Ints) -> "Tokens":
        """The texts at `rows`, in that order."""
        lengths = self.lengths[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        at = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], lengths)
        return Tokens(self.ids[at], starts)

    def grams(self, n: int) -> tuple[Keys, Ints]:
        """Fingerprints of all n-grams (M,) and the text of each (M,); none reaches over the end of its text."""
        per_text = np.maximum(self.lengths - n + 1, 0)
        rows = np.repeat(np.arange(len(self)), per_text)
        before = np.cumsum(per_text) - per_text
        at = np.arange(rows.size) + (self.starts[:-1] - before)[rows]
        keys, block, done = np.full(rows.size, n, dtype=np.uint64), self.ids.astype(np.uint64), 0
        for k in range(n.bit_length()):  # n tokens are put together from blocks of 1, 2, 4, ... of them
            if k:
                half = 1 << k - 1
                block = mixed(block[:-half] * GOLDEN + block[half:])
            if n >> k & 1:
                keys = mixed(keys * GOLDEN + block[at + done])
                done += 1 << k
        return keys, rows

    def matrix(self, n: int, columns: int) -> csr_matrix:
        """How often each n-gram occurs in each text, n-grams hashed to `columns`: (texts, columns)."""
        keys, rows = self.grams(n)
        at = (keys % np.uint64(columns)).astype(np.int64)
        return csr_matrix((np.ones(at.size, dtype=np.float32), (rows, at)), shape=(len(self), columns))


def mixed(keys: Keys) -> Keys:
    """A bijection of 64-bit integers that spreads every bit over all (the finaliser of SplitMix64, Steele 2014)."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def words_of(sides: Mapping[str, Iterable[str]]) -> dict[str, Tokens]:
    """The words of several sides, see `upright.run.measures.words`; the same word has the same number in each."""
    known = Vocabulary()
    return {name: Tokens.of(known.add(texts)) for name, texts in sides.items()}


def characters(texts: Sequence[str]) -> Tokens:
    """Code points in lower case; what is no character of its own (half a surrogate pair) becomes a question mark."""
    lowered = [text.lower() for text in texts]
    flat = np.frombuffer("".join(lowered).encode("utf-32-le", "replace"), dtype="<u4")
    return Tokens(flat.astype(np.int64), _starts(np.array([len(text) for text in lowered], dtype=np.int64)))


def _starts(lengths: NDArray[np.integer]) -> Ints:
    return np.concatenate([[0], np.cumsum(lengths.astype(np.int64))]).astype(np.int64)
