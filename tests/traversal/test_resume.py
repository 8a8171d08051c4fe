"""`upright ask --questions`, ended in the middle by a signal and gone on with: nothing is lost, nothing asked twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import SRC
from tests.models.chat.server import Server
from tests.traversal.served import QUESTIONS, knowing, write_world
from upright.cli import main
from upright.run.files import read_json, read_jsonl
from upright.traversal import runner
from upright.traversal.config import Config
from upright.traversal.questions import write_questions

SHARD = 2
COMMAND = f"""
import sys
from upright.traversal import runner
runner.SHARD = {SHARD}
from upright.cli import main
sys.exit(main())
"""
VARYING = {"cached", "seconds", "dollars"}  # what a row says of its own making


def prepared(folder: Path) -> Path:
    write_world(folder)
    write_questions(folder / "questions.jsonl", QUESTIONS)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return prepared(tmp_path)


def upright(folder: Path, *words: str) -> "subprocess.Popen[str]":
    env = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    env |= {"PYTHONPATH": str(SRC), "NO_PROXY": "127.0.0.1", "COLUMNS": "80"}
    argv = [sys.executable, "-c", COMMAND, *words]
    return subprocess.Popen(argv, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ask(folder: Path, server: Server, out: str) -> "subprocess.Popen[str]":
    chat = ["--chat.model", "openai:echo", "--chat.base-url", server.url, "--chat.prices.prompt", "1"]
    chat += ["--chat.prices.completion", "2", "--chat.speed.cache", f"cache-{out}"]
    words = ["ask", "--questions", "questions.jsonl", "--kg", "facts.tsv", *chat, "--speed.questions", "1"]
    return upright(folder, *words, "--out", out)


def finished(process: "subprocess.Popen[str]", code: int = 0) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    return out + err


def rows(path: Path) -> list[dict[str, Any]]:
    """The answers of a run, without what differs between two equal runs."""
    return [
        {name: value for name, value in row.items() if name not in VARYING}
        for row in read_jsonl(path / "answers.jsonl")
    ]


def records(path: Path) -> list[dict[str, Any]]:
    """The searches of a run, without their last rows, which hold the clock."""
    return [{"id": row["id"], "rows": row["rows"][:-1]} for row in read_jsonl(path / "searches.jsonl")]


def asked(requests: list[dict[str, Any]]) -> Counter[str]:
    return Counter(json.dumps(request, sort_keys=True) for request in requests)


class Whole(NamedTuple):
    """The run that nobody ended: its folder, and what it asked for."""

    path: Path
    requests: list[dict[str, Any]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = prepared(tmp_path_factory.mktemp("whole"))
    with Server(reply=knowing) as server:
        finished(ask(folder, server, "whole"))
        return Whole(folder / "whole", list(server.requests))


def metrics(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_json(path / "metrics.json")["metrics"]
    return [metric for metric in found if metric["name"] != "seconds"]


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_run_that_was_ended_goes_on_as_if_it_had_not_been(
    folder: Path, whole: Whole, stop: signal.Signals, code: int
) -> None:
    """Of four questions in shards of two, the third is under way when the signal comes."""
    with Server(reply=knowing, latency=0.02) as server:
        broken = ask(folder, server, "broken")
        third = QUESTIONS[SHARD].question
        while not any(third in request["messages"][-1]["content"] for request in server.requests):
            time.sleep(0.01)
            assert broken.poll() is None
        time.sleep(0.05)
        broken.send_signal(stop)
        said = finished(broken, code)
        before = len(server.requests)
        assert before < len(whole.requests)
        assert not (folder / "broken" / "answers.jsonl").exists()
        if stop == signal.SIGINT:
            assert said == "upright: interrupted; go on with: upright runs resume broken\n"
            first = read_json(folder / "broken" / "manifest.json")["tokens"]
        finished(upright(folder, "runs", "resume", "broken"))
        requests = list(server.requests)
    assert rows(folder / "broken") == rows(whole.path)
    assert [tuple(row["answer"]) for row in rows(folder / "broken")] == [q.answer for q in QUESTIONS]
    assert records(folder / "broken") == records(whole.path)
    assert metrics(folder / "broken") == metrics(whole.path)
    twice = asked(requests) - asked(whole.requests)
    assert sum(twice.values()) <= 1  # what was in flight
    assert not asked(whole.requests) - asked(requests)
    for request in twice:  # no question of a finished shard was asked again
        assert not any(q.question in request for q in QUESTIONS[:SHARD])
    if stop == signal.SIGINT:  # the bill holds all tokens of answers that arrived, in both attempts
        one, both = (read_json(path / "manifest.json") for path in (whole.path, folder / "broken"))
        assert 0 < first["prompt"] < one["tokens"]["prompt"]
        assert both["tokens"] == one["tokens"]
        assert both["cost"] == pytest.approx(one["cost"])


def test_a_kill_at_the_very_end_writes_no_answer_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is answered and written when the report fails; the run goes on without a request and writes it anew."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Server(reply=knowing) as server:
        chat = {"model": "openai:echo", "base_url": server.url, "speed": {"cache": folder / "cache"}}
        given = {"questions": folder / "questions.jsonl", "kg": [str(folder / "facts.tsv")], "chat": chat}
        config = Config.model_validate({**given, "out": folder / "run"})
        with monkeypatch.context() as during:
            during.setattr("upright.traversal.page.report", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                runner.run(config)
        before = len(server.requests)
        runner.run(config)
        assert len(server.requests) == before
    assert [row["id"] for row in rows(folder / "run")] == [q.id for q in QUESTIONS]


def test_a_resumed_run_searches_as_the_model_was_taught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Depth and omission that were left open stay open in config.json; lab:traveller was taught depth 9."""
    chat = {"model": "lab:traveller", "speed": {"cache": tmp_path / "cache"}}
    config = Config.model_validate(
        {"question": "What is the capital of Peru?", "kg": ["lab:atlas"], "chat": chat, "out": tmp_path / "run"}
    )
    with monkeypatch.context() as during:
        during.setattr("upright.traversal.page.report", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runner.run(config)
    assert main(["runs", "resume", str(tmp_path / "run")]) == 0
    chain = ["--search.samples", "1", "--chat.speed.cache", str(tmp_path / "cache"), "--out", str(tmp_path / "chain")]
    assert main(["ask", "What is the capital of Peru?", "--kg", "lab:atlas", *chain]) == 0
    for name in ("run", "chain"):
        first = read_jsonl(tmp_path / name / "searches.jsonl")[0]["rows"][0]
        assert (first["settings"]["depth"], first["settings"]["omit"]) == (9, "seeds")
