"""Graphs of every kind are opened by one door, and what cannot be opened together is said in one line."""

from pathlib import Path

import pyoxigraph as rdf
import pytest

from upright.errors import UserError
from upright.knowledge.access import Access
from upright.knowledge.changes import FactChange, check_changes
from upright.knowledge.failures import GraphError
from upright.knowledge.federation import Federation
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.opening import Part, opened, parts_of, words_of
from upright.knowledge.overlay import Overlay
from upright.knowledge.sparql import Endpoint
from upright.knowledge.store import Store

from .server import serve

FAR = "http://far.example/"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "geo.tsv").write_text("Peru\tcapital\tLima\nLima\tmayor\tMuñoz\n")
    (tmp_path / "money.tsv").write_text("Peru\tcurrency\tsol\nPeru\tcode\tPE\n")
    Store.load("money.tsv", "stored", progress=False).close()
    return tmp_path


def test_plain_files_are_one_graph(folder: Path) -> None:
    with opened("geo.tsv") as one, opened(["geo.tsv", "money.tsv"]) as both:
        assert isinstance(one, MemoryGraph)
        assert one.relations(["Peru"]) == ["capital"]
        assert both.relations(["Peru"]) == ["capital", "code", "currency"]


def test_a_store_is_closed_after_the_block(folder: Path) -> None:
    with opened("stored") as graph:
        assert isinstance(graph, Store)
        assert graph.link("peru") == ["Peru"]
    assert not graph.close.alive


def test_names_keep_graphs_apart(folder: Path) -> None:
    (folder / "same.tsv").write_text("geo:Peru\tmoney:Peru\n")
    with opened(["geo=geo.tsv", "money=stored"], links=folder / "same.tsv") as graph:
        assert isinstance(graph, Federation)
        assert graph.objects("geo:Peru", "money:currency") == ("money:sol",)
        assert graph.link("Lima") == ["geo:Lima"]
        part = graph.graphs["money"]
        assert isinstance(part, Store)
    assert not part.close.alive
    with opened(["geo=geo.tsv"]) as single:
        assert single.link("Lima") == ["geo:Lima"]


def test_an_endpoint_among_files(folder: Path) -> None:
    store = rdf.Store()
    store.add(rdf.Quad(*(rdf.NamedNode(FAR + part) for part in ("Lima", "river", "Rimac"))))
    store.add(rdf.Quad(rdf.NamedNode(f"{FAR}Lima"), rdf.NamedNode(f"{FAR}is"), rdf.Literal("Lima")))
    access = Access(prefixes={"f": FAR}, cache=folder / "replies.sqlite")
    with serve(store) as host:
        with opened(f"sparql:{host.url}", access) as alone:
            assert isinstance(alone, Endpoint)
            assert alone.objects("f:Lima", "f:river") == ("f:Rimac",)
        with opened(["geo=geo.tsv", f"far=sparql:{host.url}"], access, link_by=["far:f:is=geo"]) as graph:
            assert graph.objects("geo:Lima", "far:f:river") == ("far:f:Rimac",)


def test_links_of_small_graphs_are_found_at_once(folder: Path) -> None:
    (folder / "more.tsv").write_text("Lima\tmajor\tMuñoz\nLima\triver\tRimac\n")
    with opened(["geo=geo.tsv", "more=more.tsv"], link_by=["names"]) as graph:
        assert isinstance(graph, Federation)
        assert graph.pairs == {("geo:Lima", "more:Lima"), ("geo:Muñoz", "more:Muñoz")}  # 1/2 and 1/1 neighbours


def test_a_path_wins_over_a_name_and_only_a_word_is_one(folder: Path) -> None:
    (folder / "x=geo.tsv").write_text("a\tr\tb\n")
    assert parts_of(["x=geo.tsv"]) == [Part("", "x=geo.tsv")]
    assert parts_of(["y=geo.tsv"]) == [Part("y", "geo.tsv")]
    for spec in ("sparql:http://x.org/?a=b", "C:\\graphs\\a=b.tsv", "a/b=c.tsv", "1a=b.tsv", "=b.tsv", "lab:x=y"):
        assert parts_of([spec]) == [Part("", spec)]
    assert parts_of(["my-graph_2=sparql:http://x.org/?a=b"]) == [Part("my-graph_2", "sparql:http://x.org/?a=b")]


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["geo.tsv", "sparql:http://x.org/"], r"sparql:http://x.org/: only files .* --kg a=geo.tsv --kg b=sparql"),
        (["geo.tsv", "stored"], "stored: only files are read into one graph; keep graphs apart by names"),
        (["geo.tsv", "m=money.tsv"], "geo.tsv: has no name, others have; name all graphs, as in: --kg NAME=geo.tsv"),
        (["m=geo.tsv", "m=money.tsv"], "m=money.tsv: two graphs are named m; give each its own name"),
        (["m=nowhere.tsv"], "nowhere.tsv: there is no such file or folder"),
        (["sparql:nowhere"], "sparql:nowhere: is no endpoint"),
        (["nowhere"], "there is no such file or folder"),
        ([], "no knowledge graph was given"),
    ],
)
def test_wrong_graphs_are_one_line(folder: Path, specs: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught, opened(specs):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("specs", "by", "message"),
    [
        (["geo.tsv"], ["names"], "links join graphs with names; give these"),
        (
            ["g=geo.tsv", "m=money.tsv"],
            ["name"],
            "--link-by name: graphs are g, m; give names, GRAPH:RELATION=GRAPH or",
        ),
        (["g=geo.tsv", "m=money.tsv"], ["g:capital=x"], "--link-by g:capital=x: graphs are g, m"),
        (["g=geo.tsv", "m=money.tsv"], ["x:capital=m"], r"unknown graph 'x' \(allowed: g, m\)"),
        (["g=geo.tsv", "m=money.tsv"], ["g:capitol=m"], "unknown relation of g 'capitol' .* did you mean 'capital'"),
        (["g=geo.tsv", "m=money.tsv"], ["g:capital=m:id"], "the form 'id' has 0 places {}"),
    ],
)
def test_wrong_links_are_one_line(folder: Path, specs: list[str], by: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message), opened(specs, link_by=by):
        pass


