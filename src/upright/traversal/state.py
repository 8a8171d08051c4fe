"""States of a traversal: what has been read of the graph, what has been said, and what may come next.

    state           may be followed by                                         and becomes
    default         THINK text, unless a thought stands last                   default
    default         EXPAND_KG                                                  entities
    default         ANSWER form                                                done
    entities        one set by name, or one or more entities of the states     relation
    relation        one relation of them, `~` when followed backwards          default, with a new set

Every action is one level of the tree. Only the default state looks at the depth: from the limit on nothing but
ANSWER is allowed, and a started expansion finishes (arXiv:2407.21358, section 3). Our own addition are *sets*: `#1`
holds the entities of the question, each expansion gives its new entities the next name, and sets can be expanded
and answered as a whole, which makes answers of many entities and computed answers possible.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from upright.knowledge.graph import Direction, Edge
from upright.traversal.names import mark

if TYPE_CHECKING:
    from upright.traversal.answers import Answer

Phase = Literal["default", "entities", "relation", "done"]
Tag = Literal["THINK", "EXPAND", "SELECT", "FOLLOW", "FOUND", "ERROR", "ANSWER"]


class Line(NamedTuple):
    """One line of the trajectory."""

    tag: Tag
    text: str


class Selection(NamedTuple):
    """Entities to expand: sorted ids, and the number of their set where they were chosen by its name."""

    ids: tuple[str, ...]
    number: int | None = None


class Step(NamedTuple):
    """A relation and the direction in which it is followed."""

    relation: str
    direction: Direction = "out"

    @property
    def text(self) -> str:
        """By id: `capital` or `~capital`."""
        return mark(self.relation, self.direction)


NOTHING, NOWHERE = Selection(()), Step("")


@dataclass(frozen=True, eq=False)
class EntitySet:
    """A named set of entities and the facts that led to it; `#1` has none.

    Attributes:
        number: the set is called `#number`.
        ids: its entities, sorted, without those in `passed`.
        selection: what was expanded.
        step: along which relation.
        edges: the facts read, sorted.
        total: how many facts the graph holds; more than `edges` when there were too many to read.
        passed: entities on the way to this set, which are left out of it.
    """

    number: int
    ids: tuple[str, ...]
    selection: Selection = NOTHING
    step: Step = NOWHERE
    edges: tuple[Edge, ...] = ()
    total: int = 0
    passed: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """`#2` and so on."""
        return f"#{self.number}"

    @cached_property
    def members(self) -> frozenset[str]:
        """The ids, to look in."""
        return frozenset(self.ids)

    @property
    def complete(self) -> bool:
        """Whether all facts were read."""
        return len(self.edges) >= self.total

    def near(self, edge: Edge) -> str:
        """The end of the edge that was expanded."""
        return edge.head if self.step.direction == "out" else edge.tail

    def far(self, edge: Edge) -> str:
        """The end of the edge that was found."""
        return edge.tail if self.step.direction == "out" else edge.head


@dataclass(frozen=True, eq=False)
class State:
    """A node of the search tree, held as what it adds to its parent.

    Attributes:
        question: what is asked.
        phase: what may come next.
        depth: number of actions so far.
        parent: the state before, None for the root.
        lines: lines added to the trajectory.
        added: set added, with its facts.
        selection: what is being expanded, in the phase `relation`.
        answer: the answer, in the phase `done`.
        facts: all facts of the local graph; the same object as the parent's unless some were added.
    """

    question: str
    phase: Phase
    depth: int
    parent: "State | None" = None
    lines: tuple[Line, ...] = ()
    added: EntitySet | None = None
    selection: Selection | None = None
    answer: "Answer | None" = None
    facts: frozenset[Edge] = frozenset()

    def lineage(self) -> "list[State]":
        """The states from the root to this one."""
        states: list[State] = []
        state: State | None = self
        while state is not None:
            states.append(state)
            state = state.parent
        return states[::-1]

    @property
    def trajectory(self) -> tuple[Line, ...]:
        """All lines so far."""
        return tuple(line for state in self.lineage() for line in state.lines)

    @property
    def sets(self) -> tuple[EntitySet, ...]:
        """All sets so far; `#k` is at index k - 1."""
        return tuple(state.added for state in self.lineage() if state.added is not None)

    @property
    def thoughtful(self) -> bool:
        """Whether the last line is a thought."""
        return bool(self.lines) and self.lines[-1].tag == "THINK"

    def failures(self) -> int:
        """Number of errors at the end of the trajectory."""
        tags = [line.tag for line in reversed(self.trajectory)]
        return next((i for i, tag in enumerate(tags) if tag != "ERROR"), len(tags))

    def key(self) -> tuple[object, ...]:
        """Equal for states from which the same can follow: facts, phase, selection, and what was thought or failed."""
        said = tuple(line for line in self.trajectory if line.tag in ("THINK", "ERROR", "ANSWER"))
        return self.facts, self.phase, self.selection and self.selection.ids, said


def holder(sets: Sequence[EntitySet], entity: str) -> EntitySet | None:
    """The last of the sets that holds the entity."""
    return next((group for group in reversed(sets) if entity in group.members), None)


def origins(sets: tuple[EntitySet, ...], selection: Selection) -> Iterator[tuple[EntitySet, tuple[str, ...]]]:
    """The sets that a selection was taken from, each with the ids that came from it."""
    if selection.number is not None:
        yield sets[selection.number - 1], selection.ids
        return
    places = {entity: holder(sets, entity) for entity in selection.ids}
    for group in sets:
        ids = tuple(entity for entity in selection.ids if places[entity] is group)
        if ids:
            yield group, ids


def passed(sets: tuple[EntitySet, ...], selection: Selection) -> frozenset[str]:
    """The entities on the way through a selection: itself, and all that was passed before it."""
    before = (group.passed for group, _ in origins(sets, selection))
    return frozenset(selection.ids).union(*before)
