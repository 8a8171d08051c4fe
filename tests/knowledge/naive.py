"""A knowledge graph that looks through all its facts for each answer: slow, and plainly right."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from upright.knowledge.graph import Direction, Edge, walk
from upright.knowledge.memory import fold


class NaiveGraph:
    def __init__(
        self,
        facts: Iterable[tuple[str, str, str]],
        labels: Mapping[str, str] | None = None,
        aliases: Mapping[str, tuple[str, ...]] | None = None,
        descriptions: Mapping[str, str] | None = None,
    ) -> None:
        self.facts = sorted({Edge(*fact) for fact in facts})
        self.names = labels or {}
        self.others = aliases or {}
        self.descriptions = descriptions or {}

    def __contains__(self, entity: object) -> bool:
        return any(entity in (edge.head, edge.tail) for edge in self.facts)

    def near(self, entities: Iterable[str], direction: Direction) -> list[Edge]:
        wanted = set(entities)
        return [edge for edge in self.facts if (edge.head if direction == "out" else edge.tail) in wanted]

    def counts(self, entities: Iterable[str], direction: Direction = "out") -> dict[str, int]:
        found = Counter(edge.relation for edge in self.near(entities, direction))
        return {relation: found[relation] for relation in sorted(found)}

    def relations(self, entities: Iterable[str], direction: Direction = "out") -> list[str]:
        return list(self.counts(entities, direction))

    def edges(
        self, entities: Iterable[str], relation: str, direction: Direction = "out", limit: int | None = None
    ) -> list[Edge]:
        return [edge for edge in self.near(entities, direction) if edge.relation == relation][:limit]

    def objects(self, head: str, relation: str) -> tuple[str, ...]:
        return tuple(edge.tail for edge in self.facts if edge[:2] == (head, relation))

    def subjects(self, relation: str, tail: str) -> tuple[str, ...]:
        return tuple(edge.head for edge in self.facts if edge[1:] == (relation, tail))

    def in_degree(self, entity: str) -> int:
        return len(self.near([entity], "in"))

    def degree(self, entity: str) -> int:
        return len(self.near([entity], "out")) + self.in_degree(entity)

    def labels(self, ids: Iterable[str]) -> dict[str, str]:
        return {id: self.names.get(id, id) for id in ids}

    def describe(self, ids: Iterable[str]) -> dict[str, str]:
        return {id: self.descriptions[id] for id in ids if id in self.descriptions}

    def aliases(self, entity: str) -> tuple[str, ...]:
        return self.others.get(entity, ())

    def link(self, text: str) -> list[str]:
        entities = {end for edge in self.facts for end in (edge.head, edge.tail)}
        called = [id for id in entities if fold(text) in map(fold, (id, self.labels([id])[id], *self.aliases(id)))]

        def rank(id: str) -> tuple[bool, bool, int, str]:
            return self.labels([id])[id] != text, text not in self.aliases(id), -self.degree(id), id

        return sorted(called, key=rank)

    def suggest(self, text: str) -> list[str]:
        return []

    def triples(self, relation: str | None = None) -> Iterator[Edge]:
        return iter([edge for edge in self.facts if relation in (None, edge.relation)])

    def paths(self, entity: str, hops: int) -> Iterator[tuple[Edge, ...]]:
        return walk(self, entity, hops)
