"""Wikidata's way of writing facts, on a few statements written by hand in its RDF."""

from collections.abc import Iterator

import pyoxigraph as rdf
import pytest

from upright.knowledge.access import Access
from upright.knowledge.failures import GraphError
from upright.knowledge.federation import Federation
from upright.knowledge.graph import Edge, KnowledgeGraph, Match, Searchable
from upright.knowledge.links import Stated
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.reply_cache import ReplyCache
from upright.knowledge.sparql import open_endpoint
from upright.knowledge.wikidata import Wikidata, date

from . import server
from .server import Fault, serve

HEAD = """
@prefix wd: <http://www.wikidata.org/entity/> . @prefix wdt: <http://www.wikidata.org/prop/direct/> .
@prefix p: <http://www.wikidata.org/prop/> . @prefix ps: <http://www.wikidata.org/prop/statement/> .
@prefix psv: <http://www.wikidata.org/prop/statement/value/> . @prefix pq: <http://www.wikidata.org/prop/qualifier/> .
@prefix pqv: <http://www.wikidata.org/prop/qualifier/value/> . @prefix wikibase: <http://wikiba.se/ontology#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> . @prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix schema: <http://schema.org/> . @prefix xsd: <http://www.w3.org/2001/XMLSchema#> . @prefix s: <http://s/> .
"""
KINDS = {
    "P26": ("WikibaseItem", "spouse"),
    "P569": ("Time", "date of birth"),
    "P580": ("Time", "start time"),
    "P582": ("Time", "end time"),
    "P2048": ("Quantity", "height"),
    "P18": ("CommonsMedia", "image"),
    "P214": ("ExternalId", "VIAF ID"),
    "P910": ("WikibaseItem", "topic's main category"),
    "P742": ("String", "pseudonym"),
    "P1114": ("Quantity", "quantity"),
}
PEOPLE = """
wd:P910 wdt:P31 wd:Q18667213 .
wd:Q42 rdfs:label "Douglas Adams"@mul, "Douglas Adams (it)"@it ; skos:altLabel "DNA"@en ; wikibase:sitelinks 120 ;
  schema:description "English writer"@en ; wdt:P26 wd:Q15, <http://www.wikidata.org/.well-known/genid/1> ;
  wdt:P569 "1952-03-11T00:00:00Z"^^xsd:dateTime ; wdt:P2048 "+1.96"^^xsd:decimal ; wdt:P18 <http://pictures/1> ;
  wdt:P214 "113230702" ; wdt:P910 wd:Q8935487 ; wdt:P742 "David Agnew" ; wdt:P1114 "+3"^^xsd:decimal ;
  p:P26 s:1, s:2 ; p:P569 s:3 ; p:P2048 s:4, s:5 ; p:P1114 s:6 .
wd:Q15 rdfs:label "Jane Belson"@en ; wikibase:sitelinks 2 ; wdt:P26 wd:Q42 ;
  wdt:P569 "1951-01-01T00:00:00Z"^^xsd:dateTime ; p:P569 s:7 .
wd:Q16 rdfs:label "Douglas Adams"@en ; wikibase:sitelinks 3 ; wdt:P742 "D. Adams" .
wd:Q17 rdfs:label "Douglas Adamson"@en ; wikibase:sitelinks 1 ; wdt:P742 "Adamson" .
wd:Q11573 rdfs:label "metre"@en .
s:1 a wikibase:BestRank ; ps:P26 wd:Q15 ; pq:P580 "1991-11-24T00:00:00Z"^^xsd:dateTime ; pqv:P580 s:day ;
  pq:P582 "2001-01-01T00:00:00Z"^^xsd:dateTime, <http://www.wikidata.org/.well-known/genid/2> ; pqv:P582 s:year ;
  pq:P2048 "+2"^^xsd:decimal ; pqv:P2048 s:metres ; pq:P214 "x" ; pq:P742 "stage" .
s:2 ps:P26 wd:Q16 ; pq:P580 "1900-01-01T00:00:00Z"^^xsd:dateTime .
s:day wikibase:timeValue "1991-11-24T00:00:00Z"^^xsd:dateTime ; wikibase:timePrecision 11 .
s:year wikibase:timeValue "2001-01-01T00:00:00Z"^^xsd:dateTime ; wikibase:timePrecision 9 .
s:metres wikibase:quantityAmount "+2"^^xsd:decimal ; wikibase:quantityUnit wd:Q11573 .
s:3 a wikibase:BestRank ; ps:P569 "1952-03-11T00:00:00Z"^^xsd:dateTime ; psv:P569 s:born ; pq:P742 "noon" .
s:born wikibase:timeValue "1952-03-11T00:00:00Z"^^xsd:dateTime ; wikibase:timePrecision 11 .
s:4 a wikibase:BestRank ; ps:P2048 "+1.96"^^xsd:decimal ; psv:P2048 s:tall .
s:tall wikibase:quantityAmount "+1.96"^^xsd:decimal ; wikibase:quantityUnit wd:Q11573 .
s:5 ps:P2048 "+6"^^xsd:decimal ; psv:P2048 s:feet .
s:feet wikibase:quantityAmount "+6"^^xsd:decimal ; wikibase:quantityUnit wd:Q3710 .
s:6 a wikibase:BestRank ; ps:P1114 "+3"^^xsd:decimal ; psv:P1114 s:three .
s:three wikibase:quantityAmount "+3"^^xsd:decimal ; wikibase:quantityUnit wd:Q199 .
s:7 a wikibase:BestRank ; ps:P569 "1951-01-01T00:00:00Z"^^xsd:dateTime ; psv:P569 s:about .
s:about wikibase:timeValue "1951-01-01T00:00:00Z"^^xsd:dateTime ; wikibase:timePrecision 9 .
"""


