import gzip
from pathlib import Path

import pytest

from upright.errors import UserError
from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.graph import Edge

TURTLE = """
@prefix : <http://x.org/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
:f :capital :p ; rdfs:label "Frankreich"@de , "France"@en , "Frankrike"@sv .
:f skos:altLabel "La France"@fr ; :area 551695 .
:Saint_%C3%89tienne :in :f ; :mayor [ :name "M" ] .
"""

WORDS = """
[relations.borders]
functional = false
symmetric = true
nouns = ["a neighbour of {}", "a land next to {}", "a land beside {}"]
statements = ["A neighbour of {} is", "{} borders", "{} touches"]
questions = ["What borders {}?", "What touches {}?", "Which land is next to {}?"]
"""


def table(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_a_folder_of_tables(tmp_path: Path) -> None:
    table(tmp_path / "a.tsv", "head\trelation\ttail", "France\tcapital\tParis", "", "Mali\tcapital\t Bamako")
    table(tmp_path / "b.tsv", "France\tborders\tSpain", "France\tcapital\tParis")
    table(tmp_path / "aliases.tsv", "France\tFrankreich", "France\tFR")
    table(tmp_path / "labels.tsv", "Mali\tRepublic of Mali")
    table(tmp_path / "README.md", "not a table")
    (tmp_path / "relations.toml").write_text(WORDS)
    graph = open_graph(tmp_path)
    assert list(graph.triples("borders")) == [
        Edge("France", "borders", "Spain"),
        Edge("Spain", "borders", "France"),
    ]
    assert list(graph.triples("capital")) == [
        Edge("France", "capital", "Paris"),
        Edge("Mali", "capital", "Bamako"),
    ]
    assert graph.link("fr") == ["France"]
    assert graph.labels(["Mali"]) == {"Mali": "Republic of Mali"}


def test_words_of_a_folder_and_plain_ones_for_the_rest(tmp_path: Path) -> None:
    table(tmp_path / "a.tsv", "France\tborders\tSpain", "France\tseatOf\tParis")
    (tmp_path / "relations.toml").write_text(WORDS)
    relations = open_relations(tmp_path, open_graph(tmp_path))
    assert not relations["borders"].functional
    assert relations.noun_phrase(["seatOf"], "Mali").text == "the seat of Mali"
    assert not relations.is_generic
    (tmp_path / "relations.toml").unlink()
    assert open_relations(tmp_path, open_graph(tmp_path)).is_generic


def test_a_relation_may_have_any_name(tmp_path: Path) -> None:
    table(tmp_path / "a.tsv", "France\tbor{d}ers\tSpain")
    plain = open_relations(tmp_path, open_graph(tmp_path))
    assert plain.noun_phrase(["bor{d}ers"], "Mali").text == "the bor d ers of Mali"
    (tmp_path / "relations.toml").write_text(WORDS.replace("[relations.borders]", '[relations."bor{d}ers"]'))
    assert "bor{d}ers" in open_relations(tmp_path, open_graph(tmp_path))


def test_turtle(tmp_path: Path) -> None:
    path = tmp_path / "g.ttl"
    path.write_text(TURTLE, encoding="utf-8")
    graph = open_graph(path)
    assert graph.objects("http://x.org/f", "http://x.org/capital") == ("http://x.org/p",)
    assert graph.objects("http://x.org/f", "http://x.org/area") == ("551695",)
    assert graph.objects("_:g.ttl/1", "http://x.org/name") == ("M",)
    assert len(graph) == 5
    names = graph.labels(["http://x.org/f", "http://x.org/p", "http://x.org/Saint_%C3%89tienne", "http://x.org/mayor"])
    assert list(names.values()) == ["France", "p", "Saint Étienne", "mayor"]
    assert graph.link("la france") == ["http://x.org/f"]


def test_ntriples_and_compressed_files(tmp_path: Path) -> None:
    triples = b"<http://x.org/a> <http://x.org/r> <http://x.org/b> .\n"
    (tmp_path / "g.nt.gz").write_bytes(gzip.compress(triples))
    (tmp_path / "h.tsv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfa\tr\tb\r\n"))
    graph = open_graph(tmp_path)
    assert list(graph.triples()) == [("a", "r", "b"), ("http://x.org/a", "http://x.org/r", "http://x.org/b")]


def test_several_graphs_are_merged(tmp_path: Path) -> None:
    specs: list[str | Path] = []
    for name, fact in (("one", "a\tr\tb"), ("two", "b\tr\tc")):
        (tmp_path / name).mkdir()
        specs.append(table(tmp_path / name / "facts.txt", fact))
        table(tmp_path / name / "labels.tsv", f"b\tB of {name}")
    graph = open_graph(specs)
    assert [path[-1].tail for path in graph.paths("a", 2)] == ["b", "c"]
    assert graph.labels(["b"]) == {"b": "B of one"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("g.tsv", b"a\tr\tb\na\tr\n", r"g\.tsv:2: got 'a\\tr'; give head<TAB>relation<TAB>tail"),
        ("g.tsv", b"a\t\tb\n", r"g\.tsv:1: got 'a\\t\\tb'"),
        ("g.tsv", b"a\tr\tb\n\n\xe9\tr\tb\n", r"g\.tsv:3: is not UTF-8"),
        ("g.tsv.gz", b"no gzip", r"g\.tsv\.gz: cannot be read"),
        ("g.ttl", b"<http://a> <http://b> <http://c> .\n<http://a> b .\n", r"g\.ttl:2: .*mend the line"),
        ("g.nt", b"<http://a> <http://b> .\n", r"g\.nt:1: "),
        ("g.csv", b"a,r,b\n", r"g\.csv: the kind of file is not known; give a folder"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_graph(tmp_path / name)


def test_bad_specs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder; give a folder"):
        open_graph(tmp_path / "none.tsv")
    with pytest.raises(UserError, match="holds no facts"):
        open_graph(tmp_path)
    with pytest.raises(UserError, match="SPARQL endpoints cannot be read into memory; give"):
        open_graph("sparql:https://example.org/sparql")
    with pytest.raises(UserError, match="no knowledge graph was given"):
        open_graph([])


def test_a_lab_world_is_opened_by_name() -> None:
    graph = open_graph("lab:atlas")
    relations = open_relations("lab:atlas", graph)
    assert not relations.is_generic
    assert set(relations.names) == set(graph.relation_ids)
    assert graph.objects("France", "capital") == ("Paris",)
    for head, _, tail in graph.triples("borders"):
        assert head in graph.objects(tail, "borders")
