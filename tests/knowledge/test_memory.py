import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.knowledge.graph import Edge, KnowledgeGraph, follow, walk
from upright.knowledge.memory import MemoryGraph, fold

from .conftest import FACTS

NODES = st.sampled_from("ABCDE")
GRAPHS = st.lists(st.tuples(NODES, st.sampled_from("rst"), NODES), max_size=14)


def naive_walks(facts: set[tuple[str, str, str]], entity: str, hops: int) -> list[tuple[Edge, ...]]:
    """All walks by brute force, shortest first."""
    found: list[tuple[Edge, ...]] = []
    ends: list[tuple[Edge, ...]] = [()]
    for _ in range(hops):
        ends = [
            (*done, Edge(*fact)) for done in ends for fact in facts if fact[0] == (done[-1].tail if done else entity)
        ]
        found += ends
    return found


def test_facts_by_hand(graph: MemoryGraph) -> None:
    view: KnowledgeGraph = graph
    assert len(graph) == 8
    assert view.objects("France", "currency") == ("franc",)
    assert view.subjects("currency", "mark") == ("Germany",)
    assert view.relations(["France", "Paris"]) == ["capital", "country", "currency"]
    assert view.relations(["France"], "in") == ["country"]
    assert view.edges(["mark", "franc"], "code") == [
        Edge("franc", "code", "FRF"),
        Edge("mark", "code", "DEM"),
    ]
    assert view.edges(["France"], "country", "in") == [Edge("Paris", "country", "France")]
    assert (view.in_degree("France"), view.in_degree("Mali")) == (1, 0)
    assert list(view.triples("code")) == [Edge("franc", "code", "FRF"), Edge("mark", "code", "DEM")]
    assert sorted(view.triples()) == sorted(Edge(*fact) for fact in FACTS)


def test_what_is_not_there_has_no_facts(graph: MemoryGraph) -> None:
    assert "Mali" not in graph
    assert graph.objects("Mali", "capital") == graph.objects("France", "code") == graph.objects("France", "x") == ()
    assert graph.relations(["Mali"]) == []
    assert list(graph.paths("Mali", 2)) == []
    assert list(graph.triples("x")) == []
    assert len(MemoryGraph([])) == 0
    assert list(MemoryGraph([]).triples()) == []


def test_a_chain_by_hand(graph: MemoryGraph) -> None:
    assert follow(graph, "Paris", ["country", "currency", "code"]) == ("Paris", "France", "franc", "FRF")
    assert follow(graph, "Paris", ["currency"]) is None
    assert follow(MemoryGraph([("a", "r", "b"), ("a", "r", "c")]), "a", ["r"]) is None


def test_paths_by_hand(graph: MemoryGraph) -> None:
    country, capital = Edge("Paris", "country", "France"), Edge("France", "capital", "Paris")
    currency = Edge("France", "currency", "franc")
    assert list(graph.paths("Paris", 1)) == [(country,)]
    assert list(graph.paths("Paris", 2)) == [(country,), (country, capital), (country, currency)]
    assert list(graph.paths("Paris", 0)) == []


@given(GRAPHS, NODES, st.integers(0, 3))
def test_paths_are_those_of_brute_force(facts: list[tuple[str, str, str]], entity: str, hops: int) -> None:
    graph = MemoryGraph(facts)
    paths = list(graph.paths(entity, hops))
    assert sorted(paths) == sorted(naive_walks(set(facts), entity, hops))
    assert paths == list(walk(graph, entity, hops))


@given(GRAPHS, st.randoms(use_true_random=False))
def test_every_answer_is_that_of_brute_force(facts: list[tuple[str, str, str]], rng: object) -> None:
    graph, edges = MemoryGraph(facts), {Edge(*fact) for fact in facts}
    assert list(graph.triples()) == sorted(edges)
    for node in "ABCDEF":
        assert graph.in_degree(node) == sum(edge.tail == node for edge in edges)
        assert graph.relations([node]) == sorted({edge.relation for edge in edges if edge.head == node})
        assert graph.relations([node, "A"], "in") == sorted({e.relation for e in edges if e.tail in (node, "A")})
        assert (node in graph) == any(node in (edge.head, edge.tail) for edge in edges)
        for relation in "rstu":
            assert graph.objects(node, relation) == tuple(sorted(e.tail for e in edges if e[:2] == (node, relation)))
            assert graph.subjects(relation, node) == tuple(sorted(e.head for e in edges if e[1:] == (relation, node)))
            into = [e for e in sorted(edges) if e.relation == relation and e.tail in ("A", node)]
            assert graph.edges(["A", node], relation, "in") == into
    for relation in "rstu":
        assert list(graph.triples(relation)) == sorted(e for e in edges if e.relation == relation)


@pytest.fixture
def named() -> MemoryGraph:
    facts = [("Q1", "P1", "Q2"), ("Q3", "P1", "Q2"), ("Q4", "P1", "Q2"), ("Q4", "P1", "Q1")]
    labels = {"Q1": "São Tomé", "Q2": "Island", "Q3": "Georgia", "Q4": "Georgia", "P1": "kind"}
    return MemoryGraph(facts, labels, {"Q1": ("ST", "Saint Thomas"), "Q3": ("island",)})


def test_labels_and_aliases(named: MemoryGraph) -> None:
    assert named.labels(["Q1", "P1", "Q9"]) == {"Q1": "São Tomé", "P1": "kind", "Q9": "Q9"}
    assert named.aliases("Q1") == ("ST", "Saint Thomas")
    assert named.aliases("Q9") == ()


def test_link_ranks_label_before_alias_before_folded_names(named: MemoryGraph) -> None:
    assert named.link("Island") == ["Q2", "Q3"]
    assert named.link("island") == ["Q3", "Q2"]  # exactly an alias, and a label but for the case
    assert named.link("the sao tome") == named.link("Q1") == named.link("st") == ["Q1"]
    assert named.link("Georgia") == ["Q4", "Q3"]  # homonyms: the one with more facts first
    assert named.link("Atlantis") == []


def test_suggest_finds_typing_errors(named: MemoryGraph) -> None:
    assert named.suggest("Goergia") == ["Georgia"]
    assert named.suggest("Xyz") == []


@pytest.mark.parametrize(
    ("name", "folded"), [("  The U.S.A. ", "u s a"), ("A", "a"), ("Ångström", "angstrom"), ("...", "...")]
)
def test_fold(name: str, folded: str) -> None:
    assert fold(name) == folded
