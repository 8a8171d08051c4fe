"""What a person gets to see of an answer: lines on the terminal, and the report with the search drawn as a tree."""

from collections import Counter
from collections.abc import Mapping, Sequence

from upright.knowledge.graph import Edge
from upright.run.evidence import Metric, display
from upright.run.plots import forest
from upright.run.report import Report
from upright.run.trees import Twig, tree
from upright.traversal.config import Config
from upright.traversal.questions import Question
from upright.traversal.record import Row
from upright.traversal.replies import Reply, Searched

SHOWN = 6  # searches drawn in a report
TWIGS = 40  # nodes of a drawing
FACTS = 30  # facts of an answer that are listed
STATUS = {
    "answered": "the best answer is worth the threshold",
    "below_threshold": "no answer was worth the threshold; this is the best",
    "exhausted": "nothing was left to try, and no answer found",
    "no_entities": "no entity of the question is known to the graph",
    "budget_calls": "the calls were used up",
    "budget_tokens": "the tokens were used up",
    "budget_seconds": "the time was used up",
    "budget_money": "the money was used up",
    "error": "the model failed",
}


def facts_of(edges: Sequence[Edge], labels: Mapping[str, str]) -> list[str]:
    """Facts by labels, one a line."""
    return [" → ".join(labels.get(name, name) for name in edge) for edge in edges]


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


def report(
    config: Config,
    questions: Sequence[Question],
    searched: Sequence[Searched],
    labels: Mapping[str, str],
    found: Sequence[Metric],
) -> Report:
    """The page of a run."""
    replies = [one.reply for one in searched]
    page = Report("Answers from knowledge graphs", _claim(replies, found))
    page.section("Answers")
    shares = [metric for metric in found if metric.unit == "proportion" and metric.value is not None]
    if len(replies) > 1:
        page.plot(
            forest(shares, alt="Shares of questions."), "Shares of questions; EM-in: all golds stand in the answer."
        )
    page.table(found)
    if len(replies) > 1:
        page.facts({STATUS.get(k, k): f"{v:,} questions" for k, v in Counter(r.status for r in replies).most_common()})
    for question, one in list(zip(questions, searched, strict=True))[:SHOWN]:
        _example(page, question, one, labels)
    page.facts(
        {"graphs": ", ".join(config.kg), "model": config.chat.model, "samples a state": str(config.search.samples)}
    )
    return page.limits(
        [
            "An answer is grounded if facts of the graph lead from the question's entities to all that it names; "
            "whether they are the facts that were asked for, the model decides.",
            "What the graph does not hold is not found.",
        ]
    )


def _claim(replies: Sequence[Reply], found: Sequence[Metric]) -> str:
    if len(replies) == 1:
        return f"{replies[0].question} {'; '.join(replies[0].answer) or 'No answer was found'}."
    em_in = next((m for m in found if m.name == "EM-in" and m.split == "all" and m.value is not None), None)
    if em_in is not None and em_in.value is not None:
        return f"{em_in.value:.1%} of {em_in.n:,} questions are answered with all that is right."
    return f"{sum(bool(reply.answer) for reply in replies):,} of {len(replies):,} questions have an answer."


def _example(page: Report, question: Question, one: Searched, labels: Mapping[str, str]) -> None:
    reply = one.reply
    page.section(reply.question)
    page.plot(
        tree(twigs(one.rows), alt=f"The search for: {reply.question}"), "States in the order of the tree, with values."
    )
    rows = {"answer": "; ".join(reply.answer) or "none", "status": STATUS.get(reply.status, reply.status)}
    if question.answer:
        rows["right"] = "; ".join(question.answer)
    rows |= {f"fact {i}": fact for i, fact in enumerate(facts_of(reply.evidence[:FACTS], labels), 1)}
    page.facts(rows)


def twigs(rows: Sequence[Row]) -> list[Twig]:
    """The search as a tree, depth first, each branch with the best first; what led to the answer is chosen."""
    nodes = {row["number"]: row for row in rows if row["kind"] == "node"}
    answers = [row for row in nodes.values() if "answer" in row]
    best = max(answers, key=lambda row: (_rank(row), row["depth"], -row["number"]), default=None)
    chosen, at = set[int](), best["number"] if best else 0
    while at in nodes:
        chosen.add(at)
        at = nodes[at]["parent"]
    found: list[Twig] = []

    def grow(number: int, depth: int) -> None:
        row = nodes[number]
        found.append(Twig(_label(row), depth, row["value"], number in chosen))
        below = [child for child in nodes.values() if child["parent"] == number]
        for child in sorted(below, key=lambda child: (child["number"] not in chosen, -_rank(child))):
            grow(child["number"], depth + 1)

    if 0 in nodes:
        grow(0, 0)
    return found[:TWIGS] or [Twig("nothing was searched", 0)]


def _rank(row: Row) -> float:
    return -1.0 if row["value"] is None else float(row["value"])


def _label(row: Row) -> str:
    said = " ".join(f"{tag} {text}".strip() for tag, text in row["lines"] if tag != "FOUND")
    if "answer" in row:
        return f"{said}: {'; '.join(row['answer']['labels'])}"
    group = row.get("set")
    if group is None:
        return said or "the question"
    return f"{said} ({len(group['ids'])})" if said else f"#1: {'; '.join(group['ids'])}"
