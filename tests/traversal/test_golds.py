"""Gold ways: found from questions and answers alone, and the ways that were meant."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.traversal.places import Places, places_of
from tests.traversal.scripted import world
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.memory import MemoryGraph
from upright.run.files import read_jsonl
from upright.run.folder import open_run
from upright.run.report import Report
from upright.traversal import golds
from upright.traversal.config import Learn
from upright.traversal.explanations import Explanations, Kind
from upright.traversal.golds import Gold
from upright.traversal.paths import Found
from upright.traversal.paths import Path as Way
from upright.traversal.questions import Lesson, Question
from upright.traversal.state import Step
from upright.traversal.transcripts import walked

CAPITAL, OWNER = Step("capital"), Step("capital", "in")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return places_of(tmp_path_factory.mktemp("world"))


def find(
    folder: Path, graph: KnowledgeGraph, questions: Sequence[Question], **fields: Any
) -> tuple[dict[str, Gold], dict[str, str]]:
    """The golds by id, and why others have none."""
    config = Learn.model_validate({"lessons": 1, "kg": ["x"], "out": folder / "run", "hops": 3, **fields})
    with open_run(config, verb="ask learn") as run:
        found = {gold.id: gold for gold in golds.find(config, run, graph, questions)}
        run.finish([], Report("Gold ways", "Found."))
    rows = read_jsonl(folder / "run" / "failures.jsonl")
    return found, {row["row"]["id"]: row["reason"] for row in rows}


def q(id: str, question: str, *answer: str, seeds: tuple[str, ...] = ()) -> Question:
    return Question(id=id, question=question, answer=answer, seeds=seeds)


# --- by hand, on the neighbours of Peru ---


def test_each_kind_by_hand(tmp_path: Path) -> None:
    questions = [
        q("set", "What is the capital of Peru?", "Lima"),
        q("two", "Which currency is used in the country whose capital is Lima?", "sol"),
        q("many", "Which countries does Peru border?", "Chile", "Brazil"),
        q("count", "How many neighbours has Peru?", "2"),
        q("number", "How many million people live in Chile?", "19"),
        q("yes", "Is Santiago the capital of Chile?", "yes"),
        q("no", "Is Lima the capital of Chile?", "no"),
        q("extreme", "Which neighbour of Peru was founded first?", "Chile", seeds=("Peru",)),
        q("unknown", "Where is Oz?", "Kansas"),
        q("unreachable", "Who sings in Peru?", "nobody"),
    ]
    found, reasons = find(tmp_path, world(), questions, hops=2)
    ways = {id: ([step.text for step in gold.path], gold.form, gold.start) for id, gold in found.items()}
    assert ways["set"] == (["capital"], "", "")
    assert ways["two"] == (["~capital", "currency"], "", "")
    assert ways["many"] == (["borders"], "", "")
    assert ways["count"] == (["borders"], "count #2", "")
    assert ways["number"] == (["population"], "", "")  # not the number of anything
    assert ways["yes"] in ((["capital"], "is #1 in #2", "Chile"), (["~capital"], "is #1 in #2", "Santiago"))
    assert ways["no"] in ((["capital"], "is #1 in #2", "Chile"), (["~capital"], "is #1 in #2", "Lima"))
    assert ways["extreme"][0] == ["borders"]
    assert ways["extreme"][1] in ("first #2 by founded", "smallest #2 by population")  # alike in this world
    assert reasons == {"unknown": "names no entity of the graph", "unreachable": "no path reaches its answers"}
    assert [gold.counted for gold in found.values()].count(True) == 1


def test_a_no_without_any_yes_cannot_be_explained(tmp_path: Path) -> None:
    found, reasons = find(tmp_path, world(), [q("no", "Is Lima the capital of Chile?", "no")])
    assert (found, reasons) == ({}, {"no": "no path reaches its answers"})


def test_what_could_never_be_is_not_denied() -> None:
    """Lima is no currency of anything, so whoever denies that it is Peru's must mean something else."""
    ways = Explanations(world(), 2, 0.5)
    capital, currency = (Kind((Step(name),), "is #1 in #2") for name in ("capital", "currency"))
    assert ways.denied(["Lima", "Chile"], capital) == Found((CAPITAL,), 1.0, "is #1 in #2", "Chile")
    assert ways.denied(["Lima", "Chile"], currency) is None
    assert ways.denied(["Lima", "Peru"], capital) is None  # it is


def test_words_tell_superlatives_apart_that_pick_the_same(tmp_path: Path) -> None:
    """Two measures that agree in one region and differ in two others: the words learnt there decide."""
    sizes = {"a": (1, 9), "b": (2, 8), "c": (3, 7), "d": (1, 1), "e": (2, 2), "f": (5, 6), "g": (6, 5)}
    regions = {"North": "abc", "South": "de", "West": "fg"}
    facts = [(x, "lies in", region) for region, members in regions.items() for x in members]
    facts += [
        (x, name, str(size)) for x, pair in sizes.items() for name, size in zip(("area", "people"), pair, strict=True)
    ]
    ask = "Which place of {} has the most {}?"
    questions = [q("1", ask.format("North", "area"), "c"), q("2", ask.format("North", "people"), "a")]
    questions += [q("3", ask.format("West", "area"), "g"), q("4", ask.format("West", "people"), "f")]
    questions += [q("5", ask.format("South", "area"), "e"), q("6", ask.format("South", "people"), "e")]
    found, _ = find(tmp_path, MemoryGraph(facts), questions, hops=1)
    assert {id: gold.form for id, gold in found.items()} == {
        id: f"largest #2 by {name}" for id, name in zip("123456", ["area", "people"] * 3, strict=True)
    }


