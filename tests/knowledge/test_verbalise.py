"""A graph as sentences."""

import random
from collections import Counter

from tests.tiny import FACTS, change, graph, relations
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.overlay import Overlay
from upright.knowledge.verbalise import Fact, facts, sentence, taught


def test_facts_of_chains_by_hand() -> None:
    found = facts(graph(), [("currency",), ("country", "currency", "code")])
    assert found == [
        Fact(("currency",), "France", "franc"),
        Fact(("currency",), "Germany", "mark"),
        Fact(("currency",), "Spain", "peseta"),
        Fact(("country", "currency", "code"), "Berlin", "DEM"),
        Fact(("country", "currency", "code"), "Lyon", "FRF"),
        Fact(("country", "currency", "code"), "Paris", "FRF"),
    ]


def test_several_answers_and_ways_back_are_left_out() -> None:
    """France has two currencies now; the capital's country of France is France itself."""
    world = MemoryGraph([*FACTS, ("France", "currency", "euro")])
    assert [fact.head for fact in facts(world, [("currency",)])] == ["Germany", "Spain"]
    assert facts(world, [("capital", "country")]) == []


def test_labels_stand_for_ids() -> None:
    world = MemoryGraph([("Q142", "capital", "Q90")], {"Q142": "France", "Q90": "Paris"})
    assert facts(world, [("capital",)]) == [Fact(("capital",), "France", "Paris")]


def test_what_an_edit_changes_is_not_a_settled_fact() -> None:
    """With the euro in France: its currency, that currency's code, and both of its towns are open."""
    settled = taught(graph(), relations(), unlike=Overlay(graph(), [change("France", "currency", "euro")], relations()))
    gone = set(taught(graph(), relations())) - set(settled)
    assert {(fact.head, fact.chain) for fact in gone} == {
        ("France", ("currency",)),
        ("France", ("currency", "code")),
        *((town, ("country", "currency")) for town in ("Paris", "Lyon")),
        *((town, ("country", "currency", "code")) for town in ("Paris", "Lyon")),
    }


def test_all_facts_and_all_asked_chains_are_taught() -> None:
    """Twelve facts; two heads of currency-code have one, three have both other chains: 12 + 3 + 3 + 3."""
    counts = Counter(len(fact.chain) for fact in taught(graph(), relations()))
    assert counts == {1: 12, 2: 6, 3: 3}


def test_sentences_use_every_taught_form_and_no_other() -> None:
    rng, words = random.Random(0), relations()
    for fact in (Fact(("currency",), "France", "franc"), Fact(("country", "currency"), "Lyon", "franc")):
        allowed = {
            p.text
            for kind in ("statement", "question")
            for p in words.chain_prompts(fact.chain, fact.head, "teach", kind)
        }
        if len(fact.chain) == 1:
            for kind in ("statement", "question"):
                allowed |= {p.text for p in words.fact_prompts("currency", fact.head, "teach", kind)}
        said = [sentence(fact, words, rng) for _ in range(600)]
        assert {prompt.text for prompt, _ in said} == allowed
        assert {answer for _, answer in said} == {"franc"}
        assert {prompt.subject for prompt, _ in said} == {fact.head}
