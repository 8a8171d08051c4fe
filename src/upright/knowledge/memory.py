"""A knowledge graph in memory: integer arrays for the facts, Python strings for the names."""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, reduce
from heapq import nsmallest

import numpy as np

from upright.knowledge.arrays import ArrayGraph, Ids, Ints, Rows, both_ways
from upright.knowledge.naming import SPELLINGS, Name, NameIndex, bm25, fold, folded_names
from upright.knowledge.trigrams import Trigrams

__all__ = ["MemoryGraph", "fold", "indexed"]

Triple = tuple[str, str, str]


class MemoryGraph(ArrayGraph):
    """A graph held in memory; see `KnowledgeGraph` for what its methods answer.

    Args:
        triples: (head, relation, tail), each a non-empty id, read once; repeated facts count once.
        labels: label of an entity or relation id, where it is not the id itself.
        aliases: other names of an entity.
        descriptions: what an entity is, in a few words.

    The mappings are looked up when needed, so a reader may fill them while it yields the triples.
    """

    def __init__(
        self,
        triples: Iterable[Triple],
        labels: Mapping[str, str] | None = None,
        aliases: Mapping[str, Sequence[str]] | None = None,
        descriptions: Mapping[str, str] | None = None,
    ) -> None:
        self._labels = {} if labels is None else labels
        self._aliases = {} if aliases is None else aliases
        self._descriptions = {} if descriptions is None else descriptions
        super().__init__(*indexed(triples))

    def labels(self, ids: Iterable[str]) -> dict[str, str]:
        return {name: self._labels.get(name, name) for name in ids}

    def describe(self, ids: Iterable[str]) -> dict[str, str]:
        return {name: self._descriptions[name] for name in ids if name in self._descriptions}

    def aliases(self, entity: str) -> tuple[str, ...]:
        return tuple(self._aliases.get(entity, ()))

    def _called(self, folded: str) -> list[int]:
        return self._named.get(folded, [])

    @cached_property
    def _named(self) -> dict[str, list[int]]:
        """Folded name -> numbers of entities."""
        named: dict[str, list[int]] = defaultdict(list)
        for number, entity in enumerate(self._entities):
            for name in folded_names(entity, self._labels.get(entity, entity), self._aliases.get(entity, ())):
                named[name].append(number)
        return dict(named)

    @cached_property
    def _index(self) -> NameIndex:
        return _MemoryIndex(self._named, self.degree)


class _ListedIds(list[str]):
    """Sorted ids in memory."""

    def __init__(self, ids: Iterable[str]) -> None:
        super().__init__(ids)
        self._numbers: dict[object, int] = {name: number for number, name in enumerate(self)}

    def number(self, name: object) -> int | None:
        return self._numbers.get(name)


class _Numbering(dict[str, int]):
    """Numbers names as they come."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self)
        return number

    def in_order(self) -> tuple[_ListedIds, Ints]:
        """All names sorted, and for each number the place of its name in that order."""
        names = _ListedIds(sorted(self))
        places = np.empty(len(names), dtype=np.int32)
        places[np.fromiter((self[name] for name in names), dtype=np.int64, count=len(names))] = np.arange(len(names))
        return names, places


def indexed(triples: Iterable[Triple]) -> tuple[Ids, Ids, Rows, Rows]:
    """Entities, relations, and the facts by head and by tail; repeated facts count once."""
    entities, relations = _Numbering(), _Numbering()
    columns = array("i"), array("i"), array("i")
    for head, relation, tail in triples:
        columns[0].append(entities[head])
        columns[1].append(relations[relation])
        columns[2].append(entities[tail])
    entity_ids, entity_places = entities.in_order()
    relation_ids, relation_places = relations.in_order()
    heads, kinds, tails = (np.frombuffer(column, dtype=np.int32) for column in columns)
    facts = entity_places[heads], relation_places[kinds], entity_places[tails]
    return entity_ids, relation_ids, *both_ways(*facts, len(entity_ids))


class _MemoryIndex:
    """A `NameIndex` in memory; each part is built when it is first asked for."""

    def __init__(self, named: Mapping[str, Sequence[int]], degree: Callable[[int], int]) -> None:
        self._named, self._degree = named, degree
        self._names = sorted(named)

    def beginning(self, start: str, limit: int) -> list[Name]:
        found = []
        for place in range(bisect_left(self._names, start), len(self._names)):
            if not self._names[place].startswith(start):
                break
            found += [Name(self._names[place], entity) for entity in self._named[self._names[place]]]
        return nsmallest(limit, found, key=lambda name: (-self._degree(name.entity), name))

    @cached_property
    def _words(self) -> "dict[str, array[int]]":
        """Word -> places of the names it is in."""
        words: defaultdict[str, array[int]] = defaultdict(lambda: array("i"))
        for place, name in enumerate(self._names):
            for word in set(name.split()):
                words[word].append(place)
        return dict(words)

    @cached_property
    def _sizes(self) -> tuple[int, float]:
        """Number of names, each counted for each of its entities, and their mean length in words."""
        total = sum(len(entities) for entities in self._named.values())
        return total, sum(len(name.split()) * len(self._named[name]) for name in self._names) / max(total, 1)

    def frequency(self, word: str) -> int:
        return sum(len(self._named[self._names[place]]) for place in self._words.get(word, ()))

    def containing(self, groups: Sequence[Sequence[str]], limit: int) -> list[Name]:
        lists = [np.unique(np.concatenate([self._places(word) for word in group])) for group in groups]
        places: list[int] = reduce(np.intersect1d, lists).tolist() if lists else []
        frequencies = {word: self.frequency(word) for group in groups for word in group}
        found = (name for place in places for name in self._scored(self._names[place], frequencies))
        return nsmallest(limit, found, key=lambda name: (-name.relevance, name))

    def _places(self, word: str) -> Ints:
        return np.array(self._words.get(word, ()), dtype=np.int32)

    def _scored(self, folded: str, frequencies: Mapping[str, int]) -> Iterator[Name]:
        total, mean = self._sizes
        words = folded.split()
        asked = [(words.count(word), anywhere) for word, anywhere in frequencies.items()]
        relevance = bm25([pair for pair in asked if pair[0]], len(words), mean, total)
        yield from (Name(folded, entity, relevance) for entity in self._named[folded])

    @cached_property
    def _spelling(self) -> tuple[list[str], Trigrams]:
        words = sorted(self._words)
        return words, Trigrams.build(words)

    def spellings(self, word: str) -> list[str]:
        words, trigrams = self._spelling
        return [words[place] for place in trigrams.alike(word, SPELLINGS)]
