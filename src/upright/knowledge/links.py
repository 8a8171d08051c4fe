"""Links that are found when a thing is met: what it is in the other graphs.

Whether two ids are linked depends on the graphs alone: the rules look from both sides, and a thing is met together
with all that it is linked to. So it has one name from the first time it is met, however it was come upon. Where that
fails (a graph does not answer, or too many things come at once to compare their names) the thing stays unlinked for
good, and a note says so.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from upright.errors import unknown
from upright.knowledge.arrays import ArrayGraph
from upright.knowledge.failures import GraphError, note
from upright.knowledge.graph import Direction, KnowledgeGraph, LinkedData
from upright.knowledge.same_as import Classes, Pair, discovered, graph_of

COMPARED = 200  # things of one reading whose names are compared where a graph is far away: several requests each


class Rule(Protocol):
    """A way to find links. Each id has one partner in the other graph, at most, and is its only partner in turn."""

    how: str
    graphs: tuple[str, str]
    most: int | None
    """Things that are looked at in one go, at most; None for all."""

    def pairs(self, ids: Iterable[str]) -> set[Pair]:
        """All links in which one of the namespaced ids is; the other end may be any. Raises GraphError."""
        ...


class Stated:
    """What a graph states by a relation, such as `owl:sameAs` or an identifier.

    Args:
        graphs: by name.
        relation: namespaced id; its heads are ids of its graph.
        target: name of the graph that its tails lead to.
        form: how a tail becomes an id there, with `{}` for the tail.

    Raises:
        UserError: for a graph that is not there, or a relation that a graph at hand does not have.
    """

    most: int | None = None

    def __init__(self, graphs: Mapping[str, KnowledgeGraph], relation: str, target: str, form: str = "{}") -> None:
        source, _, self._relation = relation.partition(":")
        for name in (source, target):
            if name not in graphs:
                raise unknown("graph", name, graphs)
        graph, self._target = graphs[source], graphs[target]
        if isinstance(graph, ArrayGraph) and graph.relation_ids.number(self._relation) is None:
            raise unknown(f"relation of {source}", self._relation, graph.relation_ids)
        self._source = graph
        self._before, _, self._after = form.partition("{}")
        self.how, self.graphs = f"{relation}={target}", (source, target)

    def pairs(self, ids: Iterable[str]) -> set[Pair]:
        source, target = self.graphs
        asked = set(ids)
        targets = {id for name, _, id in map(_parted, asked) if name == target}
        heads = {id for name, _, id in map(_parted, asked) if name == source} | {h for h, _ in self._to(targets)}
        onwards = self._facts(heads, "out")
        back = self._to(targets | {end for _, end in onwards})
        ends, starts = Counter(head for head, _ in onwards), Counter(end for _, end in back)
        mutual = {(h, t) for h, t in onwards & back if ends[h] == 1 == starts[t]}
        found = {(f"{source}:{head}", f"{target}:{end}") for head, end in mutual}
        return {pair for pair in found if not asked.isdisjoint(pair)}

    def _to(self, targets: Iterable[str]) -> set[Pair]:
        return self._facts({text for id in targets for text in self._tails(id)}, "in")

    def _facts(self, ids: set[str], direction: Direction) -> set[Pair]:
        """(head, id in the target graph) of the facts around some ids of the source graph."""
        graph = self._source
        ask = graph.statements if isinstance(graph, LinkedData) else graph.edges
        return {(edge.head, self._id(edge.tail)) for edge in ask(ids, self._relation, direction)} if ids else set()

    def _id(self, tail: str) -> str:
        """The id in the target graph that a tail means; each graph has its own prefixes."""
        text = self._source.full(tail) if isinstance(self._source, LinkedData) else tail
        id = f"{self._before}{text}{self._after}"
        return self._target.short(id) if isinstance(self._target, LinkedData) else id

    def _tails(self, id: str) -> set[str]:
        """What may stand in the source graph for an id of the target graph."""
        spelt = {id, self._target.full(id)} if isinstance(self._target, LinkedData) else {id}
        return {text[len(self._before) : len(text) - len(self._after)] for text in spelt if self._fits(text)}

    def _fits(self, text: str) -> bool:
        longer = len(text) > len(self._before) + len(self._after)
        return longer and text.startswith(self._before) and text.endswith(self._after)


class Alike:
    """What has names, types and neighbours in common: guesses; see `discovered`, which this agrees with.

    Args:
        graphs: by name.
        left, right: names of two of them, in the order of the federation.
        least: score that is asked for, from 0 to 1.
    """

    how = "names"

    def __init__(self, graphs: Mapping[str, KnowledgeGraph], left: str, right: str, least: float = 0.5) -> None:
        self._all, self._least, self.graphs = graphs, least, (left, right)
        far = any(getattr(graphs[name], "remote", False) for name in self.graphs)
        self.most = COMPARED if far else None

    def pairs(self, ids: Iterable[str]) -> set[Pair]:
        asked = set(ids)
        left, right = (self._all[name] for name in self.graphs)
        lefts, rights = ({id for name, _, id in map(_parted, asked) if name == one} for one in self.graphs)
        lefts |= _namesakes(left, right, rights)
        # all that may be as near to a partner as these are
        rivals = _namesakes(left, right, {id for label in set(left.labels(lefts).values()) for id in right.link(label)})
        guesses = discovered(self._all, *self.graphs, lefts | rivals, self._least)
        return {guess.pair for guess in guesses if not asked.isdisjoint(guess.pair)}


def _namesakes(graph: KnowledgeGraph, other: KnowledgeGraph, ids: Iterable[str]) -> set[str]:
    """Things of a graph that bear a name of some things of another."""
    labels = other.labels(ids)
    names = {name for id, label in labels.items() for name in (id, label, *other.aliases(id))}
    return {id for name in names for id in graph.link(name)}


def _parted(id: str) -> tuple[str, str, str]:
    return id.partition(":")


class Found(NamedTuple):
    """A link, and what it was found by."""

    pair: Pair
    how: str


class Links:
    """Classes of ids that mean the same, found as things are met; see `Classes` for what its methods answer.

    Declared pairs go before what is found, and the rules go by their order: an id that has a partner in a graph gets
    no other there. Safe for threads.

    Args:
        rules: how links are found.
        given: declared pairs.
        refused: links that are not to be made.
        order: names of the graphs.

    Attributes:
        found: the links of all things met so far, by pair, with what they were found by.
        notes: what went wrong, a line for each time.
    """

    def __init__(
        self, rules: Sequence[Rule], given: Iterable[Pair], order: Sequence[str], refused: Iterable[Pair] = ()
    ) -> None:
        self.rules, self.refused = tuple(rules), frozenset(refused)
        self.found: dict[Pair, str] = {}
        self.notes: list[str] = []
        self._pairs, self._order = frozenset(given), list(order)
        self._given = Classes(self._pairs, self._order)
        self._classes: dict[str, tuple[str, ...]] = {}
        self._by_id: dict[str, list[Found]] = defaultdict(list)
        self._lock = threading.Lock()

    def members(self, id: str) -> tuple[str, ...]:
        return self._classes.get(id) or self._given.members(id)

    def first(self, id: str) -> str:
        return self.members(id)[0]

    def linked(self) -> set[str]:
        """Graphs that a declared pair names; found links do not change the order of facts that are limited."""
        return self._given.linked()

    def folded(self) -> set[str]:
        return self._given.folded()

    def of(self, ids: Iterable[str]) -> list[Found]:
        """The links found in the classes of some ids."""
        return sorted({one for id in ids for member in self.members(id) for one in self._by_id.get(member, ())})

    def meet(self, ids: Iterable[str]) -> None:
        """Find what some ids are linked to, once."""
        if self.rules and not self._classes.keys() >= (asked := set(ids)):
            with self._lock:
                self._settle(asked - self._classes.keys())

    def _settle(self, new: set[str]) -> None:
        met, found = set[str](), dict[Pair, int]()
        frontier = {member for id in new for member in self._given.members(id)}
        while frontier:
            met |= frontier
            for number, rule in enumerate(self.rules):
                for pair in self._asked(rule, frontier):
                    found.setdefault(pair, number)
            ends = {member for pair in found for end in pair for member in self._given.members(end)}
            frontier = ends - met
        kept = self._kept(found)
        classes = Classes(self._pairs.union(kept), self._order)
        for id in met:
            members = classes.members(id)
            self._classes[id] = self._given.members(id) if self._clash(members) else members
        for pair, number in kept.items():
            if self.first(pair[0]) == self.first(pair[1]):
                self.found[pair] = self.rules[number].how
                for end in pair:
                    self._by_id[end].append(Found(pair, self.rules[number].how))

    def _asked(self, rule: Rule, ids: set[str]) -> set[Pair]:
        """The links of a rule, but for those to things that were met before: these have all they get."""
        some = sorted(id for id in ids if graph_of(id) in rule.graphs)
        if rule.most is not None and len(some) > rule.most:
            self._note(f"{len(some) - rule.most} of {len(some)} things read at once were not compared by {rule.how}")
            some = some[: rule.most]
        try:
            pairs = rule.pairs(some) if some else set()
        except GraphError as error:
            self._note(f"links by {rule.how}: {error}")
            return set()
        return {pair for pair in pairs if not self._refuses(pair) and self._classes.keys().isdisjoint(pair)}

    def _refuses(self, pair: Pair) -> bool:
        return not self.refused.isdisjoint((pair, pair[::-1]))

    def _kept(self, found: Mapping[Pair, int]) -> dict[Pair, int]:
        """The links of the rules by their order, each thing with one partner in a graph."""
        taken = {
            (id, graph_of(other))
            for id in {member for pair in found for end in pair for member in self._given.members(end)}
            for other in self._given.members(id)
            if other != id
        }
        kept: dict[Pair, int] = {}
        for pair, number in sorted(found.items(), key=lambda item: (item[1], item[0])):
            ways = {(pair[0], graph_of(pair[1])), (pair[1], graph_of(pair[0]))}
            if taken.isdisjoint(ways):
                taken |= ways
                kept[pair] = number
        return kept

    def _clash(self, members: Sequence[str]) -> bool:
        """Whether links over a third graph make two things of one graph one that nobody declared to be one."""
        classes = {(graph_of(id), self._given.first(id)) for id in members}
        return len(classes) > len({name for name, _ in classes})

    def _note(self, text: str) -> None:
        self.notes.append(text)
        note(text)
