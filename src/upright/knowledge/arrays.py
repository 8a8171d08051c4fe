"""The facts of a graph as integer arrays, in memory or mapped from a file, and what can be answered from them.

Entities and relations are numbered in the order of their ids. The facts are held twice, by head and by tail,
in three levels of compressed sparse rows: nodes have groups, a group is the facts of one node and relation.
So the relations of a hub and their counts are read off without a look at its facts.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from upright.knowledge.graph import Direction, Edge, Likeness, Match
from upright.knowledge.naming import NameIndex, fold, search

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]


class Ids(Protocol):
    """Ids in sorted order; the place of an id is its number."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> str: ...

    def __iter__(self) -> Iterator[str]: ...

    def number(self, name: object) -> int | None:
        """The number of an id, None for one that is not there."""
        ...


class Rows(NamedTuple):
    """Facts by one end: node i has groups `nodes[i]` to `nodes[i + 1]`, group g facts `groups[g]` to `groups[g + 1]`.

    Groups are sorted by (node, relation), the facts of a group by their other end.
    """

    nodes: Longs
    relations: Ints
    groups: Longs
    ends: Ints

    @classmethod
    def build(cls, near: Ints, relations: Ints, ends: Ints, nodes: int) -> "Rows":
        """From facts sorted by (near, relation, end), each once."""
        first = np.ones(len(ends), dtype=bool)
        first[1:] = (near[1:] != near[:-1]) | (relations[1:] != relations[:-1])
        places = np.flatnonzero(first)
        starts = np.zeros(nodes + 1, dtype=np.int64)
        np.cumsum(np.bincount(near[places], minlength=nodes), out=starts[1:])
        return cls(starts, relations[places], np.append(places, len(ends)), ends)

    def degree(self, node: int) -> int:
        """Number of facts of a node."""
        return int(self.groups[self.nodes[node + 1]] - self.groups[self.nodes[node]])

    def kinds(self, node: int) -> list[int]:
        """Relations of a node."""
        found: list[int] = self.relations[self.nodes[node] : self.nodes[node + 1]].tolist()
        return found

    def sizes(self, node: int) -> list[int]:
        """Number of facts of each of these relations."""
        found: list[int] = np.diff(self.groups[self.nodes[node] : self.nodes[node + 1] + 1]).tolist()
        return found

    def far(self, node: int, relation: int, limit: int | None = None) -> list[int]:
        """Other ends of the facts of a node and a relation."""
        low, high = int(self.nodes[node]), int(self.nodes[node + 1])
        group = bisect_left(self.relations, relation, low, high)
        if group == high or self.relations[group] != relation:
            return []
        start, stop = int(self.groups[group]), int(self.groups[group + 1])
        found: list[int] = self.ends[start : stop if limit is None else min(stop, start + limit)].tolist()
        return found

    def steps(self, node: int) -> Iterator[tuple[int, list[int]]]:
        """Each relation of a node, with the other ends of its facts."""
        low, high = int(self.nodes[node]), int(self.nodes[node + 1])
        starts = self.groups[low : high + 1].tolist()
        for place, relation in enumerate(self.kinds(node)):
            yield relation, self.ends[starts[place] : starts[place + 1]].tolist()

    def holders(self, relation: int) -> list[int]:
        """All nodes with a fact of the relation."""
        groups = np.flatnonzero(self.relations == relation)
        found: list[int] = (np.searchsorted(self.nodes, groups, side="right") - 1).tolist()
        return found

    def totals(self, relations: int) -> list[int]:
        """Number of facts of each of so many relations."""
        totals = np.zeros(relations, dtype=np.int64)
        np.add.at(totals, self.relations, np.diff(self.groups))
        found: list[int] = totals.tolist()
        return found


def both_ways(heads: Ints, relations: Ints, tails: Ints, nodes: int) -> tuple[Rows, Rows]:
    """Facts by head and by tail; repeated ones count once."""
    order = np.lexsort((tails, relations, heads))
    heads, relations, tails = heads[order], relations[order], tails[order]
    fresh = np.ones(len(heads), dtype=bool)
    fresh[1:] = (heads[1:] != heads[:-1]) | (relations[1:] != relations[:-1]) | (tails[1:] != tails[:-1])
    heads, relations, tails = heads[fresh], relations[fresh], tails[fresh]
    out = Rows.build(heads, relations, tails, nodes)
    order = np.lexsort((heads, relations, tails))
    return out, Rows.build(tails[order], relations[order], heads[order], nodes)


