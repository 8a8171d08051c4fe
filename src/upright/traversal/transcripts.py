"""What a small actor learns from: transcripts of ways along gold paths, and which of their states are worth a step.

The texts are made by the same machine and the same compact prompts as those of a search. A prompt is always the
beginning of the transcript, so that one text teaches all actions of a way.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from upright.traversal.actor import Transcript
from upright.traversal.answers import Count, Form, Members, Rejected, parse
from upright.traversal.machine import Action, Expand, Machine, Reply
from upright.traversal.paths import Path
from upright.traversal.prompts import Ask, Compact, forms_of, selected
from upright.traversal.state import Selection, State, Step


@dataclass(frozen=True)
class Way:
    """A question, its entities, the relations that lead to its answers, and the form of the answer.

    Attributes:
        said: the form, as text; by default all that the last set holds.
        start: the one entity from which the path starts; by default it starts from all.
    """

    question: str
    seeds: tuple[str, ...]
    path: Path
    said: str = ""
    start: str = ""

    @property
    def form(self) -> Form:
        """The answer."""
        return parse(self.said or f"#{len(self.path) + 1}")

    @property
    def plain(self) -> bool:
        """Whether it is answered by a set or its size."""
        return isinstance(self.form, Members | Count)


def walked(machine: Machine, way: Way) -> list[tuple[State, Action]]:
    """The states of a way with the action that is right in each; the last one ends it.

    Raises:
        Rejected: where the way cannot be gone, as when a step adds nothing to what was read.
    """
    state, found = machine.start(way.question, way.seeds), list[tuple[State, Action]]()
    for number, step in enumerate(way.path, 1):
        chosen = Selection((way.start,)) if way.start and number == 1 else Selection(state.sets[number - 1].ids, number)
        for action in (Expand(), chosen, step):
            found.append((state, action))
            state = machine.apply(state, action)
    return [*found, (state, Reply(way.form))]


def taught(machine: Machine, style: Compact, way: Way) -> Transcript:
    """The transcript of a way, in which all lines of the actor are its own."""
    steps = walked(machine, way)
    end = machine.apply(*steps[-1])
    text = style.transcript(machine, end) + "\n"
    own = []
    for state, action in steps:
        prompt, said = _prompt(style.act(machine, state)), _said(machine, action)
        if not text.startswith(f"{prompt} {said}"):
            raise ValueError(f"the prompt {prompt!r} is no beginning of {text!r}")
        own.append((len(prompt), len(prompt) + 1 + len(said)))
    return Transcript(text, (*own, (len(text) - 1, len(text))))


def judged(machine: Machine, style: Compact, way: Way, wrong: float, rng: random.Random) -> Iterator[Transcript]:
    """Some states on the way, which are worth going on from, and about `wrong` times as many off it, which are not.

    They are states of every phase, as a search asks for the value of each: one more than the way has steps.
    """
    steps = walked(machine, way)
    right = [machine.apply(state, action) for state, action in steps]
    kept = {machine_key(state) for state in right}
    count = 1 + len(way.path)
    for state in rng.sample(right, min(count, len(right))):
        yield _verdict(style.judge(machine, state), "yes")
    turns = [state for state, _ in steps if state.phase != "default" or len(state.sets) > 1 or not way.path]
    for _ in range(round(wrong * count)):
        other = _astray(machine, rng.choice(turns), way, rng)
        if other is not None and machine_key(other) not in kept and not _agree(other, right[-1]):
            yield _verdict(style.judge(machine, other), "no")


def _agree(state: State, end: State) -> bool:
    """Whether both answer the same, if on different ways."""
    return state.answer is not None and end.answer is not None and state.answer.labels == end.answer.labels


def machine_key(state: State) -> tuple[object, ...]:
    """Equal for states that stand for the same: what was read, what is chosen, and what was answered."""
    return state.facts, state.phase, state.selection and state.selection.ids, state.answer and state.answer.labels


def _astray(machine: Machine, state: State, way: Way, rng: random.Random) -> State | None:
    """Where a random turn leads, gone on from for some actions as if it were right; None where it cannot be gone."""
    try:
        state = machine.apply(state, _turn(machine, state, way, rng))
        for _ in range(rng.randrange(2 + 3 * len(way.path))):
            if state.phase == "done" or (state.phase == "default" and rng.random() < 0.3):
                break
            state = machine.apply(state, _onward(machine, state, way, rng))
        return state
    except (Rejected, IndexError):
        return None


def _turn(machine: Machine, state: State, way: Way, rng: random.Random) -> Action:
    """Any action on a state."""
    if state.phase == "relation":
        return rng.choice(machine.relations(state).listed).value
    if state.phase == "entities":
        return rng.choice(machine.selections(state).listed).value
    if rng.random() < 0.5 and machine.allowed(state) != ("ANSWER",):
        return Expand()
    sets = [group for group in state.sets if group.ids]
    forms = [f"#{group.number}" for group in sets] + [f"count #{group.number}" for group in sets]
    return Reply(parse(rng.choice(forms if way.plain else list(forms_of(machine, state)))))


def _onward(machine: Machine, state: State, way: Way, rng: random.Random) -> Action:
    """The action that would come next if all before were right; now and then another relation."""
    number = len(state.sets)
    if state.phase == "default":
        return Expand() if number <= len(way.path) else Reply(way.form)
    if state.phase == "entities":
        return Selection(state.sets[-1].ids, number)
    offered = [option.value for option in machine.relations(state).listed]
    own = way.path[number - 1] if number <= len(way.path) else None
    return own if own is not None and own in offered and rng.random() < 0.6 else rng.choice(offered)


def _prompt(ask: Ask) -> str:
    return ask.messages[-1].content


def _said(machine: Machine, action: Action) -> str:
    match action:
        case Expand():
            return "EXPAND"
        case Selection():
            return selected(machine, action)
        case Step(relation, direction):
            return machine.names.relation(relation, direction)
        case Reply(form):
            return f"ANSWER {form}"
        case _:
            raise ValueError(f"{action} stands in no transcript")


def _verdict(ask: Ask, said: str) -> Transcript:
    prompt = _prompt(ask)
    return Transcript(f"{prompt} {said}\n", ((len(prompt), len(prompt) + 1 + len(said)),))


def all_of(
    machine: Machine, ways: Sequence[Way], wrong: float, rng: random.Random
) -> tuple[list[Transcript], list[Way]]:
    """The transcripts of many ways, and the ways that could not be gone."""
    style, found, failed = Compact(), list[Transcript](), list[Way]()
    for way in ways:
        try:
            found.append(taught(machine, style, way))
            found += judged(machine, style, way, wrong, rng)
        except Rejected:
            failed.append(way)
    return found, failed
