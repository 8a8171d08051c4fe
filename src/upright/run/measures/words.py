"""Texts as numbered words, and the passages of words that they share.

Passages are compared exactly, by prefix doubling (Karp, Miller & Rosenberg 1972): all passages of 2^k words are
numbered from the numbers of their halves, so that no two different ones ever count as equal.
"""

import re
from array import array
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Whole = NDArray[np.int64]
Flags = NDArray[np.bool_]

WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


def words(text: str) -> list[str]:
    """The words of a text without case and punctuation.

    >>> words("Mr. Ott's dose: 5 mg.")
    ['mr', "ott's", 'dose', '5', 'mg']
    """
    return [word.lower() for word in WORD.findall(text)]


class Numbered(NamedTuple):
    """The words of texts as numbers, one text after the other."""

    ids: Whole
    """Of every word (N,)."""
    sizes: Whole
    """Words of each text (texts,)."""


class Vocabulary:
    """Words with their numbers, from 1 in the order in which they were first met."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, texts: Iterable[str]) -> Numbered:
        """The words of the texts; new ones are added."""
        numbers = self._numbers
        return _numbered(texts, lambda own: [numbers.setdefault(word, len(numbers) + 1) for word in own])

    def find(self, texts: Iterable[str]) -> Numbered:
        """The words of the texts, 0 for those that were never added."""
        numbers = self._numbers
        return _numbered(texts, lambda own: [numbers.get(word, 0) for word in own])


def _numbered(texts: Iterable[str], numbers: Callable[[list[str]], list[int]]) -> Numbered:
    flat, sizes = array("q"), array("q")
    for text in texts:
        own = words(text)
        flat.extend(numbers(own))
        sizes.append(len(own))
    return Numbered(np.array(flat, dtype=np.int64), np.array(sizes, dtype=np.int64))


class Ngrams(NamedTuple):
    """All n-grams of a collection in the order in which they stand, both (m,)."""

    place: Whole
    """Where each begins: a number of a word."""
    code: Whole
    """Equal for equal n-grams and for no others."""


class Shared(NamedTuple):
    """The distinct n-grams of some texts, and who of others holds them."""

    text: Whole
    """The first text that holds it (m,)."""
    owners: Whole
    """How many owners of texts of each other collection hold it (others, m)."""
    only: Whole
    """The owner that alone holds it, or -1 (others, m)."""


class Passages:
    """The words of texts, one after the other: N words of `texts` texts.

    Sorting takes O(N log N) for each doubling; memory is 8 N bytes for each, log2 of the longest passage asked for.
    """

    text: Whole
    """The text of each word (N,)."""
    left: Whole
    """Words from each to the end of its text, itself included (N,)."""
    texts: int

    def __init__(self, texts: Iterable[str]) -> None:
        known = Vocabulary()
        ids, sizes = known.add(texts)
        self.texts, self.vocabulary = len(sizes), len(known)
        self.sizes: Whole = sizes
        self.text = np.repeat(np.arange(self.texts), sizes)
        self.left = np.repeat(np.cumsum(sizes), sizes) - np.arange(self.text.size)
        self._ranks: list[Whole] = [ids]

    def ngrams(self, n: int) -> Ngrams:
        """All passages of n words."""
        level = n.bit_length() - 1
        rank, place = self._rank(level), np.flatnonzero(self.left >= n)
        return Ngrams(place, rank[place] * (rank.size + 1) + rank[place + n - 2**level])

    def shared(self, n: int, own: Flags, others: Iterable[Flags], owner: Whole) -> Shared:
        """The distinct n-grams of the texts `own` (texts,), looked up among each of the `others` (texts,).

        Args:
            owner: whose each text is, numbers from 0 (texts,).
        """
        place, code = self.ngrams(n)
        text = self.text[place]
        distinct, first = np.unique(code[own[text]], return_index=True)
        held = [_held(distinct, code[other[text]], owner[text[other[text]]]) for other in others]
        owners, only = np.array(held, dtype=np.int64).reshape(len(held), 2, distinct.size).swapaxes(0, 1)
        return Shared(text[own[text]][first], owners, only)

    def contained(self, place: Whole, sizes: Whole, others: Flags) -> Flags:
        """Whether the passage of `sizes` words from each place (m,) also stands in one of the texts `others`."""
        found = np.zeros(place.size, dtype=bool)
        for n in np.unique(sizes).tolist():
            grams, asked = self.ngrams(n), np.flatnonzero(sizes == n)
            codes = grams.code[np.searchsorted(grams.place, place[asked])]
            found[asked] = np.isin(codes, grams.code[others[self.text[grams.place]]])
        return found

    def sets(self, n: int) -> csr_array:
        """The n-grams of each text, as a matrix (texts, distinct n-grams) of ones."""
        place, code = self.ngrams(n)
        distinct, column = np.unique(code, return_inverse=True)
        pairs = np.unique(self.text[place] * max(1, distinct.size) + column)
        row, column = np.divmod(pairs, max(1, distinct.size))
        shape = (self.texts, max(1, distinct.size))
        return csr_array((np.ones(pairs.size, dtype=np.float32), (row, column)), shape=shape)

    def longest(self, own: Flags, others: Flags) -> Whole:
        """Words of the longest passage that each text has in common with any of the others.

        In the sorted order of all endings of texts, the longest common beginning is that with the nearest ending of
        `others` before or after (Manber & Myers 1993).

        Args:
            own, others: flags of texts (texts,), none in both.

        Returns:
            (texts,), 0 for texts that are not `own`.
        """
        if (own & others).any():
            raise ValueError(f"{(own & others).sum()} texts are on both sides; a text holds itself")
        found = np.zeros(self.texts, dtype=np.int64)
        if not self.sizes[own].any() or not self.sizes[others].any():
            return found
        level = int(min(self.sizes[own].max(), self.sizes[others].max())).bit_length()
        order = np.argsort(self._rank(level), kind="stable")
        asked = np.flatnonzero(own[self.text[order]])
        places, there = np.arange(order.size), others[self.text[order]]
        before = np.maximum.accumulate(np.where(there, places, -1))[asked]
        after = np.minimum.accumulate(np.where(there, places, order.size)[::-1])[::-1][asked]
        for near, known in ((before, before >= 0), (after, after < order.size)):
            mine, theirs = order[asked[known]], order[near[known]]
            np.maximum.at(found, self.text[mine], self._common(mine, theirs, level))
        return found

    def _common(self, first: Whole, second: Whole, level: int) -> Whole:
        """Words that the endings at two places (m,) begin with in common, below 2^(level + 1)."""
        room = np.minimum(self.left[first], self.left[second])
        same = np.zeros(first.size, dtype=np.int64)
        for k in range(level, -1, -1):
            rank, on = self._rank(k), np.flatnonzero(same < room)
            equal = rank[first[on] + same[on]] == rank[second[on] + same[on]]
            same[on[equal]] += 2**k
        return np.minimum(same, room)  # beyond both ends everything is equal

    def _rank(self, level: int) -> Whole:
        """Numbers from 1, in sorted order, of the 2^level words from each place; what lies beyond a text is 0."""
        while len(self._ranks) <= level:
            last, step = self._ranks[-1], 2 ** (len(self._ranks) - 1)
            ahead, far = np.zeros_like(last), np.flatnonzero(self.left > step)
            ahead[far] = last[far + step]
            _, codes = np.unique(last * (last.size + 1) + ahead, return_inverse=True)
            self._ranks.append(codes.astype(np.int64) + 1)
        return self._ranks[level]


def _held(distinct: Whole, code: Whole, owner: Whole) -> tuple[Whole, Whole]:
    """How many owners hold each of the sorted codes (m,), and the one that alone does or -1, from pairs (k,)."""
    known = np.isin(code, distinct)
    width = int(owner.max(initial=0)) + 1
    place, whose = np.divmod(np.unique(np.searchsorted(distinct, code[known]) * width + owner[known]), width)
    owners, only = np.bincount(place, minlength=distinct.size), np.full(distinct.size, -1)
    only[place] = whose
    return owners, np.where(owners == 1, only, -1)


def log_likelihood(passages: Passages, fitted: Flags, order: int = 2, weight: float = 1.0) -> NDArray[np.float64]:
    """Mean log-likelihood a word, in nats, of every text under an n-gram model of the texts `fitted`.

    Interpolated with a Dirichlet prior (MacKay & Bauman Peto 1995): p(w | c) = (n(c w) + a p'(w)) / (n(c) + a), p' the
    law that looks back one word less, and at the end (n(w) + 1) / (n + V) over the V words of all texts.

    Args:
        passages: all texts, so that words have the same numbers.
        fitted: (texts,) which of them the model is fitted on.
        order: words of the longest n-gram.
        weight: the a of the prior, in words.

    Returns:
        (texts,), NaN for a text without words.
    """
    chance = np.empty(0)
    for n in range(1, order + 1):
        place, code = passages.ngrams(n)
        used = fitted[passages.text[place]]
        seen = _counts(code, used)
        if n == 1:
            chance = (seen + 1) / (used.sum() + passages.vocabulary)
            continue
        before = passages.ngrams(n - 1)
        context = _counts(before.code[np.searchsorted(before.place, place)], used)
        end = place + n - 1
        chance[end] = (seen + weight * chance[end]) / (context + weight)
    with np.errstate(invalid="ignore"):
        total = np.bincount(passages.text, weights=np.log(chance), minlength=passages.texts)
        return np.asarray(np.where(passages.sizes > 0, total / passages.sizes, np.nan))


def _counts(code: Whole, used: Flags) -> NDArray[np.float64]:
    """How often each code (m,) stands at the `used` places."""
    _, at = np.unique(code, return_inverse=True)
    return np.asarray(np.bincount(at[used], minlength=at.max(initial=-1) + 1)[at], dtype=float)
