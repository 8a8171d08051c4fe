"""What a model says by itself, without the graph: at once (closed book), or after reasons (chain of thought).

`Direct` is closed-book question answering (arXiv:2002.08910); a completion model is asked in the words of such
models, "Question: … Answer:". `Reasoned` asks for reasons first (arXiv:2201.11903, without examples as in
arXiv:2205.11916).
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from upright.models.chat.protocol import Completion, Message
from upright.traversal.answers import Answer
from upright.traversal.budget import Status, Stop
from upright.traversal.inquiry import Inquiry
from upright.traversal.names import one_line, plain
from upright.traversal.prompts import QUESTION, Ask
from upright.traversal.record import Node
from upright.traversal.state import Line, State

FORM = "a few words; where several things answer the question, all of them, separated by ;"
AT_ONCE = f"Answer the question from what you know. Reply with one line, without reasons: {FORM}."
REASONS = f"""\
Answer the question from what you know. First give your reasons step by step, in a few sentences. Then end with a \
line that begins with "Answer:", followed by {FORM}."""
COMPLETED = "Question: {} Answer:"
ANSWER = re.compile(r"^\W*(?:final )?answer\W*:[*_\s]*(\S.*?)[*_\s]*$", re.IGNORECASE | re.MULTILINE)
ONE_LINE, SOME_LINES = 256, 1024  # tokens of an answer, and of an answer with reasons


@dataclass(frozen=True)
class Direct:
    """The question alone, in one call.

    Attributes:
        completes: whether the model continues a text rather than follow instructions.
    """

    name: ClassVar[str] = "direct"
    reads_graph: ClassVar[bool] = False
    completes: bool = False

    async def explore(self, inquiry: Inquiry) -> Status:
        question = plain(inquiry.question, QUESTION)
        prompt = COMPLETED.format(question) if self.completes else f"{AT_ONCE}\n\nQuestion: {question}"
        root, said = await _said(inquiry, Ask((Message("user", prompt),), max_tokens=ONE_LINE))
        text = said.text.strip()
        labels = listed(text)
        if said.finish == "length":
            _answer(inquiry, root, text, labels[:-1] or labels)  # the last of several is cut
            raise Stop("truncated", f"the answer was cut at {ONE_LINE} tokens")
        if not labels:
            raise Stop("exhausted", "the reply is empty")
        _answer(inquiry, root, text, labels)
        return "answered"


@dataclass(frozen=True)
class Reasoned:
    """Reasons, then the answer in a line of its own, in one call."""

    name: ClassVar[str] = "cot"
    reads_graph: ClassVar[bool] = False

    async def explore(self, inquiry: Inquiry) -> Status:
        prompt = f"{REASONS}\n\nQuestion: {plain(inquiry.question, QUESTION)}"
        root, said = await _said(inquiry, Ask((Message("user", prompt),), max_tokens=SOME_LINES, stop=()))
        lines = list(ANSWER.finditer(said.text))
        reasons = said.text[: lines[-1].start()] if lines else said.text
        thought = State(inquiry.question, "default", 1, root.state, (Line("THINK", one_line(reasons, QUESTION)),))
        node = inquiry.enter(thought, root.number, how="skipped")
        whole = said.finish != "length" or (lines and lines[-1].end() < len(said.text.rstrip()))
        if lines:
            labels = listed(lines[-1][1])
            _answer(inquiry, node, lines[-1][1], labels if whole else labels[:-1] or labels)
        if not whole:
            raise Stop("truncated", f"the text was cut at {SOME_LINES} tokens")
        if not lines:
            raise Stop("exhausted", 'the reply has no line that begins with "Answer:"')
        return "answered"


async def _said(inquiry: Inquiry, ask: Ask) -> tuple[Node, Completion]:
    """The root and what the model says there. Raises `Stop` for a model that fails."""
    root = inquiry.enter(State(inquiry.question, "default", 0), -1, 1.0, "root")
    inquiry.expand(root)
    (said,) = await inquiry.ask_all("act", [(root.number, ask)])
    if said.finish == "error":
        raise Stop("error", f"the model fails: {said.error}")
    return root, said


def _answer(inquiry: Inquiry, node: Node, text: str, labels: tuple[str, ...]) -> None:
    """Enter an answer below a node; where nothing was said, none."""
    if labels:
        line = Line("ANSWER", one_line(text, QUESTION))
        state = State(inquiry.question, "done", node.state.depth + 1, node.state, (line,), answer=Answer(text, labels))
        inquiry.enter(state, node.number, how="skipped")


def listed(text: str) -> tuple[str, ...]:
    """The parts of an answer that names several things, without the stop at its end.

    >>> listed("Spain; France.")
    ('Spain', 'France')
    """
    parts = (part.strip() for part in text.strip().removesuffix(".").split(";"))
    return tuple(dict.fromkeys(part for part in parts if part))
