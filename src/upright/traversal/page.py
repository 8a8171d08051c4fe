"""The report of a run of `upright ask`: what was answered, from which facts, and how it was found."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from upright.knowledge.graph import Edge
from upright.run.evidence import Metric
from upright.run.plots import forest
from upright.run.report import Report, link
from upright.traversal.config import Config
from upright.traversal.drawings import local_graph, search_tree
from upright.traversal.present import STATUS
from upright.traversal.questions import Question
from upright.traversal.replies import Reply, Searched

SHOWN = 6  # searches drawn in a report
FACTS = 30  # facts of an answer that are listed

Address = Callable[[str], str | None]
"""Where on the web a thing of the graph is shown."""


def report(
    config: Config,
    questions: Sequence[Question],
    searched: Sequence[Searched],
    labels: Mapping[str, str],
    address: Address,
    found: Sequence[Metric],
) -> Report:
    """The page of a run: shares and some searches drawn by seed, or the one that was asked for."""
    several = len(searched) > 1
    page = Report("Answers from knowledge graphs", _claim(searched, found), () if several else None)
    if several:
        _shares(page, searched, found)
    numbers = random.Random(config.seed).sample(range(len(searched)), min(SHOWN, len(searched)))
    for number in sorted(numbers):
        question, one = questions[number], searched[number]
        page.section(question.question if several else "What the answer rests on", *_said(question, one.reply))
        _example(page, one, labels, address)
    if not several:
        page.section("What it cost").table(found)
    return _limits(page.facts(_settings(config)))


def _settings(config: Config) -> dict[str, str]:
    tree = {"samples a state": str(config.search.samples)} if config.method == "tree" else {}
    return {"graphs": ", ".join(config.kg), "model": config.chat.model, "method": config.method, **tree}


def _limits(page: Report) -> Report:
    return page.limits(
        [
            "An answer is grounded if facts of the graph lead from the question's entities to all that it names; "
            "whether they are the facts that were asked for, the model decides.",
            "What the graph does not hold is not found.",
        ]
    )


def _claim(searched: Sequence[Searched], found: Sequence[Metric]) -> str:
    replies = [one.reply for one in searched]
    if len(replies) == 1:
        return f"{replies[0].question} {'; '.join(replies[0].answer) or 'No answer was found'}."
    em_in = next((m for m in found if m.name == "EM-in" and m.split == "all" and m.value is not None), None)
    if em_in is not None and em_in.value is not None:
        return f"{em_in.value:.1%} of {em_in.n:,} questions are answered with all that is right."
    return f"{sum(bool(reply.answer) for reply in replies):,} of {len(replies):,} questions have an answer."


def _shares(page: Report, searched: Sequence[Searched], found: Sequence[Metric]) -> None:
    page.section("Answers")
    shares = [metric for metric in found if metric.unit == "proportion" and metric.value is not None]
    page.plot(forest(shares, alt="Shares of questions."), "Shares of questions; EM-in: all golds stand in the answer.")
    page.table(found)
    counts = Counter(one.reply.status for one in searched).most_common()
    rows = [{"how the search ended": STATUS.get(status, status), "questions": f"{n:,}"} for status, n in counts]
    page.examples(rows, "All questions by the end of their search.")


def _example(page: Report, one: Searched, labels: Mapping[str, str], address: Address) -> None:
    reply = one.reply
    if reply.evidence:
        page.examples([_fact(edge, labels, address) for edge in reply.evidence[:FACTS]], _facts_caption(reply))
    drawn = local_graph(one.rows, labels, f"What the search read for: {reply.question}")
    if drawn is not None:
        page.plot(drawn, "What was read on the way to the answer; the facts it rests on are filled.")
    page.plot(
        search_tree(one.rows, f"The search for: {reply.question}"),
        "The states of the search, depth first, with their values; the way to the answer is filled.",
    )


def _said(question: Question, reply: Reply) -> list[str]:
    """The answer, the right one where it is known, and how the search ended."""
    status = STATUS.get(reply.status, reply.status)
    lines = [f"Answer: {'; '.join(reply.answer) or 'none'}."]
    if question.answer:
        lines.append(f"Right: {'; '.join(question.answer)}.")
    ended = f"{status}{f' ({reply.reason})' if reply.reason else ''}"
    return [*lines, f"How it ended: {ended}.", *(f"Note: {note}." for note in reply.notes)]


def _fact(edge: Edge, labels: Mapping[str, str], address: Address) -> dict[str, str]:
    return {part: link(labels.get(name, name), address(name)) for part, name in zip(Edge._fields, edge, strict=True)}


def _facts_caption(reply: Reply) -> str:
    more = len(reply.evidence) - FACTS
    return "The facts that the answer rests on" + (f"; {more:,} more stand in answers.jsonl." if more > 0 else ".")