def test_the_name_of_the_target_ends_the_relation(folder: Path) -> None:
    """An IRI may hold signs of equality, and so may a form."""
    (folder / "x.tsv").write_text("a\thttp://x/?p=q\t7\n")
    (folder / "y.tsv").write_text("http://y/?id=7\tr\tb\n")
    with opened(["x=x.tsv", "y=y.tsv"], link_by=["x:http://x/?p=q=y:http://y/?id={}"]) as graph:
        assert isinstance(graph, Federation)
        assert graph.members("x:a") == ("x:a", "y:http://y/?id=7")


def test_a_graph_that_nobody_can_do_without_is_the_users_to_mend() -> None:
    error = GraphError("http://x.org: cannot be reached")
    error.add_note("upright runs resume runs/x")
    with pytest.raises(UserError, match=r"http://x.org: cannot be reached") as caught, opened("lab:atlas"):
        raise error
    assert caught.value.__notes__ == ["upright runs resume runs/x"]


# --- changes ---


def test_a_fact_behind_an_endpoint_is_changed_by_the_words_of_its_thing(folder: Path) -> None:
    store, label = rdf.Store(), rdf.NamedNode("http://www.w3.org/2000/01/rdf-schema#label")
    lima, river, rimac = (rdf.NamedNode(FAR + part) for part in ("Q1", "P1", "Q2"))
    store.add(rdf.Quad(lima, river, rimac))
    for thing, name in ((lima, "Lima"), (river, "river"), (rimac, "Rimac")):
        store.add(rdf.Quad(thing, label, rdf.Literal(name)))
    access = Access(prefixes={"f": FAR}, cache=folder / "replies.sqlite")
    change = FactChange(subject="Lima", relation="river", object="Chillon")
    with serve(store) as host, opened(f"sparql:{host.url}", access) as graph:
        words = words_of([f"sparql:{host.url}"], graph, [change])
        assert words.names == ("f:P1",)
        changed = Overlay(graph, check_changes([change], graph, words).require(), words)
        assert changed.remote
        assert changed.objects("f:Q1", "f:P1") == ("Chillon",)
        assert graph.objects("f:Q1", "f:P1") == ("f:Q2",)
        assert changed.qualifiers(changed.added[0]) == ()
        with pytest.raises(UserError, match=r"unknown relation 'rivers' \(allowed: f:P1\)"):
            check_changes([change.model_copy(update={"relation": "rivers"})], graph, words).require()


def test_the_words_of_files_hold_in_a_federation(folder: Path) -> None:
    with opened(["atlas=lab:atlas", "geo=geo.tsv"]) as graph:
        change = FactChange(subject="atlas:Peru", relation="atlas:borders", object="atlas:France")
        words = words_of(["atlas=lab:atlas", "geo=geo.tsv"], graph, [change])
        assert not words["atlas:borders"].functional
        assert words["atlas:capital"].inverse in ("", "atlas:country")
        changed = Overlay(graph, [change], words)
        assert "atlas:Peru" in changed.objects("atlas:France", "atlas:borders")  # symmetric, as its file says
        assert (
            len(changed.objects("atlas:Peru", "atlas:borders")) == len(graph.objects("atlas:Peru", "atlas:borders")) + 1
        )


def test_a_change_may_name_its_thing_by_any_of_its_ids(folder: Path) -> None:
    with opened(["geo=geo.tsv", "money=stored"]) as graph:
        assert isinstance(graph, Federation)
        joined = graph.linked(("geo:Peru", "money:Peru"))
        change = FactChange(subject="money:Peru", relation="money:currency", object="inti")
        words = words_of(["geo=geo.tsv", "money=stored"], joined, [change])
        (accepted,) = check_changes([change], joined, words).require()
        assert accepted.subject == "geo:Peru"
        assert Overlay(joined, [accepted], words).objects("geo:Peru", "money:currency") == ("inti",)
