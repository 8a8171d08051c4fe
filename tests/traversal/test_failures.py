"""What a user of `upright ask` meets when a server, a graph or a question fails: the run goes on, and it is told."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.models.chat.server import Server
from tests.traversal.scripted import FACTS
from tests.traversal.served import QUESTIONS, asking, knowing, replying, write_world
from upright.cli import main
from upright.errors import UserError
from upright.knowledge.failures import GraphError
from upright.knowledge.graph import Direction, Edge, KnowledgeGraph
from upright.knowledge.memory import MemoryGraph
from upright.run.files import read_jsonl
from upright.traversal import runner
from upright.traversal.config import BudgetConfig, Config, SearchConfig
from upright.traversal.record import replay
from upright.traversal.replies import Reply
from upright.traversal.runner import run

CHAIN = SearchConfig(samples=1)


@pytest.fixture(autouse=True)
def keyless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def replies(config: Config) -> dict[str, Reply]:
    """Of a run, as they stand in answers.jsonl, each checked against the record of its search."""
    run(config)
    assert config.out is not None
    found = [Reply.model_validate(row) for row in read_jsonl(config.out / "answers.jsonl")]
    records = {row["id"]: replay(row["rows"]) for row in read_jsonl(config.out / "searches.jsonl")}
    assert [reply.id for reply in found] == list(records)
    for reply in found:
        assert (reply.status, reply.reason) == (records[reply.id].status, records[reply.id].reason)
        assert (reply.answer, reply.score, reply.calls) == (
            records[reply.id].labels,
            records[reply.id].value,
            records[reply.id].calls,
        )
    return {reply.id: reply for reply in found}


def calls_of(server: Server, question: str) -> int:
    return sum(f"Question: {question}" in request["messages"][-1]["content"] for request in server.requests)


# --- the server ---


def test_all_is_well(tmp_path: Path) -> None:
    with Server(reply=knowing) as server:
        found = replies(asking(tmp_path, server))
    assert {name: reply.answer for name, reply in found.items()} == {q.id: q.answer for q in QUESTIONS}
    assert {reply.status for reply in found.values()} == {"answered"}


@pytest.mark.parametrize(
    "fault",
    ["429 after 0.05", "500", "garbage", "cut"],
)
def test_a_fault_that_passes_changes_no_answer(tmp_path: Path, fault: str) -> None:
    """The first and the fourth request fail and are made again."""
    with Server(reply=knowing, script=[fault, "ok", "ok", fault]) as server:
        found = replies(asking(tmp_path, server, chat_speed={"retries": 2}, search=CHAIN))
        assert len(server.requests) == sum(reply.calls for reply in found.values()) + 2
    assert [reply.answer for reply in found.values()] == [q.answer for q in QUESTIONS]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("429 after 0.01", "status 429: not now; given up after 1 attempts"),
        ("500", "status 500: not now"),
        ("garbage", "the server's answer cannot be read"),
        ("drop", "the connection failed"),
        ("filtered", "content_filter"),
    ],
)
def test_a_fault_that_stays_ends_each_question_with_its_reason(tmp_path: Path, fault: str, reason: str) -> None:
    with Server(reply=knowing, script=["ok"], always=fault) as server:
        config = asking(tmp_path, server, search=CHAIN)
        found = replies(config)
    for reply in found.values():
        assert reply.answer == ()
        assert reply.status == "error"
        assert reason in reply.reason
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert reason.split(";")[0].replace("'", "&#39;") in page


def test_one_question_fails_and_the_others_do_not(tmp_path: Path) -> None:
    """All that is asked about Peru is refused."""

    class Moody(Server):
        def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
            if "What is the capital of Peru?" in body["messages"][-1]["content"]:
                return {"choices": []}
            return super()._answer(body)

    with Moody(reply=knowing) as server:
        found = replies(asking(tmp_path, server, speed={"questions": 4}))
    assert found["peru"].answer == ()
    assert "cannot be read" in found["peru"].reason
    assert [found[name].answer for name in ("lima", "chile", "brazil")] == [("sol",), ("peso",), ("real",)]


def test_a_server_too_slow(tmp_path: Path) -> None:
    with Server(reply=knowing, script=["hang"]) as server:
        found = replies(asking(tmp_path, server, chat_speed={"timeout": 0.3}, search=CHAIN))
    assert (found["lima"].status, found["lima"].answer) == ("error", ())
    assert "no answer within 0.3 s" in found["lima"].reason
    assert found["peru"].answer == ("Lima",)


def test_time_for_a_question_ends_its_waiting(tmp_path: Path) -> None:
    """The third call hangs; what is known then is nothing, and the next question has its own time."""
    with Server(reply=knowing, script=["ok", "ok", "hang"]) as server:
        begin = time.monotonic()
        found = replies(asking(tmp_path, server, budget=BudgetConfig(seconds=3), search=CHAIN))
        assert time.monotonic() - begin < 30
    assert found["lima"].status == "budget_seconds"
    assert found["peru"].answer == ("Lima",)


def test_an_answer_that_was_cut_is_no_answer(tmp_path: Path) -> None:
    """The model's lines end at the limit of tokens: none of them is taken for what it would have become."""
    with Server(reply=knowing, script=["ok", "ok", "ok", "ok", "length"]) as server:
        found = replies(asking(tmp_path, server, search=CHAIN))
    assert server.requests[4]["messages"][-1]["content"].count("FOUND") == 2
    assert found["lima"].answer == ("sol",)  # asked again
    lines = [row["lines"] for row in record_of(tmp_path, "lima") if row["kind"] == "node"]
    assert ["ERROR", "a text was cut at 256 tokens"] in [line for some in lines for line in some]


