"""What every graph answers, held against one that looks through all its facts."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upright.knowledge.changes import FactChange
from upright.knowledge.files import open_graph
from upright.knowledge.graph import Direction, Edge, KnowledgeGraph, Searchable
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.overlay import Overlay
from upright.knowledge.store import Store

from .naive import NaiveGraph

Facts = list[tuple[str, str, str]]
Names = dict[str, str]
PLAIN = [
    "A",
    "New York",
    "São Tomé",
    "12",
    "2001-05-03",
    "a/b:c?",
    "50%",
    'say "x"\\',
    "日本",
    "\N{MATHEMATICAL DOUBLE-STRUCK CAPITAL B}",
]
IDS = [*PLAIN, "http://x.org/ä", "x://no iri <>"]
RELATIONS = ["r", "s t", "http://x.org/p"]
FACTS = st.lists(st.tuples(*map(st.sampled_from, (IDS, RELATIONS, IDS))), min_size=1, max_size=16)
NAMES = st.dictionaries(st.sampled_from(IDS), st.sampled_from(["York", "A", "the a", "Tokyo é", "x_y z"]), max_size=5)
NEAR = st.lists(st.sampled_from([*IDS, "no"]))
DIRECTIONS: tuple[Direction, ...] = ("out", "in")


def write(folder: Path, facts: Facts, labels: Names, aliases: Names, descriptions: Names) -> Path:
    tables = {"facts.tsv": facts, "labels.tsv": labels, "aliases.tsv": aliases, "descriptions.tsv": descriptions}
    for name, table in tables.items():
        rows = table.items() if isinstance(table, dict) else table
        (folder / name).write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def overlaid(whole: KnowledgeGraph) -> Overlay:
    """The graph again, by changes on top of one in which each fact that is the only one of its kind is wrong."""
    single = [edge for edge in whole.triples() if len(whole.objects(edge.head, edge.relation)) == 1]
    other = [Edge(head, relation, "elsewhere") for head, relation, _ in single]
    relations = {edge.relation for edge in whole.triples()}
    names = [*IDS, *relations]
    base = MemoryGraph(
        [*set(whole.triples()).difference(single), *other],
        whole.labels(names),
        {name: whole.aliases(name) for name in names},
        whole.describe(names),
    )
    return Overlay(base, [FactChange(subject=head, relation=relation, object=tail) for head, relation, tail in single])


@settings(max_examples=60, deadline=None)
@given(facts=FACTS, labels=NAMES, aliases=NAMES, descriptions=NAMES, near=NEAR)
def test_every_answer_is_the_naive_one(
    facts: Facts, labels: Names, aliases: Names, descriptions: Names, near: list[str]
) -> None:
    naive = NaiveGraph(facts, labels, {name: (alias,) for name, alias in aliases.items()}, descriptions)
    with TemporaryDirectory() as name:
        folder = write(Path(name), facts, labels, aliases, descriptions)
        graph = open_graph(folder)
        same_answers(graph, naive, near)
        same_links(graph, naive)
        same_answers(overlaid(graph), naive, near)  # which adds up names


@settings(max_examples=25, deadline=None)  # to write a store takes a while
@given(facts=FACTS, labels=NAMES, aliases=NAMES, descriptions=NAMES, near=NEAR)
def test_a_store_answers_and_finds_the_same(
    facts: Facts, labels: Names, aliases: Names, descriptions: Names, near: list[str]
) -> None:
    naive = NaiveGraph(facts, labels, {name: (alias,) for name, alias in aliases.items()}, descriptions)
    with TemporaryDirectory() as name:
        folder = write(Path(name), facts, labels, aliases, descriptions)
        with Store.load(folder, folder / "store") as store:
            same_answers(store, naive, near)
            same_links(store, naive)
            same_searches(open_graph(folder), store)
            seen_by_sparql(store)


def same_answers(graph: KnowledgeGraph, naive: NaiveGraph, near: list[str]) -> None:
    assert list(graph.triples()) == naive.facts
    for id in [*IDS, "no", "\ud800"]:
        assert (id in graph) == (id in naive)
        assert graph.in_degree(id) == naive.in_degree(id)
        assert graph.labels([id]) == naive.labels([id])
        assert graph.describe([id]) == naive.describe([id])
        assert graph.aliases(id) == naive.aliases(id)
        assert list(graph.paths(id, 2)) == list(naive.paths(id, 2))
    same_neighbours(graph, naive, near)
    assert list(graph.triples("r")) == list(naive.triples("r"))


def same_links(graph: KnowledgeGraph, naive: NaiveGraph) -> None:
    for text in [*PLAIN, "new york", "a", "York", "tokyo e", "nobody"]:
        assert graph.link(text) == naive.link(text)


def same_neighbours(graph: KnowledgeGraph, naive: NaiveGraph, near: list[str]) -> None:
    for direction in DIRECTIONS:
        counts = graph.counts(near, direction)
        assert list(counts.items()) == list(naive.counts(near, direction).items())
        assert graph.relations(near, direction) == list(counts)
        for relation in [*counts, "none"]:
            for limit in (None, 0, 1, 2, 5):
                expected = naive.edges(near, relation, direction, limit)
                assert graph.edges(near, relation, direction, limit) == expected
            for id in near:
                assert graph.objects(id, relation) == naive.objects(id, relation)
                assert graph.subjects(relation, id) == naive.subjects(relation, id)


def same_searches(here: Searchable, there: Store) -> None:
    """On disk and in memory."""
    for text in ("york", "Tokyo", "new yrok", "tokio", "x", "x_y", "a", "12", "'\"%", "the"):
        assert here.search(text, "prefix", 3) == there.search(text, "prefix", 3)
        assert here.search(text, "letters", 3) == there.search(text, "letters", 3)
        left, right = here.search(text, "words", 5), there.search(text, "words", 5)
        assert [match.entity for match in left] == [match.entity for match in right]
        assert [m.relevance for m in left] == pytest.approx([m.relevance for m in right], abs=1e-8)


def seen_by_sparql(store: Store) -> None:
    """Every fact under its ids, beside the names, which are triples too."""
    answer = store.query("SELECT ?head ?relation ?tail { ?head ?relation ?tail }")
    assert answer.columns == ("head", "relation", "tail")
    assert sorted(row for row in answer.rows if row[1] in RELATIONS) == list(store.triples())
