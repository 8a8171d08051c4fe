"""Refusing records that repeat so many words in a row of a training record.

This compares the release with the private records, so what is let through depends on them beyond the noisy model:
**it voids the differential-privacy guarantee of the released text** (whoever sees that a likely sentence is missing
learns that it was in the training data). The guarantee of the model itself stands.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_WORD = re.compile(r"\w+")
_BASE = 0x9E3779B97F4A7C15
_CHUNK = 4096


@dataclass(frozen=True)
class Blocked:
    """What a comparison found."""

    refused: npt.NDArray[np.bool_]
    """(n,): whether a text repeats a training record."""
    copies: npt.NDArray[np.int64]
    """(n,): how many of its n-grams stand in training records."""

    @property
    def count(self) -> int:
        """Texts that are refused."""
        return int(self.refused.sum())


class Blocklist:
    """All n-grams of words of the training records, as sorted 64-bit hashes: 8 bytes for each distinct one.

    Case, spacing and punctuation play no role. Two unlike n-grams have the same hash with a chance of 2^-64, which
    refuses a record too many, never one too few.

    Args:
        texts: the training records, read once, a part at a time.
        words: of an n-gram.
    """

    def __init__(self, texts: Iterable[str], words: int) -> None:
        if words < 1:
            raise ValueError(f"words={words}; must be at least 1")
        self.words = words
        self._numbers: dict[str, int] = {}
        source = iter(texts)
        parts = [
            np.unique(np.concatenate([self._hashes(text, learn=True) for text in part])) for part in _parts(source)
        ]
        self._known: Hashes = np.unique(np.concatenate([np.empty(0, np.uint64), *parts]))

    def __len__(self) -> int:
        """Distinct n-grams."""
        return len(self._known)

    def check(self, texts: Sequence[str]) -> Blocked:
        """Which texts have an n-gram of a training record. A text of fewer words than that has none."""
        rows = [self._hashes(text, learn=False) for text in texts]
        copies = np.array([int(self._holds(row).sum()) for row in rows], np.int64)
        return Blocked(copies > 0, copies)

    def _holds(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        if not len(self._known):
            return np.zeros(len(hashes), bool)
        place = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        found: npt.NDArray[np.bool_] = self._known[place] == hashes
        return found

    def _hashes(self, text: str, learn: bool) -> Hashes:
        """Σ_j mix(w_{i+j}) B^j modulo 2^64 for each place i; none where a word is in no training record."""
        words, numbers = _WORD.findall(text.lower()), self._numbers
        if learn:
            ids = [numbers.setdefault(word, len(numbers) + 1) for word in words]
        else:
            ids = [numbers.get(word, 0) for word in words]
        count = len(ids) - self.words + 1
        if count < 1:
            return np.empty(0, np.uint64)
        symbols = np.array(ids, np.uint64)
        mixed, power, total = _mix(symbols), 1, np.zeros(count, np.uint64)
        known = np.ones(count, bool)
        for j in range(self.words):
            total += mixed[j : j + count] * np.uint64(power)
            known &= symbols[j : j + count] > 0
            power = power * _BASE % 2**64
        return total[known]


def _mix(symbols: Hashes) -> Hashes:
    """Numbers that look random (splitmix64, Steele, Lea & Flood 2014)."""
    z = symbols * np.uint64(_BASE)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _parts(source: Iterator[str]) -> Iterator[list[str]]:
    while part := list(islice(source, _CHUNK)):
        yield part
