"""Several knowledge graphs as one."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product, zip_longest

from upright.errors import UserError, unknown
from upright.knowledge.failures import GraphError
from upright.knowledge.graph import Direction, Edge, KnowledgeGraph, Likeness, Match, Searchable, walk
from upright.knowledge.same_as import Classes, Pair, graph_of

TO_SORT = 10_000  # facts that are fetched whole to find the first of them


class Federation:
    """Several graphs, and what is the same in them; see `KnowledgeGraph` for what its methods answer.

    Every id is written `name:id`, with the name of its graph. Ids that pairs declare to be one thing are one,
    which goes by its first member: that of the graph named first, then the least id. Relations stay those of
    their graphs. A graph that fails (`GraphError`) is left out of an answer and leaves a line in `notes`.

    With a `limit`, facts of a graph whose ids stand for those of another one come in the order of its own
    ids where there are more than `TO_SORT` of them.

    Args:
        graphs: by name; the order counts.
        same_as: pairs of namespaced ids that mean the same thing; what a graph does not hold does no harm.

    Attributes:
        pairs: the links in force.
        notes: what went wrong, a line for each time.
    """

    def __init__(self, graphs: Mapping[str, KnowledgeGraph], same_as: Iterable[Pair] = ()) -> None:
        if not graphs:
            raise UserError("a federation of no graphs; give one or more")
        for name in graphs:
            if not name or ":" in name:
                raise UserError(f"graph name {name!r}: give a name without a colon")
        self.pairs = frozenset(same_as)
        for id in sorted({id for pair in self.pairs for id in pair}):
            if graph_of(id) not in graphs:
                raise unknown("graph", graph_of(id), graphs)
        self.notes: list[str] = []
        self.remote = any(getattr(graph, "remote", False) for graph in graphs.values())
        self._graphs = dict(graphs)
        self._same = Classes(self.pairs, list(graphs))
        self._folded = self._same.folded()
        self._renamed = self._same.linked() - set(list(graphs)[:1]) | self._folded

    def linked(self, *pairs: Pair) -> "Federation":
        """The same graphs with further links; the notes go on in the same list."""
        return self._with(self.pairs.union(pairs))

    def unlinked(self, *pairs: Pair) -> "Federation":
        """The same graphs without some links, in either direction: as if they had never been made."""
        return self._with(self.pairs.difference(pairs, [(right, left) for left, right in pairs]))

    def _with(self, pairs: Iterable[Pair]) -> "Federation":
        other = Federation(self._graphs, pairs)
        other.notes = self.notes
        return other

    # --- ids ---

    def members(self, entity: str) -> tuple[str, ...]:
        """All ids, in all graphs, that mean the same as this one."""
        return self._same.members(entity)

    def _local(self, entities: Iterable[str]) -> dict[str, list[str]]:
        """The ids in each graph that some entities stand for, sorted."""
        found: dict[str, set[str]] = {name: set() for name in self._graphs}
        for entity in set(entities):
            for member in self._same.members(entity):
                name, colon, id = member.partition(":")
                if colon and name in found:
                    found[name].add(id)
        return {name: sorted(ids) for name, ids in found.items() if ids}

    def _global(self, name: str, id: str) -> str:
        return self._same.first(f"{name}:{id}")

    def _edge(self, name: str, edge: Edge) -> Edge:
        return Edge(self._global(name, edge.head), f"{name}:{edge.relation}", self._global(name, edge.tail))

    @contextmanager
    def _noting(self, name: str) -> Iterator[None]:
        """Go on after the block when the graph fails in it, with a note."""
        try:
            yield
        except GraphError as error:
            self.notes.append(f"{name}: {error}")

    # --- facts ---

    def __contains__(self, entity: object) -> bool:
        if isinstance(entity, str):
            for name, ids in self._local([entity]).items():
                with self._noting(name):
                    if any(id in self._graphs[name] for id in ids):
                        return True
        return False

    def counts(self, entities: Iterable[str], direction: Direction = "out") -> dict[str, int]:
        found: dict[str, int] = {}
        for name, ids in self._local(entities).items():
            with self._noting(name):
                for relation, number in self._graphs[name].counts(ids, direction).items():
                    if name in self._folded:  # facts of two ids that are one may be one fact
                        number = len(self._edges(name, ids, relation, direction, None))
                    found[f"{name}:{relation}"] = number
        return {relation: found[relation] for relation in sorted(found)}

    def relations(self, entities: Iterable[str], direction: Direction = "out") -> list[str]:
        found: list[str] = []
        for name, ids in self._local(entities).items():
            with self._noting(name):
                found += (f"{name}:{relation}" for relation in self._graphs[name].relations(ids, direction))
        return sorted(found)

    def edges(
        self, entities: Iterable[str], relation: str, direction: Direction = "out", limit: int | None = None
    ) -> list[Edge]:
        name, _, local = relation.partition(":")
        ids = self._local(entities).get(name, [])
        with self._noting(name):
            return self._edges(name, ids, local, direction, limit)[:limit] if ids else []
        return []

    def _edges(self, name: str, ids: list[str], relation: str, direction: Direction, limit: int | None) -> list[Edge]:
        graph, first = self._graphs[name], limit
        if limit is not None and name in self._renamed:  # what is first there may not be first here
            many = graph.counts(ids, direction).get(relation, 0) > TO_SORT
            first = limit if many else None
        return sorted({self._edge(name, edge) for edge in graph.edges(ids, relation, direction, first)})

    def objects(self, head: str, relation: str) -> tuple[str, ...]:
        return tuple(edge.tail for edge in self.edges([head], relation))

    def subjects(self, relation: str, tail: str) -> tuple[str, ...]:
        return tuple(edge.head for edge in self.edges([tail], relation, "in"))

    def in_degree(self, entity: str) -> int:
        return sum(self.counts([entity], "in").values())

    def triples(self, relation: str | None = None) -> Iterator[Edge]:
        """All facts, or all facts of one relation; they are read whole before the first is given, to sort them."""
        if relation is None:
            wanted: list[tuple[str, str | None]] = [(name, None) for name in self._graphs]
        else:
            name, _, local = relation.partition(":")
            wanted = [(name, local)] if name in self._graphs else []
        found = set[Edge]()
        for name, local_relation in wanted:
            with self._noting(name):
                found.update(self._edge(name, edge) for edge in self._graphs[name].triples(local_relation))
        yield from sorted(found)

    def paths(self, entity: str, hops: int) -> Iterator[tuple[Edge, ...]]:
        return walk(self, entity, hops)

    def qualifiers(self, edge: Edge) -> tuple[tuple[str, str], ...]:
        """What restricts a fact, from the graph that states it: (relation, value), sorted."""
        name, _, relation = edge.relation.partition(":")
        ask = getattr(self._graphs.get(name), "qualifiers", None)
        found = set[tuple[str, str]]()
        if ask is not None:
            heads, tails = (self._local([end]).get(name, []) for end in (edge.head, edge.tail))
            with self._noting(name):
                for head, tail in product(heads, tails):
                    found.update(ask(Edge(head, relation, tail)))
        return tuple(sorted((f"{name}:{key}", self._global(name, value)) for key, value in found))

    # --- names ---

    def labels(self, ids: Iterable[str]) -> dict[str, str]:
        asked = list(dict.fromkeys(ids))
        texts: dict[str, dict[str, str]] = {}
        for name, some in self._local(asked).items():
            with self._noting(name):
                labels = self._graphs[name].labels(some)
                texts[name] = {id: label for id, label in labels.items() if label != id}
        found = self._first_of(asked, texts)
        return {id: found.get(id) or self._bare(id) for id in asked}

    def describe(self, ids: Iterable[str]) -> dict[str, str]:
        asked = list(dict.fromkeys(ids))
        texts: dict[str, dict[str, str]] = {}
        for name, some in self._local(asked).items():
            with self._noting(name):
                texts[name] = self._graphs[name].describe(some)
        return self._first_of(asked, texts)

    def aliases(self, entity: str) -> tuple[str, ...]:
        names: list[str] = []
        for name, ids in self._local([entity]).items():
            with self._noting(name):
                labels = self._graphs[name].labels(ids)
                for id in ids:
                    names += [label for label in (labels[id],) if label != id]
                    names += self._graphs[name].aliases(id)
        known = self.labels([entity])[entity]
        return tuple(name for name in dict.fromkeys(names) if name != known)

    def link(self, text: str) -> list[str]:
        """Ids of all things called `text` in any graph: the likeliest of each graph, then the second of each."""
        found = [self._same.first(text)] if text in self else []
        ranked: list[list[str]] = []
        for name, graph in self._graphs.items():
            with self._noting(name):
                ranked.append([self._global(name, id) for id in graph.link(text)])
        return _in_turn([found, *ranked])

    def suggest(self, text: str) -> list[str]:
        ranked: list[list[str]] = []
        for name, graph in self._graphs.items():
            with self._noting(name):
                ranked.append(graph.suggest(text))
        return _in_turn(ranked)

    def search(self, text: str, likeness: Likeness, limit: int) -> list[Match]:
        """What the graphs that have a search find, the best of each, then the second of each; see `Searchable`."""
        relevance: dict[str, float] = {}
        ranked: list[list[str]] = []
        for name, graph in self._graphs.items():
            if isinstance(graph, Searchable):
                with self._noting(name):
                    matches = [(self._global(name, id), near) for id, near in graph.search(text, likeness, limit)]
                    ranked.append([id for id, _ in matches])
                    relevance = dict(matches) | relevance
        return [Match(id, relevance[id]) for id in _in_turn(ranked)[:limit]]

    def _first_of(self, ids: list[str], texts: dict[str, dict[str, str]]) -> dict[str, str]:
        """For each id the text of its first member that has one."""
        found: dict[str, str] = {}
        for id in ids:
            for member in self._same.members(id):
                name, _, rest = member.partition(":")
                if text := texts.get(name, {}).get(rest):
                    found.setdefault(id, text)
        return found

    def _bare(self, id: str) -> str:
        """What an entity without a label is called: its id in its own graph."""
        name, _, rest = self._same.first(id).partition(":")
        return rest if name in self._graphs and rest else id


def _in_turn(ranked: list[list[str]]) -> list[str]:
    """All texts of several lists, the first of each, then the second of each, and so on; each text once."""
    return list(dict.fromkeys(text for row in zip_longest(*ranked) for text in row if text is not None))
