"""Gold paths: which relations, followed from a question's entities, lead to just its answers.

A step takes the whole set it starts from along one relation, outwards or inwards; the seeds are left out of every set
it reaches. So "films that share an actor with M" does not answer M.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from upright.knowledge.graph import Direction, KnowledgeGraph
from upright.traversal.state import Step

DIRECTIONS: tuple[Direction, ...] = ("out", "in")


Path = tuple[Step, ...]
WIDEST = 3000  # entities of a set from which a path goes on


class Found(NamedTuple):
    """A path and how well what it reaches agrees with the golds (F1).

    Attributes:
        form: of the answer at its end, if it is not the set that is reached.
        start: the entity from which it starts, if not from all those of the question.
    """

    path: Path
    f1: float
    form: str = ""
    start: str = ""


def take(graph: KnowledgeGraph, entities: frozenset[str], step: Step) -> frozenset[str]:
    """Where a step leads from a set."""
    edges = graph.edges(entities, step.relation, step.direction)
    return frozenset(edge.tail if step.direction == "out" else edge.head for edge in edges)


def reach(graph: KnowledgeGraph, seeds: frozenset[str], path: Path) -> frozenset[str]:
    """The set at the end of a path."""
    here = seeds
    for step in path:
        here = take(graph, here, step) - seeds
    return here


class Around:
    """The neighbours of entities by step, read from a graph in bulk and kept: searches meet the same ones again.

    Args:
        graph: where they are read from.
        most: entities kept; beyond that all are forgotten.
    """

    def __init__(self, graph: KnowledgeGraph, most: int = 200_000) -> None:
        self.graph, self._most = graph, most
        self._kept: dict[str, dict[Step, frozenset[str]]] = {}

    def of(self, entities: Collection[str]) -> list[dict[Step, frozenset[str]]]:
        """For each entity, what every step from it leads to."""
        if missing := [entity for entity in entities if entity not in self._kept]:
            if len(self._kept) + len(missing) > self._most:
                self._kept, missing = {}, list(entities)
            self._read(missing)
        return [self._kept[entity] for entity in entities]

    def _read(self, entities: list[str]) -> None:
        found: dict[str, dict[Step, set[str]]] = {entity: {} for entity in entities}
        for step in _steps(self.graph, entities):
            out = step.direction == "out"
            for edge in self.graph.edges(entities, step.relation, step.direction):
                near, far = (edge.head, edge.tail) if out else (edge.tail, edge.head)
                found[near].setdefault(step, set()).add(far)
        for entity, ways in found.items():
            self._kept[entity] = {step: frozenset(ends) for step, ends in ways.items()}


def gold_paths(
    around: Around, seeds: frozenset[str], golds: frozenset[str], hops: int, widest: int = WIDEST
) -> list[Found]:
    """The shortest paths of at most `hops` steps that agree best with the golds; none if no path meets a gold.

    Args:
        golds: ids; a gold that the graph lacks lowers the F1 of all paths alike.
        widest: sets larger than this are not gone on from.
    """
    best: list[Found] = []
    for path, here in walks(around, seeds, hops, golds, widest):
        met = len(here & golds)
        f1 = 2 * met / (len(here) + len(golds))
        if met and (not best or f1 > best[0].f1 + 1e-12):
            best = [Found(path, f1)]
        elif met and abs(f1 - best[0].f1) <= 1e-12 and len(path) == len(best[0].path):
            best.append(Found(path, f1))
    return best


def walks(
    around: Around, seeds: frozenset[str], hops: int, golds: frozenset[str] | None = None, widest: int = WIDEST
) -> Iterator[tuple[Path, frozenset[str]]]:
    """All paths that reach something, with what they reach, the shorter ones first.

    Args:
        golds: only paths from which one of them can still be met.
        widest: sets larger than this are not gone on from.
    """
    near = None if golds is None else _nearness(around, golds, hops)
    level: list[tuple[Path, frozenset[str]]] = [((), seeds)]
    for depth in range(hops):
        following = []
        for path, here in level:
            if len(here) > widest:
                continue
            for step, ends in _onwards(around, here).items():
                there = frozenset().union(*ends) - seeds
                if there and (near is None or not there.isdisjoint(near[hops - depth - 1])):
                    following.append(((*path, step), there))
        yield from following
        level = following


def _onwards(around: Around, here: frozenset[str]) -> dict[Step, list[frozenset[str]]]:
    """Where each step leads from each entity of a set; steps outwards first, by name."""
    ways: dict[Step, list[frozenset[str]]] = {}
    for one in around.of(here):
        for step, ends in one.items():
            ways.setdefault(step, []).append(ends)
    return {step: ways[step] for step in sorted(ways, key=lambda step: (step.direction == "in", step.relation))}


def _steps(graph: KnowledgeGraph, here: Collection[str]) -> list[Step]:
    return [Step(relation, way) for way in DIRECTIONS for relation in graph.relations(here, way)]


def _nearness(around: Around, golds: frozenset[str], hops: int) -> list[frozenset[str]]:
    """Entities from which a gold is at most 0, 1, … steps away."""
    rings = [golds]
    for _ in range(hops - 1):
        rings.append(rings[-1].union(*(ends for one in around.of(rings[-1]) for ends in one.values())))
    return rings