def test_a_path_by_chance_gives_way_to_the_superlative_that_others_mean(tmp_path: Path) -> None:
    """The tallest of the East is also its only wooden one: a path of its own, but no other question means it."""
    facts = [("e1", "made of", "wood"), ("e1", "in", "East"), ("e2", "in", "East"), ("East", "known for", "e1")]
    facts += [(f"{r}{i}", "in", r) for r in ("North", "South", "West") for i in (1, 2, 3)]
    facts += [(x, "height", str(10 + i)) for i, (x, r, _) in enumerate(facts) if r == "in"] + [("e1", "height", "99")]
    names = {"North": "North3", "South": "South3", "West": "West3", "East": "e1"}
    questions = [q(r, f"Which house in the {r} is the tallest?", x) for r, x in names.items()]
    found, _ = find(tmp_path, MemoryGraph(facts), questions, hops=1)
    assert found["East"].form == "largest #2 by height"
    alone, _ = find(tmp_path / "alone", MemoryGraph(facts), questions[-1:], hops=1)
    assert (alone["East"].form, alone["East"].path) == ("", (Step("known for"),))


# --- against what was meant, and by brute force ---


def same(lesson: Lesson, gold: Gold) -> bool:
    """Whether the way is the one meant; of a verdict, also the same way backwards."""
    back: Way = tuple(Step(step.relation, "in" if step.direction == "out" else "out") for step in lesson.path[::-1])
    if lesson.start and gold.start != lesson.start:
        return (gold.path, gold.form) == (back, lesson.form)
    return (gold.path, gold.form, gold.start) == (lesson.path, lesson.form, lesson.start)


def test_ways_are_found_from_questions_and_answers_alone(tmp_path: Path, places: Places) -> None:
    lessons = places.lessons("teach", 300, ("yes-no", "superlatives"))
    found, reasons = find(tmp_path, places.graph, [lesson.question for lesson in lessons], hops=2)
    assert not reasons
    right = [same(lesson, found[lesson.question.id]) for lesson in lessons]
    assert sum(right) >= 0.97 * len(right)


def test_every_gold_way_leads_to_the_answers(tmp_path: Path, places: Places) -> None:
    """Walked by the machine of a search, each way ends in the answers, where they were found exactly."""
    questions = places.asked("measure", 200, ("sets", "yes-no", "superlatives"))
    found, _ = find(tmp_path, places.graph, questions, hops=3)
    machine = Explanations(places.graph, 3, 0.5).machine
    for question in questions:
        gold = found[question.id]
        state, action = walked(machine, gold.way())[-1]
        answer = machine.apply(state, action).answer
        assert answer is not None
        assert gold.f1 < 1 or set(answer.labels) == set(question.answer)


def test_superlatives_are_all_that_brute_force_finds(places: Places) -> None:
    """Of the countries of a continent, by two measures and four words."""
    ways = Explanations(places.graph, 1, 0.5)
    for continent, relation in product(("Northland", "Southland"), ("population", "opening date")):
        members = places.graph.subjects("continent", continent)
        values = {country: places.graph.objects(country, relation)[0] for country in members}
        key = (lambda text: int(text)) if relation == "population" else str  # dates of one century sort as texts
        words = ("smallest", "largest") if relation == "population" else ("first", "last")
        for which, pick in zip(words, (min, max), strict=True):
            best = pick(members, key=lambda country: key(values[country]))
            found = ways.superlatives([continent], [best])
            assert Found((Step("continent", "in"),), 1.0, f"{which} #2 by {relation}") in found


def test_words_tell_apart_what_the_answers_cannot(tmp_path: Path) -> None:
    """Most films here are written by who directed them: only the words say which was asked for."""
    people = {"A": "Ann", "B": "Bob", "C": "Cid", "D": "Dee"}
    facts = [(film, "directed by", name) for film, name in people.items()]
    facts += [("A", "written by", "Ann"), ("B", "written by", "Bob"), ("C", "written by", "Eve")]
    questions = [q(f"d{film}", f"Who was the director of {film}?", name) for film, name in people.items()]
    questions += [q("wA", "Who wrote A?", "Ann"), q("wB", "Who wrote B?", "Bob"), q("wC", "Who wrote C?", "Eve")]
    found, _ = find(tmp_path, MemoryGraph(facts), questions, hops=1)
    ways = {id: [step.text for step in gold.path] for id, gold in found.items()}
    assert [ways[f"d{film}"] for film in people] == [["directed by"]] * 4
    assert [ways[f"w{film}"] for film in "ABC"] == [["written by"]] * 3


def test_a_symmetric_relation_is_followed_outwards(tmp_path: Path) -> None:
    graph = MemoryGraph([("Peru", "borders", "Chile"), ("Chile", "borders", "Peru")])
    found, _ = find(tmp_path, graph, [q("1", "What borders Peru?", "Chile")], hops=1)
    assert found["1"].path == (Step("borders", "out"),)
