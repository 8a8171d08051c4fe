import asyncio
from pathlib import Path

import pytest

from benchmarks import ask_changes
from benchmarks.ask_changes import ALONE, BEFORE, ELSEWHERE, Given, World


@pytest.fixture(scope="module")
def world() -> World:
    return World.drawn(6)


def test_every_change_is_asked_by_its_own_words_of_each_split(world: World) -> None:
    taught, held_out = world.questions("edit"), world.questions("measure")
    for change, one, other in zip(world.changes, taught, held_out, strict=True):
        assert change.subject in one.question
        assert change.subject in other.question
        assert one.question != other.question


def test_an_overlay_holds_its_change_and_no_other(world: World) -> None:
    for number, change in enumerate(world.changes):
        objects = [world.overlay(n).objects(change.subject, change.relation) for n in range(len(world.changes))]
        assert objects[number] == (change.object,)
        assert {one for n, one in enumerate(objects) if n != number} == {(change.was,)}


def test_only_the_one_object_alone_counts_and_answers_by_other_relations_are_told_apart(world: World) -> None:
    three = World(world.graph, world.relations, world.changes[:3])
    relations = [change.relation for change in three.changes]
    answers = [
        Given(("x",), frozenset([relations[0]])),
        Given(("x", "y"), frozenset([relations[1]])),
        Given(("x",), frozenset(["another"])),
    ]
    share = ask_changes._share("name", answers, ["x", "x", "x"])
    assert share.value == pytest.approx(2 / 3)
    assert share.n == 3
    share = ask_changes._of_relation(three, answers, ["x", "x", "x"])
    assert (share.value, share.n) == (1 / 2, 2)
    (line,) = ask_changes._others(three, answers, ["x", "x", "x"])
    assert line.endswith(f"should be x: got x; y by {relations[1]}.")


def test_the_lab_reads_the_change_where_it_holds_and_the_old_fact_elsewhere(world: World, tmp_path: Path) -> None:
    found = asyncio.run(ask_changes._one_at_a_time(world, world.questions("teach"), tmp_path))
    new = [(change.object,) for change in world.changes]  # in this world the names are the ids
    old = [(change.was,) for change in world.changes]
    assert [one.labels for one in found[ALONE]] == new
    assert [one.labels for one in found[BEFORE]] == old
    assert [one.labels for one in found[ELSEWHERE]] == old
    assert all(change.relation in one.relations for change, one in zip(world.changes, found[ALONE], strict=True))