def definitions() -> str:
    return "\n".join(
        f'wd:{id} wikibase:directClaim wdt:{id} ; wikibase:propertyType wikibase:{kind} ; rdfs:label "{label}"@en ; '
        f"wikibase:qualifier pq:{id} ; wikibase:qualifierValue pqv:{id} ."
        for id, (kind, label) in KINDS.items()
    )


@pytest.fixture(scope="module")
def service() -> Iterator[server.Endpoint]:
    store = rdf.Store()
    store.load((HEAD + definitions() + PEOPLE).encode(), format=rdf.RdfFormat.TURTLE)
    with serve(store) as running:
        yield running


def reach(host: server.Endpoint, **options: object) -> Wikidata:
    access = Access.model_validate({"flavour": "wikidata", "api": host.api, "retries": 1, **options})
    graph = open_endpoint(host.url, access, ReplyCache(":memory:", 3600))
    assert isinstance(graph, Wikidata)
    return graph


@pytest.fixture
def graph(service: server.Endpoint) -> Iterator[Wikidata]:
    service.faults.clear()
    with reach(service) as opened:
        yield opened


def test_relations_leave_out_what_leads_nowhere(graph: Wikidata) -> None:
    expected = {"wdt:P1114": 1, "wdt:P2048": 1, "wdt:P26": 1, "wdt:P569": 1, "wdt:P742": 1}
    assert graph.counts(["wd:Q42"]) == expected
    assert graph.counts(["wd:Q42"], "in") == {"wdt:P26": 1}
    assert graph.edges(["wd:Q42"], "wdt:P18") == graph.edges(["wd:Q42"], "wdt:P910") == []
    assert graph.edges(["wd:Q42"], "wdt:P999") == graph.edges(["wd:Q42"], "wd:P26") == []
    assert "wd:Q42" in graph
    assert "wd:Q8935487" not in graph  # only a category leads there


def test_identifiers_are_no_facts_but_lead_to_other_graphs(graph: Wikidata) -> None:
    books = MemoryGraph([("http://viaf.org/113230702", "wrote", "Life, the Universe and Everything")])
    graphs: dict[str, KnowledgeGraph] = {"wiki": graph, "books": books}
    joined = Federation(graphs, rules=[Stated(graphs, "wiki:wdt:P214", "books", "http://viaf.org/{}")])
    assert "wiki:wdt:P214" not in joined.counts(["wiki:wd:Q42"])
    assert joined.subjects("books:wrote", "books:Life, the Universe and Everything") == ("wiki:wd:Q42",)
    assert joined.objects("wiki:wd:Q42", "books:wrote") == ("books:Life, the Universe and Everything",)
    assert joined.notes == []


def test_values_carry_their_precision_and_unit(graph: Wikidata) -> None:
    assert graph.objects("wd:Q42", "wdt:P569") == ("1952-03-11",)
    assert graph.edges(["wd:Q42", "wd:Q15"], "wdt:P569") == [
        Edge("wd:Q15", "wdt:P569", "1951"),
        Edge("wd:Q42", "wdt:P569", "1952-03-11"),
    ]
    assert graph.objects("wd:Q42", "wdt:P2048") == ("1.96 metre",)
    assert graph.objects("wd:Q42", "wdt:P1114") == ("3",)
    assert graph.objects("wd:Q42", "wdt:P26") == ("wd:Q15",)
    assert graph.subjects("wdt:P742", "David Agnew") == ("wd:Q42",)
    assert Edge("wd:Q42", "wdt:P2048", "1.96 metre") in list(graph.triples())
    assert list(graph.triples("wdt:P1114")) == [Edge("wd:Q42", "wdt:P1114", "3")]


