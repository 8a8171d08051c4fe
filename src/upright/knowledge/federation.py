"""Several knowledge graphs as one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product, zip_longest
from typing import NamedTuple

from upright.errors import UserError, unknown
from upright.knowledge.failures import GraphError, note
from upright.knowledge.graph import Derived, Direction, Edge, KnowledgeGraph, Likeness, Match, Searchable, address
from upright.knowledge.links import Found, Links, Rule
from upright.knowledge.literals import moment, quantity
from upright.knowledge.overlay import Overlay
from upright.knowledge.same_as import Pair, graph_of

TO_SORT = 10_000  # facts that are fetched whole to find the first of them


class Federation(Derived):
    """Several graphs, and what is the same in them; see `KnowledgeGraph` for what its methods answer.

    Every id is written `name:id`, with the name of its graph. Ids that pairs declare to be one thing are one,
    which goes by its first member: that of the graph named first, then the least id. Relations stay those of
    their graphs. A graph that fails (`GraphError`) is left out of an answer and leaves a line in `notes`, and in
    those of the `noting` block around the call.

    With a `limit`, facts of a graph whose ids stand for those of another one come in the order of its own
    ids where there are more than `TO_SORT` of them, or where the links were found by `rules`.

    Args:
        graphs: by name; the order counts.
        same_as: pairs of namespaced ids that mean the same thing; what a graph does not hold does no harm.
        rules: how further links are found, whenever a thing is met for the first time; see `Links`.

    Attributes:
        graphs: by name.
        declared: the pairs of `same_as`.
        remote: whether some graph is far away, so that a call may take seconds; `is_far`: all are.
        notes: what went wrong, a line for each time.
    """

    def __init__(
        self, graphs: Mapping[str, KnowledgeGraph], same_as: Iterable[Pair] = (), rules: Sequence[Rule] = ()
    ) -> None:
        if not graphs:
            raise UserError("a federation of no graphs; give one or more")
        for name in graphs:
            if not name or ":" in name:
                raise UserError(f"graph name {name!r}: give a name without a colon")
        self.declared = frozenset(same_as)
        for id in sorted({id for pair in self.declared for id in pair}):
            if graph_of(id) not in graphs:
                raise unknown("graph", graph_of(id), graphs)
        self.remote, self.is_far = any(map(_far, graphs.values())), all(map(_far, graphs.values()))
        self.graphs = dict(graphs)
        self._use(Links(rules, self.declared, list(graphs)), [])

    def _use(self, same: Links, notes: list[str]) -> None:
        self._same, self.notes = same, notes
        same.notes = notes
        self._folded = same.folded()
        self._renamed = same.linked() - set(list(self.graphs)[:1]) | self._folded

    # --- links ---

    @property
    def pairs(self) -> frozenset[Pair]:
        """The links in force: those declared, and those found for all that was met so far."""
        return self.declared.union(self._same.found)

    @property
    def ways(self) -> list[str]:
        """How links are found, beside those declared."""
        return list(dict.fromkeys(rule.how for rule in self._same.rules))

    def linked(self, *pairs: Pair) -> "Federation":
        """The same graphs with further links; the notes go on in the same list."""
        return self._with(self.declared.union(pairs), self._same.refused.difference(pairs))

    def unlinked(self, *pairs: Pair) -> "Federation":
        """The same graphs without some links, in either direction: as if they had never been made."""
        both = {*pairs, *((right, left) for left, right in pairs)}
        return self._with(self.declared - both, self._same.refused | both)

    def _with(self, pairs: Iterable[Pair], refused: Iterable[Pair]) -> "Federation":
        other = Federation(self.graphs, pairs)
        other._use(Links(self._same.rules, other.declared, list(self.graphs), refused), self.notes)
        return other

    def meet(self, ids: Iterable[str]) -> None:
        """Find what some ids are linked to by the rules. All methods do so for the ids they take and give."""
        self._same.meet(ids)

    def found(self, ids: Iterable[str] | None = None) -> list[Found]:
        """The links that the rules found for some ids, or for all that was met so far."""
        if ids is None:
            return sorted(Found(pair, how) for pair, how in self._same.found.items())
        asked = list(ids)
        self.meet(asked)
        return self._same.of(asked)

    # --- ids ---

    def members(self, entity: str) -> tuple[str, ...]:
        """All ids, in all graphs, that mean the same as this one."""
        self.meet([entity])
        return self._same.members(entity)

    def text(self, id: str) -> str:
        """The id in its own graph; of a literal its text."""
        name, colon, rest = id.partition(":")
        return rest if colon and name in self.graphs else id

    def likeliest(self, ids: Iterable[str]) -> list[str]:
        """Of ids in the order of `link` the first of each graph: what a name means to each of them."""
        first: dict[str, str] = {}
        for id in ids:
            first.setdefault(graph_of(id), id)
        return list(first.values())

    def _local(self, entities: Iterable[str]) -> dict[str, list[str]]:
        """The ids in each graph that some entities stand for, sorted."""
        found: dict[str, set[str]] = {name: set() for name in self.graphs}
        asked = set(entities)
        self.meet(asked)
        for entity in asked:
            for member in self._same.members(entity):
                name, colon, id = member.partition(":")
                if colon and name in found:
                    found[name].add(id)
        return {name: sorted(ids) for name, ids in found.items() if ids}

    def _global(self, name: str, ids: Iterable[str]) -> list[str]:
        """What the ids of a graph are called here."""
        here = [f"{name}:{id}" for id in ids]
        self.meet(here)
        return [self._same.first(id) for id in here]

    def _facts(self, name: str, edges: Iterable[Edge]) -> set[Edge]:
        """Facts of a graph as they are written here."""
        read = list(edges)
        ends = self._global(name, [edge.head for edge in read] + [edge.tail for edge in read])
        heads, tails = ends[: len(read)], ends[len(read) :]
        return {Edge(h, f"{name}:{edge.relation}", t) for h, edge, t in zip(heads, read, tails, strict=True)}

    @contextmanager
    def _noting(self, name: str) -> Iterator[None]:
        """Go on after the block when the graph fails in it, with a note."""
        try:
            yield
        except GraphError as error:
            self.notes.append(f"{name}: {error}")
            note(f"{name}: {error}")

    # --- facts ---

    def __contains__(self, entity: object) -> bool:
        if isinstance(entity, str):
            for name, ids in self._local([entity]).items():
                with self._noting(name):
                    if any(id in self.graphs[name] for id in ids):
                        return True
        return False

    def counts(self, entities: Iterable[str], direction: Direction = "out") -> dict[str, int]:
        found: dict[str, int] = {}
        for name, ids in self._local(entities).items():
            with self._noting(name):
                for relation, number in self.graphs[name].counts(ids, direction).items():
                    if name in self._folded:  # facts of two ids that are one may be one fact
                        number = len(self._edges(name, ids, relation, direction, None))
                    found[f"{name}:{relation}"] = number
        return {relation: found[relation] for relation in sorted(found)}

    def relations(self, entities: Iterable[str], direction: Direction = "out") -> list[str]:
        found: list[str] = []
        for name, ids in self._local(entities).items():
            with self._noting(name):
                found += (f"{name}:{relation}" for relation in self.graphs[name].relations(ids, direction))
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
        graph, first = self.graphs[name], limit
        if limit is not None and name in self._renamed:  # what is first there may not be first here
            many = graph.counts(ids, direction).get(relation, 0) > TO_SORT
            first = limit if many else None
        return sorted(self._facts(name, graph.edges(ids, relation, direction, first)))

    def triples(self, relation: str | None = None) -> Iterator[Edge]:
        """All facts, or all facts of one relation; they are read whole before the first is given, to sort them."""
        if relation is None:
            wanted: list[tuple[str, str | None]] = [(name, None) for name in self.graphs]
        else:
            name, _, local = relation.partition(":")
            wanted = [(name, local)] if name in self.graphs else []
        found = set[Edge]()
        for name, local_relation in wanted:
            with self._noting(name):
                found |= self._facts(name, self.graphs[name].triples(local_relation))
        yield from sorted(found)

    def qualifiers(self, edge: Edge) -> tuple[tuple[str, str], ...]:
        """What restricts a fact, from the graph that states it: (relation, value), sorted."""
        name, _, relation = edge.relation.partition(":")
        ask = getattr(self.graphs.get(name), "qualifiers", None)
        found = set[tuple[str, str]]()
        if ask is not None:
            heads, tails = (self._local([end]).get(name, []) for end in (edge.head, edge.tail))
            with self._noting(name):
                for head, tail in product(heads, tails):
                    found.update(ask(Edge(head, relation, tail)))
        values = self._global(name, (value for _, value in sorted(found)))
        return tuple(sorted((f"{name}:{key}", value) for (key, _), value in zip(sorted(found), values, strict=True)))

    # --- names ---

    def labels(self, ids: Iterable[str]) -> dict[str, str]:
        asked = list(dict.fromkeys(ids))
        texts: dict[str, dict[str, str]] = {}
        for name, some in self._local(asked).items():
            with self._noting(name):
                labels = self.graphs[name].labels(some)
                texts[name] = {id: label for id, label in labels.items() if label != id}
        found = self._first_of(asked, texts)
        return {id: found.get(id) or self._bare(id) for id in asked}

    def address(self, id: str) -> str | None:
        """As the thing's own graph says; see `upright.knowledge.graph.address`."""
        name, _, local = id.partition(":")
        return address(self.graphs[name], local) if name in self.graphs else None

    def describe(self, ids: Iterable[str]) -> dict[str, str]:
        asked = list(dict.fromkeys(ids))
        texts: dict[str, dict[str, str]] = {}
        for name, some in self._local(asked).items():
            with self._noting(name):
                texts[name] = self.graphs[name].describe(some)
        return self._first_of(asked, texts)

    def aliases(self, entity: str) -> tuple[str, ...]:
        names: list[str] = []
        for name, ids in self._local([entity]).items():
            with self._noting(name):
                labels = self.graphs[name].labels(ids)
                for id in ids:
                    names += [label for label in (labels[id],) if label != id]
                    names += self.graphs[name].aliases(id)
        known = self.labels([entity])[entity]
        return tuple(name for name in dict.fromkeys(names) if name != known)

    def link(self, text: str) -> list[str]:
        """Ids of all things called `text` in any graph: the likeliest of each graph, then the second of each."""
        found = [self._same.first(text)] if text in self else []
        return _in_turn([found, *self._linked_in(self.graphs, text)])

    def link_near(self, text: str) -> list[str]:
        """What `link` finds by name in the graphs at hand alone."""
        return _in_turn(self._linked_in({n: g for n, g in self.graphs.items() if not _far(g)}, text))

    def _linked_in(self, graphs: Mapping[str, KnowledgeGraph], text: str) -> list[list[str]]:
        ranked: list[list[str]] = []
        for name, graph in graphs.items():
            with self._noting(name):
                ranked.append(self._global(name, graph.link(text)))
        return ranked

    def suggest(self, text: str) -> list[str]:
        ranked: list[list[str]] = []
        for name, graph in self.graphs.items():
            with self._noting(name):
                ranked.append(graph.suggest(text))
        return _in_turn(ranked)

    def search(self, text: str, likeness: Likeness, limit: int) -> list[Match]:
        """What the graphs that have a search find, the best of each, then the second of each; see `Searchable`."""
        relevance: dict[str, float] = {}
        ranked: list[list[str]] = []
        for name, graph in self.graphs.items():
            if isinstance(graph, Searchable):
                with self._noting(name):
                    matches = graph.search(text, likeness, limit)
                    ids = self._global(name, (match.entity for match in matches))
                    ranked.append(ids)
                    near = (match.relevance for match in matches)
                    relevance = dict(zip(ids, near, strict=True)) | relevance
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
        return self.text(self._same.first(id)) or id


def _far(graph: KnowledgeGraph) -> bool:
    return bool(getattr(graph, "remote", False))


def federation_of(graph: KnowledgeGraph) -> Federation | None:
    """The federation that a graph is, or that lies under its changes."""
    base = graph.base if isinstance(graph, Overlay) else graph
    return base if isinstance(base, Federation) else None


class Readers(NamedTuple):
    """How the ids of literals are read as numbers and as dates; see `upright.knowledge.literals`."""

    quantity: Callable[[str], float | None]
    moment: Callable[[str], tuple[int, ...] | None]


def readers(graph: KnowledgeGraph) -> Readers:
    """Readers for the literals of a graph; those of a federation have the name of their graph before them."""
    several = federation_of(graph)
    if several is None:
        return Readers(quantity, moment)
    return Readers(lambda id: quantity(several.text(id)), lambda id: moment(several.text(id)))


def _in_turn(ranked: list[list[str]]) -> list[str]:
    """All texts of several lists, the first of each, then the second of each, and so on; each text once."""
    return list(dict.fromkeys(text for row in zip_longest(*ranked) for text in row if text is not None))
