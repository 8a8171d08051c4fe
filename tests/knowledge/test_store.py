import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from upright.errors import UserError
from upright.knowledge import loading
from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.graph import Edge
from upright.knowledge.store import Named, Store
from upright.run import files
from upright.run.lock import FolderLock

from .test_files import TURTLE, WORDS, table

NT = """\
<http://x.org/a> <http://x.org/r> <http://x.org/b> .
<http://x.org/a> <http://x.org/r> "12"^^<http://www.w3.org/2001/XMLSchema#integer> .
<http://x.org/a> <http://www.w3.org/2000/01/rdf-schema#label> "Anna"@en .
<http://x.org/a> <http://www.w3.org/2000/01/rdf-schema#comment> "somebody" .
<http://x.org/a> <http://schema.org/description> "eine Person"@de .
<http://x.org/a> <http://schema.org/description> "a person"@en .
"""


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder of tables."""
    folder = tmp_path / "films"
    folder.mkdir()
    table(
        folder / "facts.tsv",
        "Alien\tstars\tSigourney Weaver",
        "Alien\tyear\t1979",
        "Alien\tlength\t117",
        "1979\tis\ta year",
    )
    table(folder / "labels.tsv", "Alien\tAlien (1979)")
    table(folder / "aliases.tsv", "Alien\tThe Eighth Passenger", "Alien\tÁlien")
    table(folder / "descriptions.tsv", "Alien\tfilm by Ridley Scott")
    return folder


def test_a_store_by_hand(films: Path, tmp_path: Path) -> None:
    with Store.load(films, tmp_path / "store") as store:
        assert len(store) == 4
        assert store.objects("Alien", "stars") == ("Sigourney Weaver",)
        assert store.edges(["1979"], "year", "in") == [Edge("Alien", "year", "1979")]
        assert store.labels(["Alien", "1979"]) == {"Alien": "Alien (1979)", "1979": "1979"}
        assert store.describe(["Alien", "1979"]) == {"Alien": "film by Ridley Scott"}
        assert store.link("eighth passenger") == store.link("alien") == ["Alien"]
        assert store.suggest("Sigourny Weever") == ["Sigourney Weaver"]
        assert store.relation_counts() == {"is": 1, "length": 1, "stars": 1, "year": 1}
        assert list(store.names()) == [
            Named("Alien", "Alien (1979)", "film by Ridley Scott", ("The Eighth Passenger", "Álien"))
        ]


def test_numbers_of_tables_are_numbers_in_sparql_unless_they_are_heads(films: Path, tmp_path: Path) -> None:
    with Store.load(films, tmp_path / "store") as store:
        assert store.query("SELECT ?x { ?x :length ?n FILTER(?n > 100) }").rows == [("Alien",)]
        assert store.query("SELECT ?y { <Alien> <year> ?x . ?x <is> ?y }").rows == [("a year",)]
        assert store.query('SELECT ?x { ?x rdfs:label "Alien (1979)" ; skos:altLabel "Álien" }').rows == [("Alien",)]
        assert store.query("ASK { <Sigourney%20Weaver> ?p ?x }").rows == [("false",)]
        assert store.query("CONSTRUCT WHERE { ?x <stars> ?y }").rows == [("Alien", "stars", "Sigourney Weaver")]
        assert store.query("SELECT ?x ?z { ?x :length ?n OPTIONAL { ?n ?p ?z } }").rows == [("Alien", "")]


def test_rdf_keeps_its_terms(tmp_path: Path) -> None:
    (tmp_path / "g.nt").write_text(NT)
    with Store.load(tmp_path / "g.nt", tmp_path / "store") as store:
        assert list(store.triples()) == [
            ("http://x.org/a", "http://x.org/r", "12"),
            ("http://x.org/a", "http://x.org/r", "http://x.org/b"),
        ]
        assert store.labels(["http://x.org/a", "http://x.org/b"]) == {"http://x.org/a": "Anna", "http://x.org/b": "b"}
        assert store.describe(["http://x.org/a"]) == {"http://x.org/a": "a person"}
        assert store.query("SELECT ?x { ?x <http://x.org/r> ?n FILTER(?n + 1 = 13) }").rows == [("http://x.org/a",)]


def test_blank_nodes_have_the_same_ids_everywhere(tmp_path: Path) -> None:
    specs: list[str | Path] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "g.ttl").write_text(TURTLE, encoding="utf-8")
        specs.append(tmp_path / name)
    graph = open_graph(specs)
    mayors = "http://x.org/Saint_%C3%89tienne", "http://x.org/mayor"
    assert graph.objects(*mayors) == ("_:g.ttl/1", "_:g.ttl~2/1")  # two files, so two nodes
    with Store.load(specs, tmp_path / "store") as store:
        assert list(store.triples()) == list(graph.triples())
        found = store.query("SELECT ?x { ?x <http://x.org/name> 'M' } ORDER BY ?x").rows
        assert found == [("_:g.ttl/1",), ("_:g.ttl~2/1",)]


def test_symmetric_relations_are_mirrored_and_words_are_kept(tmp_path: Path) -> None:
    (tmp_path / "lands").mkdir()
    table(tmp_path / "lands" / "a.tsv", "France\tborders\tSpain")
    (tmp_path / "lands" / "relations.toml").write_text(WORDS)
    with Store.load(tmp_path / "lands", tmp_path / "store") as store:
        assert store.objects("Spain", "borders") == ("France",)
        assert store.query("SELECT ?x { <Spain> <borders> ?x }").rows == [("France",)]
        assert open_relations(tmp_path / "store", store)["borders"].symmetric


def test_stores_and_files_become_one_graph(films: Path, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "more.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("Aliens\tafter\tAlien\n")
    Store.load(films, tmp_path / "first").close()
    specs: list[str | Path] = [tmp_path / "first", tmp_path / "more.tsv.gz"]
    whole = open_graph(specs)
    with Store.load(specs, tmp_path / "second") as store:
        for graph in (whole, store):
            assert len(list(graph.triples())) == 5
            assert graph.labels(["Alien"]) == {"Alien": "Alien (1979)"}
            assert graph.aliases("Alien") == ("The Eighth Passenger", "Álien")
            assert graph.describe(["Alien"]) == {"Alien": "film by Ridley Scott"}
        assert store.query("SELECT ?n { <Aliens> <after> ?x . ?x <length> ?n }").rows == [("117",)]


def test_a_store_is_opened_by_its_folder(films: Path, tmp_path: Path) -> None:
    Store.load(films, tmp_path / "store").close()
    graph = open_graph(tmp_path / "store")
    assert isinstance(graph, Store)
    assert graph.link("Alien") == ["Alien"]
    with pytest.raises(UserError, match=r"films: is no stored graph; make one with: upright kg load FILES --out"):
        Store(films)
    record = files.read_json(tmp_path / "store" / "store.json")
    files.write_json(tmp_path / "store" / "store.json", {**record, "format": 0})
    with pytest.raises(UserError, match=r"was stored in format 0, this version reads 1; load it anew"):
        open_graph(tmp_path / "store")


def test_a_bad_line_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "g.nt").write_text(NT + "<http://x.org/a> <http://x.org/r> .\n")
    with pytest.raises(UserError, match=r"g\.nt:7: .*mend the line"):
        Store.load(tmp_path / "g.nt", tmp_path / "store")
    table(tmp_path / "empty.tsv", "")
    with pytest.raises(UserError, match=r"empty\.tsv: no facts to load"):
        Store.load(tmp_path / "empty.tsv", tmp_path / "store")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.tsv", "g.nt"]


def test_only_a_store_is_replaced_and_only_when_asked(films: Path, tmp_path: Path) -> None:
    Store.load(films, tmp_path / "store").close()
    with pytest.raises(UserError, match=r"store: is there already; give --overwrite to replace it"):
        Store.load(films, tmp_path / "store")
    with pytest.raises(UserError, match=r"films: is there already; give a folder that is not there yet"):
        Store.load(films, films, overwrite=True)
    table(films / "facts.tsv", "Aliens\tafter\tAlien")
    with Store.load(films, tmp_path / "store", overwrite=True) as store:
        assert len(store) == 1
    table(films / "facts.tsv", "bad")
    with pytest.raises(UserError, match=r"facts\.tsv:1"):
        Store.load(films, tmp_path / "store", overwrite=True)
    with Store(tmp_path / "store") as store:
        assert len(store) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["films", "store"]


def test_two_loads_do_not_mix(films: Path, tmp_path: Path) -> None:
    (tmp_path / ".store.part").mkdir()
    lock = FolderLock(tmp_path / ".store.part")
    lock.take()
    with pytest.raises(UserError, match="another process is writing"):
        Store.load(films, tmp_path / "store")
    assert (tmp_path / ".store.part").exists()
    lock.release()
    with Store.load(films, tmp_path / "store") as store:
        assert len(store) == 4


KILLED = """
import os, signal, sys
from upright.knowledge import loading
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
setattr(loading, sys.argv[1], die)
loading.load(sys.argv[2], loading.Path(sys.argv[3]), False, False)
"""


@pytest.mark.parametrize("step", ["_save_names", "_save_triples", "write_json"])
def test_a_killed_load_leaves_nothing_that_opens_and_can_be_repeated(films: Path, tmp_path: Path, step: str) -> None:
    argv = [sys.executable, "-c", KILLED, step, str(films), str(tmp_path / "store")]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": SRC})
    assert done.returncode == -signal.SIGKILL, done.stderr
    with pytest.raises(UserError, match="is no stored graph"):
        Store(tmp_path / "store")
    with pytest.raises(UserError, match="is no stored graph"):
        Store(tmp_path / ".store.part")
    with Store.load(films, tmp_path / "store") as store:
        assert len(store) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["films", "store"]


SRC = str(Path(loading.__file__).parents[2])


def test_every_byte_of_the_files_moves_the_bar(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with gzip.open(films / "more.tsv.gz", "wt", encoding="utf-8") as file:
        file.writelines(f"film {number}\tafter\tAlien\n" for number in range(2000))
    seen: dict[str, list[int]] = {}
    monkeypatch.setattr(loading, "show_progress", recorder(seen))
    Store.load(films, tmp_path / "store").close()
    total = sum((films / name).stat().st_size for name in ("facts.tsv", "more.tsv.gz"))
    assert {name: (first, sum(rest)) for name, (first, *rest) in seen.items()} == {
        "reading (bytes)": (total, total),
        "storing (bytes)": (total, total),
    }


def recorder(seen: dict[str, list[int]]) -> Callable[..., object]:
    """Bars that note their total and every advance."""
    from contextlib import contextmanager
    from types import SimpleNamespace

    @contextmanager
    def bar(description: str, total: int):  # type: ignore[no-untyped-def]
        notes = seen.setdefault(description, [total])
        yield SimpleNamespace(advance=notes.append)

    return bar


def test_a_hub_of_many_facts(tmp_path: Path) -> None:
    facts = [f"n{number}\tin\thub" for number in range(20_000)] + [f"hub\thas\tn{number}" for number in range(3)]
    table(tmp_path / "g.tsv", *facts)
    with Store.load(tmp_path / "g.tsv", tmp_path / "store") as store:
        assert store.counts(["hub"], "in") == {"in": 20_000}
        assert store.edges(["hub"], "in", "in", 2) == [Edge("n0", "in", "hub"), Edge("n1", "in", "hub")]
        assert len(store.edges(["hub"], "in", "in")) == store.in_degree("hub") == 20_000
        assert [match.entity for match in store.search("n", "prefix", 3)] == ["n0", "n1", "n2"]  # they have two facts


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT ?x { ?x <y> <z> ", r"the query is not SPARQL 1\.1 at line 1, column \d+, after 'SELECT \?x \{"),
        ("SELECT ?x {\n <New York> ?y ?x }", r"line 2, column \d+, .*; in <…> write %20 for a space"),
        ("", r"line 1, column 1, after ''; mend it there"),
        ("INSERT DATA { <a> <b> <c> }", "is not SPARQL"),
    ],
)
def test_a_bad_query_is_one_line(films: Path, tmp_path: Path, query: str, message: str) -> None:
    with Store.load(films, tmp_path / "store") as store, pytest.raises(UserError, match=message) as caught:
        store.query(query)
    assert "\n" not in str(caught.value)
