"""Contextual edits of twelve facts, found by hand."""

from collections.abc import Sequence
from typing import Any

from tests.knowledge.conftest import words
from tests.tiny import CHAINS, FACTS, TABLES, change
from upright.editing.config import ContextConfig
from upright.editing.context import Contexts, Expansion
from upright.knowledge.changes import FactChange
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.overlay import Overlay
from upright.knowledge.relations import Relations

EURO = change("France", "currency", "euro")
Fact = tuple[str, str, str]


def expand(
    changes: Sequence[FactChange],
    more: Sequence[Fact] = (),
    tables: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    **config: Any,
) -> Contexts:
    graph = MemoryGraph([*FACTS, *more], labels)
    chains = [] if tables else CHAINS
    relations = Relations.parse({"chains": chains, "relations": {**TABLES, **(tables or {})}})
    overlay = Overlay(graph, changes, relations)
    return Expansion(graph, overlay, relations, ContextConfig(**config)).contexts(changes)


def found(contexts: Contexts) -> list[tuple[str, tuple[str, ...], str, str | None]]:
    return [(r.subject, r.path, r.target, r.old) for r in contexts.requests]


def test_two_hops_through_one_change() -> None:
    """Forward to the code of the new currency; backward from the two towns of France."""
    contexts = expand([EURO], hops=2)
    assert found(contexts) == [
        ("Lyon", ("country", "currency"), "euro", "franc"),
        ("Paris", ("country", "currency"), "euro", "franc"),
        ("France", ("currency", "code"), "EUR", "FRF"),
    ]
    assert [r.prompt.text for r in contexts.requests] == [
        "The currency of the country of Lyon is",
        "The currency of the country of Paris is",
        "The code of the currency of France is",
    ]
    assert [r.prompt.subject for r in contexts.requests] == ["Lyon", "Paris", "France"]
    assert {(r.origin, r.source) for r in contexts.requests} == {("contextual", 0)}


def test_sentences_that_are_asked_for_are_not_written_again_nor_contradicted() -> None:
    graph, words = MemoryGraph(FACTS), Relations.parse({"chains": CHAINS, "relations": TABLES})
    expansion = Expansion(graph, Overlay(graph, [EURO], words), words, ContextConfig(hops=2))
    asked = {"The code of the currency of France is": "EUR", "The currency of the country of Lyon is": "dollar"}
    contexts = expansion.contexts([EURO], asked)
    assert found(contexts) == [("Paris", ("country", "currency"), "euro", "franc")]
    assert contexts.dropped["two answers to one sentence"] == 1


def test_three_hops_join_what_comes_before_and_after() -> None:
    contexts = expand([EURO], hops=3)
    assert [row for row in found(contexts) if len(row[1]) == 3] == [
        ("Lyon", ("country", "currency", "code"), "EUR", "FRF"),
        ("Paris", ("country", "currency", "code"), "EUR", "FRF"),
    ]
    assert len(contexts.requests) == 5
    # France is the capital's country and the country's capital: that way back ends in the change itself
    assert contexts.dropped["comes back to itself"] == 1


def test_no_hops_no_context() -> None:
    assert expand([EURO], hops=0).requests == []
    assert expand([EURO], hops=1).requests == []


def test_a_chain_through_two_changes_sees_both() -> None:
    """Lyon moves to Germany, whose currency changes, too: one sentence, in the world where both hold."""
    contexts = expand([change("Lyon", "country", "Germany"), change("Germany", "currency", "euro")], hops=3)
    rows = found(contexts)
    assert ("Lyon", ("country", "currency"), "euro", "franc") in rows
    assert ("Lyon", ("country", "currency", "code"), "EUR", "FRF") in rows
    assert len(rows) == len({row[:2] for row in rows})


def test_implied_facts_come_first_and_are_expanded_as_well() -> None:
    """Lyon becomes the capital of Germany, so it lies in Germany, and is paid for in marks."""
    contexts = expand([change("Germany", "capital", "Lyon")], hops=2)
    assert found(contexts) == [
        ("Lyon", ("country",), "Germany", "France"),
        ("Berlin", ("country", "capital"), "Lyon", "Berlin"),
        ("Lyon", ("country", "currency"), "mark", "franc"),
    ]
    assert [r.source for r in contexts.requests] == [-1, 0, -1]