def test_names(graph: Wikidata) -> None:
    assert graph.labels(["wd:Q42", "wd:Q15", "wdt:P569", "wd:Q999", "1952"]) == {
        "wd:Q42": "Douglas Adams",  # of all languages, as English has none of its own
        "wd:Q15": "Jane Belson",
        "wdt:P569": "date of birth",
        "wd:Q999": "Q999",
        "1952": "1952",
    }
    assert graph.describe(["wd:Q42", "wd:Q15"]) == {"wd:Q42": "English writer"}
    assert graph.aliases("wd:Q42") == ("DNA",)


def test_qualifiers_belong_to_one_statement(graph: Wikidata) -> None:
    assert graph.qualifiers(Edge("wd:Q42", "wdt:P26", "wd:Q15")) == (
        ("wdt:P2048", "2 metre"),
        ("wdt:P580", "1991-11-24"),
        ("wdt:P582", "2001"),
        ("wdt:P742", "stage"),
    )
    assert graph.qualifiers(Edge("wd:Q42", "wdt:P569", "1952-03-11")) == (("wdt:P742", "noon"),)
    assert graph.qualifiers(Edge("wd:Q42", "wdt:P26", "wd:Q16")) == ()  # not the best rank
    assert graph.qualifiers(Edge("wd:Q15", "wdt:P26", "wd:Q42")) == graph.qualifiers(Edge("x", "y", "z")) == ()


def test_link_by_the_search_of_wikidata(graph: Wikidata, service: server.Endpoint) -> None:
    assert set(graph.link("douglas adams")) == {"wd:Q42", "wd:Q16"}
    assert graph.link("DNA") == graph.link("wd:Q42") == ["wd:Q42"]
    assert graph.link("Nobody") == []
    assert graph.suggest("Douglas Ad") == ["Douglas Adams", "Douglas Adamson"]
    before = len(service.queries)
    graph.link("DNA")
    assert len(service.queries) == before
    service.faults.extend([Fault(200, '{"error": {"code": "busy"}}')] * 2)
    with pytest.raises(GraphError, match=r"api.php: answered with something that is no result"):
        graph.link("Jane")


def test_search_is_that_of_wikidata(graph: Wikidata, service: server.Endpoint) -> None:
    assert isinstance(graph, Searchable)
    assert [match.entity for match in graph.search("Douglas Adams", "prefix", 2)] == ["wd:Q16", "wd:Q42"]
    assert graph.search("belson jane", "words", 9) == [Match("wd:Q15", 1.0)]
    assert graph.search("belsn", "letters", 9) == graph.search(" ", "words", 9) == []
    assert graph.link("") == []
    with reach(service, api="") as other:
        assert other.search("Douglas", "prefix", 9) == []


def test_link_by_label(service: server.Endpoint) -> None:
    with reach(service, api="") as graph:
        assert graph.link("Douglas Adams") == ["wd:Q42", "wd:Q16"]  # by the number of Wikipedias
        assert graph.link("spouse") == graph.suggest("Douglas") == []  # a property is no thing


@pytest.mark.parametrize(
    ("time", "precision", "text"),
    [
        ("1952-03-11T00:00:00Z", 10, "1952-03"),
        ("1955-01-01T00:00:00Z", 8, "1950s"),
        ("1900-01-01T00:00:00Z", 7, "19th century"),  # the years 1801 to 1900
        ("1901-01-01T00:00:00Z", 7, "20th century"),
        ("0211-01-01T00:00:00Z", 7, "3rd century"),
        ("1066-01-01T00:00:00Z", 6, "2nd millennium"),
        ("-13798000000-01-01T00:00:00Z", 3, "-13798000000"),
        ("2001-05-03T14:00:00Z", 12, "2001-05-03T14"),
        ("2001-05-03T14:15:16Z", 14, "2001-05-03T14:15:16"),
        ("no date", 11, "no date"),
    ],
)
def test_dates_at_their_precision(time: str, precision: int, text: str) -> None:
    assert date(time, precision) == text
