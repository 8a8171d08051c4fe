"""Best-first search over states of a traversal (arXiv:2407.21358, section 4).

    while there are expansions left and no answer is worth the threshold:
        take the open state of the largest value, of equals the deepest, then the oldest
        sample actions for it; each one that can be taken makes a child
        ask for the values of all children at once

With one sample (`samples=1`) this is the plain chain, Chain-of-Traversals, which needs no values. A state that was
reached before is not entered twice. Nothing depends on timing: children are numbered in the order of their actions.
"""

from collections import Counter
from collections.abc import Awaitable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from upright.knowledge.failures import GraphError
from upright.knowledge.graph import KnowledgeGraph
from upright.models.chat.meter import Prices
from upright.models.chat.protocol import ChatModel, Completion
from upright.traversal import values
from upright.traversal.answers import Moment, Quantity, Rejected
from upright.traversal.budget import Limits, Status, Stop
from upright.traversal.inquiry import Inquiry, Method, all_of
from upright.traversal.machine import Action, Omit, Rules
from upright.traversal.prompts import Ask, Style
from upright.traversal.record import Node, Outcome, Sink, best_answer
from upright.traversal.state import State

DRAWS = {"default": 1, "entities": 2, "relation": 3}  # samples for one child, by phase


@dataclass(frozen=True)
class Settings:
    """How to search; the published values are the defaults.

    Attributes:
        samples: children of a state, at most (k); 1 is a chain without values.
        depth: from this number of actions on, only an answer is allowed (D).
        expansions: states expanded, at most (B).
        threshold: an answer of this value ends the search (tau).
        errors: consecutive errors, of one path or of the model itself, after which it is given up.
        temperature: of sampled actions; values are asked for at 0.
        seed: of the samples.
        force: when the expansions are used up without an answer, ask for one at the best open state.
        rows: facts read by one expansion, at most.
        listed: options shown in a prompt, at most.
        omit: what a new set leaves out; see `Rules`.
        logprobs: ask for log-probabilities, which make values finer and votes exact where a model gives them.
    """

    samples: int = 3
    depth: int = 7
    expansions: int = 20
    threshold: float = 0.8
    errors: int = 2
    temperature: float = 1.0
    seed: int = 0
    force: bool = True
    rows: int = 10_000
    listed: int = 50
    omit: Omit = "seeds"
    logprobs: bool = True

    def rules(self) -> Rules:
        """What concerns the states."""
        return Rules(self.depth, self.rows, self.listed, self.omit)


@dataclass(frozen=True)
class Literals:
    """How literals are read: see `upright.knowledge.literals`."""

    quantity: Quantity
    moment: Moment


UNLIMITED = Limits()


@dataclass(frozen=True)
class Tree:
    """The search of this module."""

    name: ClassVar[str] = "tree"
    reads_graph: ClassVar[bool] = True

    async def explore(self, inquiry: Inquiry) -> Status:
        return await _Search(inquiry).explore()


TREE = Tree()


@dataclass(frozen=True)
class Searcher:
    """Answers questions over one graph with one model, by one method."""

    graph: KnowledgeGraph
    model: ChatModel
    style: Style
    literals: Literals
    settings: Settings = Settings()
    limits: Limits = UNLIMITED
    prices: Prices | None = None
    method: Method = TREE

    async def answer(self, question: str, seeds: Iterable[str], record: Sink | None = None) -> Outcome:
        """Search for an answer.

        Args:
            question: the question.
            seeds: ids of its entities; without any, the model answers by itself, with status `no_entities`.
            record: takes the rows of the record as they come; see `upright.traversal.record`. When the task is
                cancelled, the last row says so, and the cancellation goes on.
        """
        inquiry = Inquiry(self, question, tuple(sorted(set(seeds))), record or (lambda row: None))
        return await inquiry.run(self.method)


