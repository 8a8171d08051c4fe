"""What explains the answers of a question: ways through the graph, each with the form of the answer at its end.

    Lima                 the entities that a path reaches, as well as they agree with it
    3                    a path that reaches three entities
    yes                  a path from one entity of the question to another one
    no                   a path that explains a yes elsewhere and does not lead from one to another here
    Brazil               entities at the end of a path of which it is the largest or smallest, the first or last

Of each kind only the shortest count.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from upright.knowledge.federation import readers
from upright.knowledge.graph import Direction, KnowledgeGraph
from upright.knowledge.linking import meant
from upright.traversal.answers import Extreme, Members, Rejected
from upright.traversal.machine import Machine, Omit, Rules
from upright.traversal.paths import Around, Found, Path, gold_paths, reach, take, walks
from upright.traversal.state import Step

LARGEST = 200  # entities of a set among which an extreme is looked for


class Kind(NamedTuple):
    """A way without what differs from question to question: where it starts."""

    path: Path
    form: str

    @property
    def superlative(self) -> bool:
        """Whether it answers by comparing."""
        return " by " in self.form


class Explanations:
    """Finds them in one graph.

    Args:
        graph: where.
        hops: the longest path.
        agreement: least F1 of what a path reaches with the answers.
        omit: what sets leave out.
    """

    def __init__(self, graph: KnowledgeGraph, hops: int, agreement: float, omit: Omit = "seeds") -> None:
        self.graph, self.hops, self.agreement = graph, hops, agreement
        self.around = Around(graph)
        self.machine = Machine(graph, Rules(depth=3 * hops, omit=omit), *readers(graph))
        self._extremes: dict[frozenset[str], dict[str, frozenset[str]]] = {}

    def of(self, seeds: Sequence[str], answer: Sequence[str]) -> list[Found]:
        """All but those of "no"; where a set is just the answers, sets alone."""
        found = self.sets(seeds, answer)
        if any(one.f1 == 1 for one in found):  # looking for more takes long, and words that others share can tell
            return found
        only = answer[0].casefold() if len(answer) == 1 else ""
        if only.isdecimal():
            found = [*found, *self.counts(seeds, int(only))]
        if only == "yes":
            found = [*found, *self.verdicts(seeds)]
        return [*found, *self.superlatives(seeds, answer)]

    def ids(self, answer: Sequence[str]) -> frozenset[str]:
        """The entities that are called so."""
        return frozenset(chain(*(meant(self.graph, one) for one in answer)))

    # --- one kind each ---

    def sets(self, seeds: Sequence[str], answer: Sequence[str]) -> list[Found]:
        """Paths to entities that are, as well as possible, the answers."""
        golds = self.ids(answer)
        found = gold_paths(self.around, frozenset(seeds), golds, self.hops) if seeds and golds else []
        return [one for one in found if one.f1 >= self.agreement]

    def counts(self, seeds: Sequence[str], count: int) -> list[Found]:
        """Paths to so many entities."""
        ends = walks(self.around, frozenset(seeds), self.hops) if seeds else ()
        return shortest(Found(path, 1.0, f"count #{len(path) + 1}") for path, here in ends if len(here) == count)

    def verdicts(self, seeds: Sequence[str]) -> list[Found]:
        """Paths from one of the entities to another one."""
        return [found for start in seeds if len(seeds) > 1 for found in self._from(start, frozenset(seeds) - {start})]

    def _from(self, start: str, others: frozenset[str]) -> list[Found]:
        ends = walks(self.around, frozenset([start]), self.hops, golds=others)
        return shortest(
            Found(path, 1.0, f"is #1 in #{len(path) + 1}", start) for path, here in ends if not here.isdisjoint(others)
        )

    def superlatives(self, seeds: Sequence[str], answer: Sequence[str]) -> list[Found]:
        """Paths to entities of which the answers are the extreme ones."""
        golds = self.ids(answer)
        if not seeds or not golds:
            return []
        return shortest(
            Found(path, 1.0, form.replace("#1", f"#{len(path) + 1}"))
            for path, here in self._sets(frozenset(seeds), golds)
            for form, extreme in self.extremes(here).items()
            if extreme == golds
        )

    def _sets(self, seeds: frozenset[str], golds: frozenset[str]) -> Iterator[tuple[Path, frozenset[str]]]:
        """Sets with all golds and more, the question's own entities first."""
        yield from ((path, here) for path, here in [((), seeds)] if golds < here)
        for path, here in walks(self.around, seeds, self.hops, golds=golds):
            if golds < here and len(here) <= LARGEST:
                yield path, here

    def extremes(self, entities: frozenset[str]) -> dict[str, frozenset[str]]:
        """The extreme ones of a set by each form of a superlative, as of `#1`; not where all are."""
        if entities not in self._extremes:
            self._extremes[entities] = dict(self._compared(tuple(sorted(entities))))
        return self._extremes[entities]

    def _compared(self, ids: tuple[str, ...]) -> Iterator[tuple[str, frozenset[str]]]:
        reading = self.machine.reading(self.machine.start("", ids))
        for which, relation in self.machine.superlatives(ids):
            form = Extreme(which, Members(1), relation)
            try:
                found = frozenset(form.answer(reading).ids)
            except Rejected:
                continue  # two relations of this name
            if len(found) < len(ids):
                yield str(form), found

    # --- whether a way that was found elsewhere explains this ---

    def denied(self, seeds: Sequence[str], kind: Kind) -> Found | None:
        """The way of a yes, where it leads from one entity of a question to others than the one it could lead to."""
        for start in seeds:
            met, here = frozenset(seeds) - {start}, frozenset([start])
            if not self._could_meet(met, kind.path[-1]):
                continue
            for step in kind.path:
                here = take(self.graph, here, step) - {start}
                if not met.isdisjoint(here):
                    return None
            if here:
                return Found(kind.path, 1.0, kind.form, start)
        return None

    def _could_meet(self, entities: frozenset[str], last: Step) -> bool:
        """Whether the step leads to one of the entities from anywhere: a currency is not asked for as a capital."""
        back: Direction = "in" if last.direction == "out" else "out"
        return last.relation in self.machine.counts(tuple(sorted(entities)), back)

    def extreme(self, seeds: Sequence[str], answer: Sequence[str], kind: Kind) -> Found | None:
        """The way of a superlative, where it gives the answers."""
        here = reach(self.graph, frozenset(seeds), kind.path)
        if not 1 < len(here) <= LARGEST:
            return None
        form = kind.form.replace(f"#{len(kind.path) + 1}", "#1")
        right = self.extremes(here).get(form) == self.ids(answer)
        return Found(kind.path, 1.0, kind.form) if right else None


def kind_of(found: Found) -> Kind:
    """What is the same in other questions."""
    return Kind(found.path, found.form)


def shortest(found: Iterator[Found]) -> list[Found]:
    """Those of the fewest steps, out of paths of which the shorter come first; more are not asked for."""
    kept: list[Found] = []
    for one in found:
        if kept and len(one.path) > len(kept[0].path):
            break
        kept.append(one)
    return kept
