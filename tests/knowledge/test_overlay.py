from hypothesis import given
from hypothesis import strategies as st

from upright.knowledge.changes import FactChange
from upright.knowledge.graph import Edge, KnowledgeGraph, follow
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.overlay import Overlay
from upright.knowledge.relations import Relations

from .test_memory import GRAPHS, NODES


def change(subject: str, relation: str, tail: str) -> FactChange:
    return FactChange(subject=subject, relation=relation, object=tail)


CHANGES = st.lists(st.builds(change, NODES, st.sampled_from("rst"), NODES), max_size=6)


def test_a_change_replaces_the_object_and_chains_follow(graph: MemoryGraph, relations: Relations) -> None:
    view: KnowledgeGraph = Overlay(graph, [change("France", "currency", "mark")], relations)
    assert view.objects("France", "currency") == ("mark",)
    assert view.subjects("currency", "mark") == ("France", "Germany")
    assert view.subjects("currency", "franc") == ()
    assert (view.in_degree("mark"), view.in_degree("franc")) == (2, 0)
    assert follow(view, "Paris", ["country", "currency", "code"]) == ("Paris", "France", "mark", "DEM")
    assert follow(graph, "Paris", ["country", "currency", "code"]) == ("Paris", "France", "franc", "FRF")


def test_difference_by_hand(graph: MemoryGraph, relations: Relations) -> None:
    view = Overlay(graph, [change("France", "currency", "mark"), change("mark", "code", "DEM")], relations)
    assert view.added == (Edge("France", "currency", "mark"),)
    assert view.removed == (Edge("France", "currency", "franc"),)


def test_new_objects_are_linked(graph: MemoryGraph, relations: Relations) -> None:
    view = Overlay(graph, [change("France", "currency", "New Franc")], relations)
    assert "New Franc" in view
    assert view.link("new franc") == ["New Franc"]
    assert view.relations(["New Franc"], "in") == ["currency"]
    assert view.link("Paris") == ["Paris"]
    assert view.suggest("Pariss") == ["Paris"]


def test_a_capital_lies_in_its_country_and_the_old_one_still_does(graph: MemoryGraph, relations: Relations) -> None:
    view = Overlay(graph, [change("France", "capital", "Lyon")], relations)
    assert view.objects("Lyon", "country") == ("France",)
    assert view.objects("Paris", "country") == ("France",)
    moved = Overlay(graph, [change("France", "capital", "Berlin")], relations)
    assert moved.objects("Berlin", "country") == ("France",)  # functional, so Germany goes
    assert moved.objects("Germany", "capital") == ("Berlin",)


def test_inverses_that_name_each_other_go_together(relations: Relations) -> None:
    graph = MemoryGraph([("a", "parent", "b"), ("b", "child", "a")])
    view = Overlay(graph, [change("a", "parent", "c")], relations)
    assert list(view.triples()) == [
        ("a", "parent", "b"),
        ("a", "parent", "c"),
        ("b", "child", "a"),
        ("c", "child", "a"),
    ]
    words = relations.relations["parent"].model_copy(update={"functional": True})
    one_parent = relations.model_copy(update={"relations": {**relations.relations, "parent": words}})
    view = Overlay(graph, [change("a", "parent", "c")], one_parent)
    assert list(view.triples()) == [("a", "parent", "c"), ("c", "child", "a")]


def test_a_symmetric_functional_relation_parts_both_couples(relations: Relations) -> None:
    couples = [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]
    graph = MemoryGraph((head, "spouse", tail) for head, tail in couples)
    view = Overlay(graph, [change("a", "spouse", "c")], relations)
    assert list(view.triples()) == [("a", "spouse", "c"), ("c", "spouse", "a")]


def test_many_valued_relations_add(relations: Relations) -> None:
    graph = MemoryGraph([("a", "borders", "b"), ("b", "borders", "a")])
    view = Overlay(graph, [change("a", "borders", "c")], relations)
    assert view.objects("a", "borders") == ("b", "c")
    assert view.objects("c", "borders") == ("a",)


def test_what_was_asked_for_holds_against_what_follows(graph: MemoryGraph, relations: Relations) -> None:
    asked = [change("Lyon", "country", "Germany"), change("France", "capital", "Lyon")]
    for changes in (asked, asked[::-1]):
        view = Overlay(graph, changes, relations)
        assert view.objects("Lyon", "country") == ("Germany",)
        assert view.objects("France", "capital") == ("Lyon",)


def test_the_later_of_two_changes_holds(graph: MemoryGraph) -> None:
    view = Overlay(graph, [change("France", "capital", "Lyon"), change("France", "capital", "Nice")])
    assert view.objects("France", "capital") == ("Nice",)
    assert "Lyon" not in view


def answers(graph: KnowledgeGraph) -> list[object]:
    """Everything a graph says about a few nodes."""
    said: list[object] = [list(graph.triples()), [list(graph.triples(relation)) for relation in "rstu"]]
    for node in "ABCDEF":
        said += [node in graph, graph.in_degree(node), graph.link(node), list(graph.paths(node, 3))]
        said += [graph.relations([node]), graph.relations([node], "in")]
        for relation in "rstu":
            said += [graph.objects(node, relation), graph.subjects(relation, node)]
            said += [graph.edges([node, "A"], relation), graph.edges([node, "A"], relation, "in")]
    return said


@given(GRAPHS)
def test_without_changes_the_overlay_is_the_graph(facts: list[tuple[str, str, str]]) -> None:
    graph = MemoryGraph(facts)
    assert answers(Overlay(graph, [])) == answers(graph)


@given(GRAPHS, CHANGES)
def test_an_overlay_is_the_graph_of_the_changed_facts(
    facts: list[tuple[str, str, str]], changes: list[FactChange]
) -> None:
    base = MemoryGraph(facts)
    before = answers(base)
    last = {(one.subject, one.relation): one.object for one in changes}
    changed = {fact for fact in facts if fact[:2] not in last} | {(*key, tail) for key, tail in last.items()}
    view = Overlay(base, changes)
    assert answers(view) == answers(MemoryGraph(changed))
    assert answers(base) == before
