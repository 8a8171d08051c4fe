"""Answers: their forms, and what each form gives on the local graph. The graph computes, the model only chooses.

    Paris                        any text
    yes | no                     a verdict of the model's own
    #3                           the entities of a set; also `#3 and #2` (both) and `#3 not #2` (the first alone)
    count #3                     how many there are
    is #2 in #3                  yes when some entity of the first set is in the second, else no
    largest #3 by population     those with the largest number, or latest date; also smallest
    first #3 by inception        those with the earliest date, or smallest number; also last

Every answer comes with its evidence: the facts on the ways from the entities of the question to what it names. It is
*grounded* when all that it names is reached by such facts.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from upright.knowledge.graph import Edge, KnowledgeGraph
from upright.knowledge.memory import fold
from upright.traversal.names import Names
from upright.traversal.state import EntitySet, holder, origins

Quantity = Callable[[str], float | None]
Moment = Callable[[str], tuple[int, ...] | None]
Superlative = Literal["largest", "smallest", "first", "last"]


class Rejected(Exception):
    """An action that cannot be taken; the message says why, in one line."""


@dataclass(frozen=True)
class Answer:
    """What a form gave.

    Attributes:
        form: the form, as text.
        labels: the answer; several where several things answer the question.
        ids: the entities or literals named, parallel to the labels where the answer names things of the graph.
        evidence: facts on the ways from the entities of the question to the answer, sorted.
        grounded: whether all that the answer rests on is reached by such facts.
        notes: what a reader should know, such as facts that were too many to read.
    """

    form: str
    labels: tuple[str, ...]
    ids: tuple[str, ...] = ()
    evidence: tuple[Edge, ...] = ()
    grounded: bool = False
    notes: tuple[str, ...] = ()


class Reading(NamedTuple):
    """What forms read: the sets of a state, the graph, its names, and how literals become numbers and dates."""

    sets: tuple[EntitySet, ...]
    graph: KnowledgeGraph
    names: Names
    quantity: Quantity
    moment: Moment

    def found(self, number: int) -> EntitySet:
        """The set `#number`. Raises `Rejected` when there is none."""
        if not 1 <= number <= len(self.sets):
            known = f"#1 to #{len(self.sets)}" if len(self.sets) > 1 else "#1"
            raise Rejected(f"there is no set #{number}; there is {known}")
        return self.sets[number - 1]

    def labels(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Labels of the ids, in their order."""
        self.names.load(ids)
        return tuple(self.names.label(name) for name in ids)


class Form(Protocol):
    """One form of answer; `str(form)` is its text, which `parse` reads back."""

    def answer(self, reading: Reading) -> Answer:
        """Compute it. Raises `Rejected` when it has no meaning on these sets."""
        ...


def evidence(sets: Sequence[EntitySet], ends: Iterable[tuple[int, str]]) -> tuple[Edge, ...]:
    """The facts on all ways from `#1` to the given (number of a set, id of an entity in it)."""
    wanted: dict[int, set[str]] = defaultdict(set)
    for number, entity in ends:
        wanted[number].add(entity)
    found: set[Edge] = set()
    for group in reversed(sets):
        edges = [edge for edge in group.edges if group.far(edge) in wanted[group.number]]
        found.update(edges)
        near = {group.near(edge) for edge in edges}
        for source, ids in origins(tuple(sets[: group.number - 1]), group.selection):
            wanted[source.number].update(near.intersection(ids))
    return tuple(sorted(found))


# --- forms -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """An answer in words; grounded when it is, or lists, labels of the local graph."""

    text: str

    def __str__(self) -> str:
        return self.text

    def answer(self, reading: Reading) -> Answer:
        ids = self._named(reading)
        facts = evidence(reading.sets, self._places(reading.sets, ids))
        reached = {end for edge in facts for end in (edge.head, edge.tail)}
        return Answer(self.text, (self.text,), ids, facts, bool(ids) and reached.issuperset(ids))

    def _named(self, reading: Reading) -> tuple[str, ...]:
        """The entities whose labels or ids the text consists of; none when a part is no such name."""
        names: dict[str, list[str]] = defaultdict(list)
        members = sorted({entity for group in reading.sets for entity in group.ids})
        for entity, label in zip(members, reading.labels(members), strict=True):
            for name in {fold(label), fold(entity)}:
                names[name].append(entity)
        for parts in (
            [self.text],
            re.split(r"\s*;\s*", self.text),
            re.split(r"\s*,\s*(?:and\s+)?|\s+and\s+", self.text),
        ):
            if all(fold(part) in names for part in parts):
                return tuple(sorted({entity for part in parts for entity in names[fold(part)]}))
        return ()

    @staticmethod
    def _places(sets: Sequence[EntitySet], ids: Iterable[str]) -> Iterable[tuple[int, str]]:
        for entity in ids:
            group = holder(sets, entity)
            if group is not None:
                yield group.number, entity


