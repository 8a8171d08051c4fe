"""What every knowledge graph offers: a set of facts (head, relation, tail) between named things.

Heads, relations and tails are known by their ids. In a graph read from plain tables the id is the name
itself; elsewhere ids and labels differ (Wikidata: id Q142, label France). All answers are sorted by id, so
that nothing depends on the order in which a graph was read.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple, Protocol, runtime_checkable
from urllib.parse import unquote

Direction = Literal["out", "in"]


class Edge(NamedTuple):
    """One fact, by ids."""

    head: str
    relation: str
    tail: str


class KnowledgeGraph(Protocol):
    """A graph to read. Ids that the graph does not hold have no edges; they are not errors."""

    def __contains__(self, entity: object) -> bool:
        """Whether the id is the head or tail of some fact."""
        ...

    def link(self, text: str) -> list[str]:
        """Ids of all things called `text`, by id, label or alias, the likeliest first."""
        ...

    def suggest(self, text: str) -> list[str]:
        """Names in the graph that look like `text`, the closest first: for messages about typing errors."""
        ...

    def relations(self, entities: Iterable[str], direction: Direction = "out") -> list[str]:
        """Relations of the facts in which one of the entities is the head ("out") or the tail ("in")."""
        ...

    def counts(self, entities: Iterable[str], direction: Direction = "out") -> dict[str, int]:
        """How many facts each of these relations has there, sorted by relation; its keys are `relations`."""
        ...

    def edges(
        self, entities: Iterable[str], relation: str, direction: Direction = "out", limit: int | None = None
    ) -> list[Edge]:
        """Facts of the relation in which one of the entities is the head ("out") or the tail ("in").

        With a limit the first so many by (head, relation, tail); `counts` tells how many there are.
        """
        ...

    def objects(self, head: str, relation: str) -> tuple[str, ...]:
        """All tails of (head, relation)."""
        ...

    def subjects(self, relation: str, tail: str) -> tuple[str, ...]:
        """All heads of (relation, tail)."""
        ...

    def in_degree(self, entity: str) -> int:
        """Number of facts whose tail is the entity."""
        ...

    def labels(self, ids: Iterable[str]) -> dict[str, str]:
        """Label of each entity or relation; an id without a label stands for itself."""
        ...

    def describe(self, ids: Iterable[str]) -> dict[str, str]:
        """A short description of those entities that have one."""
        ...

    def aliases(self, entity: str) -> tuple[str, ...]:
        """Other names of an entity, without its label."""
        ...

    def triples(self, relation: str | None = None) -> Iterator[Edge]:
        """All facts, or all facts of one relation."""
        ...

    def paths(self, entity: str, hops: int) -> Iterator[tuple[Edge, ...]]:
        """All walks of 1 to `hops` facts that start at the entity, from heads to tails; see `walk`."""
        ...


class Derived:
    """What follows from `counts` and `edges` alone, for graphs that know no shorter way."""

    def objects(self: KnowledgeGraph, head: str, relation: str) -> tuple[str, ...]:
        return tuple(edge.tail for edge in self.edges([head], relation))

    def subjects(self: KnowledgeGraph, relation: str, tail: str) -> tuple[str, ...]:
        return tuple(edge.head for edge in self.edges([tail], relation, "in"))

    def in_degree(self: KnowledgeGraph, entity: str) -> int:
        return sum(self.counts([entity], "in").values())

    def paths(self: KnowledgeGraph, entity: str, hops: int) -> Iterator[tuple[Edge, ...]]:
        return walk(self, entity, hops)


Likeness = Literal["prefix", "words", "letters"]


class Match(NamedTuple):
    """An entity with a name that is like a text, and how near the two are (more is nearer)."""

    entity: str
    relevance: float


@runtime_checkable
class Searchable(Protocol):
    """What a graph with an index of its names offers beyond `KnowledgeGraph`."""

    def search(self, text: str, likeness: Likeness, limit: int) -> list[Match]:
        """Entities with a name like `text`, each once, the best first, at most `limit`.

        "prefix": the name begins with the text; those with most facts come first. "words": they have words in
        common, rare ones counting more. "letters": they share most of their letters, as with a typing error.
        Case, accents, punctuation and a leading article make no difference.
        """
        ...


def address(graph: KnowledgeGraph, id: str) -> str | None:
    """Where on the web a thing is shown, if its id is a web address or the graph knows one for it (`address`)."""
    own: Callable[[str], str | None] | None = getattr(graph, "address", None)
    found = own(id) if own else id
    return found if found and found.startswith(("http://", "https://")) else None


@runtime_checkable
class Queryable(Protocol):
    """What a graph that answers SPARQL offers beyond `KnowledgeGraph`."""

    def query(self, text: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """The variables of a query, and the rows of its answer."""
        ...


@runtime_checkable
class LinkedData(Protocol):
    """What a graph of linked data, whose ids are shortened IRIs, offers beyond `KnowledgeGraph`."""

    def statements(
        self, entities: Iterable[str], relation: str, direction: Direction = "out", limit: int | None = None
    ) -> list[Edge]:
        """`edges`, also of a relation that leads out of the graph and is left out there, such as an identifier."""
        ...

    def short(self, id: str) -> str:
        """An IRI, or an id, as this graph writes it."""
        ...

    def full(self, id: str) -> str:
        """The id with its prefix spelt out; one without a known prefix stays as it is."""
        ...


def local_name(iri: str) -> str:
    """The last part of an IRI or a path, with its escapes read.

    >>> local_name("http://example.org/S%C3%A3o_Paulo")
    'São_Paulo'
    """
    return unquote(re.split(r"[/#]", iri.rstrip("/#"))[-1]) or iri


def walk(graph: KnowledgeGraph, entity: str, hops: int) -> Iterator[tuple[Edge, ...]]:
    """All forward walks of 1 to `hops` edges from an entity, depth first, each before its continuations.

    A walk may meet an entity twice: what counts as a useful chain is the caller's choice.
    """
    if hops < 1:
        return
    for relation in graph.relations([entity]):
        for tail in graph.objects(entity, relation):
            edge = Edge(entity, relation, tail)
            yield (edge,)
            for rest in walk(graph, tail, hops - 1):
                yield (edge, *rest)


def follow(graph: KnowledgeGraph, head: str, chain: Iterable[str]) -> tuple[str, ...] | None:
    """The entities met along a chain, the head first; None unless every step has exactly one object."""
    met = [head]
    for relation in chain:
        objects = graph.objects(met[-1], relation)
        if len(objects) != 1:
            return None
        met.append(objects[0])
    return tuple(met)
