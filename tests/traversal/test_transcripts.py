"""Transcripts: every prompt of a search along the way is the beginning of what is learnt."""

import random

import pytest

from upright.knowledge.literals import moment, quantity
from upright.knowledge.memory import MemoryGraph
from upright.traversal.answers import Rejected
from upright.traversal.machine import Machine, Rules
from upright.traversal.prompts import Compact
from upright.traversal.state import Step
from upright.traversal.transcripts import Way, all_of, judged, taught, walked

GRAPH = MemoryGraph(
    [
        ("Peru", "capital", "Lima"),
        ("Peru", "currency", "sol"),
        ("Peru", "continent", "South America"),
        ("Chile", "continent", "South America"),
        ("Chile", "currency", "peso"),
    ]
)
WAY = Way("Which currency has the country whose capital is Lima?", ("Lima",), (Step("capital", "in"), Step("currency")))


@pytest.fixture
def machine() -> Machine:
    return Machine(GRAPH, Rules(depth=9, omit="seeds"), quantity, moment)


def test_the_transcript_by_hand(machine: Machine) -> None:
    found = taught(machine, Compact(), WAY)
    assert found.text == (
        "Q: Which currency has the country whose capital is Lima?\n"
        "#1 Lima\n"
        "> EXPAND #1 ~capital\n"
        "#2 1\n"
        "> EXPAND #2 currency\n"
        "#3 1\n"
        "> ANSWER #3\n"
    )
    said = [found.text[start:end] for start, end in found.own]
    assert said == [" EXPAND", " #1", " ~capital", " EXPAND", " #2", " currency", " ANSWER #3", "\n"]


def test_every_prompt_of_the_search_is_its_beginning(machine: Machine) -> None:
    style, whole = Compact(), taught(machine, Compact(), WAY).text
    for state, _ in walked(machine, WAY):
        assert whole.startswith(style.act(machine, state).messages[-1].content)


def test_states_on_the_way_are_worth_a_step_and_wrong_turns_are_not(machine: Machine) -> None:
    verdicts = list(judged(machine, Compact(), WAY, 4.0, random.Random(0)))
    right = [one for one in verdicts if one.text.endswith("? yes\n")]
    wrong = [one for one in verdicts if one.text.endswith("? no\n")]
    assert len(right) == 3  # of seven: one more than the way has steps
    assert wrong
    assert not {one.text.removesuffix(" yes\n") for one in right} & {one.text.removesuffix(" no\n") for one in wrong}
    assert {one.text[slice(*one.own[0])] for one in verdicts} == {" yes", " no"}


def test_counting_and_a_way_that_leads_nowhere(machine: Machine) -> None:
    count = Way("How many countries are in South America?", ("South America",), (Step("continent", "in"),), "count #2")
    assert taught(machine, Compact(), count).text.endswith("#2 2\n> ANSWER count #2\n")
    nowhere = Way("Where?", ("Lima",), (Step("currency"),))
    with pytest.raises(Rejected):
        walked(machine, nowhere)
    found, failed = all_of(machine, [WAY, nowhere], 0.0, random.Random(0))
    assert (len(found), failed) == (4, [nowhere])


# --- yes or no, and comparing ---

SIZES = MemoryGraph(
    [
        ("Peru", "capital", "Lima"),
        ("Chile", "capital", "Santiago"),
        ("Peru", "continent", "America"),
        ("Chile", "continent", "America"),
        ("Peru", "people", "34"),
        ("Chile", "people", "19"),
    ]
)


@pytest.fixture
def sizes() -> Machine:
    return Machine(SIZES, Rules(depth=9, omit="seeds"), quantity, moment)


def test_a_verdict_starts_from_one_of_its_entities(sizes: Machine) -> None:
    asked = Way("Is Lima the capital of Chile?", ("Chile", "Lima"), (Step("capital"),), "is #1 in #2", "Chile")
    found = taught(sizes, Compact(), asked)
    assert found.text == (
        "Q: Is Lima the capital of Chile?\n#1 Chile; Lima\n> EXPAND Chile capital\n#2 1\n> ANSWER is #1 in #2\n"
    )
    assert [found.text[start:end] for start, end in found.own][1] == " Chile"
    state, reply = walked(sizes, asked)[-1]
    answer = sizes.apply(state, reply).answer
    assert answer is not None
    assert answer.labels == ("no",)


def test_entities_are_compared_without_a_step(sizes: Machine) -> None:
    asked = Way("Which has more people, Chile or Peru?", ("Chile", "Peru"), (), "largest #1 by people")
    assert taught(sizes, Compact(), asked).text == (
        "Q: Which has more people, Chile or Peru?\n#1 Chile; Peru\n> ANSWER largest #1 by people\n"
    )


@pytest.mark.parametrize(
    "asked",
    [
        Way("Is Lima the capital of Chile?", ("Chile", "Lima"), (Step("capital"),), "is #1 in #2", "Chile"),
        Way("The largest in America?", ("America",), (Step("continent", "in"),), "largest #2 by people"),
    ],
)
def test_prompts_and_options_of_a_search_are_those_that_are_taught(sizes: Machine, asked: Way) -> None:
    """Each prompt is a beginning of the transcript, and what is said next is among its choices."""
    style, whole = Compact(), taught(sizes, Compact(), asked)
    for (state, _), (start, end) in zip(walked(sizes, asked), whole.own, strict=False):
        ask = style.act(sizes, state)
        assert whole.text[:start] == ask.messages[-1].content
        assert ask.choices is not None
        assert whole.text[start:end].strip() in ask.choices


def test_wrong_answers_of_these_kinds_are_other_forms(sizes: Machine) -> None:
    """Beside the way: the smallest, a count, the whole set, a verdict; never what it answers itself."""
    asked = Way("The largest in America?", ("America",), (Step("continent", "in"),), "largest #2 by people")
    verdicts = [one.text for one in judged(sizes, Compact(), asked, 200.0, random.Random(1))]
    wrong = [text for text in verdicts if text.endswith("? no\n")]
    forms = {
        line.removeprefix("> ANSWER ") for text in wrong for line in text.splitlines() if line.startswith("> ANSWER")
    }
    assert {"smallest #2 by people", "#2", "count #2"} <= forms
    assert "largest #2 by people" not in forms


def test_a_comparison_has_wrong_answers_too(sizes: Machine) -> None:
    asked = Way("Which has more people, Chile or Peru?", ("Chile", "Peru"), (), "largest #1 by people")
    verdicts = [one.text for one in judged(sizes, Compact(), asked, 200.0, random.Random(1))]
    wrong = [text for text in verdicts if text.endswith("? no\n")]
    assert any("> ANSWER smallest #1 by people" in text for text in wrong)
