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
    assert len(right) == 3  # after each of the two expansions, and the answer
    assert wrong
    assert not {one.text.removesuffix(" yes\n") for one in right} & {one.text.removesuffix(" no\n") for one in wrong}
    assert {one.text[slice(*one.own[0])] for one in verdicts} == {" yes", " no"}


def test_counting_and_a_way_that_leads_nowhere(machine: Machine) -> None:
    count = Way(
        "How many countries are in South America?", ("South America",), (Step("continent", "in"),), counted=True
    )
    assert taught(machine, Compact(), count).text.endswith("#2 2\n> ANSWER count #2\n")
    nowhere = Way("Where?", ("Lima",), (Step("currency"),))
    with pytest.raises(Rejected):
        walked(machine, nowhere)
    found, failed = all_of(machine, [WAY, nowhere], 0.0, random.Random(0))
    assert (len(found), failed) == (4, [nowhere])
