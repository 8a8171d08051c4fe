from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traversal.scripted import machine, moment, quantity, walk
from tests.traversal.test_state import GRAPHS, NODES, WALKS, wander
from upright.knowledge.graph import Edge
from upright.knowledge.memory import MemoryGraph
from upright.traversal.answers import Answer, Count, Extreme, Members, Rejected, Text, parse
from upright.traversal.machine import Machine, Reply, Rules
from upright.traversal.state import State

NEIGHBOURS = ("EXPAND_KG", "#1", "borders")
PERU_CHILE, PERU_BRAZIL = Edge("Peru", "borders", "Chile"), Edge("Peru", "borders", "Brazil")


def answer(state: State, form: str, driver: Machine | None = None) -> Answer:
    found = walk(driver or machine(), state, f"ANSWER {form}").answer
    assert found is not None
    return found


def neighbours() -> State:
    """#1 Peru, #2 Brazil and Chile."""
    driver = machine()
    return walk(driver, driver.start("?", ["Peru"]), *NEIGHBOURS)


@pytest.mark.parametrize(
    ("form", "labels", "ids", "evidence"),
    [
        ("#2", ("Brazil", "Chile"), ("Brazil", "Chile"), {PERU_CHILE, PERU_BRAZIL}),
        ("count #2", ("2",), (), {PERU_CHILE, PERU_BRAZIL}),
        ("largest #2 by population", ("Brazil",), ("Brazil",), {PERU_BRAZIL, Edge("Brazil", "population", "203")}),
        ("smallest #2 by population", ("Chile",), ("Chile",), {PERU_CHILE, Edge("Chile", "population", "19")}),
        ("first #2 by founded", ("Chile",), ("Chile",), {PERU_CHILE, Edge("Chile", "founded", "1818-02")}),
        ("last #2 by founded", ("Brazil",), ("Brazil",), {PERU_BRAZIL, Edge("Brazil", "founded", "1822")}),
        ("is #1 in #2", ("no",), (), {PERU_CHILE, PERU_BRAZIL}),
        ("#2 not #1", ("Brazil", "Chile"), ("Brazil", "Chile"), {PERU_CHILE, PERU_BRAZIL}),
        ("Chile", ("Chile",), ("Chile",), {PERU_CHILE}),
        ("the Chile, and Brazil", ("the Chile, and Brazil",), ("Brazil", "Chile"), {PERU_CHILE, PERU_BRAZIL}),
    ],
)
def test_forms_on_the_neighbours_of_peru(form: str, labels: object, ids: object, evidence: set[Edge]) -> None:
    found = answer(neighbours(), form)
    assert (found.labels, found.ids, set(found.evidence)) == (labels, ids, evidence)
    assert found.grounded
    assert found.notes == ()


@pytest.mark.parametrize("form", ["yes", "no", "Atlantis", "Chile and Atlantis", "#1", "Peru"])
def test_answers_that_no_fact_supports(form: str) -> None:
    found = answer(neighbours(), form)
    assert not found.grounded
    assert found.evidence == ()


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("#3", "there is no set #3; there is #1 to #2"),
        ("count #0", "no set #0"),
        ("#1 and #2", "#1 and #2 holds nothing"),
        ("largest #2 by height", "no relations of #2 are called 'height'"),
        ("largest #2 by currency", "gives no number and no date"),
        ("the largest of #2", "no form of answer"),
        ("count #2 and", "no form of answer"),
    ],
)
def test_forms_without_meaning(form: str, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        answer(neighbours(), form)


def test_two_sets_that_overlap() -> None:
    """Peru's neighbours are Brazil and Chile; Chile's are Peru alone; both have Peru or its neighbours."""
    driver = machine(rules=Rules(depth=9))
    root = driver.start("?", ["Brazil", "Chile"])
    state = walk(driver, root, "EXPAND_KG", "Brazil", "borders", "EXPAND_KG", "Chile", "borders")
    assert answer(state, "#2 and #3").labels == ("Peru",)
    assert set(answer(state, "#2 and #3").evidence) == {
        Edge("Brazil", "borders", "Peru"),
        Edge("Chile", "borders", "Peru"),
    }
    assert answer(state, "count #2 and #3").labels == ("1",)
    assert answer(state, "is #2 in #3").labels == ("yes",)
    with pytest.raises(Rejected, match="holds nothing"):
        answer(state, "#2 not #3")


def test_evidence_takes_only_the_ways_to_the_answer() -> None:
    driver = machine(rules=Rules(depth=9))
    state = walk(driver, neighbours(), "EXPAND_KG", "#2", "currency")
    found = answer(state, "peso")
    assert set(found.evidence) == {PERU_CHILE, Edge("Chile", "currency", "peso")}


def test_ties_all_answer_and_many_values_count_by_their_extreme() -> None:
    facts = [("s", "has", "a"), ("s", "has", "b"), ("s", "has", "c")]
    facts += [("a", "size", "5"), ("a", "size", "1"), ("b", "size", "5"), ("c", "size", "2")]
    driver = machine(MemoryGraph(facts))
    state = walk(driver, driver.start("?", ["s"]), "EXPAND_KG", "#1", "has")
    assert answer(state, "largest #2 by size", driver).ids == ("a", "b")
    assert answer(state, "smallest #2 by size", driver).ids == ("a",)


def test_what_a_superlative_could_not_read_is_said() -> None:
    facts = [("s", "has", name) for name in "abcd"]
    facts += [("a", "size", "5"), ("b", "size", "7"), ("c", "size", "vast")]
    driver = machine(MemoryGraph(facts))
    found = answer(walk(driver, driver.start("?", ["s"]), "EXPAND_KG", "#1", "has"), "largest #2 by size", driver)
    assert found.labels == ("b",)
    assert found.notes == ("2 of #2 have no readable size", "1 values of size could not be read")


def test_facts_that_were_not_read_are_no_ground_for_counts() -> None:
    driver = machine(MemoryGraph([("s", "has", f"n{i}") for i in range(9)]), Rules(rows=4))
    state = walk(driver, driver.start("?", ["s"]), "EXPAND_KG", "#1", "has")
    count, members = answer(state, "count #2", driver), answer(state, "#2", driver)
    assert (count.labels, count.grounded, members.grounded) == (("4",), False, True)
    assert answer(state, "is #2 in #2", driver).grounded  # what was read shows it
    denial = answer(state, "is #1 in #2", driver)
    assert (denial.labels, denial.grounded, denial.notes) == (("no",), False, count.notes)
    assert count.notes == members.notes == ("#2 holds the first 4 of 9 facts",)


def test_labels_are_answered_and_ids_kept() -> None:
    facts = [("Q1", "P1", "Q2"), ("Q1", "P1", "Q3"), ("Q2", "P2", "7"), ("Q3", "P2", "8")]
    driver = machine(MemoryGraph(facts, {"Q2": "Rome", "Q3": "Rome", "P2": "area (km²)"}))
    state = walk(driver, driver.start("?", ["Q1"]), "EXPAND_KG", "#1", "P1")
    assert answer(state, "#2", driver).labels == ("Rome", "Rome")
    assert answer(state, "largest #2 by area (km²)", driver).ids == ("Q3",)
    assert answer(state, "largest #2 by P2", driver).ids == ("Q3",)
    assert answer(state, "rome", driver).ids == ("Q2", "Q3")


def test_a_relation_named_twice_is_no_criterion() -> None:
    facts = [("s", "has", "a"), ("a", "P1", "1"), ("a", "P2", "2")]
    driver = machine(MemoryGraph(facts, {"P1": "size", "P2": "size"}))
    state = walk(driver, driver.start("?", ["s"]), "EXPAND_KG", "#1", "has")
    with pytest.raises(Rejected, match="2 relations of #2 are called 'size'"):
        answer(state, "largest #2 by size", driver)


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "no",
        "#3",
        "#3 and #2",
        "#3 not #2",
        "count #3",
        "count #3 not #2",
        "is #1 in #2",
        "last #2 and #3 by a by b",
        "Po",
    ],
)
def test_forms_are_read_as_they_are_written(text: str) -> None:
    assert str(parse(text)) == text


