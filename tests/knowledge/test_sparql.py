"""A graph behind an endpoint answers what looking through all facts answers, however the endpoint behaves."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from time import monotonic

import pyoxigraph as rdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upright.errors import UserError
from upright.knowledge.access import Access
from upright.knowledge.failures import GraphError
from upright.knowledge.graph import Edge, KnowledgeGraph
from upright.knowledge.reply_cache import ReplyCache
from upright.knowledge.sparql import Endpoint, open_endpoint
from upright.knowledge.transport import Pace, user_agent

from . import server
from .naive import NaiveGraph
from .server import ALIAS, LABEL, Fault, serve

EX = "http://example.org/"
COMMENT = rdf.NamedNode("http://www.w3.org/2000/01/rdf-schema#comment")
XSD = "http://www.w3.org/2001/XMLSchema#"
PREFIXES = {"ex": EX, "rel": f"{EX}relation/"}
WORLD = """
@prefix ex: <http://example.org/> . @prefix rel: <http://example.org/relation/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> . @prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> . @prefix schema: <http://schema.org/> .
ex:France rdfs:label "Frankreich"@de, "France"@en, "la France"@fr ; skos:altLabel "FR", "Gaul"@en, "Gallien"@de ;
  schema:description "country in Europe"@en, "Land"@de ;
  rel:capital ex:Paris ; rel:people 68, 67.5, "many"@en ; rel:since "0843-08-10"^^xsd:date ; rel:near [] .
