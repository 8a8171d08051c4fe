"""Links found as things are met: the same as looking through everything at once, whatever is met first."""

from collections.abc import Iterator
from random import Random

import pyoxigraph as rdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upright.errors import UserError
from upright.knowledge import links as module
from upright.knowledge.access import Access
from upright.knowledge.failures import note, noting
from upright.knowledge.federation import Federation, federation_of, readers
from upright.knowledge.graph import Edge, KnowledgeGraph
from upright.knowledge.links import Alike, Found, Rule, Stated
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.overlay import Overlay
from upright.knowledge.reply_cache import ReplyCache
from upright.knowledge.same_as import Pair, discovered
from upright.knowledge.sparql import open_endpoint

from .naive import NaiveGraph
from .server import Endpoint, serve

Graphs = dict[str, KnowledgeGraph]
FAR = "http://far.example/"
LABELS = st.sampled_from(["Rome", "rome", "Roma", "Paris", "the Paris", "x"])
NAMES = st.dictionaries(st.sampled_from("ABCDEF"), LABELS, max_size=6)
ALIASES = st.dictionaries(st.sampled_from("ABCDEF"), st.tuples(LABELS), max_size=3)
FACTS = st.lists(st.tuples(st.sampled_from("ABCDEF"), st.sampled_from("rs"), st.sampled_from("ABCDEF")), max_size=10)
GRAPHS = st.builds(MemoryGraph, FACTS, NAMES, ALIASES)


def ids_of(graphs: dict[str, MemoryGraph]) -> list[str]:
    return [f"{name}:{id}" for name, graph in graphs.items() for id in graph.entity_ids]


# --- by names ---


@given(GRAPHS, GRAPHS, st.sampled_from([0.2, 0.5, 1.0]), st.randoms(use_true_random=False))
def test_things_that_are_met_get_the_links_of_a_look_through_everything(
    left: MemoryGraph, right: MemoryGraph, least: float, rng: Random
) -> None:
    graphs = {"a": left, "b": right}
    expected = {guess.pair for guess in discovered(graphs, "a", "b", left.entity_ids, least)}
    joined = Federation(graphs, rules=[Alike(graphs, "a", "b", least)])
    for id in rng.sample(ids_of(graphs), len(ids_of(graphs))):
        partner = [pair for pair in expected if id in pair]
        assert joined.members(id) == (partner[0] if partner else (id,))
    assert joined.pairs == expected
    assert joined.found() == sorted(Found(pair, "names") for pair in expected)


@settings(max_examples=60)
@given(GRAPHS, GRAPHS, GRAPHS, st.randoms(use_true_random=False))
def test_names_do_not_depend_on_what_was_met_first(
    left: MemoryGraph, middle: MemoryGraph, right: MemoryGraph, rng: Random
) -> None:
    graphs = {"a": left, "b": middle, "c": right}
    rules: list[Rule] = [Stated(graphs, "b:r", "c")] if "r" in middle.relation_ids else []
    every: list[Rule] = [*rules, *(Alike(graphs, *pair, least=0.3) for pair in (("a", "b"), ("b", "c"), ("a", "c")))]
    given_pairs: list[Pair] = [("a:A", "c:B"), ("b:C", "c:D")]
    views = [Federation(graphs, given_pairs, every) for _ in range(2)]
    ids = ids_of(graphs)
    for view in views:
        for id in rng.sample(ids, len(ids)):
            view.meet([id])
    assert [views[0].members(id) for id in ids] == [views[1].members(id) for id in ids]
    assert list(views[0].triples()) == list(Federation(graphs, given_pairs, every).triples())
    for id in ids:
        members = views[0].members(id)
        assert id in members
        assert all(views[0].members(member) == members for member in members)
        own = [member for member in members if member[0] == id[0]]
        assert own == [id]  # nobody declared two things of one graph to be one


def test_edges_come_with_the_names_of_the_classes() -> None:
    geography = MemoryGraph(
        [("Q1", "capital", "Q2"), ("Q2", "river", "Q3")], {"Q1": "Peru", "Q2": "Lima", "Q3": "Rimac"}
    )
    songs = MemoryGraph(
        [("s", "about", "m2"), ("m2", "land", "m1"), ("m2", "water", "m3")], {"m2": "Lima", "m1": "Peru"}
    )
    graphs = {"geo": geography, "music": songs}
    joined = Federation(graphs, rules=[Alike(graphs, "geo", "music")])
    (lima,) = joined.link("Lima")
    assert lima == "geo:Q2"  # they share Peru, one of the two neighbours of the one with fewer
    assert joined.counts([lima], "in") == {"geo:capital": 1, "music:about": 1}
    assert joined.edges(["music:s"], "music:about") == [Edge("music:s", "music:about", "geo:Q2")]
    assert joined.found([lima]) == [Found(("geo:Q2", "music:m2"), "names")]
    assert joined.found(["music:s"]) == []
    apart = joined.unlinked(("music:m2", "geo:Q2"))
    assert apart.link("Lima") == ["geo:Q2", "music:m2"]
    assert apart.linked(("geo:Q2", "music:m2")).link("Lima") == ["geo:Q2"]


