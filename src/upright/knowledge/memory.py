"""A knowledge graph in memory: integer arrays for the facts, Python strings for the names.

Entities and relations are numbered in the order of their ids. The facts are held twice as compressed sparse
rows, by head and by tail: 8 bytes a fact and direction, beside the names.
"""

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upright.knowledge.graph import Direction, Edge

Ints = NDArray[np.int32]


class _Rows(NamedTuple):
    """Facts grouped by one end: node i has those from `starts[i]` to `starts[i + 1]`, sorted by relation."""

    starts: NDArray[np.int64]
    relations: Ints
    ends: Ints

    @classmethod
    def build(cls, near: Ints, relations: Ints, ends: Ints, nodes: int) -> "_Rows":
        order = np.lexsort((ends, relations, near))
        starts = np.zeros(nodes + 1, dtype=np.int64)
        np.cumsum(np.bincount(near, minlength=nodes), out=starts[1:])
        return cls(starts, relations[order], ends[order])

    def row(self, node: int) -> tuple[int, int]:
        return int(self.starts[node]), int(self.starts[node + 1])

    def span(self, node: int, relation: int) -> tuple[int, int]:
        low, high = self.row(node)
        low = bisect_left(self.relations, relation, low, high)
        return low, bisect_right(self.relations, relation, low, high)

    def facts(self, low: int, high: int) -> tuple[list[int], list[int]]:
        return self.relations[low:high].tolist(), self.ends[low:high].tolist()

    def node_relations(self, node: int) -> list[int]:
        low, high = self.row(node)
        found: list[int] = np.unique(self.relations[low:high]).tolist()
        return found


