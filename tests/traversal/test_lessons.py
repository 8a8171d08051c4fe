"""Questions made from relation words, on the atlas."""

import random
from itertools import islice
from pathlib import Path

import pytest

from tests.traversal.places import FACTS, Places, places_of, write_places
from upright.errors import UserError
from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.relations import Relations, Split
from upright.traversal import lessons as lesson_writer
from upright.traversal.asking import WHO
from upright.traversal.config import LessonKind, Lessons
from upright.traversal.judgements import COMPARE, EXTREME, JUDGE
from upright.traversal.lessons import ALL, COUNT, WHICH, lessons
from upright.traversal.paths import reach
from upright.traversal.questions import Lesson, read_questions

KINDS: tuple[LessonKind, ...] = ("sets", "yes-no", "superlatives")


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
    for lesson in found:
        question, path, counted = lesson.question, lesson.path, lesson.counted
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
    for forms in (WHO, WHICH, ALL, COUNT, JUDGE, EXTREME, COMPARE):
        assert len(set(forms)) == len(forms)


# --- yes or no, and comparing, on a world with numbers and dates ---


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return places_of(tmp_path_factory.mktemp("world"))


def triples(relation: str) -> dict[str, str]:
    return {head: tail for head, name, tail in FACTS if name == relation}


def naive(place: frozenset[str], relation: str, direction: str) -> frozenset[str]:
    """A step, fact by fact."""
    if direction == "out":
        return frozenset(tail for head, name, tail in FACTS if name == relation and head in place)
    return frozenset(head for head, name, tail in FACTS if name == relation and tail in place)


def test_every_answer_is_that_of_brute_force(places: Places) -> None:
    """All kinds, both splits: what is asked is worked out anew from the list of facts."""
    splits: tuple[Split, ...] = ("teach", "measure")
    for split in splits:
        for lesson in places.lessons(split, 400, KINDS):
            here = frozenset([lesson.start] if lesson.start else lesson.question.seeds)
            omitted = here
            for step in lesson.path:
                here = naive(here, *step) - omitted
            assert lesson.question.answer == answer_of(lesson, here)


def answer_of(lesson: Lesson, here: frozenset[str]) -> tuple[str, ...]:
    word, *_ = lesson.form.split() or [""]
    if word == "count":
        return (str(len(here)),)
    if word == "is":
        (other,) = set(lesson.question.seeds) - {lesson.start}
        return ("yes" if other in here else "no",)
    if not word:
        return tuple(sorted(here))
    relation = lesson.form.partition(" by ")[2]
    values = {one: triples(relation)[one] for one in here}
    key = (lambda one: int(values[one])) if relation == "population" else (lambda one: values[one])
    best = (max if word in ("largest", "last") else min)(here, key=key)
    return (best,)


def test_all_kinds_come_in_turn(places: Places) -> None:
    """This world has no ways of three steps, and no continent that is reached in one step from something else."""
    found = places.lessons("teach", 12, KINDS)
    kinds = [(bool(one.start), " by " in one.form, len(one.path)) for one in found]
    sets, verdicts = [(False, False, 1), (False, False, 2)], [(True, False, 1), (True, False, 2)]
    assert kinds == 2 * [*sets, *verdicts, (False, True, 0), (False, True, 1)]
    answers = [one.question.answer[0] for one in places.lessons("teach", 400, ("yes-no",))]
    assert 0.4 < answers.count("yes") / len(answers) < 0.6
    assert set(answers) == {"yes", "no"}


def test_a_question_names_what_it_compares_and_from_where_it_starts(places: Places) -> None:
    for lesson in places.lessons("measure", 200, ("yes-no", "superlatives")):
        assert all(seed in lesson.question.question for seed in lesson.question.seeds)


def test_splits_share_no_wording_of_any_kind(places: Places) -> None:
    taught = {lesson.question.question for lesson in places.lessons("teach", 4000, KINDS)}
    measured = {lesson.question.question for lesson in places.lessons("measure", 1000, KINDS)}
    assert not taught & measured


def test_a_small_world_has_only_so_many_questions(tmp_path: Path) -> None:
    """One fact: its two ends, each asked for in all taught words, and then no more, in finite time."""
    folder = write_places(tmp_path / "world")
    (folder / "facts.tsv").write_text("Avela\tcapital\tOmbra\n")
    config = Lessons(kg=[str(folder)], file=tmp_path / "q.jsonl", count=100_000, kinds=["sets"])
    with pytest.raises(
        UserError, match=r"world: only \d+ different questions .sets. were found, not 100,000"
    ) as caught:
        lesson_writer.run(config)
    assert not config.file.exists()
    most = int(str(caught.value).split("only ")[1].split(" ")[0])
    lesson_writer.run(config.model_copy(update={"count": most}))
    asked = {question.question for question in read_questions(config.file)}
    assert len(asked) == most
    assert "What is the capital of Avela?" in asked
    assert "Which country has Ombra as its capital?" in asked


def test_kinds_that_a_graph_lacks_are_said(tmp_path: Path) -> None:
    folder = write_places(tmp_path / "world")
    (folder / "facts.tsv").write_text("Avela\tcapital\tOmbra\n")
    config = Lessons(kg=[str(folder)], file=tmp_path / "q.jsonl", count=1, kinds=["superlatives"])
    with pytest.raises(UserError, match=r"only 0 different questions .superlatives."):
        lesson_writer.run(config)
