"""What a small actor learns from: transcripts of ways along gold paths, and which of their states are worth a step.

The texts are made by the same machine and the same compact prompts as those of a search. A prompt is always the
beginning of the transcript, so that one text teaches all actions of a way.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from upright.traversal.actor import Transcript
from upright.traversal.answers import Form, Rejected, parse
from upright.traversal.machine import Action, Expand, Machine, Reply
from upright.traversal.paths import Path
from upright.traversal.prompts import Ask, Compact
from upright.traversal.state import Selection, State, Step


@dataclass(frozen=True)
class Way:
    """A question, its entities, the relations that lead to its answers, and the form of the answer."""

    question: str
    seeds: tuple[str, ...]
    path: Path
    counted: bool = False

    @property
    def form(self) -> Form:
        """The answer: all that the last set holds, or how many they are."""
        return parse(f"{'count ' if self.counted else ''}#{len(self.path) + 1}")


def walked(machine: Machine, way: Way) -> list[tuple[State, Action]]:
    """The states of a way with the action that is right in each; the last one ends it.

    Raises:
        Rejected: where the way cannot be gone, as when a step adds nothing to what was read.
    """
    state, found = machine.start(way.question, way.seeds), list[tuple[State, Action]]()
    for number, step in enumerate(way.path, 1):
        for action in (Expand(), Selection(state.sets[number - 1].ids, number), step):
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
    """States on the way, which are worth going on from, and about `wrong` times as many beside it, which are not."""
    steps = walked(machine, way)
    right = [machine.apply(state, action) for state, action in steps]
    for state in right:
        if state.phase in ("default", "done"):
            yield _verdict(style.judge(machine, state), "yes")
    turns = [state for state, action in steps if isinstance(action, Step | Reply)]
    for _ in range(round(wrong * len(turns))):
        state = rng.choice(turns)
        kept = {machine_key(one) for one in right}
        if (other := _wrong_turn(machine, state, rng)) is not None and machine_key(other) not in kept:
            yield _verdict(style.judge(machine, other), "no")


def machine_key(state: State) -> tuple[object, ...]:
    """Equal for states that stand for the same: what was read, and what was answered."""
    return state.facts, state.phase, state.answer and state.answer.labels


def _wrong_turn(machine: Machine, state: State, rng: random.Random) -> State | None:
    try:
        if state.phase == "relation":
            return machine.apply(state, rng.choice(machine.relations(state).listed).value)
        sets = [group for group in state.sets if group.ids]
        if rng.random() < 0.5 and machine.allowed(state) != ("ANSWER",):
            chosen = machine.apply(machine.apply(state, Expand()), Selection(sets[-1].ids, sets[-1].number))
            return _wrong_turn(machine, chosen, rng)
        forms = [f"#{group.number}" for group in sets] + [f"count #{group.number}" for group in sets]
        return machine.apply(state, Reply(parse(rng.choice(forms))))
    except (Rejected, IndexError):
        return None


def _prompt(ask: Ask) -> str:
    return ask.messages[-1].content


def _said(machine: Machine, action: Action) -> str:
    match action:
        case Expand():
            return "EXPAND"
        case Selection():
            return machine.text(action)
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