class MemoryGraph:
    """A graph held in memory; see `KnowledgeGraph` for what its methods answer.

    Args:
        triples: (head, relation, tail), each a non-empty id, read once; repeated facts count once.
        labels: label of an entity or relation id, where it is not the id itself.
        aliases: other names of an entity.

    The mappings are looked up when needed, so a reader may fill them while it yields the triples.
    """

    def __init__(
        self,
        triples: Iterable[tuple[str, str, str]],
        labels: Mapping[str, str] | None = None,
        aliases: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._labels = {} if labels is None else labels
        self._aliases = {} if aliases is None else aliases
        entities, relations = _Numbering(), _Numbering()
        columns = array("i"), array("i"), array("i")
        for head, relation, tail in triples:
            columns[0].append(entities[head])
            columns[1].append(relations[relation])
            columns[2].append(entities[tail])
        self._entities, entity_order = entities.in_order()
        self._relations, relation_order = relations.in_order()
        heads, kinds, tails = (np.frombuffer(column, dtype=np.int32) for column in columns)
        facts = _distinct(entity_order[heads], relation_order[kinds], entity_order[tails])
        self._entity_ids = {name: number for number, name in enumerate(self._entities)}
        self._relation_ids = {name: number for number, name in enumerate(self._relations)}
        self._out = _Rows.build(facts[0], facts[1], facts[2], len(self._entities))
        self._in = _Rows.build(facts[2], facts[1], facts[0], len(self._entities))

    def __len__(self) -> int:
        """Number of facts."""
        return len(self._out.ends)

    def __contains__(self, entity: object) -> bool:
        return entity in self._entity_ids

    @property
    def entity_ids(self) -> Sequence[str]:
        """Ids of all heads and tails, sorted."""
        return self._entities

    @property
    def relation_ids(self) -> Sequence[str]:
        """Ids of all relations, sorted."""
        return self._relations

    def link(self, text: str) -> list[str]:
        found = self._names.get(fold(text), [])
        return sorted(found, key=lambda entity: (*self._mismatch(entity, text), -self._degree(entity), entity))

    def _mismatch(self, entity: str, text: str) -> tuple[bool, bool]:
        """Rank of a match: the exact label, then an exact alias, then a name that only folds to the text."""
        return self._label(entity) != text, text not in self.aliases(entity)

    def suggest(self, text: str) -> list[str]:
        wanted = fold(text)
        alike = [name for name in self._names if name[:1] == wanted[:1] and abs(len(name) - len(wanted)) <= 3]
        near = get_close_matches(wanted, alike, n=3, cutoff=0.6)
        return list(dict.fromkeys(self._label(self._names[name][0]) for name in near))

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        """Folded label or alias -> ids."""
        names: dict[str, list[str]] = defaultdict(list)
        for entity in self._entities:
            for name in {fold(name) for name in (entity, self._label(entity), *self.aliases(entity))}:
                names[name].append(entity)
        return dict(names)

    def relations(self, entities: Iterable[str], direction: Direction = "out") -> list[str]:
        rows = self._out if direction == "out" else self._in
        nodes = (self._entity_ids[entity] for entity in set(entities) if entity in self._entity_ids)
        found = {relation for node in nodes for relation in rows.node_relations(node)}
        return [self._relations[relation] for relation in sorted(found)]

    def edges(self, entities: Iterable[str], relation: str, direction: Direction = "out") -> list[Edge]:
        near = sorted(set(entities))
        if direction == "out":
            return [Edge(head, relation, tail) for head in near for tail in self.objects(head, relation)]
        return sorted(Edge(head, relation, tail) for tail in near for head in self.subjects(relation, tail))

    def objects(self, head: str, relation: str) -> tuple[str, ...]:
        return self._far(self._out, head, relation)

    def subjects(self, relation: str, tail: str) -> tuple[str, ...]:
        return self._far(self._in, tail, relation)

    def _far(self, rows: _Rows, near: str, relation: str) -> tuple[str, ...]:
        node, kind = self._entity_ids.get(near), self._relation_ids.get(relation)
        if node is None or kind is None:
            return ()
        return tuple([self._entities[end] for end in rows.facts(*rows.span(node, kind))[1]])

    def in_degree(self, entity: str) -> int:
        node = self._entity_ids.get(entity)
        if node is None:
            return 0
        low, high = self._in.row(node)
        return high - low

    def _degree(self, entity: str) -> int:
        low, high = self._out.row(self._entity_ids[entity])
        return high - low + self.in_degree(entity)

    def labels(self, ids: Iterable[str]) -> dict[str, str]:
        return {name: self._label(name) for name in ids}

    def _label(self, name: str) -> str:
        return self._labels.get(name, name)

    def aliases(self, entity: str) -> tuple[str, ...]:
        return tuple(self._aliases.get(entity, ()))

    def triples(self, relation: str | None = None) -> Iterator[Edge]:
        if relation is None:
            yield from (edge for node in range(len(self._entities)) for edge, _ in self._steps(node))
        elif relation in self._relation_ids:
            kind = self._relation_ids[relation]
            facts = np.flatnonzero(self._out.relations == kind)
            heads = np.unique(np.searchsorted(self._out.starts, facts, side="right") - 1)
            yield from (edge for node in heads.tolist() for edge, _ in self._steps(node, kind))

    def _steps(self, node: int, kind: int | None = None) -> Iterator[tuple[Edge, int]]:
        """Facts of one head, or those of one relation, each with the number of its tail."""
        low, high = self._out.row(node) if kind is None else self._out.span(node, kind)
        head = self._entities[node]
        for number, end in zip(*self._out.facts(low, high), strict=True):
            yield Edge(head, self._relations[number], self._entities[end]), end

    def paths(self, entity: str, hops: int) -> Iterator[tuple[Edge, ...]]:
        node = self._entity_ids.get(entity)
        if node is not None:
            yield from self._walks((), node, hops)

    def _walks(self, walked: tuple[Edge, ...], node: int, hops: int) -> Iterator[tuple[Edge, ...]]:
        if hops < 1:
            return
        for edge, end in self._steps(node):
            walk = (*walked, edge)
            yield walk
            yield from self._walks(walk, end, hops - 1)


class _Numbering(dict[str, int]):
    """Numbers names as they come."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self)
        return number

    def in_order(self) -> tuple[list[str], Ints]:
        """All names sorted, and for each number the place of its name in that order."""
        names = sorted(self)
        places = np.empty(len(names), dtype=np.int32)
        places[[self[name] for name in names]] = np.arange(len(names), dtype=np.int32)
        return names, places


def _distinct(heads: Ints, relations: Ints, tails: Ints) -> tuple[Ints, Ints, Ints]:
    """The facts sorted, each once."""
    order = np.lexsort((tails, relations, heads))
    facts = np.stack((heads, relations, tails))[:, order]
    fresh = np.ones(facts.shape[1], dtype=bool)
    fresh[1:] = (facts[:, 1:] != facts[:, :-1]).any(axis=0)
    heads, relations, tails = facts[:, fresh]
    return heads, relations, tails


def fold(name: str) -> str:
    """A name without what people vary: case, accents, punctuation, spaces and a leading article.

    >>> fold("The  São Tomé")
    'sao tome'
    """
    plain = "".join(mark for mark in unicodedata.normalize("NFKD", name) if not unicodedata.combining(mark))
    words = re.findall(r"\w+", plain.casefold())
    return " ".join(words[1:] if len(words) > 1 and words[0] in {"the", "a", "an"} else words) or name
