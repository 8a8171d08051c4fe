"""Wiring of `upright ask`: open graphs and model, search for each question, measure, report."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from upright.knowledge.failures import noting
from upright.knowledge.federation import readers
from upright.knowledge.graph import KnowledgeGraph, address
from upright.models.chat import Client, Prices, open_chat, together
from upright.run.evidence import Metric, mean, proportion
from upright.run.files import write_jsonl
from upright.run.folder import RunFolder, RunResult, open_run
from upright.run.progress import progress
from upright.traversal import page, present
from upright.traversal.budget import Limits
from upright.traversal.config import Config
from upright.traversal.drawings import drawn_ids
from upright.traversal.graphs import graph_of, labels_of, link_metrics, notes_on
from upright.traversal.measure import judge, summary
from upright.traversal.methods import check_method, method_of, method_settings
from upright.traversal.prompts import Compact, Plain, Style
from upright.traversal.questions import Question, of_text, read_questions
from upright.traversal.record import Outcome, Row, Sink
from upright.traversal.replies import Reply, Searched
from upright.traversal.search import Literals, Searcher, Settings
from upright.traversal.seeds import answered
from upright.traversal.style import Manner, manner_of

ANSWERS, SEARCHES = "answers.jsonl", "searches.jsonl"
DEPTH, OMIT = 10, "seeds"  # of a model that was not taught: three hops, and a director who acts in their own film
SHARD = 256  # questions of a step: what a kill loses at most


@dataclass(frozen=True, kw_only=True)
class Result(RunResult):
    """Answers in the order of the questions; `labels` of the entities and relations in their evidence."""

    answers: Sequence[Reply]
    labels: dict[str, str]

    @property
    def message(self) -> str:
        """The answer with its evidence where one question was asked, and where to look further."""
        if len(self.answers) > 1:
            return super().message
        return f"{present.for_terminal(self.answers[0], self.labels)}\n{super().message}"

    def summary(self) -> Sequence[Metric]:
        """Nothing but the answer where one question was asked."""
        return self.metrics if len(self.answers) > 1 else ()


def run(config: Config) -> Result:
    """Answer questions by tree search over knowledge graphs.

    Raises:
        UserError: for a graph, a model, questions or changes that cannot be used.
    """
    questions = read_questions(config.questions) if config.questions else [of_text(config.question or "", config.seeds)]
    manner = manner_of(config.chat)
    check_method(config, drives=manner is not None)
    with graph_of(config) as graph, open_run(config, verb="ask") as folder:
        for path in (config.questions, config.changes, config.links):
            if path is not None:
                folder.input(path)
        searched = asyncio.run(_all(config, folder, graph, questions, manner))
        write_jsonl(folder.path / ANSWERS, (one.reply.model_dump(mode="json") for one in searched))
        write_jsonl(folder.path / SEARCHES, ({"id": one.reply.id, "rows": one.rows} for one in searched))
        replies = [one.reply for one in searched]
        labels = _labels(graph, searched, folder)
        found = metrics(questions, replies) + link_metrics(graph, searched)
        where = partial(address, graph)
        folder.finish(found, page.report(config, questions, searched, labels, where, found))
        return Result(out=folder.path, metrics=found, answers=replies, labels=labels)


# --- asking ----------------------------------------------------------------------------------------------------


async def _all(
    config: Config, folder: RunFolder, graph: KnowledgeGraph, questions: Sequence[Question], manner: Manner | None
) -> list[Searched]:
    raw = manner is not None and config.style != "plain"
    found: list[Searched] = []
    async with open_chat(config.chat.model_copy(update={"raw": raw or config.chat.raw})) as client:
        if client.weights is not None:
            folder.model(client.weights)
        searcher = _searcher(config, graph, client, manner)
        with progress("questions", total=len(questions)) as bar:
            for start in range(0, len(questions), SHARD):
                shard = questions[start : start + SHARD]
                found += await _shard(config, folder, client, searcher, start, shard)
                bar.advance(len(shard))
    return found


async def _shard(
    config: Config, folder: RunFolder, client: Client, searcher: Searcher, start: int, questions: Sequence[Question]
) -> list[Searched]:
    """The answers of some questions, side by side; read back where they are there already."""
    name = f"answers-{start:06d}"
    if name in folder.done():
        return folder.step(name, list, type=list[Searched])
    turn, metered = asyncio.Semaphore(config.speed.questions), client.metered()
    searcher = replace(searcher, model=metered)

    async def ask(question: Question) -> Searched:
        async with turn:
            rows: list[Row] = []
            with noting() as heard:
                outcome = await _outcome(searcher, question, rows.append)
            notes = (*heard, *notes_on(searcher.graph, outcome))
            return Searched(reply=_reply(question, outcome, notes), rows=rows)

    try:
        made = await together(*map(ask, questions))
    finally:  # what an interrupted run has spent stands on its bill too
        spent = metered.meter.snapshot()
        folder.spend(spent.prompt, spent.completion, spent.cost)
    # steps are computed by plain functions; this one waits for what was made before it
    return folder.step(name, lambda: made, type=list[Searched])


async def _outcome(searcher: Searcher, question: Question, record: Sink) -> Outcome:
    if not searcher.method.reads_graph:
        return await searcher.answer(question.question, (), record)
    return await answered(searcher.graph, question, searcher.answer, record)


def _searcher(config: Config, graph: KnowledgeGraph, client: Client, manner: Manner | None) -> Searcher:
    given = config.chat.prices
    known = given.prompt is not None and given.completion is not None
    style = _style(config, client, manner)
    return Searcher(
        graph,
        client,
        style,
        Literals(*readers(graph)),
        _settings(config, manner, style),
        Limits(**config.budget.model_dump()),
        Prices(given.prompt or 0.0, given.completion or 0.0) if known else None,
        method_of(config, style),
    )


def _style(config: Config, client: Client, manner: Manner | None) -> Style:
    if config.style == "compact" or (config.style == "auto" and manner is not None):
        return Compact()
    return Plain() if client.context is None else Plain(tokens=min(Plain().tokens, client.context // 2))


def _settings(config: Config, manner: Manner | None, style: Style) -> Settings:
    """As asked for; what is left open as the model was taught, and what the method sets as it does."""
    taught = manner.model_dump(include={"depth", "omit"}) if manner else {"depth": DEPTH, "omit": OMIT}
    fixed = method_settings(config, style)
    return Settings(**{**taught, **config.search.model_dump(exclude_none=True), **fixed}, seed=config.seed)


def _reply(question: Question, outcome: Outcome, notes: Sequence[str]) -> Reply:
    answer = outcome.answer
    return Reply(
        id=question.id,
        question=question.question,
        answer=outcome.labels,
        score=outcome.value,
        evidence=answer.evidence if answer else (),
        status=outcome.status,
        grounded=bool(answer and answer.grounded),
        form=answer.form if answer else "",
        notes=(*(answer.notes if answer else ()), *notes),
        reason=outcome.reason,
        seeds=outcome.seeds,
        calls=outcome.calls,
        cached=outcome.cached,
        tokens=(outcome.prompt_tokens, outcome.completion_tokens),
        dollars=outcome.dollars,
        seconds=outcome.seconds,
    )


def _labels(graph: KnowledgeGraph, searched: Sequence[Searched], folder: RunFolder) -> dict[str, str]:
    names = {name for one in searched for edge in one.reply.evidence for name in edge}
    return labels_of(graph, names.union(*(drawn_ids(one.rows) for one in searched)), folder)


# --- numbers ---------------------------------------------------------------------------------------------------


def metrics(questions: Sequence[Question], replies: Sequence[Reply]) -> list[Metric]:
    """How right the answers are where golds are given, and what they cost; no question is left out."""
    pairs = list(zip(questions, replies, strict=True))
    found = summary([judge(reply.answer, q.answer) for q, reply in pairs if q.answer]) if _any_gold(questions) else []
    for name, grounded in (("grounded", True), ("not grounded", False)):
        some = [judge(reply.answer, q.answer) for q, reply in pairs if q.answer and reply.grounded == grounded]
        found += [metric for metric in summary(some, split=name) if metric.name == "EM-in" and some]
    n = len(replies)
    found.append(proportion("answers grounded in the graph", sum(reply.grounded for reply in replies), n))
    found.append(proportion("searches that ended with an answer", sum(r.status == "answered" for r in replies), n))
    found.append(mean("calls", [reply.calls for reply in replies], better="lower"))
    found.append(mean("seconds", [reply.seconds for reply in replies], unit="s", better="lower"))
    return found


def _any_gold(questions: Sequence[Question]) -> bool:
    return any(question.answer for question in questions)
