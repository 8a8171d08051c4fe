"""What a person gets to see of an answer on the terminal."""

from collections.abc import Mapping, Sequence

from upright.knowledge.graph import Edge
from upright.run.evidence import display
from upright.traversal.replies import Reply

FACTS = 30  # facts of an answer that are listed
STATUS = {
    "answered": "the best answer was accepted",
    "below_threshold": "no answer was worth the threshold, or the paths not enough; this is the best",
    "exhausted": "nothing was left to try, and no answer found",
    "truncated": "the text of the model was cut before its end",
    "no_entities": "no entity of the question is known to the graph; --seeds names them",
    "budget_calls": "the calls were used up",
    "budget_tokens": "the tokens were used up",
    "budget_seconds": "the time was used up",
    "budget_money": "the money was used up",
    "error": "the model or the graph failed",
}


def facts_of(edges: Sequence[Edge], labels: Mapping[str, str]) -> list[str]:
    """Facts by labels, one a line; ids that say more than the label stand beside it."""
    return [" → ".join(_named(name, labels) for name in edge) for edge in edges]


def _named(name: str, labels: Mapping[str, str]) -> str:
    label = labels.get(name, name)
    return label if label == name else f"{label} ({name})"


def for_terminal(reply: Reply, labels: Mapping[str, str]) -> str:
    """The answer, what it rests on, and what it cost."""
    answer = "; ".join(reply.answer) or "no answer"
    score = "" if reply.score is None else f", score {reply.score:.2f}"
    lines = [answer, *(f"  {fact}" for fact in facts_of(reply.evidence[:FACTS], labels))]
    if len(reply.evidence) > FACTS:
        lines.append(f"  … and {len(reply.evidence) - FACTS} more facts, in answers.jsonl")
    lines += [f"  note: {note}" for note in reply.notes]
    calls = f"{reply.calls} calls" + (f", {reply.cached} of them stored" if reply.cached else "")
    cost = "" if reply.dollars is None else f", ${reply.dollars:.4f}"
    why = f"{STATUS.get(reply.status, reply.status)}{f' ({reply.reason})' if reply.reason else ''}"
    return "\n".join([*lines, f"{why}{score}; {calls}, {display(reply.seconds, 's')}{cost}"])
