"""Gold ways of questions with answers: found by search in the graph, chosen by what serves most questions.

Where several paths lead to the same set, or the answers may be something else (a number, yes or no, the largest of a
set), the words of the questions decide (`wording`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from upright.knowledge.graph import KnowledgeGraph
from upright.run.folder import RunFolder
from upright.run.progress import track
from upright.traversal.config import Learn
from upright.traversal.explanations import Explanations, Kind, kind_of
from upright.traversal.measure import tokens
from upright.traversal.paths import Found, Path
from upright.traversal.questions import Question
from upright.traversal.seeds import seeds_of
from upright.traversal.state import Step
from upright.traversal.transcripts import Way
from upright.traversal.wording import Said, told

SHARED = 2  # questions that a superlative must explain to be tried on all others


class Gold(BaseModel):
    """The way that a question and its answers stand for."""

    id: str
    question: str
    seeds: tuple[str, ...]
    path: tuple[Step, ...]
    form: str = ""
    start: str = ""
    f1: float

    @property
    def counted(self) -> bool:
        """Whether the answer is a number of entities."""
        return self.form.startswith("count")

    def way(self) -> Way:
        """As transcripts take it."""
        return Way(self.question, self.seeds, self.path, self.form, self.start)


@dataclass
class _Case:
    """A question, its entities, and all that explains its answers."""

    question: Question
    seeds: tuple[str, ...]
    found: list[Found]


def find(config: Learn, folder: RunFolder, graph: KnowledgeGraph, questions: Sequence[Question]) -> list[Gold]:
    """The gold path of each question that has one; the others are dropped, and it is said why."""
    ways = Explanations(graph, config.hops, config.agreement, config.omit)
    cases = []
    for question in track(questions, "gold paths"):
        seeds = seeds_of(graph, question)
        cases.append(_Case(question, seeds, ways.of(seeds, question.answer)))
    _deny(ways, cases)
    picks = _picked(ways, graph, cases)
    golds = []
    for case in cases:
        if (best := picks.get(case.question.id)) is not None:
            golds.append(_gold(case, best))
        else:
            reason = "no path reaches its answers" if case.seeds else "names no entity of the graph"
            folder.fail("gold paths", reason, case.question.model_dump())
    return golds


def _gold(case: _Case, best: Found) -> Gold:
    question = case.question
    return Gold(
        id=question.id,
        question=question.question,
        seeds=case.seeds,
        path=best.path,
        form=best.form,
        start=best.start,
        f1=best.f1,
    )


def _deny(ways: Explanations, cases: Sequence[_Case]) -> None:
    """Explain each no by the ways of all that is answered yes."""
    known = dict.fromkeys(kind_of(one) for case in cases for one in case.found if one.start)
    for case in cases:
        if [answer.casefold() for answer in case.question.answer] == ["no"] and len(case.seeds) > 1:
            tried = (ways.denied(case.seeds, kind) for kind in known)
            case.found += [found for found in tried if found is not None]


# --- choosing --------------------------------------------------------------------------------------------------


def _picked(ways: Explanations, graph: KnowledgeGraph, cases: Sequence[_Case]) -> dict[str, Found]:
    """One explanation for each question that has some."""
    picks = _chosen(graph, cases)
    votes = Counter(kind for one in picks.values() if (kind := kind_of(one)).superlative)
    shared = [kind for kind, count in votes.items() if count >= SHARED]
    if not shared:
        return picks
    for case in cases:
        if case.found and not any(one.form for one in case.found):  # a set, perhaps by chance
            tried = (ways.extreme(case.seeds, case.question.answer, kind) for kind in shared)
            case.found += [found for found in tried if found is not None]
    return _chosen(graph, cases)


def _chosen(graph: KnowledgeGraph, cases: Sequence[_Case]) -> dict[str, Found]:
    paths = _paths(graph, cases)
    told_apart = [case for case in cases if case.found]
    options = [dict(_options(case, paths)) for case in told_apart]
    said = [
        Said(_words(graph, case), {kind: one.f1 for kind, one in found.items()})
        for case, found in zip(told_apart, options, strict=True)
    ]
    kinds = told(said)
    return {case.question.id: found[kind] for case, found, kind in zip(told_apart, options, kinds, strict=True)}


def _paths(graph: KnowledgeGraph, cases: Sequence[_Case]) -> dict[str, Path]:
    """Of the paths that lead to the same set the one that the words tell; of equals the first by name."""
    sets = {case.question.id: [one.path for one in case.found if not one.form] for case in cases}
    some = [case for case in cases if sets[case.question.id]]
    ordered = [sorted(sets[case.question.id], key=lambda path: [step.text for step in path]) for case in some]
    said = [Said(_words(graph, case), dict.fromkeys(paths, 1.0)) for case, paths in zip(some, ordered, strict=True)]
    return {case.question.id: path for case, path in zip(some, told(said), strict=True)}


def _options(case: _Case, paths: Mapping[str, tuple[Step, ...]]) -> Iterator[tuple[Kind, Found]]:
    """Of the sets the chosen one, and all others; by kind."""
    for one in case.found:
        if one.form or one.path == paths[case.question.id]:
            yield kind_of(one), one


def _words(graph: KnowledgeGraph, case: _Case) -> frozenset[str]:
    """What the question says besides the names of its entities."""
    named = {word for label in graph.labels(case.seeds).values() for word in tokens(label)}
    return frozenset(tokens(case.question.question)) - named