@dataclass(frozen=True)
class Verdict:
    """Yes or no, as the model judges."""

    yes: bool

    def __str__(self) -> str:
        return "yes" if self.yes else "no"

    def answer(self, reading: Reading) -> Answer:
        return Answer(str(self), (str(self),))


@dataclass(frozen=True)
class Members:
    """The entities of a set, of two sets at once (`and`), or of the first without the second (`not`)."""

    number: int
    join: Literal["", "and", "not"] = ""
    other: int = 0

    def __str__(self) -> str:
        return f"#{self.number} {self.join} #{self.other}" if self.join else f"#{self.number}"

    def ids(self, reading: Reading) -> tuple[str, ...]:
        """The entities, sorted."""
        first = reading.found(self.number)
        if not self.join:
            return first.ids
        others, shared = reading.found(self.other).members, self.join == "and"
        return tuple(entity for entity in first.ids if (entity in others) is shared)

    def evidence(self, reading: Reading, ids: Iterable[str]) -> tuple[Edge, ...]:
        """The ways to these ids; of `not`, the ways to all of the second set as well, as they show what is missing."""
        ids = list(ids)
        ends = [(self.number, entity) for entity in ids]
        if self.join:
            others = ids if self.join == "and" else reading.found(self.other).ids
            ends += [(self.other, entity) for entity in others]
        return evidence(reading.sets, ends)

    def notes(self, reading: Reading) -> tuple[str, ...]:
        """What was not read of the sets."""
        numbers = [self.number, self.other] if self.join else [self.number]
        return tuple(note for number in numbers for note in unread(reading.sets, number))

    def answer(self, reading: Reading) -> Answer:
        ids = self.ids(reading)
        if not ids:
            raise Rejected(f"{self} holds nothing")
        facts, notes = self.evidence(reading, ids), self.notes(reading)
        shown = not (self.join == "not" and unread(reading.sets, self.other))
        return Answer(str(self), reading.labels(ids), ids, facts, bool(facts) and shown, notes)


@dataclass(frozen=True)
class Count:
    """How many entities there are."""

    of: Members

    def __str__(self) -> str:
        return f"count {self.of}"

    def answer(self, reading: Reading) -> Answer:
        ids, notes = self.of.ids(reading), self.of.notes(reading)
        facts = self.of.evidence(reading, ids)
        return Answer(str(self), (str(len(ids)),), (), facts, bool(facts) and not notes, notes)


@dataclass(frozen=True)
class Within:
    """Whether some entity of one set is in another."""

    number: int
    other: int

    def __str__(self) -> str:
        return f"is #{self.number} in #{self.other}"

    def answer(self, reading: Reading) -> Answer:
        first, second = reading.found(self.number), reading.found(self.other)
        shared = first.members & second.members
        ends = [(group.number, entity) for group in (first, second) for entity in sorted(shared or group.members)]
        facts = evidence(reading.sets, ends)
        # what was read shows a shared entity; that there is none, only all that there is to read
        notes = () if shared else (*unread(reading.sets, self.number), *unread(reading.sets, self.other))
        return Answer(str(self), ("yes" if shared else "no",), (), facts, bool(facts) and not notes, notes)


