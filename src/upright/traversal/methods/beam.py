"""A beam of paths through the graph, after Think-on-Graph (arXiv:2307.07697).

    while there are rounds left:
        the model scores the relations of the end of every path, in both directions; the best are kept
        it scores the entities they lead to; the best paths are kept
        it says whether these paths are enough to answer; then that is the end
    answer from the paths

At most 2 N D + D + 1 requests with N paths, D rounds and a question about N entities. Our own reading: a path is
worth the product of its scores, so that one of doubtful steps gives way to one of sure steps; a single option is not
asked about.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from upright.knowledge.failures import GraphError
from upright.traversal.answers import Rejected
from upright.traversal.budget import Status
from upright.traversal.inquiry import Inquiry
from upright.traversal.machine import Machine
from upright.traversal.methods.chosen import Chosen
from upright.traversal.methods.guide import UNASKED, Guide, Move, Path, Tail, fail
from upright.traversal.methods.written import Written
from upright.traversal.prompts import Compact
from upright.traversal.record import Node, best_answer
from upright.traversal.state import State

B = TypeVar("B", Move, Path)


@dataclass(frozen=True)
class Beam:
    """The best paths, kept side by side.

    Attributes:
        width: paths kept (N).
        depth: rounds, and so steps of a path, at most (D).
    """

    name: ClassVar[str] = "beam"
    reads_graph: ClassVar[bool] = True
    width: int = 3
    depth: int = 3

    async def explore(self, inquiry: Inquiry) -> Status:
        style = inquiry.style
        guide: Guide = Chosen(style) if isinstance(style, Compact) else Written(self.width)
        beam, verdict = [await inquiry.start()], UNASKED
        if not inquiry.seeds:
            await guide.answer(inquiry, beam, verdict)
            return "no_entities"
        for _ in range(self.depth):
            grown = await self._round(inquiry, guide, beam)
            if not grown:
                break
            beam, verdict = grown, await guide.verdict(inquiry, grown)
            if verdict.enough:
                break
        await guide.answer(inquiry, beam, verdict)
        if best_answer(inquiry.nodes) is None:
            return "exhausted"
        return "answered" if verdict.enough else "below_threshold"

    async def _round(self, inquiry: Inquiry, guide: Guide, beam: Sequence[Node]) -> list[Node]:
        """The paths that go on from those of the beam; none where nothing leads on."""
        moves = best(await guide.moves(inquiry, await _tails(inquiry, beam)), self.width)
        paths = best(await guide.paths(inquiry, await _reached(inquiry, moves)), self.width)
        return [inquiry.enter(path.state, path.node.number, path.worth, path.how) for path in paths]


def best(found: Sequence[B], width: int) -> list[B]:
    """At most `width` of them, those worth most; of equals the first. What is worth nothing is not kept."""
    return sorted((one for one in found if one.worth > 0), key=lambda one: -one.worth)[:width]


async def _tails(inquiry: Inquiry, beam: Sequence[Node]) -> list[Tail]:
    found: list[Tail] = []
    for node in beam:
        inquiry.expand(node)
        try:
            found += await inquiry.read(tails_of, inquiry.machine, node)
        except GraphError as error:
            fail(inquiry, node, f"the graph did not answer: {error}")
    return found


def tails_of(machine: Machine, node: Node) -> list[Tail]:
    """Where a path goes on: at its last set, or from the root at each entity of the question."""
    state = node.state
    group, opened = state.sets[-1], State(state.question, "entities", state.depth, state, facts=state.facts)
    found: list[Tail] = []
    for start in group.ids if group.number == 1 else (group.name,):
        try:
            chosen = machine.apply(opened, machine.parse(opened, start))
        except Rejected:  # nothing leads on from here
            continue
        found.append(Tail(node, chosen, machine.relations(chosen)))
    return found


async def _reached(inquiry: Inquiry, moves: Sequence[Move]) -> list[tuple[Move, State]]:
    found: list[tuple[Move, State]] = []
    for move in moves:
        try:
            found.append((move, await inquiry.read(reached, inquiry.machine, move)))
        except Rejected as error:
            fail(inquiry, move.tail.node, str(error))
        except GraphError as error:
            fail(inquiry, move.tail.node, f"the graph did not answer: {error}")
    return found


def reached(machine: Machine, move: Move) -> State:
    """The path with all that a move leads to, as one step. Raises `Rejected` where that is nothing new."""
    chosen, before = move.tail.state, move.tail.node.state
    state = machine.apply(chosen, move.step)
    if state.added is None or not state.added.ids:
        raise Rejected(f"{machine.names.relation(*move.step)} leads only back")
    return replace(state, depth=before.depth + 1, parent=before, lines=(*chosen.lines, *state.lines))
