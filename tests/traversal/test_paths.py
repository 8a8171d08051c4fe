"""Gold paths against enumeration of all paths."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upright.knowledge.memory import MemoryGraph
from upright.traversal.paths import Around, Found, gold_paths, reach, walks
from upright.traversal.state import Step

FILMS = MemoryGraph(
    [
        ("M1", "director", "Ann"),
        ("M2", "director", "Ann"),
        ("M2", "actor", "Bob"),
        ("M3", "actor", "Bob"),
        ("M3", "director", "Cid"),
        ("M1", "year", "1990"),
        ("M3", "year", "1991"),
    ]
)
OUT, IN = "out", "in"


def test_the_seed_is_left_out_of_every_set() -> None:
    path = (Step("director", "out"), Step("director", "in"))
    assert reach(FILMS, frozenset(["M1"]), path) == {"M2"}
    assert [step.text for step in path] == ["director", "~director"]


def test_the_path_that_leads_to_just_the_golds() -> None:
    found = gold_paths(Around(FILMS), frozenset(["M1"]), frozenset(["Bob"]), hops=3)
    assert found == [Found((Step("director", "out"), Step("director", "in"), Step("actor", "out")), 1.0)]
    assert gold_paths(Around(FILMS), frozenset(["M1"]), frozenset(["nobody"]), hops=3) == []


def test_a_shorter_path_wins_and_equals_are_all_named() -> None:
    graph = MemoryGraph([("a", "r", "b"), ("a", "s", "b"), ("b", "t", "c"), ("c", "u", "b")])
    found = gold_paths(Around(graph), frozenset(["a"]), frozenset(["b"]), hops=3)
    assert [one.path for one in found] == [(Step("r", "out"),), (Step("s", "out"),)]


edges = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("rs"), st.sampled_from("abcde")), min_size=1)


@settings(max_examples=60, deadline=None)
@given(edges, st.sampled_from("abcde"), st.sets(st.sampled_from("abcde"), min_size=1, max_size=3))
def test_no_path_agrees_better_than_what_is_found(
    triples: list[tuple[str, str, str]], seed: str, golds: set[str]
) -> None:
    graph, seeds = MemoryGraph(triples), frozenset([seed])
    steps = [Step(relation, way) for relation in "rs" for way in (OUT, IN)]  # type: ignore[arg-type]
    f1 = {}
    for hops in (1, 2, 3):
        for path in product(steps, repeat=hops):
            here = reach(graph, seeds, path)
            f1[path] = 2 * len(here & golds) / (len(here) + len(golds))
    found = gold_paths(Around(graph), seeds, frozenset(golds), hops=3)
    best = max(f1.values())
    assert bool(found) == (best > 0)
    if found:
        shortest = min(len(path) for path, value in f1.items() if value == pytest.approx(best))
        assert {one.path for one in found} == {
            path for path, value in f1.items() if value == pytest.approx(best) and len(path) == shortest
        }


@settings(max_examples=60, deadline=None)
@given(edges, st.sampled_from("abcde"), st.integers(1, 4))
def test_walks_are_all_paths_that_need_not_go_on_from_a_wide_set(
    triples: list[tuple[str, str, str]], seed: str, widest: int
) -> None:
    graph, seeds = MemoryGraph(triples), frozenset([seed])
    steps = [Step(relation, way) for relation in "rs" for way in (OUT, IN)]  # type: ignore[arg-type]
    every = {}
    for hops in (1, 2, 3):
        for path in product(steps, repeat=hops):
            sets = [reach(graph, seeds, path[:end]) for end in range(hops + 1)]
            if all(sets) and all(len(here) <= widest for here in sets[:-1]):
                every[path] = sets[-1]
    found = list(walks(Around(graph), seeds, 3, widest=widest))
    assert dict(found) == every
    assert [len(path) for path, _ in found] == sorted(map(len, every))


def test_a_hub_is_reached_but_not_gone_on_from() -> None:
    graph = MemoryGraph([("a", "r", f"b{i}") for i in range(5)] + [("b0", "s", "c")])
    paths = [(Step("r"),), (Step("r"), Step("s"))]
    assert [path for path, _ in walks(Around(graph), frozenset("a"), 2)] == paths
    assert [path for path, _ in walks(Around(graph), frozenset("a"), 2, widest=4)] == paths[:1]
    assert gold_paths(Around(graph), frozenset("a"), frozenset("c"), 2, widest=4) == []


@pytest.mark.parametrize("most", [1, 2, 100])
def test_neighbours_are_the_same_however_few_are_kept(most: int) -> None:
    around = Around(FILMS, most)
    for _ in range(2):
        for film in ("M1", "M2", "M3"):
            (ways,) = around.of([film])
            assert ways == {step: reach(FILMS, frozenset([film]), (step,)) for step in ways}
            assert ways.keys() == {Step(edge.relation) for edge in FILMS.triples() if edge.head == film}
