"""A graph with changed facts on top; the graph below is not touched, so dropping the overlay undoes them."""

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from heapq import merge

from upright.knowledge.changes import FactChange
from upright.knowledge.graph import Direction, Edge, KnowledgeGraph, Likeness, Match, Searchable, address, walk
from upright.knowledge.naming import fold
from upright.knowledge.relations import Relations


class Overlay:
    """The graph after some fact changes; itself a `KnowledgeGraph`.

    A change (s, r, o) of a functional relation replaces all facts (s, r, *), of a many-valued one it adds
    the fact. Facts that follow are kept consistent:

    - r symmetric: (o, r, s) is set, and removed, together with (s, r, o).
    - r with inverse q: (o, q, s) is set with (s, r, o). It is removed with (s, r, o) only where q in turn
      names r as its inverse: a capital lies in its country; a town that is the capital no more still does.
    - A change that was asked for holds against facts that follow from others; of two changes of one
      functional (s, r) the later one holds.

    Without `relations` all relations are functional and none has an inverse. Objects may be new to the graph.

    Attributes:
        base: the graph below.
        remote: whether that is far away: each call may take seconds.
        added: facts of the overlay that the graph does not hold, sorted.
        removed: facts of the graph that no longer hold, sorted.
    """

    def __init__(
        self, graph: KnowledgeGraph, changes: Iterable[FactChange], relations: Relations | None = None
    ) -> None:
        self.base = graph
        self.remote = bool(getattr(graph, "remote", False))
        self._words = relations
        # where something changed: (head, relation) -> sorted tails, and (relation, tail) -> sorted heads
        self._objects: dict[tuple[str, str], list[str]] = {}
        self._subjects: dict[tuple[str, str], list[str]] = {}
        self._asked = self._last_of_each(changes)
        self._asked_keys = {edge[:2] for edge in self._asked}
        for edge in self._asked:
            self._set(edge)
        self.added, self.removed = self._difference()
        self._index_difference()

    def _index_difference(self) -> None:
        # entity -> relation -> facts that came minus facts that went; 0 where as many came as went
        self._changed: dict[Direction, dict[str, Counter[str]]] = {
            "out": defaultdict(Counter),
            "in": defaultdict(Counter),
        }
        for edges, sign in ((self.added, 1), (self.removed, -1)):
            for head, relation, tail in edges:
                self._changed["out"][head][relation] += sign
                self._changed["in"][tail][relation] += sign
        self._degrees = Counter(edge.tail for edge in self.added)
        self._degrees.subtract(edge.tail for edge in self.removed)
        self._new_names: dict[str, list[str]] = defaultdict(list)
        for entity in sorted({end for edge in self.added for end in (edge.head, edge.tail)}):
            if entity not in self.base:
                self._new_names[fold(self.base.labels([entity])[entity])].append(entity)

    def _last_of_each(self, changes: Iterable[FactChange]) -> dict[Edge, None]:
        """The changes that hold, in order, as a set with an order."""
        last: dict[tuple[str, ...], Edge] = {}
        for change in changes:
            edge = Edge(change.subject, change.relation, change.object)
            last[edge[:2] if self._functional(edge.relation) else edge] = edge
        return dict.fromkeys(last.values())

    def _functional(self, relation: str) -> bool:
        return self._words is None or self._words[relation].functional

    def _implied(self, edge: Edge) -> list[Edge]:
        """Facts that hold because this one does."""
        if self._words is None or edge.relation not in self._words:
            return []
        words = self._words[edge.relation]
        names = ([edge.relation] if words.symmetric else []) + ([words.inverse] if words.inverse else [])
        return [Edge(edge.tail, name, edge.head) for name in names]

    def _set(self, edge: Edge) -> None:
        if self._functional(edge.relation):
            for tail in self.objects(edge.head, edge.relation):
                if tail != edge.tail:
                    self._remove(Edge(edge.head, edge.relation, tail))
        if not self._holds(edge):
            objects, subjects = self._beside(edge)
            insort(objects, edge.tail)
            insort(subjects, edge.head)
        for other in self._implied(edge):
            if not self._holds(other) and not self._asked_otherwise(other):
                self._set(other)

    def _remove(self, edge: Edge) -> None:
        if edge in self._asked:
            return
        objects, subjects = self._beside(edge)
        objects.remove(edge.tail)
        subjects.remove(edge.head)
        for other in self._implied(edge):
            if edge in self._implied(other) and self._holds(other):
                self._remove(other)

    def _asked_otherwise(self, edge: Edge) -> bool:
        """Whether a change gave this functional (head, relation) its object."""
        return edge[:2] in self._asked_keys and self._functional(edge.relation)

    def _holds(self, edge: Edge) -> bool:
        return edge.tail in self.objects(edge.head, edge.relation)

    def _beside(self, edge: Edge) -> tuple[list[str], list[str]]:
        """The changeable tails of (head, relation) and heads of (relation, tail)."""
        head, relation, tail = edge
        if (head, relation) not in self._objects:
            self._objects[head, relation] = sorted(self.base.objects(head, relation))
        if (relation, tail) not in self._subjects:
            self._subjects[relation, tail] = sorted(self.base.subjects(relation, tail))
        return self._objects[head, relation], self._subjects[relation, tail]

    def _difference(self) -> tuple[tuple[Edge, ...], tuple[Edge, ...]]:
        added, removed = list[Edge](), list[Edge]()
        for (head, relation), tails in self._objects.items():
            before, after = set(self.base.objects(head, relation)), set(tails)
            added += (Edge(head, relation, tail) for tail in after - before)
            removed += (Edge(head, relation, tail) for tail in before - after)
        return tuple(sorted(added)), tuple(sorted(removed))

    def __contains__(self, entity: object) -> bool:
        return isinstance(entity, str) and bool(self.relations([entity], "out") or self.relations([entity], "in"))

    def link(self, text: str) -> list[str]:
        return [entity for entity in self.base.link(text) if entity in self] + self._new_names.get(fold(text), [])

    def suggest(self, text: str) -> list[str]:
        return self.base.suggest(text)

    def relations(self, entities: Iterable[str], direction: Direction = "out") -> list[str]:
        return list(self.counts(entities, direction))

    def counts(self, entities: Iterable[str], direction: Direction = "out") -> dict[str, int]:
        near = set(entities)
        found = Counter(self.base.counts(near, direction))
        for entity in near:
            found.update(self._changed[direction].get(entity, {}))
        return {relation: found[relation] for relation in sorted(found) if found[relation]}

    def edges(
        self, entities: Iterable[str], relation: str, direction: Direction = "out", limit: int | None = None
    ) -> list[Edge]:
        near = set(entities)
        changed = {entity for entity in near if relation in self._changed[direction].get(entity, ())}
        kept = self.base.edges(near - changed, relation, direction, limit)
        if direction == "out":
            own = (Edge(head, relation, tail) for head in changed for tail in self.objects(head, relation))
        else:
            own = (Edge(head, relation, tail) for tail in changed for head in self.subjects(relation, tail))
        return sorted([*kept, *own])[:limit]

    def objects(self, head: str, relation: str) -> tuple[str, ...]:
        changed = self._objects.get((head, relation))
        return self.base.objects(head, relation) if changed is None else tuple(changed)

    def subjects(self, relation: str, tail: str) -> tuple[str, ...]:
        changed = self._subjects.get((relation, tail))
        return self.base.subjects(relation, tail) if changed is None else tuple(changed)

    def in_degree(self, entity: str) -> int:
        return self.base.in_degree(entity) + self._degrees[entity]

    def labels(self, ids: Iterable[str]) -> dict[str, str]:
        return self.base.labels(ids)

    def address(self, id: str) -> str | None:
        """As the graph below says; see `upright.knowledge.graph.address`."""
        return address(self.base, id)

    def describe(self, ids: Iterable[str]) -> dict[str, str]:
        return self.base.describe(ids)

    def search(self, text: str, likeness: Likeness, limit: int) -> list[Match]:
        """What the graph below finds, without things that are in no fact any more; see `Searchable`."""
        if not isinstance(self.base, Searchable):
            return []
        gone = sum(entity not in self for entity in {end for edge in self.removed for end in (edge.head, edge.tail)})
        return [match for match in self.base.search(text, likeness, limit + gone) if match.entity in self][:limit]

    def aliases(self, entity: str) -> tuple[str, ...]:
        return self.base.aliases(entity)

    def qualifiers(self, edge: Edge) -> tuple[tuple[str, str], ...]:
        """What restricts a fact, as the graph below says; added facts have nothing that does."""
        ask = getattr(self.base, "qualifiers", None)
        return () if ask is None or edge in self.added else tuple(ask(edge))

    @property
    def notes(self) -> list[str]:
        """What went wrong in the graph below, where it keeps notes."""
        return list(getattr(self.base, "notes", ()))

    def triples(self, relation: str | None = None) -> Iterator[Edge]:
        removed = set(self.removed)
        kept = (edge for edge in self.base.triples(relation) if edge not in removed)
        return merge(kept, (edge for edge in self.added if relation in (None, edge.relation)))

    def paths(self, entity: str, hops: int) -> Iterator[tuple[Edge, ...]]:
        return walk(self, entity, hops)
