from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traversal.scripted import machine, walk, world
from upright.knowledge.graph import Edge
from upright.knowledge.memory import MemoryGraph
from upright.traversal.answers import Rejected, Text
from upright.traversal.machine import Action, Expand, Machine, Reply, Rules, Think
from upright.traversal.state import Selection, State, Step, passed

ACTIONS: dict[str, Action] = {
    "think": Think("so"),
    "expand": Expand(),
    "answer": Reply(Text("Lima")),
    "select": Selection(("Peru",), 1),
    "follow": Step("capital"),
}
WAYS = {
    "default": (),
    "thought": ("THINK hm",),
    "entities": ("EXPAND_KG",),
    "relation": ("EXPAND_KG", "#1"),
    "done": ("ANSWER Lima",),
}
LEGAL = {
    "default": {"think": "default", "expand": "entities", "answer": "done"},
    "thought": {"expand": "entities", "answer": "done"},
    "entities": {"select": "relation"},
    "relation": {"follow": "default"},
    "done": dict[str, str](),
}


@pytest.mark.parametrize("place", WAYS)
@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_in_every_state(place: str, name: str) -> None:
    driver = machine()
    state = walk(driver, driver.start("?", ["Peru"]), *WAYS[place])
    before = state.trajectory, state.facts, state.sets, state.key()
    if name in LEGAL[place]:
        after = driver.apply(state, ACTIONS[name])
        assert (after.phase, after.depth, after.parent) == (LEGAL[place][name], state.depth + 1, state)
    else:
        with pytest.raises(Rejected):
            driver.apply(state, ACTIONS[name])
    assert (state.trajectory, state.facts, state.sets, state.key()) == before


def test_an_expansion_adds_facts_a_set_and_two_lines() -> None:
    driver = machine()
    state = walk(driver, driver.start("?", ["Lima"]), "EXPAND_KG", "#1", "~capital")
    assert state.facts == {Edge("Peru", "capital", "Lima")}
    assert [(group.name, group.ids) for group in state.sets] == [("#1", ("Lima",)), ("#2", ("Peru",))]
    assert [tuple(line) for line in state.trajectory] == [
        ("EXPAND", ""),
        ("SELECT", "#1"),
        ("FOLLOW", "~capital"),
        ("FOUND", "#2 holds 1 entity, by 1 fact"),
    ]


@pytest.mark.parametrize(
    ("depth", "thoughts", "expansions", "end"), [(7, 0, 3, 10), (7, 1, 2, 8), (5, 0, 2, 7), (10, 3, 3, 13)]
)
def test_depth(depth: int, thoughts: int, expansions: int, end: int) -> None:
    """An expansion is three levels and may finish beyond the limit; from the limit on, only an answer is allowed."""
    facts = [(f"n{i}", "next", f"n{i + 1}") for i in range(9)]
    driver = machine(MemoryGraph(facts), Rules(depth=depth))
    state, done = driver.start("?", ["n0"]), 0
    while "EXPAND_KG" in driver.allowed(state):
        if thoughts:
            state, thoughts = walk(driver, state, "THINK hm"), thoughts - 1
        if "EXPAND_KG" in driver.allowed(state):
            state, done = walk(driver, state, "EXPAND_KG", f"#{done + 1}", "next"), done + 1
    assert driver.allowed(state) == ("ANSWER",)
    assert (done, walk(driver, state, "ANSWER n").depth) == (expansions, end)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("#1", ("Q1", "Q12", "Q3")),
        ("Q1", ("Q1",)),
        (" Q12 ", ("Q12",)),
        ("Q12; Q1", ("Q1", "Q12")),
        ("Q3\nQ1", ("Q1", "Q3")),
        ("Washington, D.C.", ("Q3",)),
        ("Washington, D.C.; Q1", ("Q1", "Q3")),
        ("Q1, Q12", ("Q1", "Q12")),
        ("(1)", ("Q1", "Q12", "Q3")),
        ("2", ("Q1",)),
        ("[4]", ("Q3",)),
    ],
)
def test_selections_by_id_label_name_and_number(text: str, ids: tuple[str, ...]) -> None:
    driver = machine(homonyms())
    state = walk(driver, driver.start("?", ["Q1", "Q12", "Q3"]), "EXPAND_KG")
    chosen = driver.parse(state, text)
    assert isinstance(chosen, Selection)
    assert (chosen.ids, chosen.number) == (ids, 1 if len(ids) == 3 else None)


@pytest.mark.parametrize(
    "text", ["Paris", "paris", "Q", "Q123", "#2", "0", "5", "Q1 and Q12", "Q1; Rome", "", "#1; Q1"]
)
def test_selections_that_are_none(text: str) -> None:
    """Paris is the label of two; Q123 contains Q1 and Q12, and chooses neither."""
    driver = machine(homonyms())
    state = walk(driver, driver.start("?", ["Q1", "Q12", "Q3"]), "EXPAND_KG")
    with pytest.raises(Rejected):
        driver.parse(state, text)


