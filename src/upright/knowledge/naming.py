"""Names of things as people write them: folded, and searched by their beginnings, words and letters."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from math import log
from typing import NamedTuple, Protocol

from upright.knowledge.graph import Likeness

ARTICLES = frozenset({"the", "a", "an"})
COMMON = 20_000  # a word of more names than this is no help beside a rarer one
SPELLINGS = 12  # words tried for one that may be misspelt
POOL = 200  # names whose letters are compared
CLOSE = 0.6  # similarity of two names of which one may be a misspelt form of the other


def fold(name: str) -> str:
    """A name without what people vary: case, accents, punctuation, spaces and a leading article.

    >>> fold("The  São Tomé")
    'sao tome'
    """
    plain = name
    if not name.isascii():
        plain = "".join(mark for mark in unicodedata.normalize("NFKD", name) if not unicodedata.combining(mark))
    words = re.findall(r"\w+", plain.casefold())
    return " ".join(words[1:] if len(words) > 1 and words[0] in ARTICLES else words) or name


def is_name(id: str) -> bool:
    """Whether an id may be what people call a thing: no IRI and no blank node."""
    return "://" not in id and not id.startswith("_:")


def folded_names(id: str, label: str, aliases: Iterable[str]) -> set[str]:
    """Everything a thing is called, folded."""
    return {fold(name) for name in ((id,) if is_name(id) else ()) + (label, *aliases) if is_name(name)}


class Name(NamedTuple):
    """A folded name of an entity, by number, and how well it fits what was asked for."""

    folded: str
    entity: int
    relevance: float = 0.0


class NameIndex(Protocol):
    """Folded names by their beginnings and words; words are what stands between spaces."""

    def beginning(self, start: str, limit: int) -> list[Name]:
        """Names that begin so, those of entities with most facts first."""
        ...

    def frequency(self, word: str) -> int:
        """Number of names with a word."""
        ...

    def containing(self, groups: Sequence[Sequence[str]], limit: int) -> list[Name]:
        """Names with a word of each group, ranked by `bm25`, the best first."""
        ...

    def spellings(self, word: str) -> list[str]:
        """Words of the index most like this one in their letters, the best first."""
        ...


def bm25(frequencies: Sequence[tuple[int, int]], length: int, mean_length: float, names: int) -> float:
    """Okapi BM25 (k1 = 1.2, b = 0.75) as SQLite's FTS5 computes it.

    Args:
        frequencies: for each word asked for: how often the name has it, and how many names do.
        length: words of the name; `mean_length`: of a name on average.
        names: number of all names.
    """
    score = 0.0
    for here, anywhere in frequencies:
        rarity = max(1e-6, log((names - anywhere + 0.5) / (anywhere + 0.5)))
        score += rarity * here * 2.2 / (here + 1.2 * (0.25 + 0.75 * length / mean_length))
    return score


def search(index: NameIndex, text: str, likeness: Likeness, limit: int, degree: Callable[[int], int]) -> list[Name]:
    """The best name of each entity that is like a text, the best first; see `Searchable.search`."""
    folded = fold(text)
    found = {"prefix": _by_prefix, "words": _by_words, "letters": _by_letters}[likeness](index, folded, limit)
    best: dict[int, Name] = {}
    for name in found:
        if name.entity not in best or best[name.entity].relevance < name.relevance:
            best[name.entity] = name
    return sorted(best.values(), key=lambda name: (-name.relevance, -degree(name.entity), name.entity))[:limit]


def _by_prefix(index: NameIndex, folded: str, limit: int) -> Iterator[Name]:
    for width in (2 * limit, 64 * limit):  # an entity may have several names that begin so
        found = index.beginning(folded, width)
        if len({name.entity for name in found}) >= limit or len(found) < width:
            break
    return iter(found)


def _by_words(index: NameIndex, folded: str, limit: int) -> Iterator[Name]:
    """Names with all of the words, and where these are too few, names with some."""
    words = sorted({word for word in folded.split() if index.frequency(word)}, key=lambda word: index.frequency(word))
    if not words:
        return
    everything = index.containing([[word] for word in words], 4 * limit)
    yield from everything
    if len(everything) < limit:
        rare = [word for word in words if index.frequency(word) <= COMMON] or words[:1]
        yield from index.containing([rare], 4 * limit)


def _by_letters(index: NameIndex, folded: str, limit: int) -> Iterator[Name]:
    """Names that have each word or one spelt like it, by the similarity of all their letters."""
    groups = [index.spellings(word) for word in dict.fromkeys(folded.split())]
    if not groups or not all(groups):
        return
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(folded)
    for name in index.containing(groups, max(POOL, limit)):
        matcher.set_seq1(name.folded)
        if matcher.ratio() >= CLOSE:
            yield name._replace(relevance=round(matcher.ratio(), 6))