def test_a_declared_partner_goes_before_one_of_the_same_name() -> None:
    left = MemoryGraph([("x", "r", "y")], {"x": "Lima"})
    right = MemoryGraph([("1", "r", "y"), ("2", "r", "y")], {"1": "Lima", "2": "other"})
    graphs = {"a": left, "b": right}
    joined = Federation(graphs, [("a:x", "b:2")], [Alike(graphs, "a", "b")])
    assert joined.members("b:1") == ("b:1",)
    assert joined.members("a:x") == ("a:x", "b:2")
    assert joined.members("b:y") == ("a:y", "b:y")


# --- by a relation ---


@given(FACTS, st.randoms(use_true_random=False))
def test_stated_links_are_those_that_are_mutual(facts: list[tuple[str, str, str]], rng: Random) -> None:
    """The twin takes all facts at once and leaves out every end that stands in two."""
    graphs = {"a": NaiveGraph(facts), "b": NaiveGraph([])}
    every = [(f"a:{edge.head}", f"b:id/{edge.tail}") for edge in graphs["a"].triples("r")]
    heads, tails = ([pair[place] for pair in every] for place in (0, 1))
    expected = {pair for pair in every if heads.count(pair[0]) == 1 == tails.count(pair[1])}
    joined = Federation(graphs, rules=[Stated(graphs, "a:r", "b", "id/{}")])
    for id in rng.sample([*(f"a:{n}" for n in "ABCDEF"), *(f"b:id/{n}" for n in "ABCDEF"), "b:id/", "b:A"], 14):
        partner = [pair for pair in expected if id in pair]
        assert joined.members(id) == (partner[0] if partner else (id,))
    assert joined.pairs == expected


def test_prefixes_of_both_sides_are_spelt_out() -> None:
    store = rdf.Store()
    same = rdf.NamedNode("http://www.w3.org/2002/07/owl#sameAs")
    store.add(rdf.Quad(rdf.NamedNode(f"{FAR}lima"), same, rdf.NamedNode("http://other.example/Q1")))
    here = MemoryGraph([("http://other.example/Q1", "r", "x")])
    with serve(store) as host, open_endpoint(host.url, Access(prefixes={"f": FAR}), ReplyCache(":memory:", 60)) as far:
        assert far.short(f"{FAR}lima") == "f:lima"
        graphs: Graphs = {"far": far, "here": here}
        joined = Federation(graphs, rules=[Stated(graphs, f"far:{same.value}", "here")])
        both = ("far:f:lima", "here:http://other.example/Q1")
        assert joined.members(both[1]) == both
        back = Federation(graphs, rules=[Stated({**graphs, "here": _says(f"{FAR}lima")}, "here:is", "far")])
        assert back.members("far:f:lima") == ("far:f:lima", "here:x")
        assert back.members("here:x") == ("far:f:lima", "here:x")


def _says(tail: str) -> MemoryGraph:
    return MemoryGraph([("x", "is", tail)])


def test_a_relation_that_is_not_there_is_said() -> None:
    graphs = {"a": MemoryGraph([("x", "sameAs", "y")]), "b": MemoryGraph([])}
    with pytest.raises(UserError, match=r"unknown relation of a 'sameas' \(allowed: sameAs\); did you mean 'sameAs'\?"):
        Stated(graphs, "a:sameas", "b")
    with pytest.raises(UserError, match="unknown graph 'c'"):
        Stated(graphs, "a:sameAs", "c")


def test_the_earlier_rule_wins_and_a_clash_over_a_third_graph_undoes_both() -> None:
    one = MemoryGraph([("x", "is", "2"), ("x", "r", "y")], {"x": "Lima"})
    two = MemoryGraph([("1", "r", "y"), ("2", "r", "z")], {"1": "Lima"})
    graphs = {"a": one, "b": two}
    joined = Federation(graphs, rules=[Stated(graphs, "a:is", "b"), Alike(graphs, "a", "b")])
    assert joined.members("b:1") == ("b:1",)
    assert joined.members("a:x") == ("a:x", "b:2")
    chain = {
        "a": MemoryGraph([("1", "ab", "1")]),
        "b": MemoryGraph([("1", "bc", "1")]),
        "c": MemoryGraph([("1", "ca", "2")]),
    }
    ways = [Stated(chain, "a:ab", "b"), Stated(chain, "b:bc", "c"), Stated(chain, "c:ca", "a")]
    assert Federation(chain, rules=ways[:2]).members("c:1") == ("a:1", "b:1", "c:1")
    clashing = Federation(chain, rules=ways)
    assert clashing.members("a:1") == ("a:1",)
    assert clashing.found() == []


