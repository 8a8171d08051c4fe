"""The plain baseline: word n-gram counts of each code and of all codes, noised, written from with backoff.

Which n-grams occur is itself private, so counts are never taken of seen n-grams alone. The words are public. Order 1
is a dense table of every code and every word; of order n + 1 those contexts get a row, dense over all words, whose
*noisy* count of order n is among the highest. Every order is one query, and a later one depends on the records
beyond its own contributions only through earlier answers: adaptive composition of Gaussian mechanisms, without the δ
that thresholds over seen n-grams would cost (compare the tree of Kim et al. 2021, arXiv 2108.02831).

A unit adds 1/√(2m) for each of at most m n-grams, drawn at random, once for its code and once for all codes; m
different n-grams make a vector of norm 1, and a longer one is scaled down to 1. Units draw independently of each
other, so that one unit more leaves the law of the others' contributions as it was.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from upright.errors import UserError
from upright.synthesis.corpus import Code, Corpus
from upright.synthesis.generators.asking import Queries
from upright.synthesis.generators.spelling import spelled, words_of
from upright.synthesis.sampling import Draft

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
QUERY = "n-grams"
MOST_CELLS = 2**23
"""Cells of a table, and contexts times words of the next one: 64 MiB."""
NONE = -1


class Stream(NamedTuple):
    """Texts as one row of symbols: words by their number, after each text a border."""

    symbol: Integers
    """(P,): the number of a word, the number of words for a border, -1 for a word that is not public."""
    record: Integers
    """(P,): which text a symbol stands in."""
    first: Flags
    """(P,): whether a symbol begins its text."""


def stream(texts: Sequence[str], vocabulary: Sequence[str]) -> Stream:
    """Texts as symbols of a public vocabulary."""
    number, border = {word: i for i, word in enumerate(vocabulary)}, len(vocabulary)
    rows = [np.array([*(number.get(word, NONE) for word in words_of(text)), border], np.int64) for text in texts]
    lengths = np.array([len(row) for row in rows], np.int64)
    first = np.zeros(lengths.sum(), bool)
    first[np.cumsum(lengths) - lengths] = True
    return Stream(np.concatenate(rows), np.repeat(np.arange(len(rows)), lengths), first)


@dataclass(frozen=True)
class Level:
    """A released table of one order: contexts by rows, symbols by columns, cells numbered row by row.

    Args:
        width: columns.
        cells: numbers of the cells above the threshold, rising.
        sums: (cells + 1,): their noisy counts, added up from 0.
        contexts: numbers of the cells that are contexts, so rows, of the next order, rising.
    """

    width: int
    cells: Integers
    sums: Floats
    contexts: Integers

    def bounds(self, rows: Integers) -> tuple[Floats, Floats]:
        """Where in `sums` the counts of `rows` begin and end; equal where a row, or the row -1, has none."""
        at = np.where(rows < 0, 0, rows) * self.width
        begin, end = np.searchsorted(self.cells, at), np.searchsorted(self.cells, at + self.width)
        return self.sums[begin], self.sums[np.where(rows < 0, begin, end)]

    def symbols(self, targets: Floats) -> Integers:
        """The symbols whose counts hold these points of `sums`."""
        place = np.searchsorted(self.sums, targets, side="right") - 1
        return self.cells[np.clip(place, 0, len(self.cells) - 1)] % self.width

    def follow(self, rows: Integers, symbols: Integers) -> Integers:
        """Rows of the next order after `symbols` in `rows`; -1 for none."""
        return _find(self.contexts, _cells(rows, symbols, self.width))


@dataclass(frozen=True)
class NgramModel:
    """Noisy n-gram counts; see the module for the guarantee."""

    vocabulary: Sequence[str]
    codes: Sequence[Code]
    levels: Sequence[Level]

    @classmethod
    def fit(
        cls,
        corpus: Corpus,
        codes: Sequence[Code],
        vocabulary: Sequence[str],
        queries: Queries,
        rng: np.random.Generator,
        order: int,
        per_record: int,
    ) -> "NgramModel":
        """Ask for the counts of orders 1 to `order`: that many times the query `QUERY`, of sensitivity 1.

        Args:
            codes: all codes there may be; public, as is the `vocabulary`.
            queries: over the units of the corpus.
            rng: of the draws of a unit's n-grams.
            per_record: n-grams of a unit, at most, in each order.

        Raises:
            UserError: for a record of another code, and for a table that would be too large.
        """
        count = _Count(corpus, codes, vocabulary, queries, rng, per_record)
        rows, height, levels = count.rows, count.height, list[Level]()
        for n in range(1, order + 1):
            level = _released(count.ask(rows, height), count.width, queries.deviation(QUERY), height if n == 1 else 0)
            levels.append(level)
            rows, height = count.after(level, rows, start=n == 1), len(level.contexts)
            if not height:
                break
        return cls(tuple(vocabulary), tuple(codes), tuple(levels))

    def write(self, codes: Sequence[Code], draws: Floats) -> list[Draft]:
        """A text for each of `codes`, all rows together, a word at a time.

        The next word is drawn from the longest context that has counts, for the code before all codes.

        Args:
            draws: uniform numbers (B, T) in [0, 1), one for each word: a text has T words and marks at most.
        """
        border = len(self.vocabulary)
        lines: list[list[str]] = [[] for _ in codes]
        live, state = np.arange(len(codes)), self._start(_numbers(self.codes, codes))
        for chance in draws.T:
            symbols = self._draw(state, chance[live])
            going = symbols != border
            live, symbols, state = live[going], symbols[going], state[:, :, going]
            for line, symbol in zip(live.tolist(), symbols.tolist(), strict=True):
                lines[line].append(self.vocabulary[symbol])
            if not len(live):
                break
            state = self._step(state, symbols)
        ended = ~np.isin(np.arange(len(lines)), live)
        return [Draft(spelled(words), bool(ended[i])) for i, words in enumerate(lines)]

    def _start(self, owns: Integers) -> Integers:
        """Rows (orders, 2, B) at the beginning of texts of these codes, for the code and for all."""
        state = np.full((len(self.levels), 2, len(owns)), NONE, np.int64)
        state[0] = owns, np.full_like(owns, len(self.codes))
        if len(self.levels) > 1:
            state[1] = self.levels[0].follow(state[0], np.full_like(state[0], len(self.vocabulary)))
        return state

    def _step(self, state: Integers, symbols: Integers) -> Integers:
        after = [level.follow(rows, symbols) for level, rows in zip(self.levels, state[:-1], strict=False)]
        return np.stack([state[0], *after])

    def _draw(self, state: Integers, chance: Floats) -> Integers:
        """Next symbols (B,) by uniform numbers (B,); a word at random where no table has a count."""
        drawn = np.full(state.shape[2], NONE, np.int64)
        for level, rows in zip(reversed(self.levels), reversed(state), strict=True):
            for row in rows:
                low, high = level.bounds(row)
                here = (drawn == NONE) & (high > low)
                drawn[here] = level.symbols((low + chance * (high - low))[here])
        blank = drawn == NONE
        drawn[blank] = (chance[blank] * (len(self.vocabulary) + 1)).astype(np.int64)
        return drawn


class _Count:
    """The private side: symbols of the records, and what each unit contributes to a table."""

    def __init__(
        self,
        corpus: Corpus,
        codes: Sequence[Code],
        vocabulary: Sequence[str],
        queries: Queries,
        rng: np.random.Generator,
        most: int,
    ) -> None:
        self.width, self.height = len(vocabulary) + 1, len(codes) + 1
        if self.width * self.height > MOST_CELLS:
            raise UserError(
                f"n-grams of {len(codes)} codes and {len(vocabulary)} words: a table has at most {MOST_CELLS} cells; "
                "give fewer labels and groups, or words (ngrams.vocabulary)"
            )
        self._stream, self._queries, self._rng, self._most = stream(corpus.texts, vocabulary), queries, rng, most
        unit = dict[Any, int]()
        owners: Sequence[Any] = corpus.units or range(len(corpus))
        numbers = np.array([unit.setdefault(owner, len(unit)) for owner in owners], np.int64)
        if len(unit) != queries.units:
            raise ValueError(f"got records of {len(unit)} units and queries over {queries.units}; must be the same")
        self._unit = numbers[self._stream.record]
        own = _numbers(codes, corpus.codes)[self._stream.record]
        self.rows: Integers = np.stack([own, np.full_like(own, len(codes))])
        """(2, P): the row of each symbol's context in the first table, for its code and for all codes."""

    def ask(self, rows: Integers, height: int) -> Floats:
        """The noisy table (height · width,) of the symbols in `rows` (2, P)."""
        cells = _cells(rows, self._stream.symbol, self.width)
        chosen = self._chosen(np.any(cells >= 0, axis=0))
        cells, unit = cells[:, chosen], np.broadcast_to(self._unit[chosen], (2, len(chosen)))
        held = cells >= 0
        values = torch.full((int(held.sum()),), 1 / math.sqrt(2 * self._most), dtype=torch.float64)
        index = torch.from_numpy(np.stack([unit[held], cells[held]]))
        given = torch.sparse_coo_tensor(
            index, values, (self._queries.units, height * self.width), check_invariants=True
        )
        noisy: Floats = self._queries.ask(QUERY, given).numpy()
        return noisy

    def _chosen(self, usable: Flags) -> Integers:
        """Places of at most `most` usable symbols of each unit, drawn at random."""
        places = np.flatnonzero(usable)
        unit = self._unit[places]
        order = np.lexsort((self._rng.random(len(places)), unit))
        begins = np.searchsorted(unit[order], unit[order])
        return places[order[np.arange(len(order)) - begins < self._most]]

    def after(self, level: Level, rows: Integers, start: bool) -> Integers:
        """Rows (2, P) of the next order: contexts that end before each symbol."""
        symbol, first = self._stream.symbol, self._stream.first
        following = np.full_like(rows, NONE)
        following[:, 1:] = level.follow(rows, symbol)[:, :-1]
        border = np.full_like(symbol, self.width - 1)
        following[:, first] = level.follow(rows, border)[:, first] if start else NONE
        return following


