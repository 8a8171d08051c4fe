"""The actions on a state: which may be taken, what a text means, and what state follows."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, NamedTuple, TypeVar

from upright.knowledge.graph import Direction, Edge, KnowledgeGraph
from upright.knowledge.memory import fold
from upright.traversal import answers
from upright.traversal.answers import Form, Moment, Quantity, Reading, Rejected, Superlative, plain_quote
from upright.traversal.names import Names, mark, plural
from upright.traversal.state import NOTHING, EntitySet, Line, Selection, State, Step, passed

T = TypeVar("T")
BOTH: tuple[Direction, ...] = ("out", "in")
Omit = Literal["path", "seeds"]
PROBED = 8  # objects of a relation that are looked at for being numbers or dates
MIRROR = 200  # facts up to which a relation is looked at for being its own inverse


@dataclass(frozen=True)
class Think:
    """Say something that helps later."""

    text: str


@dataclass(frozen=True)
class Expand:
    """Read on in the graph."""


@dataclass(frozen=True)
class Reply:
    """End with an answer."""

    form: Form


Action = Think | Expand | Reply | Selection | Step


@dataclass(frozen=True)
class Rules:
    """What a traversal may do.

    Attributes:
        depth: from this number of actions on, only an answer is allowed (D).
        rows: facts read by one expansion, at most; when there are more, the state says how many.
        listed: options shown in a prompt, at most; the others can still be chosen by name.
        omit: entities left out of a new set: of those on the way to it all ("path"), or those of the question alone
            ("seeds"). Both answer "who else …"; only the second finds the director who acts in their own film.
    """

    depth: int = 7
    rows: int = 10_000
    listed: int = 50
    omit: Omit = "seeds"


class Option(NamedTuple, Generic[T]):
    """Something to choose: its text in a prompt, unique among the options, and how many facts or entities it has."""

    text: str
    value: T
    size: int


class Candidate(NamedTuple, Generic[T]):
    """An option before it is known which texts are unique."""

    value: T
    id: str
    label: str
    shown: str
    size: int


@dataclass(frozen=True)
class Options(Generic[T]):
    """What can be chosen.

    Attributes:
        listed: those a prompt shows, numbered from 1.
        total: how many different ones there are.
        names: every text that means exactly one of them: ids first, then labels that are unique.
    """

    listed: tuple[Option[T], ...]
    total: int
    names: Mapping[str, T]

    @classmethod
    def among(cls, candidates: Sequence[Candidate[T]], listed: Sequence[Candidate[T]]) -> "Options[T]":
        """Options out of `candidates`, of which `listed` are shown."""
        labels = Counter(label for one in candidates for label in {one.label, one.shown})
        ids = {one.id: one.value for one in candidates}
        names = {name: one.value for one in candidates for name in (one.label, one.shown) if labels[name] == 1}
        shown: list[Option[T]] = []
        for one in listed:
            unique = labels[one.shown] == 1 and ids.get(one.shown, one.value) == one.value
            shown.append(Option(one.shown if unique else f"{one.shown} [{one.id}]", one.value, one.size))
        total = len({one.value for one in candidates})
        return cls(tuple(shown), total, {**names, **{option.text: option.value for option in shown}, **ids})

    def find(self, text: str) -> T | None:
        """What a text means: an id, a unique label, or the number of a listed option, bare or in brackets."""
        text = text.strip()
        if text in self.names:
            return self.names[text]
        number = re.fullmatch(r"\((\d{1,6})\)|\[(\d{1,6})\]|(\d{1,6})", text)
        place = int(number[1] or number[2] or number[3]) if number else 0
        return self.listed[place - 1].value if 1 <= place <= len(self.listed) else None


AnyOptions = Options[Selection] | Options[Step]


class Machine:
    """All that reads the graph for a search; its methods wait for the graph.

    Args:
        graph: what is traversed.
        rules: what is allowed.
        quantity: reads a number in a literal.
        moment: reads a date in a literal.
    """

    def __init__(self, graph: KnowledgeGraph, rules: Rules, quantity: Quantity, moment: Moment) -> None:
        self.graph, self.rules = graph, rules
        self.names = Names(graph)
        self._quantity, self._moment = quantity, moment
        self._superlatives: dict[tuple[str, ...], list[tuple[Superlative, str]]] = {}
        self._counts: dict[tuple[tuple[str, ...], Direction], dict[str, int]] = {}

    def start(self, question: str, seeds: Iterable[str]) -> State:
        """The root: the question and its entities, `#1`."""
        ids = tuple(sorted(set(seeds)))
        self.names.load(ids)
        return State(question, "default", 0, added=EntitySet(1, ids))

    def reading(self, state: State) -> Reading:
        """What answer forms read in a state."""
        return Reading(state.sets, self.graph, self.names, self._quantity, self._moment)

    def counts(self, ids: tuple[str, ...], direction: Direction) -> dict[str, int]:
        """Facts of each relation, asked for once."""
        if (ids, direction) not in self._counts:
            self._counts[ids, direction] = self.graph.counts(ids, direction)
        return self._counts[ids, direction]

    def superlatives(self, ids: tuple[str, ...]) -> list[tuple[Superlative, str]]:
        """Superlatives that several entities can be told apart by, each with a relation whose objects allow it."""
        if ids not in self._superlatives:
            kinds = list(self.counts(ids, "out")) if len(ids) > 1 else []
            self.names.load((), kinds)
            self._superlatives[ids] = [one for relation in kinds for one in self._measures(ids, relation)]
        return self._superlatives[ids]

    def _measures(self, ids: tuple[str, ...], relation: str) -> Iterator[tuple[Superlative, str]]:
        objects = [edge.tail for edge in self.graph.edges(ids, relation, limit=PROBED)]
        label = self.names.shown(relation)
        if all(self._quantity(text) is not None for text in objects):
            yield from (("largest", label), ("smallest", label))
        if all(self._moment(text) is not None for text in objects):
            yield from (("first", label), ("last", label))

    # --- what is allowed ---

    def allowed(self, state: State) -> tuple[str, ...]:
        """First words of the actions of a default state."""
        if state.phase != "default":
            return ()
        if state.depth >= self.rules.depth:
            return ("ANSWER",)
        words = [] if state.thoughtful else ["THINK"]
        words += ["EXPAND_KG"] if any(group.ids for group in state.sets) else []
        return (*words, "ANSWER")

    def answer_only(self, state: State) -> State:
        """The state, at the end of its depth."""
        return replace(state, depth=max(state.depth, self.rules.depth))

    def selections(self, state: State) -> Options[Selection]:
        """What can be expanded: the sets by name, then their entities, the latest first."""
        sets = state.sets
        groups = [group for group in sets if group.ids]
        ids = list(dict.fromkeys(entity for group in reversed(groups) for entity in group.ids))
        self.names.load(ids)
        named = [
            Candidate(Selection(group.ids, group.number), group.name, group.name, group.name, len(group.ids))
            for group in groups
        ]
        single = [
            Candidate(self._selection(sets, [entity]), entity, self.names.label(entity), self.names.shown(entity), 1)
            for entity in ids
        ]
        # an entity that is a set of its own is listed once
        listed = [*named, *(one for one in single if one.value.number is None)]
        return Options.among([*named, *single], listed[: max(self.rules.listed, len(named))])

    @staticmethod
    def _selection(sets: Sequence[EntitySet], ids: Iterable[str]) -> Selection:
        """The ids, by the name of the last set that consists of them."""
        chosen = tuple(sorted(set(ids)))
        number = next((group.number for group in reversed(sets) if group.ids == chosen), None)
        return Selection(chosen, number)

    def relations(self, state: State, selection: Selection | None = None) -> Options[Step]:
        """Relations that lead to facts not yet read, outgoing ones first; those nearest to the question are listed."""
        chosen = selection or state.selection or NOTHING
        counts = {
            Step(relation, direction): count
            for direction in BOTH
            for relation, count in self.counts(chosen.ids, direction).items()
        }
        known = self._read(state, chosen.ids)
        steps = [step for step, count in counts.items() if count > known[step] and not self._twin(step, counts, chosen)]
        self.names.load((), [step.relation for step in steps])
        candidates = [
            Candidate(
                step,
                step.text,
                mark(self.names.label(step.relation), step.direction),
                self.names.relation(*step),
                counts[step],
            )
            for step in steps
        ]
        return Options.among(candidates, nearest(state.question, candidates, self.rules.listed))

    def _read(self, state: State, ids: Sequence[str]) -> Counter[Step]:
        """How many facts of the entities are in the local graph already."""
        known, chosen = Counter[Step](), set(ids)
        for edge in state.facts:
            known[Step(edge.relation, "out")] += edge.head in chosen
            known[Step(edge.relation, "in")] += edge.tail in chosen
        return known

    def _twin(self, step: Step, counts: Mapping[Step, int], chosen: Selection) -> bool:
        """Whether following a relation backwards leads where it leads forwards, as with borders."""
        forwards = Step(step.relation)
        if step.direction == "out" or counts.get(forwards) != counts[step] or counts[step] > MIRROR:
            return False
        ahead = {edge.tail for edge in self.graph.edges(chosen.ids, step.relation, "out")}
        return ahead == {edge.head for edge in self.graph.edges(chosen.ids, step.relation, "in")}

    # --- what a text means ---

    def parse(self, state: State, text: str, options: AnyOptions | None = None) -> Action:
        """The action a text stands for; its first word, or all of it, decides.

        Args:
            state: where it is taken.
            text: what the model wrote.
            options: of the state, where they are known already.

        Raises:
            Rejected: for a text that is no action of the state.
        """
        match state.phase:
            case "default":
                return self._action(state, text)
            case "entities":
                return self._chosen(state, text, options or self.selections(state))
            case "relation":
                step = (options or self.relations(state)).find(text)
                if isinstance(step, Step):
                    return step
                raise Rejected(f"{plain_quote(text)} is none of the relations")
            case _:
                raise Rejected("the question is answered")

    def _action(self, state: State, text: str) -> Action:
        line = next((line.strip() for line in text.splitlines() if line.strip()), "")
        word, _, rest = line.partition(" ")
        word = "EXPAND_KG" if word == "EXPAND" else word
        allowed = self.allowed(state)
        if word not in allowed:
            raise Rejected(f"{plain_quote(word)} is no action here; allowed: {', '.join(allowed)}")
        if word == "EXPAND_KG":
            return Expand()
        if not rest.strip():
            raise Rejected(f"{word} needs a text")
        return Think(" ".join(rest.split())) if word == "THINK" else Reply(answers.parse(rest))

    def _chosen(self, state: State, text: str, options: AnyOptions) -> Selection:
        whole = options.find(text)
        if isinstance(whole, Selection):
            return whole
        for separator in (r"[\n;]", r"[\n;,]"):
            parts = [options.find(part) for part in re.split(separator, text) if part.strip()]
            found = [part for part in parts if isinstance(part, Selection)]
            if found and len(found) == len(parts):
                return self._union(state, found)
        raise Rejected(f"{plain_quote(text)} is no set and no entity here")

    def _union(self, state: State, found: Sequence[Selection]) -> Selection:
        if any(len(part.ids) != 1 for part in found):
            raise Rejected("choose one set, or entities; not several sets")
        return self._selection(state.sets, [part.ids[0] for part in found])

    # --- what follows ---

    def apply(self, state: State, action: Action) -> State:
        """The state after an action. The state given stays as it is.

        Raises:
            Rejected: for an action that the state does not allow or that leads nowhere.
        """
        match state.phase, action:
            case "default", Think(text) if "THINK" in self.allowed(state):
                return self._next(state, "default", Line("THINK", text))
            case "default", Expand() if "EXPAND_KG" in self.allowed(state):
                return self._next(state, "entities", Line("EXPAND", ""))
            case "default", Reply(form):
                answer = form.answer(self.reading(state))
                return replace(self._next(state, "done", Line("ANSWER", answer.form)), answer=answer)
            case "entities", Selection():
                return self._select(state, action)
            case "relation", Step():
                return self._follow(state, action)
            case _:
                raise Rejected(f"{type(action).__name__.lower()} is not allowed here")

    def fail(self, state: State, reason: str) -> State:
        """The default state that follows when no action could be taken."""
        return self._next(state, "default", Line("ERROR", reason))

    @staticmethod
    def _next(state: State, phase: Literal["default", "entities", "relation", "done"], *lines: Line) -> State:
        return State(state.question, phase, state.depth + 1, state, lines, facts=state.facts)

    def _select(self, state: State, selection: Selection) -> State:
        held = {entity for group in state.sets for entity in group.ids}
        if not selection.ids or not held.issuperset(selection.ids):
            raise Rejected("these are no entities of the local graph")
        if not self.relations(state, selection).total:
            raise Rejected(f"nothing new leads on from {self.text(selection)}")
        line = Line("SELECT", self.text(selection))
        return replace(self._next(state, "relation", line), selection=selection)

    def text(self, selection: Selection) -> str:
        """A selection on one line."""
        return f"#{selection.number}" if selection.number else "; ".join(map(self.names.entity, selection.ids))

    def _follow(self, state: State, step: Step) -> State:
        selection, sets = state.selection or NOTHING, state.sets
        total = self.counts(selection.ids, step.direction).get(step.relation, 0)
        edges = tuple(self.graph.edges(selection.ids, step.relation, step.direction, limit=self.rules.rows))
        if state.facts.issuperset(edges):
            raise Rejected(f"{self.names.relation(*step)} adds nothing")
        group = self._group(sets, selection, step, edges, total)
        self.names.load((end for edge in edges for end in (edge.head, edge.tail)), [step.relation])
        lines = Line("FOLLOW", self.names.relation(*step)), Line("FOUND", _found(group))
        follows = self._next(state, "default", *lines)
        return replace(follows, added=group, facts=state.facts.union(edges))

    def _group(
        self, sets: tuple[EntitySet, ...], selection: Selection, step: Step, edges: tuple[Edge, ...], total: int
    ) -> EntitySet:
        way = passed(sets, selection)
        group = EntitySet(len(sets) + 1, (), selection, step, edges, total, way)
        left_out = way if self.rules.omit == "path" else way & sets[0].members
        return replace(group, ids=tuple(sorted({group.far(edge) for edge in edges} - left_out)))


def _found(group: EntitySet) -> str:
    """What an expansion gave, with what it could not read."""
    facts = (
        plural(len(group.edges), "fact") if group.complete else f"the first {len(group.edges)} of {group.total} facts"
    )
    return f"{group.name} holds {plural(len(group.ids), 'entity', 'entities')}, by {facts}"


def nearest(question: str, candidates: Sequence[Candidate[Step]], limit: int) -> Sequence[Candidate[Step]]:
    """At most `limit` relations, those that share most words with the question, in their own order."""
    if len(candidates) <= limit:
        return candidates
    asked = _stems(question)
    order = sorted(range(len(candidates)), key=lambda i: (-_share(asked, candidates[i].shown), i))
    return [candidates[i] for i in sorted(order[:limit])]


def _stems(text: str) -> set[str]:
    """Beginnings of the words, so that singular and plural meet."""
    return {word[:5] for word in fold(text).split()}


def _share(asked: set[str], label: str) -> float:
    words = _stems(label)
    return len(words & asked) / max(1, len(words))
