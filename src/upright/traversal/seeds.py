"""Where a traversal starts: the entities of a question."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import chain

from upright.knowledge.failures import GraphError
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.linking import meant, mentions
from upright.traversal.questions import Question
from upright.traversal.record import Outcome, Sink, end_row, question_row

Answer = Callable[[str, tuple[str, ...], Sink], Awaitable[Outcome]]


def seeds_of(graph: KnowledgeGraph, question: Question) -> tuple[str, ...]:
    """Ids of a question's entities: those it gives, by id or name, else those whose names stand in it.

    A name means its likeliest entity, of several graphs that of each.

    Raises:
        GraphError: if the graph does not answer.
    """
    given = [meant(graph, seed) for seed in question.seeds]
    return tuple(dict.fromkeys(chain(*given))) if given else tuple(mentions(graph, question.question))


async def answered(graph: KnowledgeGraph, question: Question, answer: Answer, record: Sink) -> Outcome:
    """What `answer` makes of a question and its seeds; status `error` where the graph tells none."""
    try:
        if getattr(graph, "remote", False):
            seeds = await asyncio.to_thread(seeds_of, graph, question)
        else:
            seeds = seeds_of(graph, question)
    except GraphError as error:
        outcome = _unlinked(question, str(error))
        record(question_row(question.question, (), {}))
        record(end_row(outcome))
        return outcome
    return await answer(question.question, seeds, record)


def _unlinked(question: Question, why: str) -> Outcome:
    return Outcome(
        question=question.question,
        seeds=(),
        status="error",
        answer=None,
        value=None,
        nodes=0,
        expansions=0,
        calls=0,
        prompt_tokens=0,
        completion_tokens=0,
        unreadable=0,
        reason=f"the graph did not answer: {why}",
    )
