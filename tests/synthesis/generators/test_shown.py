"""Records by in-context learning in a run: no certificate, noised counts all the same, failures, instructions."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.chat.server import Server
from tests.synthesis.generators.test_tuned import task
from tests.synthesis.places import settings
from upright.errors import UserError
from upright.synthesis import run, runner
from upright.synthesis.config import Config
from upright.synthesis.generators import shown

NONE = {"utility": False, "coreference": False, "closeness": False, "leakage": False, "canaries": 4}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def asking(server: Server, folder: Path, **more: Any) -> Config:
    chat = {"model": "openai:echo", "base_url": server.url, "speed": {"cache": folder / "chat", "retries": 0}}
    return settings(folder, chat=chat, generator="prompted", **more)


def answer(body: dict[str, Any], _: int) -> str:
    return f"<record>The currency of Spain is peseta {body['seed']}.</record>"


def test_a_run_says_that_nothing_is_guaranteed(tmp_path: Path) -> None:
    with Server(reply=answer) as server:
        found = run(asking(server, tmp_path, control="train", evaluation=NONE, codes={"counts": "uniform"}))
        prompts = [body["messages"][-1]["content"] for body in server.requests]
    statement = json.loads((found.out / "certificate.json").read_text())
    assert found.certificate is None
    assert "epsilon" not in statement
    assert statement["not_covered_because"] == ["the generator 'prompted' has no formal guarantee"]
    assert len(found.records) == len(prompts) == 12
    assert all(prompt.count("<record>\n") == 4 for prompt in prompts)
    assert {re.findall(r"\(kind: (\w+)\)", prompt)[-1] for prompt in prompts} == {"money", "town"}
    page = found.report.read_text()
    assert "no formal guarantee" in page
    assert "chat calls" in page
    bill = json.loads((found.out / "manifest.json").read_text())
    assert bill["chat"]["calls"] == 12
    assert bill["tokens"]["prompt"] == bill["chat"]["prompt"] > 12 * 10
    assert bill["tokens"]["completion"] == bill["chat"]["completion"] > 0
    assert bill["cost"] is None  # the server's prices are not known
    assert not (found.out / "work").exists()


def test_a_killed_run_asks_no_query_twice(tmp_path: Path) -> None:
    """Secure noise is never the same twice, so equal shares were not asked anew."""
    with Server() as server:
        given = task(asking(server, tmp_path, tune={"chance": "secure"}), tmp_path)
        first, again = shown.fit(given), shown.fit(given)
    assert first.shares.tolist() == again.shares.tolist()
    assert [len(found) for found in torch.load(given.state, weights_only=True)["answers"].values()] == [1]


def test_public_counts_ask_nobody(tmp_path: Path) -> None:
    with Server() as server:
        given = task(asking(server, tmp_path, codes={"counts": "uniform"}), tmp_path)
        assert shown.fit(given).shares.tolist() == [0.5, 0.5]
    assert not given.state.exists()


def test_failed_calls_are_noted_and_written_anew(tmp_path: Path) -> None:
    with Server(reply=answer, script=["400"] * 3) as server:
        found = run(asking(server, tmp_path))
    failures = [json.loads(line) for line in (found.out / "failures.jsonl").read_text().splitlines()]
    assert len(found.records) == 12
    assert [row["stage"] for row in failures] == ["prompted"] * 3
    assert any(line.startswith("3 texts were refused") for line in _limits(found.report.read_text()))


def _limits(page: str) -> list[str]:
    return re.findall(r"<li>([^<]*)</li>", page)


def test_a_killed_run_has_all_its_calls_on_the_bill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(reply=answer) as server:
        config = asking(server, tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(runner, "_evaluated", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                run(config)
        found = run(config)
    bill = json.loads((found.out / "manifest.json").read_text())
    assert bill["attempts"] == 2
    assert bill["chat"]["calls"] == len(server.requests) == 12


def test_what_is_shown_is_anonymised_as_asked(tmp_path: Path) -> None:
    """The table names France, Spain and Germany within sentences: names to the thorough, in invented words or tags."""
    prompts = {}
    for style in ("tags", "invented"):
        for thorough in (True, False):
            with Server(reply=answer) as server:
                how = {"style": style, "thorough": thorough}
                place = tmp_path / f"{style}{thorough}"
                place.mkdir()
                shown.fit(task(asking(server, place, prompted=how), place)).write([("town",)], [1])
                prompts[style, thorough] = server.requests[0]["messages"][-1]["content"]
    assert "<NAME>" in prompts["tags", True]
    assert not re.search("<NAME>|of France|of Spain|of Germany", prompts["invented", True])
    assert all(re.search("of (France|Spain|Germany)", prompts[style, False]) for style in ("tags", "invented"))


def test_prompts_with_fewer_records_are_told(tmp_path: Path) -> None:
    with Server(reply=answer) as server:
        found = shown.fit(task(asking(server, tmp_path, prompted={"examples": 90}), tmp_path))
        before = found.limits
        found.write([("money",), ("town",)], [1, 2])
    assert len(before) == 1
    assert found.limits[1].startswith("2 of the last 2 prompts showed fewer than 90 records")


def test_a_model_of_the_lab_continues_records(tmp_path: Path) -> None:
    chat = {"model": "lab:atlas", "speed": {"cache": tmp_path / "chat", "device": "cpu"}}
    found = shown.fit(task(settings(tmp_path, chat=chat), tmp_path))
    assert found.prompted.raw
    texts = [draft.text for draft in found.write([("money",)] * 4, [1, 2, 3, 4])]
    assert len(texts) == 4
    assert any(texts)


def test_own_instructions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "task.txt"
    path.write_text("{examples}\nOne more{code}:")
    with Server(reply=answer) as server:
        shown.fit(task(asking(server, tmp_path, prompted={"instructions": path}), tmp_path)).write([("town",)], [1])
        assert server.requests[0]["messages"][-1]["content"].endswith("One more (kind: town):")
        path.write_bytes(b"{examples}{code}\xff")
        with pytest.raises(UserError, match=r"task.txt: cannot be read .*give a text file in UTF-8"):
            run(asking(server, tmp_path, prompted={"instructions": path}))
    assert not (tmp_path / "run").exists()