def record_of(folder: Path, question: str) -> list[dict[str, Any]]:
    searches = read_jsonl(folder / "run" / "searches.jsonl")
    return next(row["rows"] for row in searches if row["id"] == question)


@pytest.mark.parametrize(("fault", "problem"), [("401", "refuses the key"), ("404", "answers 404")])
def test_what_only_the_user_can_mend_is_one_line_and_nothing_is_asked_twice(
    tmp_path: Path, fault: str, problem: str
) -> None:
    """The seventh request is refused; the same command again makes it, and those after it."""
    with Server(reply=knowing, script=["ok"] * 6 + [fault]) as server:
        config = asking(tmp_path, server, search=CHAIN)
        with pytest.raises(UserError, match=problem) as caught:
            run(config)
        assert "\n" not in str(caught.value)
        found = replies(config)
        # the refused one, and what the next question had under way when the run ended
        assert len(server.requests) <= sum(reply.calls for reply in found.values()) + 2
    assert [reply.answer for reply in found.values()] == [q.answer for q in QUESTIONS]


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kg = str(write_world(tmp_path))
    gone = ["--chat.model", "openai:echo", "--chat.base-url", "http://127.0.0.1:9/v1", "--chat.speed.retries", "0"]
    assert main(["ask", "What is the capital of Peru?", "--kg", kg, *gone, "--out", str(tmp_path / "one")]) == 2
    said = capsys.readouterr().err
    assert "cannot be reached" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "one").exists()  # nothing was done, so nothing blocks the next try
    with Server(reply=knowing, always="500") as server:
        words = ["--chat.model", "openai:echo", "--chat.base-url", server.url, "--chat.speed.retries", "0"]
        words += ["--chat.speed.cache", str(tmp_path / "cache"), "--out", str(tmp_path / "two")]
        assert main(["ask", "What is the capital of Peru?", "--kg", kg, *words]) == 0
    said = capsys.readouterr().out
    assert said.startswith("no answer\n")
    assert "status 500" in said


# --- the graph ---


class Fading(MemoryGraph):
    """A graph that answers so many questions about edges and counts, and then none."""

    def __init__(self, facts: Iterable[tuple[str, str, str]], answers: int) -> None:
        super().__init__(facts)
        self.left = answers

    def _spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise GraphError("http://example.org/sparql: no answer within 30 s")

    def counts(self, entities: Iterable[str], direction: Direction = "out") -> dict[str, int]:
        self._spend()
        return super().counts(entities, direction)

    def edges(
        self, entities: Iterable[str], relation: str, direction: Direction = "out", limit: int | None = None
    ) -> list[Edge]:
        self._spend()
        return super().edges(entities, relation, direction, limit)


def over(monkeypatch: pytest.MonkeyPatch, graph: KnowledgeGraph) -> None:
    """Let runs read this graph."""

    @contextmanager
    def opened(_: Config) -> Iterator[KnowledgeGraph]:
        yield graph

    monkeypatch.setattr(runner, "graph_of", opened)


