"""One question under way, by whatever method: its budget, its record, its nodes, and the patience with what fails.

A method decides what is asked and when; that a question costs no more than it may, leaves a record, and ends with a
status and its best answer whatever fails, is decided here, once for all methods.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, ClassVar, ParamSpec, Protocol, TypeVar

from upright.knowledge.failures import GraphError, note
from upright.models.chat.protocol import Completion, Sampling
from upright.traversal.budget import Budget, Status, Stop
from upright.traversal.machine import Machine
from upright.traversal.prompts import Ask
from upright.traversal.record import (
    How,
    Node,
    Outcome,
    Purpose,
    Row,
    Sink,
    best_answer,
    call_row,
    end_row,
    node_row,
    question_row,
)
from upright.traversal.state import State

if TYPE_CHECKING:
    from upright.traversal.search import Searcher

P = ParamSpec("P")
T = TypeVar("T")


class Method(Protocol):
    """A way to answer a question with a model."""

    name: ClassVar[str]
    """As `upright ask --method` calls it."""
    reads_graph: ClassVar[bool]
    """Whether the graph is asked at all."""

    async def explore(self, inquiry: "Inquiry") -> Status:
        """Enter nodes until there is an answer or nothing is left; the best answer among them is the one given.

        Raises:
            Stop: where it ends early.
        """
        ...


class Inquiry:
    """The question, what answers it, and what came of it so far.

    Attributes:
        machine: reads the graph.
        nodes: all states so far, in the order of their numbers.
        expansions: how many of them were expanded.
    """

    def __init__(self, searcher: "Searcher", question: str, seeds: tuple[str, ...], record: Sink) -> None:
        self.settings, self.style, self.model = searcher.settings, searcher.style, searcher.model
        self.question, self.seeds, self.record = question, seeds, record
        literals = searcher.literals
        self.machine = Machine(searcher.graph, self.settings.rules(), literals.quantity, literals.moment)
        self.budget = Budget(searcher.limits, searcher.prices)
        self.nodes: list[Node] = []
        self.expansions = 0
        self._remote = bool(getattr(searcher.graph, "remote", False))
        self._failing = 0

    async def run(self, method: Method) -> Outcome:
        """Let the method explore until something ends it."""
        self.record(question_row(self.question, self.seeds, {"method": method.name, **asdict(self.settings)}))
        try:
            status, reason = await self._within_time(method)
        except BaseException as error:
            cancelled = isinstance(error, asyncio.CancelledError)
            self.record(end_row(self._outcome("cancelled" if cancelled else "error", str(error))))
            raise
        found = self._outcome(status, reason)
        self.record(end_row(found))
        return found

    async def _within_time(self, method: Method) -> tuple[Status, str]:
        clock = asyncio.timeout(self.budget.limits.seconds)
        try:
            async with clock:
                return await method.explore(self), ""
        except Stop as stop:
            return stop.status, str(stop)
        except TimeoutError:
            if not clock.expired():
                raise
            return "budget_seconds", f"{self.budget.limits.seconds} seconds are used up"

    def _outcome(self, status: Status, reason: str) -> Outcome:
        best, budget = best_answer(self.nodes), self.budget
        return Outcome(
            question=self.question,
            seeds=self.seeds,
            status=status,
            answer=best.state.answer if best else None,
            value=best.value if best else None,
            nodes=len(self.nodes),
            expansions=self.expansions,
            calls=budget.calls,
            prompt_tokens=budget.prompt,
            completion_tokens=budget.completion,
            unreadable=sum(node.how == "unreadable" for node in self.nodes),
            reason=reason,
            cached=budget.cached,
            dollars=budget.dollars,
            seconds=budget.seconds,
        )

    # --- nodes ---

    async def start(self) -> Node:
        """The root: the question with its entities. Raises `Stop` where the graph does not answer."""
        try:
            root = await self.read(self.machine.start, self.question, self.seeds)
        except GraphError as error:
            raise Stop("error", f"the graph did not answer: {error}") from error
        return self.enter(root, -1, 1.0, "root")

    def enter(self, state: State, parent: int, value: float | None = None, how: How = "") -> Node:
        """A new node for the state; one whose value is still to be asked for, without `how`, is recorded by `log`."""
        node = Node(len(self.nodes), parent, state, value, how, closed=state.phase == "done")
        self.nodes.append(node)
        if how:
            self.log(node)
        return node

    def log(self, node: Node) -> None:
        """Record a node and the requests for its value."""
        for row in node.calls:
            self.record(row)
        self.record(node_row(node))

    def expand(self, node: Node) -> None:
        """Note that a node is expanded. Raises `Stop` when the time is up."""
        self.budget.on_time()
        node.closed = True
        self.expansions += 1
        self.record({"kind": "expansion", "node": node.number})

    # --- model and graph ---

    async def ask(
        self, purpose: Purpose, node: int, ask: Ask, samples: int = 1, temperature: float = 0.0
    ) -> tuple[Row, list[Completion]]:
        """One request and its row, which is yet to be recorded. Raises `Stop` where the budget ends."""
        limited = self.budget.limits.tokens is not None
        self.budget.admit(self.model.count(ask.messages) if limited else 0)
        sampling = Sampling(
            temperature,
            ask.max_tokens,
            ask.stop,
            seed=self.settings.seed,
            logprobs=self.settings.logprobs and (purpose == "value" or ask.choices is not None),
        )
        drawn = await self.model.complete(ask.messages, sampling, samples, ask.choices)
        self.budget.add(drawn)
        for completion in drawn:
            if completion.finish == "error":
                note(f"the model failed: {completion.error}")
        return call_row(purpose, node, drawn, folded={str(k): list(v) for k, v in ask.folded.items()}), drawn

    async def ask_all(self, purpose: Purpose, asks: Sequence[tuple[int, Ask]]) -> list[Completion]:
        """The likeliest answers to several requests, each about a node, made side by side and recorded in their order.

        A request that fails is a completion with finish "error", as everywhere.

        Raises:
            Stop: where the budget ends, or the patience with a failing model.
        """
        rows: list[Row | None] = [None] * len(asks)

        async def one(place: int, node: int, ask: Ask) -> Completion:
            rows[place], drawn = await self.ask(purpose, node, ask)
            return drawn[0]

        try:
            found = await all_of(one(place, *ask) for place, ask in enumerate(asks))
        finally:
            for row in rows:
                if row is not None:
                    self.record(row)
        for completion in found:
            self.heed([completion])
        return found

    def heed(self, drawn: Sequence[Completion]) -> None:
        """Raises `Stop` where the patience with a failing model ends."""
        if any(completion.finish != "error" for completion in drawn):
            self._failing = 0
            return
        self._failing += 1
        if self._failing > self.settings.errors:
            raise Stop("error", f"the model fails: {drawn[0].error}")

    async def read(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A call that may read the graph: in a thread of its own where the graph is far away."""
        try:
            return await asyncio.to_thread(call, *args, **kwargs) if self._remote else call(*args, **kwargs)
        except GraphError as error:
            note(f"the graph did not answer: {error}")
            raise


async def all_of(parts: Iterable[Awaitable[T]]) -> list[T]:
    """What they give. All are waited for, so that one that breaks off leaves none behind; then its error is raised."""
    results = await asyncio.gather(*parts, return_exceptions=True)
    found: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        found.append(result)
    return found