def homonyms() -> MemoryGraph:
    facts = [("Q1", "P1", "Q9"), ("Q12", "P1", "Q9"), ("Q3", "P2", "Q9")]
    return MemoryGraph(facts, {"Q1": "Paris", "Q12": "Paris", "Q3": "Washington, D.C.", "P1": "in", "P2": "in"})


def test_ids_win_over_labels_and_labels_over_numbers() -> None:
    graph = MemoryGraph([("a", "r", "x"), ("b", "r", "x"), ("1", "r", "x")], {"a": "b", "b": "c", "x": "2"})
    driver = machine(graph)
    options = driver.selections(walk(driver, driver.start("?", ["a", "b", "1", "x"]), "EXPAND_KG"))
    ids = {text: value.ids for text in ("b", "1", "2") if (value := options.find(text))}
    assert ids == {"b": ("b",), "1": ("1",), "2": ("x",)}


def test_texts_of_options_are_unique() -> None:
    driver = machine(homonyms())
    state = walk(driver, driver.start("?", ["Q1", "Q12", "Q3"]), "EXPAND_KG")
    texts = [option.text for option in driver.selections(state).listed]
    assert texts == ["#1", "Paris [Q1]", "Paris [Q12]", "Washington, D.C."]
    options = driver.relations(walk(driver, state, "#1"))
    assert [(option.text, option.size) for option in options.listed] == [("in [P1]", 2), ("in [P2]", 1)]
    assert options.find("in") is None
    assert options.find("P2") == Step("P2")


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("THINK the ANSWER is near", Think("the ANSWER is near")),
        ("\n  EXPAND_KG #1\nand more", Expand()),
        ("EXPAND", Expand()),
        ("ANSWER  THINK  twice", Reply(Text("THINK twice"))),
    ],
)
def test_the_first_word_decides(text: str, action: Action) -> None:
    driver = machine()
    assert driver.parse(driver.start("?", ["Peru"]), text) == action


@pytest.mark.parametrize("text", ["", "expand", "ANSWERS Lima", "I ANSWER Lima", "THINK", "ANSWER", "ANSWER #x 1 #2"])
def test_texts_that_are_no_action(text: str) -> None:
    driver = machine()
    with pytest.raises(Rejected):
        driver.parse(driver.start("?", ["Peru"]), text)


def test_relations_leave_out_what_is_read_and_what_leads_the_same_way_back() -> None:
    driver = machine()
    state = walk(driver, driver.start("?", ["Peru"]), "EXPAND_KG", "#1")
    names = [option.text for option in driver.relations(state).listed]
    assert names == ["borders", "capital", "currency", "founded", "population"]  # not ~borders
    state = walk(driver, state, "capital", "EXPAND_KG", "Peru")
    assert "capital" not in [option.text for option in driver.relations(state).listed]
    with pytest.raises(Rejected, match="capital adds nothing"):
        driver.apply(state, Step("capital"))


def test_what_leads_nowhere_is_rejected_when_chosen() -> None:
    driver = machine()
    state = walk(driver, driver.start("?", ["Lima"]), "EXPAND_KG", "#1", "~capital", "EXPAND_KG")
    with pytest.raises(Rejected, match="nothing new leads on from #1"):
        walk(driver, state, "#1")


def test_cut_facts_are_counted() -> None:
    facts = [("hub", "r", f"n{i:02}") for i in range(30)]
    driver = machine(MemoryGraph(facts), Rules(rows=10))
    state = walk(driver, driver.start("?", ["hub"]), "EXPAND_KG", "hub", "r")
    group = state.sets[1]
    assert (len(group.edges), group.total, group.complete) == (10, 30, False)
    assert state.trajectory[-1].text == "#2 holds 10 entities, by the first 10 of 30 facts"
    assert driver.relations(state, Selection(("hub",))).find("r") == Step("r")  # there is more to read


def test_options_beyond_those_listed_can_be_named() -> None:
    facts = [("hub", f"r{i:02}", "x") for i in range(30)] + [("hub", "height in metres", "8")]
    driver = machine(MemoryGraph(facts), Rules(listed=5))
    options = driver.relations(walk(driver, driver.start("What is its height?", ["hub"]), "EXPAND_KG", "hub"))
    assert [option.text for option in options.listed] == ["height in metres", "r00", "r01", "r02", "r03"]
    assert (options.total, options.find("r29"), options.find("(6)")) == (31, Step("r29"), None)