# --- far away ---


@pytest.fixture
def host() -> Iterator[Endpoint]:
    """Ten cities with a label, each in its country."""
    store, label = rdf.Store(), rdf.NamedNode("http://www.w3.org/2000/01/rdf-schema#label")
    for number in range(10):
        city, land = (rdf.NamedNode(f"{FAR}{kind}{number}") for kind in ("city", "land"))
        store.add(rdf.Quad(city, rdf.NamedNode(f"{FAR}in"), land))
        store.add(rdf.Quad(city, label, rdf.Literal(f"City {number}")))
        store.add(rdf.Quad(land, label, rdf.Literal(f"Land {number}")))
    with serve(store) as running:
        yield running


HERE = MemoryGraph([(f"City {number}", "country", f"Land {number}") for number in range(10)])


def test_links_to_a_remote_graph_are_found_on_the_way(host: Endpoint) -> None:
    with open_endpoint(host.url, Access(prefixes={"f": FAR}), ReplyCache(":memory:", 60)) as far:
        graphs: Graphs = {"here": HERE, "far": far}
        joined = Federation(graphs, rules=[Alike(graphs, "here", "far")])
        assert host.queries == []
        assert joined.link("city 3") == ["here:City 3"]
        assert joined.counts(["here:City 3"]) == {"far:f:in": 1, "here:country": 1}
        assert joined.objects("here:City 3", "far:f:in") == ("here:Land 3",)
        asked = len(host.queries)
        assert joined.objects("here:City 3", "far:f:in") == ("here:Land 3",)
        assert len(host.queries) == asked
        assert joined.notes == []
        assert len(joined.found()) == 2


def test_too_many_at_once_are_not_compared_and_it_is_said(host: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPARED", 3)
    with open_endpoint(host.url, Access(prefixes={"f": FAR}), ReplyCache(":memory:", 60)) as far:
        graphs: Graphs = {"here": HERE, "far": far}
        joined = Federation(graphs, rules=[Alike(graphs, "here", "far")])
        with noting() as heard:
            assert len(list(joined.triples("here:country"))) == 10
        assert heard == joined.notes
        assert "17 of 20 things read at once were not compared by names" in heard
        names = {id: joined.members(id) for id in ids_of({"here": HERE})}
        joined.meet(["far:f:city9", "far:f:land9", "far:f:city0"])
        assert {id: joined.members(id) for id in names} == names  # what has a name keeps it


def test_a_graph_that_fails_links_nothing_and_is_noted() -> None:
    with open_endpoint("http://127.0.0.1:1", Access(retries=0), ReplyCache(":memory:", 60)) as down:
        graphs: Graphs = {"here": HERE, "far": down}
        joined = Federation(graphs, rules=[Alike(graphs, "here", "far"), Stated(graphs, f"far:{FAR}same", "here")])
        with noting() as heard:
            assert joined.objects("here:City 1", "here:country") == ("here:Land 1",)
        assert heard[0].startswith("links by names: http://127.0.0.1:1: cannot be reached")
        assert heard[1].startswith(f"links by far:{FAR}same=here: http://127.0.0.1:1: cannot be reached")
        assert joined.found() == []


# --- what else a federation tells ---


def test_numbers_and_dates_are_read_without_the_name_of_the_graph() -> None:
    joined = Federation({"a": MemoryGraph([("x", "height", "42 m")])})
    read = readers(joined)
    assert read.quantity("a:42 m") == 42
    assert read.moment("a:1999-12-31") == (1999, 12, 31)
    assert read.quantity("7") == 7  # of a fact that was added
    assert read.quantity("b:7") is None
    assert readers(Overlay(joined, [])).quantity("a:42 m") == 42
    assert readers(HERE).quantity("a:42 m") is None
    assert federation_of(Overlay(joined, [])) is joined


def test_a_name_means_the_likeliest_thing_of_each_graph() -> None:
    joined = Federation({"a": HERE, "b": HERE})
    assert joined.likeliest(["b:2", "a:2", "b:3", "a:1"]) == ["b:2", "a:2"]


def test_notes_are_heard_once_and_by_the_innermost() -> None:
    with noting() as outer:
        with noting() as inner:
            note("x")
            note("x")
        note("y")
    assert (outer, inner) == (["y"], ["x"])
    note("z")  # nobody listens
