"""Several graphs answer as one: what a graph answered before it was split, its parts answer together."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pyoxigraph as rdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.errors import UserError
from upright.knowledge import federation as module
from upright.knowledge.access import Access
from upright.knowledge.federation import Federation
from upright.knowledge.graph import Direction, Edge, KnowledgeGraph, Searchable
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.reply_cache import ReplyCache
from upright.knowledge.same_as import Classes, Pair, discovered, read_links
from upright.knowledge.sparql import Endpoint, open_endpoint

from .naive import NaiveGraph
from .server import Fault, serve

NODES = st.sampled_from("ABCDE")
GRAPHS = st.lists(st.tuples(NODES, st.sampled_from("rst"), NODES), max_size=14)
DIRECTIONS: tuple[Direction, ...] = ("out", "in")

GEOGRAPHY = NaiveGraph(
    [("Q1", "capital", "Q2"), ("Q3", "capital", "Q4"), ("Q2", "founded", "0250"), ("Q1", "type", "country")],
    {"Q1": "France", "Q2": "Paris", "Q3": "Italy", "Q4": "Rome", "capital": "capital city"},
    {"Q2": ("Lutetia",)},
    {"Q2": "city in France"},
)
MUSIC = NaiveGraph(
    [("m7", "born in", "m2"), ("m8", "born in", "m2"), ("m7", "genre", "chanson"), ("m2", "founded", "0250")],
    {"m7": "Édith Piaf", "m8": "Zaz", "m2": "Paris (France)"},
    {"m2": ("Panam",)},
    {"m2": "area", "m7": "singer"},
)
PARIS = ("geo:Q2", "music:m2")


def both(*pairs: Pair) -> Federation:
    return Federation({"geo": GEOGRAPHY, "music": MUSIC}, pairs)


# --- answers ---


def test_a_question_needs_both_graphs() -> None:
    """Who was born in the capital of France? One edge is in each graph, and the table joins them."""
    view: KnowledgeGraph = both(PARIS)
    (france,) = view.link("France")
    (capital,) = view.objects(france, "geo:capital")
    assert view.relations([capital], "in") == ["geo:capital", "music:born in"]
    singers = view.subjects("music:born in", capital)
    assert view.labels(singers) == {"music:m7": "Édith Piaf", "music:m8": "Zaz"}
    assert both().subjects("music:born in", capital) == ()


def test_answers_by_hand() -> None:
    graph = both(PARIS)
    assert graph.counts(["music:m2"]) == {"geo:founded": 1, "music:founded": 1}
    assert graph.counts(["geo:Q2"], "in") == {"geo:capital": 1, "music:born in": 2}
    assert graph.edges(["music:m7"], "music:born in") == [Edge("music:m7", "music:born in", "geo:Q2")]
    assert graph.edges(["geo:Q2"], "music:born in", "in", limit=1) == [Edge("music:m7", "music:born in", "geo:Q2")]
    assert graph.in_degree("geo:Q2") == 3
    assert "music:m2" in graph
    assert "geo:Q2" in graph
    assert "Q2" not in graph
    assert "pop:Q2" not in graph
    assert graph.edges(["geo:Q2"], "pop:r") == graph.edges(["Q2"], "geo:capital") == list(graph.triples("pop:r")) == []
    assert graph.members("geo:Q2") == ("geo:Q2", "music:m2")
    assert graph.notes == []
    assert not graph.remote


def test_names_by_hand() -> None:
    graph = both(PARIS)
    assert graph.labels(["music:m2", "music:m7", "geo:capital", "geo:0250", "music:born in", "?"]) == {
        "music:m2": "Paris",
        "music:m7": "Édith Piaf",
        "geo:capital": "capital city",
        "geo:0250": "0250",
        "music:born in": "born in",
        "?": "?",
    }
    assert graph.describe(["geo:Q2", "music:m7", "geo:Q1"]) == {"geo:Q2": "city in France", "music:m7": "singer"}
    assert graph.aliases("music:m2") == ("Lutetia", "Paris (France)", "Panam")
    assert graph.link("paris") == graph.link("Panam") == graph.link("music:m2") == ["geo:Q2"]
    assert graph.link("0250") == ["geo:0250", "music:0250"]
    assert graph.link("Atlantis") == graph.suggest("Pariss") == []


def test_search_goes_to_the_graphs_that_have_one() -> None:
    indexed = MemoryGraph([("m2", "r", "m3")], {"m2": "Paris (France)", "m3": "Paris Hilton"})
    graph = Federation({"geo": GEOGRAPHY, "music": indexed, "more": indexed}, [PARIS])
    assert isinstance(graph, Searchable)
    found = graph.search("Paris", "prefix", 3)
    assert {match.entity for match in found[:2]} <= {"geo:Q2", "more:m2", "music:m3", "more:m3"}
    assert len({match.entity for match in graph.search("Paris", "prefix", 9)}) == 4
    assert len(found) == 3


def test_a_link_is_undone_by_dropping_it() -> None:
    graph = both(PARIS)
    assert list(graph.unlinked(PARIS).triples()) == list(both().triples())
    assert list(graph.unlinked(("music:m2", "geo:Q2")).triples()) == list(both().triples())  # in either direction
    assert list(graph.unlinked().triples()) == list(graph.triples()) == list(both().linked(PARIS).triples())
    chain = both(PARIS, ("music:m2", "geo:Q9"))
    assert chain.members("geo:Q9") == ("geo:Q2", "geo:Q9", "music:m2")
    assert chain.unlinked(PARIS).members("geo:Q9") == ("geo:Q9", "music:m2")


def split(facts: list[tuple[str, str, str]], rng: Random) -> tuple[NaiveGraph, NaiveGraph, list[Pair]]:
    """The facts in two graphs, with other ids in the second, and a table of the nodes that both have."""
    left = [fact for fact in facts if rng.random() < 0.5]
    right = [fact for fact in facts if fact not in left]
    common = {end for head, _, tail in left for end in (head, tail)} & {e for h, _, t in right for e in (h, t)}
    renamed = [(f"n{head}", relation, f"n{tail}") for head, relation, tail in right]
    pairs: list[Pair] = [(f"a:{node}", f"b:n{node}") for node in sorted(common)]
    rng.shuffle(pairs)
    return NaiveGraph(left), NaiveGraph(renamed), [pair[:: rng.choice((1, -1))] for pair in pairs]  # type: ignore[misc]


def plain(edge: Edge) -> Edge:
    """A fact of the federation in the words of the whole graph."""
    return Edge(*(part.partition(":")[2].removeprefix("n") for part in edge))


@given(GRAPHS, st.randoms(use_true_random=False), st.sampled_from([None, 0, 1, 2]))
def test_a_split_graph_answers_what_the_whole_answers(
    facts: list[tuple[str, str, str]], rng: Random, limit: int | None
) -> None:
    whole = NaiveGraph(facts)
    left, right, pairs = split(facts, rng)
    parts = Federation({"a": left, "b": right}, pairs)
    ids = {node: parts._same.first(f"a:{node}" if f"a:{node}" in parts else f"b:n{node}") for node in "ABCDEF"}
    assert sorted(map(plain, parts.triples())) == list(whole.triples())
    assert list(parts.triples()) == sorted(parts.triples())
    for some in [[node] for node in "ABCDEF"] + [list("ABCDEF")]:
        asked = [ids[node] for node in some]
        assert (asked[0] in parts) == (some[0] in whole)
        assert parts.in_degree(asked[0]) == whole.in_degree(some[0])
        for direction in DIRECTIONS:
            counts = parts.counts(asked, direction)
            assert list(counts) == parts.relations(asked, direction) == sorted(counts)
            for relation in "rst":
                found = [edge for name in "ab" for edge in parts.edges(asked, f"{name}:{relation}", direction)]
                assert sorted(map(plain, found)) == whole.edges(some, relation, direction)
                both_counts = counts.get(f"a:{relation}", 0) + counts.get(f"b:{relation}", 0)
                assert both_counts == whole.counts(some, direction).get(relation, 0)
                for name in "ab":
                    full = parts.edges(asked, f"{name}:{relation}", direction)
                    assert parts.edges(asked, f"{name}:{relation}", direction, limit) == sorted(full)[:limit]
    for node in "ABCDEF":
        called = {plain(Edge(id, "", "")).head for text in (node, f"n{node}") for id in parts.link(text)}
        assert called == set(whole.link(node))
    paths = [tuple(map(plain, path)) for path in parts.paths(ids["A"], 2)]
    assert sorted(paths) == sorted(whole.paths("A", 2))


@given(GRAPHS, st.lists(st.tuples(NODES, NODES), max_size=4))
def test_nodes_of_one_graph_may_be_one(facts: list[tuple[str, str, str]], same: list[tuple[str, str]]) -> None:
    """Merging ids is renaming them in the facts: the naive twin does that, and counts each fact once."""
    pairs: list[Pair] = [(f"g:{left}", f"g:{right}") for left, right in same]
    merged = Federation({"g": NaiveGraph(facts)}, pairs)
    first = Classes(pairs, ["g"]).first
    twin = NaiveGraph((first(f"g:{head}"), f"g:{relation}", first(f"g:{tail}")) for head, relation, tail in facts)
    assert list(merged.triples()) == list(twin.triples())
    for node in "ABC":
        id = f"g:{node}"
        for direction in DIRECTIONS:
            assert merged.counts([id], direction) == twin.counts([first(id)], direction)
            assert merged.edges([id], "g:r", direction, 2) == twin.edges([first(id)], "g:r", direction, 2)
        assert merged.in_degree(id) == twin.in_degree(first(id))
        assert (id in merged) == (first(id) in twin or any(m[2:] in NaiveGraph(facts) for m in merged.members(id)))


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=6))
def test_classes_are_those_of_brute_force(links: list[tuple[str, str]]) -> None:
    same = Classes([(f"x:{left}", f"y:{right}") for left, right in links], ["y", "x"])
    reach = {f"{name}:{id}": {f"{name}:{id}"} for name in "xy" for id in "abcdef"}
    for _ in range(12):
        for left, right in links:
            joined = reach[f"x:{left}"] | reach[f"y:{right}"]
            for id in joined:
                reach[id] = joined
    for id, members in reach.items():
        assert same.members(id) == tuple(sorted(members, key=lambda m: (m[0] != "y", m)))


def test_limits_reach_the_graphs_where_that_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []

    class Watched(NaiveGraph):
        def edges(self, *args: object, **options: object) -> list[Edge]:
            asked.append(args[3])  # type: ignore[arg-type]
            return super().edges(*args, **options)  # type: ignore[arg-type]

    hub = Watched((f"m{number}", "r", "x") for number in range(30))
    graph = Federation({"a": hub, "b": hub}, [("a:m29", "b:m0")])
    expected = [Edge("a:m0", "a:r", "a:x"), Edge("a:m1", "a:r", "a:x")]
    assert graph.edges(["a:x"], "a:r", "in", 2) == expected
    assert graph.edges(["b:x"], "b:r", "in", 1) == [Edge("a:m29", "b:r", "b:x")]  # b:m0 goes by another name
    assert asked == [2, None]
    monkeypatch.setattr(module, "TO_SORT", 29)
    assert graph.edges(["b:x"], "b:r", "in", 1) == [Edge("a:m29", "b:r", "b:x")]
    assert asked == [2, None, 1]


# --- a graph that fails ---


FAR = "http://far.example/"


@pytest.fixture
def down() -> Iterator[Endpoint]:
    """A graph on a port where nobody listens."""
    with open_endpoint("http://127.0.0.1:1", Access(retries=0), ReplyCache(":memory:", 60)) as graph:
        yield graph


def test_a_graph_that_fails_leaves_a_note_and_the_rest(down: Endpoint) -> None:
    x, y = f"far:{FAR}x", f"far:{FAR}y"
    graph = Federation({"far": down, "geo": GEOGRAPHY}, [(x, "geo:Q1")])
    assert graph.remote
    assert graph.counts([x]) == {"geo:capital": 1, "geo:type": 1}
    (note,) = graph.notes
    assert note.startswith("far: http://127.0.0.1:1: cannot be reached")
    assert graph.relations(["geo:Q1"]) == ["geo:capital", "geo:type"]
    assert graph.edges(["geo:Q1"], "geo:capital") == [Edge(x, "geo:capital", "geo:Q2")]
    assert graph.edges(["geo:Q1"], f"far:{FAR}r") == list(graph.triples(f"far:{FAR}r")) == []
    assert "geo:Q1" in graph
    assert y not in graph
    assert graph.labels(["geo:Q1", y]) == {"geo:Q1": "France", y: f"{FAR}y"}
    assert graph.link("France") == [x]
    assert graph.suggest("France") == []
    assert graph.describe(["geo:Q2", y]) == {"geo:Q2": "city in France"}
    assert graph.aliases(x) == ()
    assert len(list(graph.triples())) == 4
    assert len(graph.notes) > 8
    assert all("\n" not in note for note in graph.notes)
    assert graph.linked((y, "geo:Q2")).notes is graph.notes


def test_a_remote_graph_and_one_in_memory() -> None:
    store = rdf.Store()
    for city, country in (("Paris", "France"), ("Rome", "Italy")):
        store.add(rdf.Quad(*(rdf.NamedNode(FAR + part) for part in (city, "country", country))))
    with serve(store) as host, open_endpoint(host.url, Access(prefixes={"f": FAR}), ReplyCache(":memory:", 60)) as far:
        graph = Federation({"geo": GEOGRAPHY, "far": far}, [("geo:Q2", "far:f:Paris")])
        assert graph.counts(["geo:Q2"]) == {"far:f:country": 1, "geo:founded": 1}
        assert graph.objects("geo:Q2", "far:f:country") == ("far:f:France",)
        assert graph.subjects("far:f:country", "far:f:Italy") == ("far:f:Rome",)
        assert graph.labels(["far:f:France", "far:f:Paris"]) == {"far:f:France": "France", "far:f:Paris": "Paris"}
        assert graph.notes == []
        host.faults.append(Fault(404))
        assert graph.counts(["far:f:Rome", "geo:Q2"]) == {"geo:founded": 1}
        assert graph.notes == [f"far: {host.url}: answered 404 (nothing)"]


def test_other_errors_are_not_swallowed() -> None:
    class Broken(NaiveGraph):
        def counts(self, *_: object) -> dict[str, int]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Federation({"a": Broken([])}).counts(["a:x"])


@pytest.mark.parametrize("name", ["", "a:b"])
def test_names_of_graphs_have_no_colon(name: str) -> None:
    with pytest.raises(UserError, match="give a name without a colon"):
        Federation({name: GEOGRAPHY})


def test_pairs_name_graphs_that_are_there() -> None:
    with pytest.raises(UserError, match=r"unknown graph 'gea' \(allowed: geo, music\); did you mean 'geo'\?"):
        both(("gea:Q2", "music:m2"))
    with pytest.raises(UserError, match="a federation of no graphs"):
        Federation({})


# --- where links come from ---


def test_a_table_of_links(tmp_path: Path) -> None:
    path = tmp_path / "same.tsv"
    path.write_text("geo:Q2\tmusic:m2\n\ngeo:http://x:1\t music:a b \n", encoding="utf-8")
    assert read_links(path, ["geo", "music"]) == [PARIS, ("geo:http://x:1", "music:a b")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("geo:Q2", r"same.tsv:2: got 'geo:Q2'; give GRAPH:ID<TAB>GRAPH:ID"),
        ("geo:Q2\tm2", r"same.tsv:2: got .*; give GRAPH:ID"),
        ("geo:Q2\tmusik:m2", r"same.tsv:2: unknown graph 'musik' \(allowed: geo, music\); did you mean 'music'\?"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "same.tsv"
    path.write_text(f"geo:Q2\tmusic:m2\n{line}\n")
    with pytest.raises(UserError, match=message):
        read_links(path, ["geo", "music"])
    with pytest.raises(UserError, match="cannot be read"):
        read_links(tmp_path / "none.tsv", ["geo"])


def test_links_that_are_found_by_hand() -> None:
    """Two of the three neighbours' names of the left Paris are known to the right one of France, none to that of
    Texas. Two things bear the name, so the score is 2/3 · 1/2."""
    left = NaiveGraph(
        [("p", "type", "city"), ("p", "country", "France"), ("Seine", "flows through", "p")], {"p": "Paris"}
    )
    right = NaiveGraph(
        [
            ("1", "kind", "City"),
            ("1", "land", "France"),
            ("1", "mayor", "X"),
            ("2", "kind", "Town"),
            ("2", "land", "USA"),
        ],
        {"1": "Paris", "2": "Paris"},
    )
    graphs = {"a": left, "b": right}
    (found,) = discovered(graphs, "a", "b", ["p"], least=0.3)
    assert found.pair == ("a:p", "b:1")
    assert found.shared == ("city", "france")
    assert found.score == pytest.approx(1 / 3)
    assert discovered(graphs, "a", "b", ["p"], least=0.34) == []
    assert discovered(graphs, "a", "b", ["nobody"]) == []


def test_things_of_different_types_are_not_the_same() -> None:
    left = NaiveGraph([("m", "type", "planet"), ("m", "near", "Sun")], {"m": "Mercury"})
    right = NaiveGraph([("e", "type", "element"), ("e", "near", "Sun")], {"e": "Mercury"})
    assert discovered({"a": left, "b": right}, "a", "b", ["m"], least=0) == []
    typeless = NaiveGraph([("e", "near", "Sun")], {"e": "Mercury"})
    assert [found.score for found in discovered({"a": left, "b": typeless}, "a", "b", ["m"])] == [1.0]


def test_two_equally_good_partners_are_none() -> None:
    left = NaiveGraph([("s", "born", "1950")], {"s": "Smith"})
    right = NaiveGraph([("1", "born", "1950"), ("2", "born", "1950")], {"1": "Smith", "2": "Smith"})
    assert discovered({"a": left, "b": right}, "a", "b", ["s"], least=0) == []
