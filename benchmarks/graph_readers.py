"""Graphs behind one small interface: ours, and peers asked in the way their own manuals show.

Each answers the three questions of a step in a traversal about one entity. Labels are no facts: the stores that hold
them as triples leave them out.
"""

from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import pyoxigraph as rdf

from benchmarks.wide_graph import LABEL, Facts
from upright.knowledge.graph import Direction, KnowledgeGraph


class Reader(Protocol):
    """What is timed."""

    def relations(self, entity: str, direction: Direction) -> list[str]:
        """Relations of the facts of an entity."""
        ...

    def counts(self, entity: str, direction: Direction) -> dict[str, int]:
        """Facts of each of them."""
        ...

    def edges(self, entity: str, relation: str, direction: Direction, limit: int | None = None) -> list[str]:
        """Other ends of the facts of one of them, at most so many."""
        ...


class Ours:
    """Any graph of this project."""

    def __init__(self, graph: KnowledgeGraph) -> None:
        self._graph = graph

    def relations(self, entity: str, direction: Direction) -> list[str]:
        return self._graph.relations([entity], direction)

    def counts(self, entity: str, direction: Direction) -> dict[str, int]:
        return self._graph.counts([entity], direction)

    def edges(self, entity: str, relation: str, direction: Direction, limit: int | None = None) -> list[str]:
        facts = self._graph.edges([entity], relation, direction, limit)
        return [fact.tail for fact in facts] if direction == "out" else [fact.head for fact in facts]


class Queries:
    """Oxigraph through SPARQL."""

    def __init__(self, store: rdf.Store) -> None:
        self._store = store

    def relations(self, entity: str, direction: Direction) -> list[str]:
        where = _where(f"<{entity}>", "?p", "?x", direction)
        return _column(self._store, f"SELECT DISTINCT ?p WHERE {{ {where} FILTER(?p != <{LABEL}>) }}")

    def counts(self, entity: str, direction: Direction) -> dict[str, int]:
        where = _where(f"<{entity}>", "?p", "?x", direction)
        found: Any = self._store.query(
            f"SELECT ?p (COUNT(*) AS ?n) WHERE {{ {where} FILTER(?p != <{LABEL}>) }} GROUP BY ?p"
        )
        return {row[0].value: int(row[1].value) for row in found}

    def edges(self, entity: str, relation: str, direction: Direction, limit: int | None = None) -> list[str]:
        where = _where(f"<{entity}>", f"<{relation}>", "?x", direction)
        return _column(self._store, f"SELECT ?x WHERE {{ {where} }}{'' if limit is None else f' LIMIT {limit}'}")


def _where(near: str, relation: str, far: str, direction: Direction) -> str:
    return f"{near} {relation} {far} ." if direction == "out" else f"{far} {relation} {near} ."


def _column(store: rdf.Store, query: str) -> list[str]:
    found: Any = store.query(query)
    return [row[0].value for row in found]


class Patterns:
    """Oxigraph through `quads_for_pattern`, without a query to plan."""

    def __init__(self, store: rdf.Store) -> None:
        self._store = store

    def _facts(self, entity: str, relation: rdf.NamedNode | None, direction: Direction) -> Iterable[rdf.Quad]:
        node = rdf.NamedNode(entity)
        subject, object_ = (node, None) if direction == "out" else (None, node)
        return self._store.quads_for_pattern(subject, relation, object_, None)

    def relations(self, entity: str, direction: Direction) -> list[str]:
        return list(self.counts(entity, direction))

    def counts(self, entity: str, direction: Direction) -> dict[str, int]:
        found = Counter(fact.predicate.value for fact in self._facts(entity, None, direction))
        del found[LABEL]
        return dict(found)

    def edges(self, entity: str, relation: str, direction: Direction, limit: int | None = None) -> list[str]:
        facts: Any = islice(self._facts(entity, rdf.NamedNode(relation), direction), limit)
        return [fact.object.value if direction == "out" else fact.subject.value for fact in facts]


class RdfLib:
    """rdflib.Graph. Raises `ImportError` where rdflib is not there."""

    def __init__(self, path: Path) -> None:
        library = import_module("rdflib")
        self._term = library.URIRef
        self._graph = library.Graph().parse(path, format="nt")

    def _ends(self, entity: str, direction: Direction) -> dict[str, Any]:
        return {"subject": self._term(entity)} if direction == "out" else {"object": self._term(entity)}

    def relations(self, entity: str, direction: Direction) -> list[str]:
        found = self._graph.predicates(**self._ends(entity, direction), unique=True)
        return [str(term) for term in found if str(term) != LABEL]

    def counts(self, entity: str, direction: Direction) -> dict[str, int]:
        found = Counter(map(str, self._graph.predicates(**self._ends(entity, direction))))
        del found[LABEL]
        return dict(found)

    def edges(self, entity: str, relation: str, direction: Direction, limit: int | None = None) -> list[str]:
        ends = self._graph.objects if direction == "out" else self._graph.subjects
        found = ends(**self._ends(entity, direction), predicate=self._term(relation))
        return [str(term) for term in islice(found, limit)]


class NetworkX:
    """networkx.MultiDiGraph with relations as keys. Raises `ImportError` where networkx is not there."""

    def __init__(self, facts: Facts) -> None:
        self._graph = import_module("networkx").MultiDiGraph()
        self._graph.add_edges_from((fact.head, fact.tail, fact.relation) for fact in facts.edges())

    def _facts(self, entity: str, direction: Direction) -> Iterable[tuple[str, str]]:
        """Other end and relation."""
        if direction == "out":
            return ((tail, kind) for _, tail, kind in self._graph.out_edges(entity, keys=True))
        return ((head, kind) for head, _, kind in self._graph.in_edges(entity, keys=True))

    def relations(self, entity: str, direction: Direction) -> list[str]:
        return list({kind for _, kind in self._facts(entity, direction)})

    def counts(self, entity: str, direction: Direction) -> dict[str, int]:
        return dict(Counter(kind for _, kind in self._facts(entity, direction)))

    def edges(self, entity: str, relation: str, direction: Direction, limit: int | None = None) -> list[str]:
        return list(islice((end for end, kind in self._facts(entity, direction) if kind == relation), limit))