class ArrayGraph(ABC):
    """A graph held as arrays; see `KnowledgeGraph` and `Searchable` for what its methods answer.

    Safe for several threads that read.
    """

    def __init__(self, entities: Ids, relations: Ids, out: Rows, into: Rows) -> None:
        self._entities, self._relations = entities, relations
        self.rows: dict[Direction, Rows] = {"out": out, "in": into}

    def __len__(self) -> int:
        """Number of facts."""
        return len(self.rows["out"].ends)

    def __contains__(self, entity: object) -> bool:
        return self._entities.number(entity) is not None

    @property
    def entity_ids(self) -> Ids:
        """Ids of all heads and tails, sorted."""
        return self._entities

    @property
    def relation_ids(self) -> Ids:
        """Ids of all relations, sorted."""
        return self._relations

    def relation_counts(self) -> dict[str, int]:
        """Number of facts of every relation."""
        return dict(zip(self._relations, self.rows["out"].totals(len(self._relations)), strict=True))

    # --- facts ---

    def _numbers(self, entities: Iterable[str]) -> list[int]:
        """Numbers of those entities that are there, sorted."""
        found = (self._entities.number(entity) for entity in set(entities))
        return sorted(number for number in found if number is not None)

    def relations(self, entities: Iterable[str], direction: Direction = "out") -> list[str]:
        rows = self.rows[direction]
        found = {relation for node in self._numbers(entities) for relation in rows.kinds(node)}
        return [self._relations[relation] for relation in sorted(found)]

    def counts(self, entities: Iterable[str], direction: Direction = "out") -> dict[str, int]:
        rows, found = self.rows[direction], Counter[int]()
        for node in self._numbers(entities):
            for relation, size in zip(rows.kinds(node), rows.sizes(node), strict=True):
                found[relation] += size
        return {self._relations[relation]: found[relation] for relation in sorted(found)}

    def edges(
        self, entities: Iterable[str], relation: str, direction: Direction = "out", limit: int | None = None
    ) -> list[Edge]:
        rows, kind, names = self.rows[direction], self._relations.number(relation), self._entities
        if kind is None:
            return []
        facts = ((node, end) for node in self._numbers(entities) for end in rows.far(node, kind, limit))
        if direction == "out":
            return [Edge(names[node], relation, names[end]) for node, end in islice(facts, limit)]
        return [Edge(names[head], relation, names[tail]) for head, tail in sorted((e, n) for n, e in facts)[:limit]]

    def objects(self, head: str, relation: str) -> tuple[str, ...]:
        return self._far("out", head, relation)

    def subjects(self, relation: str, tail: str) -> tuple[str, ...]:
        return self._far("in", tail, relation)

    def _far(self, direction: Direction, near: str, relation: str) -> tuple[str, ...]:
        node, kind = self._entities.number(near), self._relations.number(relation)
        if node is None or kind is None:
            return ()
        return tuple([self._entities[end] for end in self.rows[direction].far(node, kind)])

    def in_degree(self, entity: str) -> int:
        node = self._entities.number(entity)
        return 0 if node is None else self.rows["in"].degree(node)

    def degree(self, node: int) -> int:
        return self.rows["out"].degree(node) + self.rows["in"].degree(node)

    def triples(self, relation: str | None = None) -> Iterator[Edge]:
        if relation is None:
            yield from (edge for node in range(len(self._entities)) for edge, _ in self._steps(node))
            return
        kind = self._relations.number(relation)
        if kind is not None:
            rows, names = self.rows["out"], self._entities
            for node in rows.holders(kind):
                head = names[node]
                yield from (Edge(head, relation, names[end]) for end in rows.far(node, kind))

    def _steps(self, node: int) -> Iterator[tuple[Edge, int]]:
        """Facts of one head, each with the number of its tail."""
        head = self._entities[node]
        for kind, ends in self.rows["out"].steps(node):
            relation = self._relations[kind]
            yield from ((Edge(head, relation, self._entities[end]), end) for end in ends)

    def paths(self, entity: str, hops: int) -> Iterator[tuple[Edge, ...]]:
        node = self._entities.number(entity)
        if node is not None:
            yield from self._walks((), node, hops)

    def _walks(self, walked: tuple[Edge, ...], node: int, hops: int) -> Iterator[tuple[Edge, ...]]:
        if hops < 1:
            return
        for edge, end in self._steps(node):
            walk = (*walked, edge)
            yield walk
            yield from self._walks(walk, end, hops - 1)

    # --- names ---

    @abstractmethod
    def labels(self, ids: Iterable[str]) -> dict[str, str]:
        """See `KnowledgeGraph`."""

    @abstractmethod
    def describe(self, ids: Iterable[str]) -> dict[str, str]:
        """See `KnowledgeGraph`."""

    @abstractmethod
    def aliases(self, entity: str) -> tuple[str, ...]:
        """See `KnowledgeGraph`."""

    @abstractmethod
    def _called(self, folded: str) -> list[int]:
        """Numbers of the entities with a name that folds to this."""

    @property
    @abstractmethod
    def _index(self) -> NameIndex:
        """The names of all entities."""

    def search(self, text: str, likeness: Likeness, limit: int) -> list[Match]:
        found = search(self._index, text, likeness, limit, self.degree)
        return [Match(self._entities[name.entity], name.relevance) for name in found]

    def link(self, text: str) -> list[str]:
        nodes = set(self._called(fold(text)))
        itself = self._entities.number(text)
        nodes |= set() if itself is None else {itself}
        degrees = {self._entities[node]: self.degree(node) for node in nodes}
        labels = self.labels(degrees)

        def rank(entity: str) -> tuple[bool, bool, int, str]:
            """The exact label, then an exact alias, then a name that only folds to the text."""
            return labels[entity] != text, text not in self.aliases(entity), -degrees[entity], entity

        return sorted(degrees, key=rank)

    def suggest(self, text: str) -> list[str]:
        near = [entity for entity, _ in self.search(text, "letters", 3)]
        return list(dict.fromkeys(self.labels(near).values()))