ex:Germany rdfs:label "Germany"@en-gb ; rdfs:comment "a land" ; rel:capital ex:Berlin ; rel:people 84 .
ex:Paris rdfs:label "Paris" ; rel:country ex:France .
ex:Lyon rel:country ex:France .
ex:Paris_Texas rdfs:label "Paris"@en .
<http://elsewhere.org/places#S%C3%A3o_Tom%C3%A9> rel:twin ex:Paris_Texas ; rel:country ex:France .
[] rel:country ex:France .
"""


def a_store(turtle: str = "") -> rdf.Store:
    store = rdf.Store()
    store.load(turtle.encode(), format=rdf.RdfFormat.TURTLE)
    return store


@pytest.fixture(scope="module")
def service() -> Iterator[server.Endpoint]:
    with serve(a_store()) as running:
        yield running


@pytest.fixture
def host(service: server.Endpoint) -> Iterator[server.Endpoint]:
    """The server with the world of this page, healthy and with nothing counted yet."""
    service.store = a_store(WORLD)
    service.rest()
    yield service
    service.rest()


def memory() -> ReplyCache:
    return ReplyCache(":memory:", 3600)


def reach(host: server.Endpoint, cache: ReplyCache | None = None, **options: object) -> Endpoint:
    access = Access.model_validate({"prefixes": PREFIXES, "retries": 2, **options})
    return open_endpoint(host.url, access, cache or memory())


@pytest.fixture
def graph(host: server.Endpoint) -> Iterator[Endpoint]:
    with reach(host) as opened:
        yield opened


# --- answers ---


def test_facts_by_hand(graph: Endpoint) -> None:
    view: KnowledgeGraph = graph
    assert graph.counts(["ex:France"]) == {"rel:capital": 1, "rel:people": 3, "rel:since": 1}
    assert view.relations(["ex:France"], "in") == ["rel:country"]
    people = [Edge("ex:France", "rel:people", tail) for tail in ("67.5", "68", "many")]
    assert view.edges(["ex:France"], "rel:people") == people
    assert graph.edges(["ex:France", "ex:Germany"], "rel:people", limit=2) == people[:2]
    assert [edge.head for edge in view.edges(["ex:France"], "rel:country", "in")] == [
        "ex:Lyon",
        "ex:Paris",
        "http://elsewhere.org/places#S%C3%A3o_Tom%C3%A9",
    ]
    assert view.objects("ex:France", "rel:since") == ("0843-08-10",)
    assert view.subjects("rel:since", "0843-08-10") == view.subjects("rel:people", "68") == ("ex:France",)
    assert (view.in_degree("ex:France"), view.in_degree("many"), view.in_degree("nobody")) == (3, 1, 0)
    assert "ex:Lyon" in view
    assert "ex:Nowhere" not in view
    assert "not an id" not in view
    assert graph.qualifiers(people[0]) == ()
    assert len(list(view.triples())) == 11
    assert list(view.triples("rel:capital")) == [
        Edge("ex:France", "rel:capital", "ex:Paris"),
        Edge("ex:Germany", "rel:capital", "ex:Berlin"),
    ]
    assert list(view.triples("rel:none")) == list(view.triples("no iri")) == view.edges(["ex:France"], "no iri") == []


def test_names_by_hand(graph: Endpoint) -> None:
    sao_tome = "http://elsewhere.org/places#S%C3%A3o_Tom%C3%A9"
    assert graph.labels(["ex:France", "ex:Germany", "ex:Paris", "ex:Lyon", sao_tome, "rel:capital", "many"]) == {
        "ex:France": "France",  # English comes first
        "ex:Germany": "Germany",  # and its dialects
        "ex:Paris": "Paris",  # a label without a language
        "ex:Lyon": "Lyon",  # none: the last part of the IRI
        sao_tome: "São Tomé",
        "rel:capital": "capital",
        "many": "many",
    }
    assert graph.describe(["ex:France", "ex:Germany", "ex:Lyon"]) == {
        "ex:France": "country in Europe",
        "ex:Germany": "a land",
    }
    assert graph.aliases("ex:France") == ("FR", "Gaul")
    assert graph.aliases("ex:Lyon") == graph.aliases("no iri") == ()


def test_languages_have_an_order(host: server.Endpoint) -> None:
    with reach(host, languages=["fr", "de"]) as graph:
        assert graph.labels(["ex:France"]) == {"ex:France": "la France"}
        assert graph.aliases("ex:France") == ("FR", "Gallien")
        assert graph.describe(["ex:France"]) == {"ex:France": "Land"}
    with reach(host, languages=["it"]) as graph:  # none of these: the least of the others
        assert graph.labels(["ex:France"]) == {"ex:France": "France"}


def test_link_by_hand(graph: Endpoint) -> None:
    assert graph.link("Paris") == ["ex:Paris", "ex:Paris_Texas"]  # two facts before one
    assert graph.link("FR") == graph.link("fr") == graph.link("gaul") == graph.link("ex:France") == ["ex:France"]
    assert graph.link("68") == ["68"]
    assert graph.link("Atlantis") == graph.link("") == graph.suggest("Pariss") == []


def test_a_query_of_ones_own(graph: Endpoint) -> None:
    query = "SELECT ?s ?none WHERE { ?s <http://example.org/relation/capital> ?o } ORDER BY ?s"
    columns, rows = graph.query(query)
    assert columns == ("s", "none")
    assert rows == [(f"{EX}France", ""), (f"{EX}Germany", "")]
    assert graph.query("ASK { ?s ?p 84 }").rows == [("true",)]
    with pytest.raises(GraphError, match="answered 400"):
        graph.query("SELEKT")


IRIS = [f"{EX}A", f"{EX}B", f"{EX}relation/C", "http://else.org/a?b=c&d#e", f"{EX}caf%C3%A9", f"{EX}né"]
TEXTS = [
    "A",
    "1",
    "2001",
    "2001-05-03",
    "-3.5",
    "true",
    'say "no"\\',
    "two\nlines",
    "} DROP ALL #",
    "urn:A",
    "é\u2028",
    "",
]
LITERALS = (
    st.builds(rdf.Literal, st.sampled_from(TEXTS))
    | st.builds(lambda text: rdf.Literal(text, language="en"), st.sampled_from(TEXTS))
    | st.builds(lambda number: rdf.Literal(number), st.integers(-2, 2) | st.booleans())
    | st.just(rdf.Literal("2001", datatype=rdf.NamedNode(f"{XSD}gYear")))
)
NODES = st.builds(rdf.NamedNode, st.sampled_from(IRIS))
RELATIONS = st.sampled_from([rdf.NamedNode(f"{EX}relation/{name}") for name in "rs"] + [rdf.NamedNode("urn:t")])
QUADS = st.lists(st.builds(rdf.Quad, NODES, RELATIONS, NODES | LITERALS), max_size=12)


def short(node: rdf.NamedNode | rdf.BlankNode | rdf.Literal | rdf.Triple) -> str:
    """The id of a term, by the longest prefix."""
    assert isinstance(node, rdf.NamedNode | rdf.Literal)
    if isinstance(node, rdf.NamedNode):
        for name, namespace in (("rel", f"{EX}relation/"), ("ex", EX)):
            if node.value.startswith(namespace):
                return f"{name}:{node.value.removeprefix(namespace)}"
    return node.value


@settings(max_examples=30, deadline=None)
@given(QUADS, st.sampled_from([None, 1, 2, 5]), st.integers(1, 3), st.integers(1, 3), st.sampled_from([None, 0, 1, 3]))
def test_every_answer_is_that_of_brute_force(
    service: server.Endpoint, quads: list[rdf.Quad], cut: int | None, page: int, batch: int, limit: int | None
) -> None:
    service.store, service.cut = rdf.Store(), cut
    service.store.extend(quads)
    twin = NaiveGraph((short(quad.subject), short(quad.predicate), short(quad.object)) for quad in service.store)
    ids = sorted({end for edge in twin.facts for end in (edge.head, edge.tail)} | {"ex:A", "nothing", "a b", "\ud800"})
    with reach(service, page_rows=page, batch_ids=batch) as graph:
        assert list(graph.triples()) == list(twin.triples())
        for entities in [[id] for id in ids] + [ids]:
            assert graph.counts(entities) == twin.counts(entities)
            assert graph.counts(entities, "in") == twin.counts(entities, "in")
            assert (entities[0] in graph) == (entities[0] in twin)
        for relation in ("rel:r", "rel:s", "urn:t", "rel:none", "<>"):
            assert graph.edges(ids, relation, limit=limit) == twin.edges(ids, relation, limit=limit)
            assert graph.edges(ids, relation, "in", limit) == twin.edges(ids, relation, "in", limit)
            assert list(graph.triples(relation)) == list(twin.triples(relation))
            assert graph.objects(ids[0], relation) == twin.objects(ids[0], relation)
            assert graph.subjects(relation, ids[-1]) == twin.subjects(relation, ids[-1])
        assert list(graph.paths("ex:A", 2)) == list(twin.paths("ex:A", 2))
        assert graph.in_degree(ids[0]) == twin.in_degree(ids[0])
        assert [id for id in ids if id != "\ud800"] == [id for id in graph.labels(ids) if id != "\ud800"]


NAMES = st.sampled_from(["Rome", "ROMA", "Urbs"])


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.sampled_from("ABC"), NAMES), st.dictionaries(st.sampled_from("ABC"), st.sets(NAMES)))
def test_links_are_those_of_brute_force(
    service: server.Endpoint, labels: dict[str, str], aliases: dict[str, set[str]]
) -> None:
    facts = [("A", "r", "B"), ("C", "r", "B"), ("C", "r", "A"), ("B", "s", "B")]
    node = {name: rdf.NamedNode(EX + name) for name in "ABCrs"}
    store = rdf.Store()
    store.extend(rdf.Quad(node[head], node[relation], node[tail]) for head, relation, tail in facts)
    for name, label in labels.items():
        store.add(rdf.Quad(node[name], LABEL, rdf.Literal(label, language="en")))
    others = {name: names - {labels.get(name)} for name, names in aliases.items()}
    for name, texts in others.items():
        store.extend(rdf.Quad(node[name], ALIAS, rdf.Literal(text)) for text in texts)
    twin = NaiveGraph(
        [tuple(f"ex:{part}" for part in fact) for fact in facts],  # type: ignore[misc]
        {f"ex:{name}": labels.get(name, name) for name in "ABC"},
        {f"ex:{name}": tuple(sorted(texts)) for name, texts in others.items()},
    )
    service.store, service.cut = store, None
    with reach(service) as graph:
        for name in ("Rome", "ROMA", "Urbs", "Nix"):
            assert graph.link(name) == twin.link(name)
        assert graph.labels(["ex:A", "ex:B"]) == twin.labels(["ex:A", "ex:B"])
        assert {id: graph.aliases(id) for id in ("ex:A", "ex:B")} == {id: twin.aliases(id) for id in ("ex:A", "ex:B")}


# --- long answers ---


@pytest.fixture
def hub(host: server.Endpoint) -> server.Endpoint:
    """Ten thousand towns in one country, on a server that gives a thousand rows and says nothing."""
    country, land = rdf.NamedNode(f"{EX}relation/country"), rdf.NamedNode(f"{EX}Land")
    store = rdf.Store()
    store.bulk_extend(rdf.Quad(rdf.NamedNode(f"{EX}town{i:05}"), country, land) for i in range(10_000))
    host.store, host.cut = store, 1000
    return host


def test_a_hub_comes_whole_over_a_server_that_cuts(hub: server.Endpoint) -> None:
    with reach(hub) as graph:
        assert graph.counts(["ex:Land"], "in") == {"rel:country": 10_000}
        edges = graph.edges(["ex:Land"], "rel:country", "in")
        assert [edge.head for edge in edges] == [f"ex:town{i:05}" for i in range(10_000)]
        assert graph.requests == 1 + 10  # the count, which is known then, and ten pages
        assert graph.edges(["ex:Land"], "rel:country", "in", limit=3) == edges[:3]
        assert graph.edges(["ex:Land"], "rel:country", "in", limit=1500) == edges[:1500]
        assert len(list(graph.triples("rel:country"))) == 10_000


def test_too_much_is_refused_before_it_is_fetched(hub: server.Endpoint) -> None:
    with reach(hub, max_rows=9_999) as graph:
        with pytest.raises(GraphError, match="has 10,000 rows for this, more than max_rows=9,999; ask for fewer"):
            graph.edges(["ex:Land"], "rel:country", "in")
        assert graph.requests == 1
        assert len(graph.edges(["ex:Land"], "rel:country", "in", limit=10)) == 10


def test_a_server_that_gives_less_than_it_counts_is_found_out(host: server.Endpoint) -> None:
    host.cut = 0
    with reach(host, retries=0) as graph:
        for ask in (graph.counts, graph.labels):
            with pytest.raises(GraphError):
                ask(["ex:France"])


def test_many_labels_come_over_a_server_that_cuts(hub: server.Endpoint) -> None:
    hub.cut = 30
    ids = [f"ex:town{i:05}" for i in range(250)]
    with reach(hub) as graph:
        assert graph.labels(ids) == {id: id[3:] for id in ids}
        assert graph.requests == 4 + 4 + 2  # batches of 100, 100 and 50


# --- what goes wrong ---


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, "slow down", {"Retry-After": "0"}),
        Fault(429, "slow down", {"Retry-After": format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)}),
        Fault(503, "", {"Retry-After": "soon"}),
        Fault(500, "java.util.concurrent.TimeoutException"),
        Fault(200, "<html>maintenance</html>"),
        Fault(200, '{"results": []}'),
        Fault(200, "[]"),
        Fault(cut=True),
    ],
)
def test_what_passes_is_tried_again(host: server.Endpoint, fault: Fault) -> None:
    host.faults.append(fault)
    with reach(host) as graph:
        assert graph.objects("ex:France", "rel:capital") == ("ex:Paris",)
        assert graph.requests == len(host.queries) == 3  # one in vain


def test_retry_after_is_honoured(host: server.Endpoint) -> None:
    host.faults.append(Fault(429, "", {"Retry-After": "1"}))
    with reach(host) as graph:
        graph.counts(["ex:France"])
    assert 1.0 <= host.moments[1] - host.moments[0] < 10


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([Fault(503, "x\ny", {"Retry-After": "0"})] * 3, r"answered 503 \(x\); tried 3 times"),
        ([Fault(200, "nonsense")] * 3, r"answered with something that is no result \(nonsense\); tried 3 times"),
        ([Fault(429, "no", {"Retry-After": "500"})], r"it asks to wait 500 s, longest_wait is 120 s"),
        ([Fault(404, "<h1>" + "x" * 200)], r"answered 404 \(<h1>x+…\)$"),
        ([Fault(delay=1.5)], "gave no answer within 1 s$"),
    ],
)
def test_what_does_not_pass_is_one_line(host: server.Endpoint, faults: list[Fault], message: str) -> None:
    host.faults.extend(faults)
    with reach(host, timeout=1) as graph:
        with pytest.raises(GraphError, match=message) as caught:
            graph.counts(["ex:France"])
        assert "\n" not in str(caught.value)
        assert not isinstance(caught.value, UserError)
        assert graph.requests == len(faults)
        host.faults.clear()
        assert graph.counts(["ex:Lyon"]) == {"rel:country": 1}  # and the next question is a new one


def test_a_server_that_is_not_there(host: server.Endpoint) -> None:
    with serve(a_store()) as gone:
        url = gone.url
    with open_endpoint(url, Access(retries=0), memory()) as graph, pytest.raises(GraphError, match="cannot be reached"):
        graph.counts(["a:b"])


@pytest.mark.parametrize("url", ["", "example.org/sparql", "ftp://example.org", "http://", "http://a b", "http://[x"])
def test_a_url_that_is_none_is_the_users(url: str) -> None:
    with pytest.raises(UserError, match="is no endpoint; give sparql:http"):
        open_endpoint(url, Access(), memory())


def test_a_cache_that_is_none_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "replies").write_text("no database, but a text that is long enough to be looked at" * 20)
    with pytest.raises(UserError, match="is no cache of replies"):
        open_endpoint("http://localhost:1", Access(cache=tmp_path / "replies"))


# --- the cache and manners ---


def ask_around(graph: Endpoint) -> list[object]:
    ids = ["ex:France", "ex:Germany"]
    return [
        graph.counts(ids),
        graph.edges(ids, "rel:people"),
        graph.labels([*ids, "ex:Lyon"]),
        graph.describe(ids),
        graph.aliases("ex:France"),
        graph.link("Paris"),
        list(graph.triples()),
        graph.query("ASK { ?s ?p 84 }"),
    ]


def test_a_second_run_asks_nothing(host: server.Endpoint, tmp_path: Path) -> None:
    access = Access(prefixes=PREFIXES, cache=tmp_path / "replies.sqlite")
    with open_endpoint(host.url, access) as graph:
        first = ask_around(graph)
    asked = len(host.queries)
    assert asked > 8
    host.store = a_store()
    with open_endpoint(host.url, access) as graph:
        assert ask_around(graph) == first
        assert graph.labels(["ex:Lyon", "ex:France"]) == {"ex:Lyon": "Lyon", "ex:France": "France"}  # one by one
        assert graph.requests == 0
    with open_endpoint(host.url, access.model_copy(update={"refresh": True})) as graph:
        assert graph.counts(["ex:France"]) == {}  # all is gone
        assert graph.counts(["ex:France"]) == {}
        assert graph.requests == 1
    assert len(host.queries) == asked + 1


def test_failures_are_not_kept(host: server.Endpoint) -> None:
    cache = memory()
    host.faults.append(Fault(404))
    with reach(host, cache) as graph:
        with pytest.raises(GraphError):
            graph.counts(["ex:Lyon"])
        assert graph.counts(["ex:Lyon"]) == {"rel:country": 1}


def test_replies_grow_old(tmp_path: Path) -> None:
    now = [1000.0]
    cache = ReplyCache(tmp_path / "c", seconds=10, clock=lambda: now[0])
    cache.put({"a": "1"})
    now[0] = 1005.0
    cache.put({"b": "2"})
    assert cache.get(["a", "b", "c"]) == {"a": "1", "b": "2"}
    now[0] = 1011.0
    assert cache.get(["a", "b"]) == {"b": "2"}
    fresh = ReplyCache(tmp_path / "c", seconds=10, refresh=True, clock=lambda: now[0])
    assert fresh.get(["b"]) == {}
    fresh.put({"b": "3"})
    assert fresh.get(["b"]) == cache.get(["b"]) == {"b": "3"}
    assert ReplyCache(tmp_path / "c", 10, clock=lambda: 1016.0).get(map(str, range(1200))) == {}


def test_one_question_of_many_threads_is_asked_once(host: server.Endpoint) -> None:
    host.delay = 0.05
    with reach(host, at_once=1) as graph, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: graph.counts(["ex:Lyon"]), range(8)))
        assert answers == [{"rel:country": 1}] * 8
        labels = list(pool.map(lambda _: graph.labels(["ex:Lyon", "ex:France"])["ex:France"], range(8)))
        assert labels == ["France"] * 8
        assert graph.requests == 2


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_requests_at_once_than_allowed(host: server.Endpoint, most: int) -> None:
    host.delay = 0.03
    with reach(host, at_once=most) as graph, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: graph.counts([f"ex:{number}"]), range(12)))
    assert host.most_at_once == most


def test_requests_keep_their_pace(host: server.Endpoint) -> None:
    with reach(host, per_second=20) as graph:
        begin = monotonic()
        for number in range(5):
            graph.counts([f"ex:{number}"])
    assert monotonic() - begin >= 0.2  # the first at once, four more 50 ms apart
    assert host.agents == {user_agent("")}


def test_pace_by_hand() -> None:  # two a second, and a hold of 3 s after the second request
    now, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(2, lambda: now[0], sleep)
    pace.wait()
    pace.wait()
    pace.hold(3)
    pace.wait()
    assert slept == [0.5, 3.0]


def test_public_hosts_are_asked_one_at_a_time() -> None:
    with open_endpoint("https://query.wikidata.org/sparql", Access(), memory()) as graph:
        transport = graph._asker.transport
        assert transport._slots._value == 1
        assert transport._pace._interval == 0.2


# --- text that is no code ---


@pytest.mark.parametrize(
    "text", [*TEXTS, "ex:A", "x> <y", "a:b> . ?s ?p ?o } #", "?s", "\x00", "http://[x", "ex:%zz", "\ud83d"]
)
def test_no_text_becomes_part_of_a_query(graph: Endpoint, host: server.Endpoint, text: str) -> None:
    before = set(host.store)
    nothing: dict[str, int] = {}
    assert graph.counts([text]) == graph.counts([text], "in") == nothing
    assert graph.edges(["ex:France"], text) == graph.edges([text], "rel:capital") == list(graph.triples(text)) == []
    assert graph.link(text) == []
    assert list(graph.labels([text])) == [text]
    assert graph.aliases(text) == ()
    assert set(host.store) == before
    assert not host.faults