class _Search:
    """The search for one answer."""

    def __init__(self, inquiry: Inquiry) -> None:
        self.inquiry, self.settings = inquiry, inquiry.settings
        self.style, self.machine, self.nodes = inquiry.style, inquiry.machine, inquiry.nodes
        self.table: dict[Hashable, Node] = {}
        self.broken = ""

    async def explore(self) -> Status:
        """Until an answer is accepted, the expansions are used up, or nothing is open."""
        root = await self.inquiry.start()
        self.table[root.state.key()] = root
        if not self.inquiry.seeds:
            await self._expand(root, self.machine.answer_only(root.state))
            return "no_entities"
        while not self._accepted() and self.inquiry.expansions < self.settings.expansions:
            node = choose(self.nodes)
            if node is None:
                break
            await self._expand(node)
        await self._force()
        if self._accepted():
            return "answered"
        if best_answer(self.nodes) is not None:
            return "below_threshold"
        if self.broken:
            raise Stop("error", f"the model fails: {self.broken}")
        return "exhausted"

    def _accepted(self) -> bool:
        best = best_answer(self.nodes)
        return best is not None and best.rank >= self.settings.threshold

    async def _force(self) -> None:
        """Ask for an answer at the best open state, where the expansions brought none."""
        node = choose(self.nodes)
        wanted = self.settings.force and self.settings.expansions > 0 and best_answer(self.nodes) is None
        if not wanted or node is None:
            return
        state = node.state
        while state.phase != "default" and state.parent is not None:
            state = state.parent
        await self._expand(node, self.machine.answer_only(state))

    # --- one expansion ---

    async def _expand(self, node: Node, state: State | None = None) -> None:
        """Make and value the children of a node; `state` stands for its own where only an answer is wanted."""
        self.inquiry.expand(node)
        states, forced = await self._children(node, state or node.state)
        children = [child for one in states if (child := self._admit(one, node.number)) is not None]
        try:
            await self._value_all(node, children, forced)
        finally:
            for child in children:
                self.inquiry.log(child)

    async def _children(self, node: Node, state: State) -> tuple[list[State], bool]:
        """The states that follow, and whether there was no choice."""
        try:
            ask = await self.inquiry.read(self.style.act, self.machine, state)
        except GraphError as error:
            return self._failed(state, [f"the graph did not answer: {error}"]), False
        forced = sole(ask)
        if forced is not None:
            votes = {forced: 1.0}
        elif ask.choices == ():
            return [], False
        else:
            samples = self.settings.samples * (DRAWS[state.phase] if self.settings.samples > 1 else 1)
            row, drawn = await self.inquiry.ask("act", node.number, ask, samples, self.settings.temperature)
            self.inquiry.record(row)
            self.inquiry.heed(drawn)
            if all(completion.finish == "error" for completion in drawn):
                self.broken = drawn[0].error
                return [], False
            votes = weigh(drawn, ask.choices)
        states, reasons = await self._follow(state, ask, votes)
        if forced is None and any(map(cut, drawn)):
            reasons.append(f"a text was cut at {ask.max_tokens} tokens")
        return states or self._failed(state, reasons), forced is not None

    async def _follow(self, state: State, ask: Ask, votes: dict[str, float]) -> tuple[list[State], list[str]]:
        """The states after the most voted actions, and why other texts lead to none."""
        ballot: dict[Action, float] = {}
        reasons: list[str] = []
        for text, weight in votes.items():
            try:
                action = self.machine.parse(state, text, ask.options)
                ballot[action] = ballot.get(action, 0.0) + weight
            except Rejected as error:
                reasons.append(str(error))
        states: list[State] = []
        for action in ballot if state.phase == "default" else sorted(ballot, key=lambda one: -ballot[one]):
            if len(states) == self.settings.samples:
                break
            try:
                states.append(await self.inquiry.read(self.machine.apply, state, action))
            except Rejected as error:
                reasons.append(str(error))
            except GraphError as error:
                reasons.append(f"the graph did not answer: {error}")
        return states, reasons

    def _failed(self, state: State, reasons: Sequence[str]) -> list[State]:
        """The error state, unless there were too many on this path."""
        if state.failures() >= self.settings.errors:
            return []
        return [self.machine.fail(state, "; ".join(dict.fromkeys(reasons)) or "no action could be read")]

    # --- the tree ---

    def _admit(self, state: State, parent: int) -> Node | None:
        """A node for the state, unless it was reached before on a way that is as short or was followed."""
        known = self.table.get(state.key())
        if known is not None and (known.closed or known.state.depth <= state.depth):
            return None
        if known is not None:
            known.closed = True
        node = self.table[state.key()] = self.inquiry.enter(state, parent)
        return node

    # --- values ---

    async def _value_all(self, parent: Node, children: Sequence[Node], forced: bool) -> None:
        asked: list[Awaitable[None]] = []
        for child in children:
            if child.state.lines and child.state.lines[-1].tag == "ERROR":
                child.value, child.how = -1.0, "error"
            elif self.settings.samples == 1:
                child.how = "skipped"
            elif forced and child.state.phase == "relation":
                child.value, child.how = parent.value, "inherited"  # nothing was decided, nothing was read
            else:
                asked.append(self._value(child))
        await all_of(asked)

    async def _value(self, node: Node) -> None:
        for again in (False, True):
            try:
                ask = await self.inquiry.read(self.style.judge, self.machine, node.state, again)
            except GraphError:
                node.value, node.how = 0.0, "failed"
                return
            row, drawn = await self.inquiry.ask("value", node.number, ask, 1, 0.0)
            node.calls.append(row)
            if drawn[0].finish == "error":
                node.value, node.how = 0.0, "failed"
                return self.inquiry.heed(drawn)
            if (found := values.read(drawn[0], ask.scale)) is not None:
                node.value, node.how = found
                return
        node.value, node.how = 0.0, "unreadable"