@dataclass(frozen=True)
class Extreme:
    """The entities with the largest or smallest number, or the first or last date, of a relation.

    An entity with several values counts with its most extreme one; ties all answer. Dates of different precision
    compare as far as they are written, the shorter first: 2001 comes before 2001-05.
    """

    which: Superlative
    of: Members
    relation: str

    def __str__(self) -> str:
        return f"{self.which} {self.of} by {self.relation}"

    def answer(self, reading: Reading) -> Answer:
        ids = self.of.ids(reading)
        relation = self._relation(reading, ids)
        edges = reading.graph.edges(ids, relation)
        values, unreadable = self._values(reading, edges)
        if not values:
            raise Rejected(f"{self.relation} of {self.of} gives no number and no date")
        pick = max if self.which in ("largest", "last") else min
        best = pick(values.values())
        proofs = [edge for edge, value in values.items() if value == best]
        winners = tuple(sorted({edge.head for edge in proofs}))
        missing = self.of.notes(reading)
        notes = (*missing, *self._notes(len(ids) - len({edge.head for edge in values}), unreadable))
        facts = tuple(sorted({*self.of.evidence(reading, winners), *proofs}))
        return Answer(str(self), reading.labels(winners), winners, facts, not missing, notes)

    def _relation(self, reading: Reading, ids: Sequence[str]) -> str:
        """The relation's id. Raises `Rejected` for a name that no relation, or more than one, has."""
        kinds = list(reading.graph.counts(ids))
        if self.relation in kinds:
            return self.relation
        reading.names.load((), kinds)
        named = [kind for kind in kinds if self.relation in (reading.names.label(kind), reading.names.shown(kind))]
        if len(named) != 1:
            raise Rejected(f"{len(named) or 'no'} relations of {self.of} are called {plain_quote(self.relation)}")
        return named[0]

    def _values(self, reading: Reading, edges: Sequence[Edge]) -> tuple[dict[Edge, tuple[float, ...]], int]:
        """The values of one kind, numbers or dates, and how many texts could not be read as such."""
        read = (numbers(reading.quantity), reading.moment)
        for kind in read if self.which in ("largest", "smallest") else read[::-1]:
            values = {edge: value for edge in edges if (value := kind(edge.tail)) is not None}
            if values:
                return values, len(edges) - len(values)
        return {}, len(edges)

    def _notes(self, without: int, unreadable: int) -> Iterator[str]:
        if without:
            yield f"{without} of {self.of} have no readable {self.relation}"
        if unreadable:
            yield f"{unreadable} values of {self.relation} could not be read"


def numbers(quantity: Quantity) -> Callable[[str], tuple[float, ...] | None]:
    """Numbers in the form of dates, so that both compare alike."""

    def read(text: str) -> tuple[float, ...] | None:
        value = quantity(text)
        return None if value is None else (value,)

    return read


def unread(sets: Sequence[EntitySet], number: int) -> list[str]:
    """A note for each set on the ways to `#number` whose facts were not all read."""
    wanted, notes = {number}, list[str]()
    for group in reversed(sets[:number]):
        if group.number in wanted:
            wanted.update(source.number for source, _ in origins(tuple(sets[: group.number - 1]), group.selection))
            if not group.complete:
                notes.append(f"{group.name} holds the first {len(group.edges)} of {group.total} facts")
    return notes


def plain_quote(text: str) -> str:
    """A text between quotes, cut where it is long."""
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


# --- reading forms ---------------------------------------------------------------------------------------------

_SET = r"#(\d+)(?:\s+(and|not)\s+#(\d+))?"
_MEMBERS = re.compile(_SET)
_COUNT = re.compile(rf"count\s+{_SET}", re.IGNORECASE)
_WITHIN = re.compile(r"is\s+#(\d+)\s+in\s+#(\d+)", re.IGNORECASE)
_EXTREME = re.compile(rf"(largest|smallest|first|last)\s+{_SET}\s+by\s+(.+)", re.IGNORECASE)


def parse(text: str) -> Form:
    """The form of an answer. Raises `Rejected` for an empty one, and for one that names sets in no known form."""
    text = " ".join(text.split())
    form = text.removesuffix(".")  # as sentences end; of a plain text the stop may be a part
    if form.lower() in ("yes", "no"):
        return Verdict(form.lower() == "yes")
    if found := _MEMBERS.fullmatch(form):
        return _members(*found.groups())
    if found := _COUNT.fullmatch(form):
        return Count(_members(*found.groups()))
    if found := _WITHIN.fullmatch(form):
        return Within(int(found[1]), int(found[2]))
    if found := _EXTREME.fullmatch(form):
        which, number, join, other, relation = found.groups()
        return Extreme(which.lower(), _members(number, join, other), relation)  # type: ignore[arg-type]
    if not text or re.search(r"#\d", text):
        raise Rejected(f"no form of answer: {plain_quote(text)}")
    return Text(text)


def _members(number: str, join: str | None, other: str | None) -> Members:
    return (
        Members(int(number), "and" if join == "and" else "not", int(other)) if join and other else Members(int(number))
    )
