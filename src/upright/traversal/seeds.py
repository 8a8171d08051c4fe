"""Where a traversal starts: the entities of a question."""

from itertools import chain

from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.linking import mentions
from upright.traversal.questions import Question


def seeds_of(graph: KnowledgeGraph, question: Question) -> tuple[str, ...]:
    """Ids of a question's entities: those it gives, by id or name, else those whose names stand in it."""
    given = [[seed] if seed in graph else graph.link(seed)[:1] for seed in question.seeds]
    return tuple(dict.fromkeys(chain(*given))) if given else tuple(mentions(graph, question.question))
