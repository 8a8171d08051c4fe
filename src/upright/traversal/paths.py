"""Gold paths: which relations, followed from a question's entities, lead to just its answers.

A step takes the whole set it starts from along one relation, outwards or inwards; the seeds are left out of every set
it reaches. So "films that share an actor with M" does not answer M.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from upright.knowledge.graph import Direction, KnowledgeGraph
from upright.traversal.state import Step

DIRECTIONS: tuple[Direction, ...] = ("out", "in")


Path = tuple[Step, ...]


class Found(NamedTuple):
    """A path and how well what it reaches agrees with the golds (F1)."""

    path: Path
    f1: float


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


def gold_paths(
    graph: KnowledgeGraph, seeds: frozenset[str], golds: frozenset[str], hops: int, widest: int = 3000
) -> list[Found]:
    """The shortest paths of at most `hops` steps that agree best with the golds; none if no path meets a gold.

    Args:
        golds: ids; a gold that the graph lacks lowers the F1 of all paths alike.
        widest: sets larger than this are not gone on from.
    """
    best: list[Found] = []
    for path, here in _walks(graph, seeds, golds, hops, widest):
        met = len(here & golds)
        f1 = 2 * met / (len(here) + len(golds))
        if met and (not best or f1 > best[0].f1 + 1e-12):
            best = [Found(path, f1)]
        elif met and abs(f1 - best[0].f1) <= 1e-12 and len(path) == len(best[0].path):
            best.append(Found(path, f1))
    return best


def _walks(
    graph: KnowledgeGraph, seeds: frozenset[str], golds: frozenset[str], hops: int, widest: int
) -> Iterator[tuple[Path, frozenset[str]]]:
    """All paths with what they reach, the shorter ones first; only those from which a gold can still be met."""
    near = _nearness(graph, golds, hops)
    level: list[tuple[Path, frozenset[str]]] = [((), seeds)]
    for depth in range(hops):
        following = []
        for path, here in level:
            if len(here) > widest:
                continue
            for step in _steps(graph, here):
                there = take(graph, here, step) - seeds
                if not there.isdisjoint(near[hops - depth - 1]):
                    following.append(((*path, step), there))
        yield from following
        level = following


def _steps(graph: KnowledgeGraph, here: frozenset[str]) -> list[Step]:
    return [Step(relation, way) for way in DIRECTIONS for relation in graph.relations(here, way)]


def _nearness(graph: KnowledgeGraph, golds: frozenset[str], hops: int) -> list[frozenset[str]]:
    """Entities from which a gold is at most 0, 1, … steps away."""
    rings = [golds]
    for _ in range(hops - 1):
        here = rings[-1]
        rings.append(here.union(*(take(graph, here, step) for step in _steps(graph, here))))
    return rings


def chosen(candidates: Mapping[str, Sequence[Found]]) -> dict[str, Path]:
    """One path for each question: of those that agree best, the one that serves most questions.

    A path that is right by chance is rare among all questions; the one that is meant comes back. Of equals the first
    by name, so that a symmetric relation is followed outwards.
    """
    votes = Counter[Path]()
    for found in candidates.values():
        votes.update({one.path: 1 / len(found) for one in found})
    return {
        name: min((one.path for one in found), key=lambda path: (-votes[path], [step.text for step in path]))
        for name, found in candidates.items()
        if found
    }