def _released(noisy: Floats, width: int, deviation: float, starts: int) -> Level:
    """A table without the cells that noise alone explains, below √(2 ln k) deviations (Donoho & Johnstone 1994).

    Contexts of the next order are the beginnings of texts in the first `starts` rows and the highest counts.
    """
    threshold = deviation * math.sqrt(2 * math.log(len(noisy)))
    cells = np.flatnonzero(noisy > threshold)
    starting = np.arange(starts) * width + width - 1
    inner = cells[cells % width != width - 1]
    best = inner[np.argsort(-noisy[inner], kind="stable")][: max(0, MOST_CELLS // width - starts)]
    sums = np.concatenate([[0.0], np.cumsum(noisy[cells])])
    return Level(width, cells, sums, np.sort(np.concatenate([starting, best])))


def _cells(rows: Integers, symbols: Integers, width: int) -> Integers:
    return np.where((rows >= 0) & (symbols >= 0), rows * width + symbols, NONE)


def _find(among: Integers, wanted: Integers) -> Integers:
    """Places of numbers in a rising row; -1 for those that are not in it."""
    if not len(among):
        return np.full_like(wanted, NONE)
    place = np.minimum(np.searchsorted(among, wanted), len(among) - 1)
    return np.where(among[place] == wanted, place, NONE)


def _numbers(codes: Sequence[Code], wanted: Sequence[Code]) -> Integers:
    """Places of codes among the planned ones."""
    number = {code: i for i, code in enumerate(codes)}
    for code in wanted:
        if code not in number:
            raise UserError(f"code {code}: is none of the {len(codes)} that are planned; name its values as public")
    return np.array([number[code] for code in wanted], np.int64)
