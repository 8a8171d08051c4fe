"""Gold ways of questions with answers: found by search in the graph, chosen by what serves most questions."""

from collections.abc import Sequence
from itertools import chain

from pydantic import BaseModel

from upright.knowledge.graph import KnowledgeGraph
from upright.run.folder import RunFolder
from upright.run.progress import track
from upright.traversal.config import Learn
from upright.traversal.paths import Around, Found, chosen, gold_paths, reach
from upright.traversal.questions import Question
from upright.traversal.seeds import seeds_of
from upright.traversal.state import Step
from upright.traversal.transcripts import Way


class Gold(BaseModel):
    """The way that a question and its answers stand for."""

    id: str
    question: str
    seeds: tuple[str, ...]
    path: tuple[Step, ...]
    counted: bool
    f1: float

    def way(self) -> Way:
        """As transcripts take it."""
        return Way(self.question, self.seeds, self.path, self.counted)


def find(config: Learn, folder: RunFolder, graph: KnowledgeGraph, questions: Sequence[Question]) -> list[Gold]:
    """The gold path of each question that has one; the others are dropped, and it is said why."""
    seeds: dict[str, tuple[str, ...]] = {}
    candidates: dict[str, list[Found]] = {}
    around = Around(graph)
    for question in track(questions, "gold paths"):
        seeds[question.id] = seeds_of(graph, question)
        candidates[question.id] = _candidates(config, around, seeds[question.id], question)
    paths = chosen(candidates)
    golds = []
    for question in questions:
        if question.id not in paths:
            reason = "no path reaches its answers" if seeds[question.id] else "names no entity of the graph"
            folder.fail("gold paths", reason, question.model_dump())
            continue
        path = paths[question.id]
        best = next(one for one in candidates[question.id] if one.path == path)
        counted = _is_count(graph, question, seeds[question.id], path)
        golds.append(
            Gold(
                id=question.id,
                question=question.question,
                seeds=seeds[question.id],
                path=path,
                counted=counted,
                f1=best.f1,
            )
        )
    return golds


def _candidates(config: Learn, around: Around, seeds: tuple[str, ...], question: Question) -> list[Found]:
    if not seeds:
        return []
    graph = around.graph
    golds = frozenset(chain(*(_ids(graph, answer) for answer in question.answer)))
    found = gold_paths(around, frozenset(seeds), golds, config.hops) if golds else []
    if not found and len(question.answer) == 1 and question.answer[0].isdigit():
        return _counting(config, graph, frozenset(seeds), int(question.answer[0]))
    return [one for one in found if one.f1 >= config.agreement]


def _ids(graph: KnowledgeGraph, answer: str) -> list[str]:
    return [answer] if answer in graph else graph.link(answer)[:1]


def _counting(config: Learn, graph: KnowledgeGraph, seeds: frozenset[str], count: int) -> list[Found]:
    """Paths of which the last set holds so many; of the shortest."""
    level: list[tuple[Step, ...]] = [()]
    for _ in range(config.hops):
        level = [(*path, step) for path in level for step in _steps(graph, reach(graph, seeds, path))]
        found = [Found(path, 1.0) for path in level if len(reach(graph, seeds, path)) == count]
        if found:
            return found
    return []


def _steps(graph: KnowledgeGraph, here: frozenset[str]) -> list[Step]:
    ways = [Step(name, "out") for name in graph.relations(here)]
    return ways + [Step(name, "in") for name in graph.relations(here, "in")]


def _is_count(graph: KnowledgeGraph, question: Question, seeds: tuple[str, ...], path: tuple[Step, ...]) -> bool:
    reached = reach(graph, frozenset(seeds), path)
    return [str(len(reached))] == list(question.answer) and not {question.answer[0]} & reached
