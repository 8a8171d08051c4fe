"""Questions made from relation words, on the atlas."""

import random
from itertools import islice

import pytest

from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.relations import Relations
from upright.traversal.lessons import ALL, COUNT, WHICH, WHO, Lesson, lessons
from upright.traversal.paths import reach


@pytest.fixture(scope="module")
def atlas() -> tuple[KnowledgeGraph, Relations]:
    graph = open_graph("lab:atlas")
    return graph, open_relations("lab:atlas", graph)


def drawn(atlas: tuple[KnowledgeGraph, Relations], split: str, count: int, seed: int = 0) -> list[Lesson]:
    return list(islice(lessons(*atlas, split, random.Random(seed)), count))  # type: ignore[arg-type]


def test_the_answer_is_what_the_path_reaches(atlas: tuple[KnowledgeGraph, Relations]) -> None:
    graph, _ = atlas
    found = drawn(atlas, "teach", 300)
    assert [len(lesson.path) for lesson in found] == [1, 2, 3] * 100
    for question, path, counted in found:
        there = reach(graph, frozenset(question.seeds), path)
        assert set(question.answer) == ({str(len(there))} if counted else set(graph.labels(there).values()))
        assert question.seeds[0] in question.question
    assert any(lesson.counted for lesson in found)
    assert any(len(lesson.question.answer) > 1 for lesson in found)


def test_the_same_seed_gives_the_same_questions_and_none_twice(atlas: tuple[KnowledgeGraph, Relations]) -> None:
    first = drawn(atlas, "teach", 200)
    assert first == drawn(atlas, "teach", 200)
    assert first != drawn(atlas, "teach", 200, seed=1)
    assert len({lesson.question.question for lesson in first}) == 200


def test_held_out_forms_are_never_taught(atlas: tuple[KnowledgeGraph, Relations]) -> None:
    taught = {lesson.question.question for lesson in drawn(atlas, "teach", 2000)}
    measured = {lesson.question.question for lesson in drawn(atlas, "measure", 300)}
    assert not taught & measured
    for forms in (WHO, WHICH, ALL, COUNT):
        assert len(set(forms)) == len(forms)
