import random
from pathlib import Path

import numpy as np
import pyoxigraph as rdf
import pytest

from benchmarks import ask_graphs, wide_graph
from benchmarks.ask_graphs import Plan, Step, agrees, by_entity, by_fact, hubs, measure, statistics, timed
from benchmarks.graph_readers import NetworkX, Ours, Patterns, Queries, Reader
from benchmarks.wide_graph import Facts, Size, entity, label, relation
from upright.knowledge.files import open_graph
from upright.knowledge.graph import Edge
from upright.knowledge.store import Store

SMALL = Size(facts=3000, entities=400, relations=20)


@pytest.fixture(scope="module")
def facts() -> Facts:
    return Facts.draw(SMALL)


@pytest.fixture(scope="module")
def folder(facts: Facts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The facts as N-Triples and as a store."""
    folder = tmp_path_factory.mktemp("graphs")
    facts.write(folder / "facts.nt")
    Store.load(folder / "facts.nt", folder / "store", progress=False).close()
    return folder


@pytest.fixture(scope="module")
def readers(facts: Facts, folder: Path) -> dict[str, Reader]:
    store = rdf.Store.read_only(str(folder / "store" / "rdf"))
    return {
        "memory": Ours(open_graph(folder / "facts.nt")),
        "store": Ours(open_graph(folder / "store")),
        "queries": Queries(store),
        "patterns": Patterns(store),
        "networkx": NetworkX(facts),
    }


def of(*rows: tuple[int, int, int]) -> Facts:
    """Facts given by numbers."""
    return Facts(Size(len(rows), 4, 2), *(np.array(column) for column in zip(*rows, strict=True)))


def test_drawn_facts_are_as_many_as_asked_for_sorted_different_and_begin_at_every_entity(facts: Facts) -> None:
    rows = list(zip(facts.heads.tolist(), facts.relations.tolist(), facts.tails.tolist(), strict=True))
    assert len(rows) == SMALL.facts
    assert rows == sorted(set(rows))
    assert set(facts.heads.tolist()) == set(range(SMALL.entities))
    assert max(facts.relations) < SMALL.relations
    assert max(facts.tails) < SMALL.entities


def test_one_seed_gives_the_same_facts_and_another_others(facts: Facts) -> None:
    assert list(Facts.draw(SMALL).edges()) == list(facts.edges())
    assert list(Facts.draw(SMALL, seed=1).edges()) != list(facts.edges())


def test_the_first_rank_is_as_likely_as_its_power_law_says() -> None:
    # P(rank 0) is the integral of x ** -0.8 from 0 to 1 over that from 0 to 32: 32 ** -0.2 = 1/2
    ranks = wide_graph._ranks(np.random.default_rng(0), 32, 0.8, 10_000)
    assert np.mean(ranks == 0) == pytest.approx(0.5, abs=4 * 0.005)  # 4 standard deviations
    assert set(ranks.tolist()) <= set(range(32))


def test_every_entity_has_a_label_of_its_own(folder: Path) -> None:
    labels = [label(number) for number in range(20_000)]
    assert len(set(labels)) == len(labels)
    graph = open_graph(folder / "facts.nt")
    assert graph.labels([entity(0), entity(399)]) == {entity(0): label(0), entity(399): label(399)}


def test_the_written_graph_holds_the_drawn_facts(facts: Facts, folder: Path) -> None:
    assert sorted(open_graph(folder / "facts.nt").triples()) == sorted(facts.edges())


def test_the_plain_dictionary_by_hand() -> None:
    few = of((0, 0, 1), (0, 1, 1), (2, 0, 1))
    a, b, c = entity(0), entity(1), entity(2)
    p, q = relation(0), relation(1)
    assert few.naive([0, 1]) == {
        (a, "out"): {p: [Edge(a, p, b)], q: [Edge(a, q, b)]},
        (a, "in"): {},
        (b, "out"): {},
        (b, "in"): {p: [Edge(a, p, b), Edge(c, p, b)], q: [Edge(a, q, b)]},
    }


@pytest.mark.parametrize("name", ["memory", "store", "queries", "patterns", "networkx"])
def test_every_reader_answers_as_the_dictionary(name: str, readers: dict[str, Reader], facts: Facts) -> None:
    expected = facts.naive(range(0, SMALL.entities, 4))
    assert all(agrees(readers[name], key, one) for key, one in expected.items())


def test_a_wrong_answer_is_seen(readers: dict[str, Reader], facts: Facts) -> None:
    (key, right), *_ = facts.naive([0]).items()
    kind, edges = next(iter(right.items()))
    assert agrees(readers["memory"], key, right)
    assert not agrees(readers["memory"], key, {**right, kind: edges[1:]})
    assert not agrees(readers["memory"], key, {**right, kind: [*edges[1:], Edge(key[0], kind, "other")]})
    assert not agrees(readers["memory"], key, {**right, "no relation": edges})


def test_limits_cut_all_readers_alike(readers: dict[str, Reader], facts: Facts) -> None:
    hub = hubs(facts)[0]
    for reader in readers.values():
        assert len(reader.edges(hub.entity, hub.relation, "in", 3)) == 3


def test_steps_name_a_relation_exactly_where_the_entity_has_facts(facts: Facts, readers: dict[str, Reader]) -> None:
    drawn = by_entity(facts, 100, random.Random(0))
    assert len(drawn) == 200
    assert {step.direction for step in drawn} == {"out", "in"}
    for step in drawn:
        there = readers["memory"].relations(step.entity, step.direction)
        assert step.relation in there if there else step.relation == ""


def test_both_ends_of_drawn_facts_are_asked(facts: Facts, readers: dict[str, Reader]) -> None:
    drawn = by_fact(facts, 50, random.Random(0))
    assert len(drawn) == 100
    for out, into in zip(drawn[:50], drawn[50:], strict=True):
        assert (out.direction, into.direction, out.relation) == ("out", "in", into.relation)
        assert into.entity in readers["memory"].edges(out.entity, out.relation, "out")


def test_hubs_are_the_tails_with_most_facts_of_one_relation() -> None:
    few = of((0, 0, 1), (1, 0, 1), (2, 0, 1), (0, 1, 1), (0, 1, 2), (1, 1, 2))
    assert hubs(few)[:2] == [Step(entity(1), "in", relation(0)), Step(entity(2), "in", relation(1))]


def test_statistics_by_hand_and_steps_without_facts_left_out() -> None:
    assert statistics([1, 2, 3, 6]) == pytest.approx({"median": 2.5, "mean": 3, "99th percentile": 3 + 0.97 * 3})
    asked: list[Step] = []
    steps = [Step("a", "out", "p"), Step("b", "out", ""), Step("c", "in", "q")]
    times = timed(asked.append, steps)
    assert asked == [steps[0], steps[2]]
    assert len(times) == 2
    assert min(times) > 0


def test_measuring_a_graph_times_every_call_and_checks_answers(folder: Path) -> None:
    plan = Plan.of(SMALL)
    found = measure(ask_graphs.Subject("store", ask_graphs.open_ours, folder / "store", SMALL), plan)
    assert (found.right, found.checked) == (400, 400)  # 200 entities in two directions
    assert len(found.times["by entity", "counts"]) == sum(step.relation != "" for step in plan.drawn["by entity"])
    assert len(found.times["by fact", "edges, at most 100"]) == 400
    assert len(found.times["hubs", "edges, at most 10,000"]) == 200


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exit code 2"):
        ask_graphs.command("kg", "load", str(tmp_path / "none.nt"), "--out", str(tmp_path / "store"))
