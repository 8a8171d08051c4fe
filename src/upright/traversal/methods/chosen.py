"""The beam with a model of `upright ask learn`, which chooses among given continuations and writes no scores.

A path is a row of sets, as such a model does not tell apart the entities of a set: the relation-based form of
Think-on-Graph. Relations have the probabilities that the model gives them; after every round it says at the end of
each path whether it would answer there. An answer is worth its own value times that of its path, as an answer at
the end of a doubtful path is doubtful; one that is worth the threshold is enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from upright.knowledge.failures import GraphError
from upright.traversal import values
from upright.traversal.answers import Rejected
from upright.traversal.inquiry import Inquiry
from upright.traversal.machine import Machine
from upright.traversal.methods.guide import Move, Path, Tail, Verdict, fail, replies
from upright.traversal.prompts import Ask, Compact
from upright.traversal.record import How, Node, best_answer
from upright.traversal.search import exact, sole
from upright.traversal.state import State

Shares = dict[str, float]


@dataclass(frozen=True)
class Chosen:
    """Scores by the compact prompts."""

    style: Compact

    async def moves(self, inquiry: Inquiry, tails: Sequence[Tail]) -> list[Move]:
        shares = await self._shares(inquiry, [(tail.node, tail.state) for tail in tails])
        return [move for tail, one in zip(tails, shares, strict=True) for move in _moves(tail, one)]

    async def paths(self, inquiry: Inquiry, reached: Sequence[tuple[Move, State]]) -> list[Path]:
        return [Path(move.tail.node, state, move.worth, move.how) for move, state in reached]

    async def verdict(self, inquiry: Inquiry, beam: Sequence[Node]) -> Verdict:
        return await self._valued(inquiry, beam, [node.state for node in beam])

    async def answer(self, inquiry: Inquiry, beam: Sequence[Node], verdict: Verdict) -> None:
        if best_answer(inquiry.nodes) is None:  # wherever a path ends, the model would read on
            await self._valued(inquiry, beam, [inquiry.machine.answer_only(node.state) for node in beam])

    async def _valued(self, inquiry: Inquiry, beam: Sequence[Node], ends: Sequence[State]) -> Verdict:
        """Enter the answers that the model likes best at the ends of paths, where it would not rather read on."""
        answers: list[Node] = []
        for node, shares in zip(beam, await self._shares(inquiry, list(zip(beam, ends, strict=True))), strict=True):
            text = max(shares, key=lambda one: shares[one], default="EXPAND")
            answer = await _answered(inquiry, node, text) if text != "EXPAND" else None
            answers += [answer] if answer else []
        await self._value(inquiry, answers)
        best = best_answer(inquiry.nodes)
        worth = best.value if best else None
        return Verdict(worth is not None and worth >= inquiry.settings.threshold, worth)

    async def _shares(self, inquiry: Inquiry, places: Sequence[tuple[Node, State]]) -> list[Shares]:
        """How likely the model takes which action in each state; none where there is none to take."""
        shares, asks = list[Shares](), list[tuple[Node, Ask | None]]()
        for node, state in places:
            ask = await self._ask(inquiry, node, state)
            only = sole(ask) if ask else None
            shares.append({only: 1.0} if only else {})
            asks.append((node, ask if ask and ask.choices and not only else None))
        for place, said in enumerate(await replies(inquiry, asks)):
            ask = asks[place][1]
            if ask and said:
                shares[place] = exact(said, ask.choices or ()) or {said.text.strip(): 1.0}
        return shares

    async def _ask(self, inquiry: Inquiry, node: Node, state: State) -> Ask | None:
        try:
            return await inquiry.read(self.style.act, inquiry.machine, state)
        except GraphError as error:
            fail(inquiry, node, f"the graph did not answer: {error}")
            return None

    async def _value(self, inquiry: Inquiry, answers: Sequence[Node]) -> None:
        """What the answers are worth, by their paths and by themselves; nothing where it could not be asked."""
        try:
            asks = [await inquiry.read(self.style.judge, inquiry.machine, node.state) for node in answers]
            places = [(node.number, ask) for node, ask in zip(answers, asks, strict=True)]
            for node, ask, said in zip(answers, asks, await inquiry.ask_all("value", places), strict=True):
                unread: tuple[float, How] = (0.0, "failed" if said.finish == "error" else "unreadable")
                value, node.how = values.read(said, ask.scale) or unread
                node.value = value * (inquiry.nodes[node.parent].value or 0.0)
        finally:
            for node in answers:
                inquiry.log(node)


def _moves(tail: Tail, shares: Shares) -> list[Move]:
    how: How = "choices" if len(shares) > 1 else "inherited"
    steps = [(tail.options.find(text), share) for text, share in shares.items()]
    return [Move(tail, step, (tail.node.value or 0.0) * share, how) for step, share in steps if step is not None]


async def _answered(inquiry: Inquiry, node: Node, text: str) -> Node | None:
    """A node, still without a value, for an answer at the end of a path; None where it has no meaning there."""
    try:
        return inquiry.enter(await inquiry.read(_answer, inquiry.machine, node.state, text), node.number)
    except Rejected as error:
        fail(inquiry, node, str(error))
    except GraphError as error:
        fail(inquiry, node, f"the graph did not answer: {error}")
    return None


def _answer(machine: Machine, state: State, text: str) -> State:
    end = machine.answer_only(state)
    done = machine.apply(end, machine.parse(end, text))
    return replace(done, depth=state.depth + 1, parent=state)
