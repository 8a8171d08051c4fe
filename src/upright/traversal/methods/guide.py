"""What a beam asks of a model, whatever form the model is asked in."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from upright.models.chat.protocol import Completion
from upright.traversal.inquiry import Inquiry
from upright.traversal.machine import Options
from upright.traversal.prompts import Ask
from upright.traversal.record import How, Node
from upright.traversal.state import State, Step


class Tail(NamedTuple):
    """The end of a path: a state in which one of the relations is to be chosen."""

    node: Node
    state: State
    options: Options[Step]


class Move(NamedTuple):
    """A relation to follow, and what the path is worth with it."""

    tail: Tail
    step: Step
    worth: float
    how: How


class Path(NamedTuple):
    """A path that goes on from that of a node."""

    node: Node
    state: State
    worth: float
    how: How


class Verdict(NamedTuple):
    """Whether paths are enough to answer from, and how surely; None where it was not asked."""

    enough: bool
    worth: float | None


UNASKED = Verdict(False, None)


class Guide(Protocol):
    """Where a request fails, or cannot be read, an error stands in the record and nothing is offered."""

    async def moves(self, inquiry: Inquiry, tails: Sequence[Tail]) -> list[Move]:
        """Relations worth following, for each tail in turn."""
        ...

    async def paths(self, inquiry: Inquiry, reached: Sequence[tuple[Move, State]]) -> list[Path]:
        """Paths worth keeping of those to all that the moves reached."""
        ...

    async def verdict(self, inquiry: Inquiry, beam: Sequence[Node]) -> Verdict:
        """Whether the paths are enough."""
        ...

    async def answer(self, inquiry: Inquiry, beam: Sequence[Node], verdict: Verdict) -> None:
        """Enter the answer from the paths, after the last verdict on them."""
        ...


def fail(inquiry: Inquiry, node: Node, reason: str) -> None:
    """Leave an error below a node."""
    inquiry.enter(inquiry.machine.fail(node.state, reason), node.number, -1.0, "error").closed = True


async def replies(inquiry: Inquiry, asks: Sequence[tuple[Node, Ask | None]]) -> list[Completion | None]:
    """The answer to each request, all made side by side; None where there is none to make, or it failed."""
    drawn = iter(await inquiry.ask_all("act", [(node.number, ask) for node, ask in asks if ask is not None]))
    return [None if ask is None else _heard(inquiry, node, next(drawn)) for node, ask in asks]


def _heard(inquiry: Inquiry, node: Node, said: Completion) -> Completion | None:
    if said.finish != "error":
        return said
    fail(inquiry, node, f"the model failed: {said.error}")
    return None
