"""What a search leaves behind: rows for JSON lines, from which its outcome can be had again without a model.

One row each for the question, for every request to the model, for every node when it has its value, and for the end.
Rows come in the order of the search, whatever the timing of requests, and hold no clock: two equal searches leave
equal rows but for the last. Without a last row a search was cut off; what is there is valid all the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from upright.knowledge.graph import Edge
from upright.models.chat.protocol import Completion
from upright.traversal.answers import Answer
from upright.traversal.budget import Status
from upright.traversal.state import State

Row = dict[str, Any]
Purpose = Literal["act", "value"]
Sink = Callable[[Row], None]
How = Literal["root", "choices", "tokens", "text", "inherited", "skipped", "error", "unreadable", "failed", ""]


@dataclass(eq=False)
class Node:
    """A state in the tree, with its value.

    Attributes:
        number: nodes are numbered in the order they were made; the root is 0.
        parent: number of the parent, -1 for the root.
        value: in [0, 1], -1 for an error; None when it was not asked for.
        how: where the value comes from; "" before it is known.
        closed: whether it was expanded, or can not be.
        calls: rows of the requests for its value.
    """

    number: int
    parent: int
    state: State
    value: float | None = None
    how: How = ""
    closed: bool = False
    calls: list[Row] = field(default_factory=list)

    @property
    def rank(self) -> float:
        """The value to compare by; of one that was never to be asked for, 1."""
        if self.value is not None:
            return self.value
        return 1.0 if self.how == "skipped" else -1.0


@dataclass(frozen=True)
class Outcome:
    """How a question ended.

    Attributes:
        question: what was asked.
        seeds: ids of its entities.
        status: why the search ended.
        answer: the best answer found, whatever the status; None when there is none.
        value: of the answer; None when it was not asked for.
        nodes: states in the tree.
        expansions: nodes that were expanded.
        calls: requests to the model, those answered from a cache included.
        prompt_tokens: tokens read.
        completion_tokens: tokens written.
        unreadable: values that could not be read twice and count as 0.
        reason: more about the status, such as the error.
        cached: how many calls came from a cache.
        dollars: what the tokens cost; None where prices are not known.
        seconds: wall time.
    """

    question: str
    seeds: tuple[str, ...]
    status: Status
    answer: Answer | None
    value: float | None
    nodes: int
    expansions: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    unreadable: int
    reason: str = ""
    cached: int = 0
    dollars: float | None = None
    seconds: float = 0.0

    @property
    def labels(self) -> tuple[str, ...]:
        """The answer, empty without one."""
        return self.answer.labels if self.answer else ()


def best_answer(nodes: Iterable[Node]) -> Node | None:
    """The answer with the highest value; of equals the deepest, then the first."""
    answers = [node for node in nodes if node.state.answer is not None]
    return min(answers, key=lambda node: (-node.rank, -node.state.depth, node.number), default=None)


# --- rows ------------------------------------------------------------------------------------------------------


def question_row(question: str, seeds: Sequence[str], settings: Mapping[str, Any]) -> Row:
    """The first row."""
    return {"kind": "question", "question": question, "seeds": list(seeds), "settings": dict(settings)}


def call_row(purpose: Purpose, node: int, completions: Sequence[Completion], **more: Any) -> Row:
    """A request: what came back, how often, and the tokens; errors by their message."""
    texts: dict[str, int] = {}
    for completion in completions:
        text = completion.text if completion.finish != "error" else f"error: {completion.error}"
        texts[text] = texts.get(text, 0) + 1
    prompt = sum(completion.usage.prompt for completion in completions)
    written = sum(completion.usage.completion for completion in completions)
    return {
        "kind": "call",
        "purpose": purpose,
        "node": node,
        "texts": texts,
        "prompt": prompt,
        "completion": written,
        **{name: value for name, value in more.items() if value},
    }


def node_row(node: Node) -> Row:
    """A node, as what it adds to its parent."""
    state, row = node.state, {"kind": "node", "number": node.number, "parent": node.parent}
    row |= {"phase": state.phase, "depth": state.depth, "value": node.value, "how": node.how}
    row["lines"] = [list(line) for line in state.lines]
    if (group := state.added) is not None:
        row["set"] = {
            "number": group.number,
            "ids": list(group.ids),
            "total": group.total,
            "edges": [list(edge) for edge in group.edges],
        }
    if state.answer is not None:
        row["answer"] = {name: _plain(value) for name, value in vars(state.answer).items()}
    return row


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down."""
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def end_row(found: Outcome) -> Row:
    """The last row: what the others do not tell."""
    names = ("status", "reason", "cached", "dollars", "seconds")
    return {"kind": "end", **{name: getattr(found, name) for name in names}}


def replay(rows: Iterable[Row]) -> Outcome:
    """The outcome that a search had, from its rows; `cancelled` when the last one is missing.

    Raises:
        ValueError: when the rows do not begin with a question.
    """
    first, *rest = rows
    if first.get("kind") != "question":
        raise ValueError(f"a record begins with a row of kind question; got {first.get('kind')!r}")
    calls = [row for row in rest if row["kind"] == "call"]
    nodes = [_node(row) for row in rest if row["kind"] == "node"]
    end: Row = next((row for row in rest if row["kind"] == "end"), {"status": "cancelled"})
    best = best_answer(nodes)
    return Outcome(
        question=first["question"],
        seeds=tuple(first["seeds"]),
        status=end["status"],
        answer=best.state.answer if best else None,
        value=best.value if best else None,
        nodes=len(nodes),
        expansions=sum(row["kind"] == "expansion" for row in rest),
        calls=len(calls),
        prompt_tokens=sum(row["prompt"] for row in calls),
        completion_tokens=sum(row["completion"] for row in calls),
        unreadable=sum(node.how == "unreadable" for node in nodes),
        reason=end.get("reason", ""),
        cached=end.get("cached", 0),
        dollars=end.get("dollars"),
        seconds=end.get("seconds", 0.0),
    )


def _node(row: Row) -> Node:
    answer = None
    if "answer" in row:
        fields = dict(row["answer"])
        fields["evidence"] = tuple(Edge(*edge) for edge in fields["evidence"])
        fields |= {name: tuple(fields[name]) for name in ("labels", "ids", "notes")}
        answer = Answer(**fields)
    state = State("", row["phase"], row["depth"], answer=answer)
    return Node(row["number"], row["parent"], state, row["value"], row["how"])