def test_case_and_spaces_do_not_matter() -> None:
    assert parse("Largest  #2 BY size") == Extreme("largest", Members(2), "size")
    assert str(parse("NO.")) == "no"
    assert parse("count #2.") == Count(Members(2))
    assert parse("Washington, D.C.") == Text("Washington, D.C.")
    assert parse("none") == Text("none")


# --- against brute force on random graphs ---


@given(facts=GRAPHS, picks=WALKS, seed=NODES)
def test_evidence_joins_every_answer_to_a_seed(
    facts: set[tuple[str, str, str]], picks: list[tuple[int, int]], seed: str
) -> None:
    driver = machine(MemoryGraph(facts), Rules(depth=99))
    state = wander(driver, driver.start("?", [seed]), picks)
    for group in state.sets[1:]:
        if group.ids:
            found = answer(state, group.name, driver)
            assert found.ids == group.ids
            assert found.grounded
            assert state.facts.issuperset(found.evidence)
            assert reached(seed, found.evidence).issuperset(group.ids)


def reached(seed: str, edges: tuple[Edge, ...]) -> set[str]:
    """All that hangs together with the seed, edges taken in both directions."""
    beside: dict[str, set[str]] = defaultdict(set)
    for head, _, tail in edges:
        beside[head].add(tail)
        beside[tail].add(head)
    found, new = {seed}, {seed}
    while new:
        new = set().union(*(beside[entity] for entity in new)) - found
        found |= new
    return found


@given(facts=GRAPHS, picks=WALKS, seed=NODES)
def test_set_forms_are_those_of_sets(facts: set[tuple[str, str, str]], picks: list[tuple[int, int]], seed: str) -> None:
    driver = machine(MemoryGraph(facts), Rules(depth=99))
    state = wander(driver, driver.start("?", [seed]), picks)
    reading = driver.reading(state)
    for one in state.sets:
        for other in state.sets:
            pair = f"#{one.number}", f"#{other.number}"
            both, alone = set(one.ids) & set(other.ids), set(one.ids) - set(other.ids)
            assert parse(f"count {pair[0]} and {pair[1]}").answer(reading).labels == (str(len(both)),)
            assert parse(f"count {pair[0]} not {pair[1]}").answer(reading).labels == (str(len(alone)),)
            assert parse(f"is {pair[0]} in {pair[1]}").answer(reading).labels == ("yes" if both else "no",)


@given(st.lists(st.tuples(NODES, st.integers(0, 30)), min_size=1, max_size=8))
def test_superlatives_agree_with_max_and_min(sizes: list[tuple[str, int]]) -> None:
    facts = [("s", "has", name) for name, _ in sizes] + [(name, "size", str(size)) for name, size in sizes]
    driver = machine(MemoryGraph(facts))
    state = walk(driver, driver.start("?", ["s"]), "EXPAND_KG", "#1", "has")
    for which, pick in (("largest", max), ("smallest", min)):
        best = pick(size for _, size in sizes)
        found = walk(driver, state, f"ANSWER {which} #2 by size").answer
        assert found is not None
        assert set(found.ids) == {name for name, size in sizes if size == best}


def test_the_readers_of_these_tests() -> None:
    assert (quantity("34"), quantity("sol"), moment("1818-02"), moment("34")) == (34.0, None, (1818, 2), None)
    assert isinstance(Reply(Text("x")).form, Text)
