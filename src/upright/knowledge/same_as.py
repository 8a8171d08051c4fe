"""Which ids of several graphs mean the same thing: declared in a table, or found by comparing two graphs.

An id of a graph is written `name:id` here, with the name the graph has in the federation.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from upright.errors import UserError, unknown
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.naming import fold

Pair = tuple[str, str]
TYPES = frozenset({"type", "instance of", "kind", "class", "is a"})  # labels of relations that say what a thing is
NEIGHBOURS = 500


class Classes:
    """Ids in classes of one meaning: the finest that hold every pair together (a union-find).

    A class goes by its first member: that of the graph named first in `order`, then the least id.

    >>> same = Classes([("a:Rome", "b:Roma"), ("b:Roma", "c:42")], order=["a", "b", "c"])
    >>> same.first("c:42"), same.members("b:Roma")
    ('a:Rome', ('a:Rome', 'b:Roma', 'c:42'))
    """

    def __init__(self, pairs: Iterable[Pair], order: Sequence[str]) -> None:
        rank = {name: number for number, name in enumerate(order)}
        above: dict[str, str] = {}

        def root(id: str) -> str:
            path = []
            while (upper := above.setdefault(id, id)) != id:
                path.append(id)
                id = upper
            above.update(dict.fromkeys(path, id))
            return id

        for left, right in pairs:
            above[root(left)] = root(right)
        classes: dict[str, list[str]] = {}
        for id in above:
            classes.setdefault(root(id), []).append(id)
        self._members: dict[str, tuple[str, ...]] = {}
        for some in classes.values():
            members = tuple(sorted(some, key=lambda id: (rank[graph_of(id)], id)))
            self._members.update(dict.fromkeys(members, members))

    def members(self, id: str) -> tuple[str, ...]:
        """All ids that mean the same as this one, itself included."""
        return self._members.get(id, (id,))

    def first(self, id: str) -> str:
        """The name of the class of an id."""
        return self.members(id)[0]

    def linked(self) -> set[str]:
        """Graphs that a pair names."""
        return {graph_of(id) for id in self._members}

    def folded(self) -> set[str]:
        """Graphs in which two ids mean the same."""
        found = set[str]()
        for members in set(self._members.values()):
            names = [graph_of(id) for id in members]
            found.update(name for name in names if names.count(name) > 1)
        return found


def graph_of(id: str) -> str:
    """The name of the graph that a namespaced id belongs to."""
    return id.partition(":")[0]


def read_links(path: Path, names: Iterable[str]) -> list[Pair]:
    """Pairs of a table `name:id<TAB>name:id`, one a line; empty lines are allowed.

    Raises:
        UserError: naming the file and the line that is no pair of ids of these graphs.
    """
    graphs, pairs = list(names), list[Pair]()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give a table in UTF-8") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            fields = [field.strip() for field in line.split("\t")]
            if len(fields) != 2 or not all(field.partition(":")[2] for field in fields):
                raise UserError(f"{path}:{number}: got {line[:80]!r}; give GRAPH:ID<TAB>GRAPH:ID")
            for field in fields:
                if graph_of(field) not in graphs:
                    raise UserError(f"{path}:{number}: {unknown('graph', graph_of(field), graphs)}")
            pairs.append((fields[0], fields[1]))
    return pairs


class Guess(NamedTuple):
    """Two ids of one name: the score, and what speaks for them."""

    left: str
    right: str
    score: float
    shared: tuple[str, ...]

    @property
    def pair(self) -> Pair:
        """The link itself."""
        return self.left, self.right


def discovered(
    graphs: Mapping[str, KnowledgeGraph], left: str, right: str, entities: Iterable[str], least: float = 0.5
) -> list[Guess]:
    """Links between two graphs that their names and neighbours suggest: guesses, to be looked through by someone.

    Two things may be the same when they have a name in common and their types, where both have some, too. The
    score is the share of the neighbours' names (literals included) of the one with fewer that the other has as
    well, times 1/h where h things of the right graph bear the name; the name itself does not count. Each id
    gets one partner, the best; where two are equally good, none.

    Args:
        graphs: by name.
        left, right: names of two of them.
        entities: ids of the left graph to find partners for.
        least: score that is asked for, from 0 to 1.

    Raises:
        GraphError: if one of the graphs fails.
    """
    guesses = [guess for entity in sorted(set(entities)) for guess in _guesses(graphs, left, right, entity)]
    good = [guess for guess in guesses if guess.score >= least and guess.score > 0]
    rivals: dict[str, list[float]] = {}
    for guess in good:
        rivals.setdefault(guess.left, []).append(guess.score)
        rivals.setdefault(guess.right, []).append(guess.score)

    def is_best(guess: Guess) -> bool:
        return all(sorted(rivals[id])[-1] == guess.score and rivals[id].count(guess.score) == 1 for id in guess.pair)

    return sorted(filter(is_best, good), key=lambda guess: (-guess.score, guess.pair))


def _guesses(graphs: Mapping[str, KnowledgeGraph], left: str, right: str, entity: str) -> Iterator[Guess]:
    name = graphs[left].labels([entity])[entity]
    candidates = graphs[right].link(name)
    around = _Surroundings.of(graphs[left], entity, fold(name)) if candidates else None
    for candidate in candidates:
        assert around is not None
        other = _Surroundings.of(graphs[right], candidate, fold(name))
        fewer = min(len(around.names), len(other.names))
        if fewer and around.agrees(other):
            shared = tuple(sorted(around.names & other.names))
            yield Guess(f"{left}:{entity}", f"{right}:{candidate}", len(shared) / fewer / len(candidates), shared)


class _Surroundings(NamedTuple):
    """Folded names of the neighbours of a thing, and of its types."""

    names: frozenset[str]
    types: frozenset[str]

    @classmethod
    def of(cls, graph: KnowledgeGraph, entity: str, itself: str) -> "_Surroundings":
        ids, kinds = set[str](), set[str]()
        for relation in graph.relations([entity]):
            tails = graph.objects(entity, relation)[:NEIGHBOURS]
            ids.update(tails)
            if fold(graph.labels([relation])[relation]) in TYPES:
                kinds.update(tails)
        for relation in graph.relations([entity], "in"):
            ids.update(islice(graph.subjects(relation, entity), NEIGHBOURS))
        labels = graph.labels(ids)
        names = frozenset(fold(label) for label in labels.values()) - {itself}
        return cls(names, frozenset(fold(labels[id]) for id in kinds))

    def agrees(self, other: "_Surroundings") -> bool:
        return not (self.types and other.types) or bool(self.types & other.types)
