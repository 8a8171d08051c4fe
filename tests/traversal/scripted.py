"""A small world known by heart, and a chat model that follows a script: what is tested is the search around it."""

import re
from collections.abc import Callable, Sequence

from upright.knowledge.memory import MemoryGraph
from upright.models.chat.protocol import Completion, Message, Sampling, TokenLogprobs, Usage
from upright.traversal.machine import Machine, Rules
from upright.traversal.prompts import FOLLOW, JUDGE, ONLY, SELECT, VERIFY
from upright.traversal.search import Literals
from upright.traversal.state import State

FACTS = [
    ("Peru", "capital", "Lima"),
    ("Chile", "capital", "Santiago"),
    ("Peru", "currency", "sol"),
    ("Chile", "currency", "peso"),
    ("Brazil", "currency", "real"),
    ("Peru", "borders", "Chile"),
    ("Chile", "borders", "Peru"),
    ("Peru", "borders", "Brazil"),
    ("Brazil", "borders", "Peru"),
    ("Peru", "population", "34"),
    ("Chile", "population", "19"),
    ("Brazil", "population", "203"),
    ("Peru", "founded", "1821-07-28"),
    ("Chile", "founded", "1818-02"),
    ("Brazil", "founded", "1822"),
]
RULES, GREEDY = Rules(), Sampling()
INSTRUCTIONS = {SELECT: "entities", FOLLOW: "relation", ONLY: "forced", JUDGE: "value", VERIFY: "verify"}
Script = Callable[[str, str], str | list[str]]


def quantity(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+", text) else None


def moment(text: str) -> tuple[int, ...] | None:
    return tuple(map(int, text.split("-"))) if re.fullmatch(r"\d{4}(-\d\d){0,2}", text) else None


LITERALS = Literals(quantity, moment)


def world() -> MemoryGraph:
    return MemoryGraph(FACTS)


def machine(graph: MemoryGraph | None = None, rules: Rules = RULES) -> Machine:
    return Machine(graph or world(), rules, quantity, moment)


def walk(driver: Machine, state: State, *texts: str) -> State:
    """The state after these actions."""
    for text in texts:
        state = driver.apply(state, driver.parse(state, text))
    return state


class Scripted:
    """Answers by a function of what is asked for and of the trajectory.

    The kinds are default, entities, relation, forced, value and verify; the trajectory is its lines, joined by ` / `.
    A list gives the samples one after the other. Attributes: `asked`, every (kind, trajectory, samples) so far.
    """

    name = "test:scripted"
    context = None

    def __init__(self, script: Script, top: dict[str, float] | None = None) -> None:
        self.script, self.top = script, top
        self.asked: list[tuple[str, str, int]] = []
        self.prompts: list[str] = []

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling = GREEDY,
        samples: int = 1,
        choices: Sequence[str] | None = None,
    ) -> list[Completion]:
        prompt = messages[-1].content
        kind, said = kind_of(prompt), trajectory(prompt)
        self.prompts.append(prompt)
        self.asked.append((kind, said, samples))
        replies = self.script(kind, said)
        texts = [replies] if isinstance(replies, str) else replies
        return [self._completion(texts[i % len(texts)], len(prompt) if i == 0 else 0) for i in range(samples)]

    def _completion(self, text: str, size: int) -> Completion:
        if text.startswith("error"):
            return Completion("", "error", Usage(0, 0), error=text)
        logprobs = (TokenLogprobs(text, 0.0, tuple(self.top.items())),) if self.top else None
        return Completion(text, "stop", Usage(size // 4, 1), logprobs)

    def count(self, messages: Sequence[Message]) -> int:
        return sum(len(message.content) for message in messages) // 4


def kind_of(prompt: str) -> str:
    return next((kind for text, kind in INSTRUCTIONS.items() if text in prompt), "default")


def trajectory(prompt: str) -> str:
    lines = prompt.partition("\n\nTrajectory:")[2].partition("\n\n")[0].strip().splitlines()
    return "" if lines == ["(empty)"] else " / ".join(lines)