@pytest.mark.parametrize("answers", range(0, 30, 5))
def test_a_graph_that_goes_away_leaves_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: int
) -> None:
    over(monkeypatch, Fading(FACTS, answers))
    with Server(reply=knowing) as server:
        found = list(replies(asking(tmp_path, server, search=CHAIN)).values())
    assert [reply.id for reply in found] == [q.id for q in QUESTIONS]
    for reply, question in zip(found, QUESTIONS, strict=True):
        failed = any("the graph did not answer: http://example.org/sparql" in note for note in reply.notes)
        right = reply.answer == question.answer
        assert right or failed
        assert right or not reply.grounded or reply.evidence  # nothing is claimed that was not read
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert ("no answer within 30 s" in page) == any(reply.notes for reply in found)


# --- what is large or unknown ---


def test_an_unknown_entity_is_said(tmp_path: Path) -> None:
    with Server(reply=replying(lambda kind, said: "ANSWER Oz" if kind == "forced" else "Score: 0.9")) as server:
        config = asking(tmp_path, server).model_copy(update={"questions": None, "question": "Where is Oz?"})
        found = replies(config)["1"]
    assert (found.status, found.answer, found.grounded, found.seeds) == ("no_entities", ("Oz",), False, ())
    assert "no entity of the question is known to the graph" in (tmp_path / "run" / "report.html").read_text()


def test_a_hub_is_cut_counted_and_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 people were born in Rome; 1,000 are read, the prompt shows fewer, and each says of how many."""
    over(monkeypatch, MemoryGraph([(f"person {i}", "born in", "Rome") for i in range(10_000)]))

    def script(kind: str, said: str) -> str:
        if kind == "default":
            return "ANSWER count #2" if "FOUND" in said else "EXPAND_KG"
        return "~born in" if kind == "relation" else "Score: 0.9" if kind in ("value", "verify") else "#1"

    with Server(reply=replying(script)) as server:
        config = asking(tmp_path, server, search=SearchConfig(rows=1000)).model_copy(
            update={"questions": None, "question": "How many people were born in Rome?"}
        )
        begin = time.monotonic()
        found = replies(config)["1"]
        assert time.monotonic() - begin < 30
    assert found.answer == ("1000",)
    assert not found.grounded  # a count of what was not all read
    assert found.notes == ("#2 holds the first 1000 of 10000 facts",)
    last = server.requests[-1]["messages"][-1]["content"]
    assert "#2 = #1 ~born in: 1000 entities, the first 1000 of 10000 facts, " in last
    assert len(last) < 4 * 4000
    shown, read = next(row["folded"]["2"] for row in record_of(tmp_path, "1") if "folded" in row)
    assert 0 < shown < read == 1000
    assert f"{shown} shown" in last


def test_a_prompt_that_must_be_folded_says_so_in_its_record(tmp_path: Path) -> None:
    """A model of 700 tokens sees at most 350 of the local graph; of 60 neighbours not all."""
    (tmp_path / "facts.tsv").write_text("".join(f"Hub\tleads to\tplace number {i} of all\n" for i in range(60)))

    def script(kind: str, said: str) -> str:
        if kind == "default":
            return "ANSWER #2" if "FOUND" in said else "EXPAND_KG"
        return "Score: 0.9" if kind in ("value", "verify") else "#1"

    with Server(reply=replying(script)) as server:
        config = asking(tmp_path, server)
        (tmp_path / "facts.tsv").write_text("".join(f"Hub\tleads to\tplace number {i} of all\n" for i in range(60)))
        chat = config.chat.model_copy(update={"context": 700})
        config = config.model_copy(update={"chat": chat, "questions": None, "question": "Where does the Hub lead to?"})
        found = replies(config)["1"]
    assert len(found.answer) == 60  # folded in the prompt, not in the answer
    folded = [row["folded"] for row in record_of(tmp_path, "1") if "folded" in row]
    assert folded
    assert all(shown < read == 60 for shown, read in (one["2"] for one in folded))


def test_a_prompt_beyond_the_context_of_a_model_here_is_an_error_with_its_reason(tmp_path: Path) -> None:
    """A question of 2,000 characters does not fit into lab:traveller; the next one is answered."""
    rows = [{"id": "long", "question": "What is the capital of Peru, " + "and so on, " * 180 + "please?"}]
    rows += [{"id": "short", "question": "What is the capital of Peru?"}]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    chat = {"model": "lab:traveller", "speed": {"cache": tmp_path / "cache"}}
    config = Config.model_validate(
        {"questions": tmp_path / "q.jsonl", "kg": ["lab:atlas"], "chat": chat, "out": tmp_path / "run"}
    )
    found = replies(config)
    assert (found["long"].status, found["long"].answer) == ("error", ())
    assert "tokens" in found["long"].reason
    assert found["short"].answer == ("Lima",)
