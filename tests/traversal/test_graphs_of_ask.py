"""`upright ask` over endpoints and over several graphs: a trained actor asks real servers, some of which go away."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pyoxigraph as rdf
import pytest

from tests.knowledge.server import Endpoint, Fault, serve
from upright.errors import UserError
from upright.knowledge.access import Access
from upright.knowledge.failures import GraphError
from upright.knowledge.federation import Federation, readers
from upright.knowledge.memory import MemoryGraph
from upright.lab import world
from upright.models.chat.config import ChatConfig, ChatSpeed
from upright.run.files import read_json, read_jsonl
from upright.run.folder import open_run
from upright.traversal import golds, learner
from upright.traversal.config import AskSpeed, Config, Learn
from upright.traversal.graphs import graph_of, link_metrics
from upright.traversal.machine import Machine, Rules
from upright.traversal.questions import Question, write_questions
from upright.traversal.record import replay
from upright.traversal.replies import Searched
from upright.traversal.runner import Result, run
from upright.traversal.seeds import seeds_of
from upright.traversal.state import Step

QUESTION = "Which currency is used in the country whose capital is Lima?"
LAB = "http://lab.example/"
LABEL = rdf.NamedNode("http://www.w3.org/2000/01/rdf-schema#label")


def facts(*relations: str, without: bool = False) -> list[tuple[str, str, str]]:
    """Those facts of the atlas that are of these relations, or of no one of them."""
    rows = (line.split("\t") for line in (world("atlas") / "facts.tsv").read_text(encoding="utf-8").splitlines())
    return [(h, r, t) for h, r, t in rows if (r in relations) != without]


def stored(rows: list[tuple[str, str, str]]) -> rdf.Store:
    """The facts as linked data, with labels."""
    store = rdf.Store()
    for row in rows:
        terms = [rdf.NamedNode(LAB + quote(name)) for name in row]
        store.add(rdf.Quad(*terms))
        for term, name in zip(terms, row, strict=True):
            store.add(rdf.Quad(term, LABEL, rdf.Literal(name)))
    return store


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Endpoint, Endpoint]]:
    """The atlas behind an endpoint, and behind another its currencies alone."""
    with serve(stored(facts("", without=True))) as whole, serve(stored(facts("currency"))) as money:
        yield whole, money


@pytest.fixture
def atlas(hosts: tuple[Endpoint, Endpoint]) -> Endpoint:
    for host in hosts:
        host.rest()
    return hosts[0]


@pytest.fixture
def money(hosts: tuple[Endpoint, Endpoint], atlas: Endpoint) -> Endpoint:
    return hosts[1]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        question=QUESTION,
        kg=["lab:atlas"],
        chat=ChatConfig(model="lab:traveller", speed=ChatSpeed(cache=tmp_path / "cache")),
        access=Access(prefixes={"lab": LAB}, cache=tmp_path / "replies.sqlite", retries=0),
        speed=AskSpeed(device="cpu", questions=1),
        out=tmp_path / "run",
    )


@pytest.fixture
def parts(tmp_path: Path) -> list[str]:
    """The atlas in two files: what lies where, and the rest."""
    for name, rows in (("places", facts("capital", "country")), ("rest", facts("capital", "country", without=True))):
        (tmp_path / f"{name}.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return [f"places={tmp_path / 'places.tsv'}", f"rest={tmp_path / 'rest.tsv'}"]


def asked(config: Config, **changes: Any) -> Result:
    if config.out is not None and config.out.exists():
        shutil.rmtree(config.out)
    return run(Config.model_validate({**config.model_dump(), **changes}))


def goes_away(host: Endpoint, after: int) -> None:
    """Be gone after so many requests."""
    host.rest()
    host.faults.extend([None] * after + [Fault(404)] * 999)  # type: ignore[arg-type]


def failures(config: Config) -> list[dict[str, Any]]:
    assert config.out is not None
    path = config.out / "failures.jsonl"
    return read_jsonl(path) if path.exists() else []


# --- an endpoint ---


def test_an_endpoint_answers_as_the_files_do(config: Config, atlas: Endpoint, tmp_path: Path) -> None:
    far = asked(config, kg=[f"sparql:{atlas.url}"]).answers[0]
    assert far.answer == ("Peruvian sol",)
    assert far.status == "answered"
    assert far.grounded
    assert far.evidence[-1] == ("lab:Peru", "lab:currency", "lab:Peruvian%20sol")
    assert asked(config).answers[0].answer == far.answer
    queries = len(atlas.queries)
    assert asked(config, kg=[f"sparql:{atlas.url}"]).answers[0].evidence == far.evidence
    assert len(atlas.queries) == queries  # replies are kept
    assert asked(config, kg=[f"sparql:{atlas.url}"]).labels["lab:Peruvian%20sol"] == "Peruvian sol"


def test_a_changed_fact_holds_over_an_endpoint(config: Config, atlas: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "changes.jsonl").write_text(json.dumps({"subject": "Peru", "relation": "currency", "object": "inti"}))
    far = [f"sparql:{atlas.url}"]
    changed = asked(config, kg=far, changes=tmp_path / "changes.jsonl").answers[0]
    assert changed.answer == ("inti",)
    assert changed.evidence[-1] == ("lab:Peru", "lab:currency", "inti")
    assert asked(config, kg=far).answers[0].answer == ("Peruvian sol",)


def test_a_server_that_goes_away_ends_questions_but_not_the_run(
    config: Config, atlas: Endpoint, tmp_path: Path
) -> None:
    """With no replies kept, the server is up for the first question alone: later ones end, and labels are ids."""
    questions = [
        Question(id=str(n), question=text) for n, text in enumerate([QUESTION, "What is the capital of Chad?"])
    ]
    write_questions(tmp_path / "questions.jsonl", questions)
    access = config.access.model_copy(update={"cache_hours": 0.0})
    many = {"question": None, "questions": tmp_path / "questions.jsonl", "kg": [f"sparql:{atlas.url}"]}
    asked(config, kg=[f"sparql:{atlas.url}"], access=access)
    first = len(atlas.queries) - 1  # the last one is for the labels of the report
    goes_away(atlas, first)
    result = asked(config, **many, access=access)
    good, gone = result.answers
    assert (good.status, good.answer) == ("answered", ("Peruvian sol",))
    assert (gone.status, gone.answer, gone.calls) == ("error", (), 0)
    assert gone.reason == f"the graph did not answer: {atlas.url}: answered 404 (nothing)"
    assert result.labels["lab:Peru"] == "lab:Peru"
    (failure,) = failures(config)
    assert (failure["stage"], failure["reason"]) == ("labels", f"{atlas.url}: answered 404 (nothing)")
    assert [row["id"] for row in read_jsonl(tmp_path / "run" / "answers.jsonl")] == ["0", "1"]
    records = read_jsonl(tmp_path / "run" / "searches.jsonl")
    assert [replay(row["rows"]).status for row in records] == ["answered", "error"]
    assert replay(records[1]["rows"]).reason == gone.reason


def test_a_server_that_goes_away_in_the_middle_of_a_search(config: Config, atlas: Endpoint) -> None:
    access = config.access.model_copy(update={"cache_hours": 0.0})
    far = [f"sparql:{atlas.url}"]
    asked(config, kg=far, access=access)
    count = len(atlas.queries)
    for up in (count // 2, 3 * count // 4):
        goes_away(atlas, up)
        reply = asked(config, kg=far, access=access).answers[0]
        assert reply.seeds == ("lab:Lima",)
        assert reply.notes[-1] == f"the graph did not answer: {atlas.url}: answered 404 (nothing)"
        known = {(f"lab:{h}", f"lab:{r}", f"lab:{t}") for h, r, t in facts("", without=True)}
        assert {tuple(map(unquote, edge)) for edge in reply.evidence} <= known


def test_a_server_that_was_never_there(config: Config) -> None:
    reply = asked(config, kg=["sparql:http://127.0.0.1:1"]).answers[0]
    assert reply.status == "error"
    assert reply.reason.startswith("the graph did not answer: http://127.0.0.1:1: cannot be reached")


# --- several graphs ---


def test_a_question_of_two_graphs_needs_their_links(config: Config, parts: list[str], tmp_path: Path) -> None:
    """Lima lies in Peru in one graph, Peru has its currency in the other."""
    countries = sorted({country for country, *_ in facts("currency")})
    (tmp_path / "same.tsv").write_text("".join(f"places:{c}\trest:{c}\n" for c in countries), encoding="utf-8")
    result = asked(config, kg=parts, links=tmp_path / "same.tsv")
    reply = result.answers[0]
    assert reply.answer == ("Peruvian sol",)
    assert reply.evidence[-1] == ("places:Peru", "rest:currency", "rest:Peruvian sol")
    assert reply.notes == ()
    assert {m.name: m.value for m in result.metrics}["links declared"] == len(countries)
    assert str(tmp_path / "same.tsv") in read_json(tmp_path / "run" / "manifest.json")["inputs"]
    assert "Peruvian sol" not in asked(config, kg=parts).answers[0].answer


def test_links_found_on_the_way_to_an_endpoint_are_told(config: Config, money: Endpoint, tmp_path: Path) -> None:
    """Peru here and Peru there share no neighbour, so a relation tells which is which."""
    rows = facts("capital", "country")
    rows += [(land, "page", LAB + quote(land)) for land in sorted({row[0] for row in facts("currency")})]
    (tmp_path / "places.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    kg = [f"places={tmp_path / 'places.tsv'}", f"money=sparql:{money.url}"]
    result = asked(config, kg=kg, link_by=["places:page=money"])
    reply = result.answers[0]
    assert reply.answer == ("Peruvian sol",)
    assert reply.notes == ("rests on 1 link by places:page=money, such as places:Peru = money:lab:Peru",)
    found = {(m.name, m.split): m.value for m in result.metrics}
    assert found["links declared", "all"] == 0
    assert (found["links found", "places:page=money"] or 0) >= 1
    assert config.out is not None
    (record,) = read_jsonl(config.out / "searches.jsonl")
    again = config.model_copy(update={"kg": kg, "link_by": ["places:page=money"]})
    with graph_of(again) as graph:  # as a resumed run does, which searches for nothing
        metrics = link_metrics(graph, [Searched(reply=reply, rows=record["rows"])])
    assert {(m.name, m.split): m.value for m in metrics}.items() <= found.items()


def test_an_answer_says_which_graph_was_missing(config: Config, parts: list[str]) -> None:
    kg = ["atlas=lab:atlas", "far=sparql:http://127.0.0.1:1"]
    reply = asked(config, kg=kg).answers[0]
    assert reply.answer == ("Peruvian sol",)
    (note,) = reply.notes
    assert note.startswith("far: http://127.0.0.1:1: cannot be reached")
    assert failures(config) == []  # the labels that were asked for are all of the other graph


# --- numbers ---


SIZES = Federation(
    {
        "a": MemoryGraph(
            [("Lima", "country", "Peru"), ("Cusco", "country", "Peru"), ("Lima", "founded", "1535-01-18")]
        ),
        "b": MemoryGraph([("m1", "people", "10,000,000"), ("m2", "people", "428,450")], {"m1": "Lima", "m2": "Cusco"}),
    },
    [("a:Lima", "b:m1"), ("a:Cusco", "b:m2")],
)


def test_superlatives_and_counts_go_over_both_graphs() -> None:
    machine = Machine(SIZES, Rules(), *readers(SIZES))
    state = machine.start("Which is the largest city of Peru?", seeds_of(SIZES, Question(id="1", question="Peru?")))
    for text in ("EXPAND_KG", "#1", "~country"):
        state = machine.apply(state, machine.parse(state, text))
    assert machine.superlatives(("a:Cusco", "a:Lima")) == [
        ("first", "founded"),
        ("last", "founded"),
        ("largest", "people"),
        ("smallest", "people"),
    ]
    answers = {}
    for form in ("largest #2 by people", "smallest #2 by people", "first #2 by founded", "count #2"):
        answer = machine.apply(state, machine.parse(state, f"ANSWER {form}")).answer
        assert answer is not None
        answers[form] = answer.labels
    assert list(answers.values()) == [("Lima",), ("Cusco",), ("Lima",), ("2",)]


# --- seeds and golds ---


def test_a_name_of_two_graphs_is_two_seeds_until_they_are_linked() -> None:
    one = MemoryGraph([("Lima", "country", "Peru")])
    question = Question(id="1", question="Where is Lima?")
    apart = Federation({"a": one, "b": one})
    assert seeds_of(apart, question) == ("a:Lima", "b:Lima")
    assert seeds_of(apart.linked(("a:Lima", "b:Lima")), question) == ("a:Lima",)
    assert seeds_of(apart, question.model_copy(update={"seeds": ("Peru", "b:Lima")})) == ("a:Peru", "b:Peru", "b:Lima")
    joined = apart.linked(("a:Lima", "b:Lima"))
    assert seeds_of(joined, question.model_copy(update={"seeds": ("b:Lima",)})) == ("a:Lima",)  # as edges call it


def test_gold_paths_go_over_both_graphs(tmp_path: Path) -> None:
    questions = [
        Question(id="1", question="How many people live in Lima?", answer=("10,000,000",)),
        Question(id="2", question="How many cities has Peru?", answer=("2",)),
        Question(id="3", question="What lies in Peru?", answer=("Lima", "Cusco")),
    ]
    config = Learn(lessons=1, kg=["x"], out=tmp_path / "run")
    with (
        pytest.raises(RuntimeError, match="ended without"),
        open_run(config, verb="ask learn") as folder,
    ):  # as we leave
        found = {gold.id: gold for gold in golds.find(config, folder, SIZES, questions)}
    assert found["1"].path == (Step("b:people"),)
    assert not found["1"].counted
    assert found["2"].path == (Step("a:country", "in"),)
    assert found["2"].counted
    assert found["3"].path == (Step("a:country", "in"),)


def test_learning_from_a_graph_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    write_questions(tmp_path / "q.jsonl", [Question(id="1", question="Where is Lima?", answer=("Peru",))])
    config = Learn(
        questions=tmp_path / "q.jsonl",
        kg=["sparql:http://127.0.0.1:1"],
        access=Access(retries=0, cache=tmp_path / "replies.sqlite"),
        out=tmp_path / "run",
    )
    with pytest.raises(UserError, match="cannot be reached") as caught:
        learner.run(config)
    assert isinstance(caught.value.__cause__, GraphError)
    with pytest.raises(UserError, match="--lessons are made from the words of one graph in files"):
        learner.run(config.model_copy(update={"questions": None, "lessons": 5}))