def test_what_a_new_set_leaves_out() -> None:
    """From Chile over Peru back to Chile's and Brazil's side: Chile is the seed, Peru lies on the way."""
    ids = {}
    for omit in ("seeds", "path"):
        driver = machine(rules=Rules(depth=20, omit=omit))
        way = ("EXPAND_KG", "#1", "borders", "EXPAND_KG", "#2", "borders", "EXPAND_KG", "#3", "borders")
        ids[omit] = [group.ids for group in walk(driver, driver.start("?", ["Chile"]), *way).sets]
    assert ids["seeds"] == [("Chile",), ("Peru",), ("Brazil",), ("Peru",)]
    assert ids["path"] == [("Chile",), ("Peru",), ("Brazil",), ()]


def test_a_seed_beside_the_way_stays_in() -> None:
    """Is Lima the capital of Peru? Both are seeds; from Peru alone the way leads to Lima."""
    driver = machine()
    state = walk(driver, driver.start("?", ["Lima", "Peru"]), "EXPAND_KG", "Peru", "capital")
    assert state.sets[1].ids == ("Lima",)
    assert passed(state.sets, Selection(("Lima",), 2)) == {"Lima", "Peru"}


def test_nodes_share_what_they_have_in_common() -> None:
    driver = machine()
    root = walk(driver, driver.start("?", ["Peru"]), "EXPAND_KG", "#1", "borders")
    one, other = walk(driver, root, "THINK a"), walk(driver, root, "EXPAND_KG")
    assert one.facts is root.facts
    assert other.facts is root.facts
    assert one.sets[1] is other.sets[1]


def test_keys_tell_states_apart_by_what_can_follow() -> None:
    driver = machine()
    root = driver.start("?", ["Peru"])
    ways = [
        ("THINK a",),
        ("THINK b",),
        ("EXPAND_KG",),
        ("EXPAND_KG", "#1"),
        ("EXPAND_KG", "#1", "borders"),
        ("ANSWER x",),
    ]
    assert len({walk(driver, root, *way).key() for way in ways}) == len(ways)
    first = walk(driver, root, "EXPAND_KG", "#1", "borders", "EXPAND_KG", "#1", "capital")
    second = walk(driver, root, "EXPAND_KG", "#1", "capital", "EXPAND_KG", "Peru", "borders")
    assert first.key() == second.key()


# --- against brute force on random graphs ---

NODES = st.sampled_from("abcdef")
GRAPHS = st.sets(st.tuples(NODES, st.sampled_from(["p", "q"]), NODES), min_size=1, max_size=14)
WALKS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=4)


def wander(driver: Machine, state: State, picks: Iterable[tuple[int, int]]) -> State:
    """Expand by arbitrary choices, as far as it goes."""
    for place, kind in picks:
        open_state = driver.apply(state, Expand())
        selections = list(dict.fromkeys(driver.selections(open_state).names.values()))
        try:
            chosen = driver.apply(open_state, selections[place % len(selections)])
        except Rejected:
            continue
        steps = list(dict.fromkeys(driver.relations(chosen).names.values()))
        state = driver.apply(chosen, steps[kind % len(steps)])
    return state


@given(facts=GRAPHS, picks=WALKS, seeds=st.sets(NODES, min_size=1, max_size=2))
def test_sets_hold_what_the_graph_says(
    facts: set[tuple[str, str, str]], picks: list[tuple[int, int]], seeds: set[str]
) -> None:
    driver = machine(MemoryGraph(facts), Rules(depth=99))
    state = wander(driver, driver.start("?", seeds), picks)
    for group in state.sets[1:]:
        relation, direction = group.step
        near, far = (0, 2) if direction == "out" else (2, 0)
        edges = {fact for fact in facts if fact[1] == relation and fact[near] in group.selection.ids}
        assert set(group.edges) == edges
        assert set(group.ids) == {edge[far] for edge in edges} - (group.passed & seeds)
    assert state.facts == {edge for group in state.sets for edge in group.edges}


@given(facts=GRAPHS, picks=WALKS)
def test_relations_offered_are_those_that_add_facts(
    facts: set[tuple[str, str, str]], picks: list[tuple[int, int]]
) -> None:
    driver = machine(MemoryGraph(facts), Rules(depth=99))
    state = wander(driver, driver.start("?", [min(facts)[0]]), picks)
    for entity in state.sets[-1].ids:
        offered = {step.text for step in driver.relations(state, Selection((entity,))).names.values()}
        out = {fact[1] for fact in facts if fact[0] == entity and fact not in state.facts}
        into = {fact[1] for fact in facts if fact[2] == entity and fact not in state.facts}
        twins = {
            kind
            for kind in into
            if {f[2] for f in facts if f[:2] == (entity, kind)} == {f[0] for f in facts if f[1:] == (kind, entity)}
        }
        assert offered == out | {f"~{kind}" for kind in into - twins}


def test_an_unknown_entity_has_no_relations() -> None:
    driver = machine(world())
    assert driver.relations(driver.start("?", ["Atlantis"])).total == 0