def choose(nodes: Iterable[Node]) -> Node | None:
    """The open node of the largest value; of equals the deepest, then the oldest."""
    open_nodes = (node for node in nodes if not node.closed)
    return min(open_nodes, key=lambda node: (-node.rank, -node.state.depth, node.number), default=None)


def sole(ask: Ask) -> str | None:
    """The only option there is, where there is no choice."""
    if ask.options is not None and ask.options.total == 1:
        return ask.options.listed[0].text
    return ask.choices[0] if ask.choices is not None and len(ask.choices) == 1 else None


def cut(completion: Completion) -> bool:
    """Whether a text ends in the middle of its first line, so that what it would have said is not known."""
    return completion.finish == "length" and "\n" not in completion.text.strip()


def weigh(drawn: Sequence[Completion], choices: Sequence[str] | None) -> dict[str, float]:
    """Votes for each text, in the order they are first seen.

    Where the model tells the probability p of every choice, the votes of n samples are their expectation, p n;
    choices that would get less than half a vote get none, the likeliest apart.
    """
    known = exact(drawn[0], choices) if choices else None
    if known is None:
        texts = [one.text.strip() for one in drawn if one.finish != "error" and not cut(one)]
        return {text: float(count) for text, count in Counter(texts).items()}
    order = sorted(known, key=lambda text: -known[text])
    votes = {text: known[text] * len(drawn) for text in order}
    return {text: vote for text, vote in votes.items() if vote >= 0.5 or text == order[0]}


def exact(completion: Completion, choices: Sequence[str]) -> dict[str, float] | None:
    """Probabilities of all choices, in their order, where they are known."""
    if completion.logprobs is None or len(completion.logprobs) != 1:
        return None
    known = dict(completion.logprobs[0].top)
    if not known.keys() >= set(choices):
        return None
    mean = values.softmax([known[choice] for choice in choices])
    return dict(zip(choices, mean, strict=True))