def test_implied_facts_need_no_hops() -> None:
    assert found(expand([change("Germany", "capital", "Lyon")], hops=1)) == [
        ("Lyon", ("country",), "Germany", "France")
    ]


def test_what_has_several_answers_is_left_out() -> None:
    contexts = expand([EURO], more=[("euro", "code", "978")])
    assert ("France", ("currency", "code")) not in [row[:2] for row in found(contexts)]
    assert contexts.dropped["several answers"] == 1


def test_a_head_with_several_answers_on_the_way_is_left_out() -> None:
    contexts = expand([EURO], more=[("Lyon", "country", "Spain")])
    assert [row[0] for row in found(contexts)] == ["Paris", "France"]
    assert contexts.dropped["several answers"] == 1


def test_hubs_are_not_passed_through() -> None:
    """Two facts point to France."""
    contexts = expand([EURO], hub=1)
    assert [row[0] for row in found(contexts)] == ["France"]
    assert contexts.dropped["passes a hub"] == 1
    assert len(expand([EURO], hub=2).requests) == 3


def test_the_cap_counts_by_fact_and_direction_and_keeps_the_first_by_name() -> None:
    contexts = expand([EURO], cap=1)
    assert [row[0] for row in found(contexts)] == ["Lyon", "France"]
    assert contexts.dropped["over the cap"] == 1


def test_denied_relations_and_such_without_one_object() -> None:
    contexts = expand([EURO], deny=["country"])
    assert [row[0] for row in found(contexts)] == ["France"]
    assert contexts.dropped["relation without words or denied"] >= 1
    many = {"country": words("country", functional=False), "capital": words("capital")}
    contexts = expand([EURO], tables=many)
    assert [row[0] for row in found(contexts)] == ["France"]
    assert contexts.dropped["relation with many objects"] == 1


def test_plain_values_have_no_onward_chain() -> None:
    contexts = expand([change("franc", "code", "FFF")], more=[("FFF", "country", "Spain")], hops=3)
    assert {row[1][-1] for row in found(contexts)} == {"code"}
    assert contexts.dropped["ends in a plain value"] >= 1


def test_what_does_not_change_is_not_written() -> None:
    """Both francs have one code: the chain ends where it ended."""
    contexts = expand([EURO], more=[("escudo", "code", "FRF")])
    assert contexts.dropped["answer does not change"] == 0
    same = expand([change("France", "currency", "escudo")], more=[("escudo", "code", "FRF")])
    assert ("France", ("currency", "code")) not in [row[:2] for row in found(same)]
    assert same.dropped["answer does not change"] == 1


def test_new_answers_where_there_was_none() -> None:
    """Spain had no capital in the graph; what is said of its towns has no old answer."""
    contexts = expand([change("Madrid", "country", "Spain")], more=[("Ana", "capital", "Madrid")])
    assert ("Madrid", ("country", "currency"), "peseta", None) in found(contexts)


def test_an_asked_fact_is_not_written_twice() -> None:
    """Asked: Lyon lies in Germany, and is its capital, which implies the former."""
    asked = [change("Germany", "capital", "Lyon"), change("Lyon", "country", "Germany")]
    assert ("Lyon", ("country",)) not in [row[:2] for row in found(expand(asked))]


def test_two_things_of_one_name_are_not_given_two_answers() -> None:
    """The sentences about Q1 and Q2, both called Lyon, are the same; the second one is left out."""
    towns = [("Q1", "country", "France"), ("Q2", "country", "Germany")]
    changes = [EURO, change("Germany", "currency", "peseta")]
    contexts = expand(changes, more=towns, labels={"Q1": "Nice", "Q2": "Nice"})
    rows = [row for row in found(contexts) if row[0] in ("Q1", "Q2")]
    assert rows == [("Q1", ("country", "currency"), "euro", "franc")]
    assert contexts.dropped["two answers to one sentence"] == 1


def test_the_order_does_not_depend_on_the_order_of_changes() -> None:
    changes = [EURO, change("Germany", "capital", "Lyon")]
    assert found(expand(changes, hops=3)) == found(expand(changes[::-1], hops=3))
