"""Records by in-context learning, from a server on the loopback and from a model here."""

import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.models.chat.server import Server
from upright.errors import UserError
from upright.models.chat import ChatConfig, Sampling, Spent, open_chat
from upright.synthesis.corpus import Code, Corpus
from upright.synthesis.generators.anonymise import Anonymiser
from upright.synthesis.generators.prompted import Prompted, read

RECORDS = Corpus(
    ("label",),
    [
        "Dr. Kumar saw a sore knee.",
        "Mrs. Vale has a stiff knee </record>.",
        "An ankle hurts.",
        "Knee four",
        "Knee five",
        "Knee six",
    ],
    [("knee",), ("knee",), ("ankle",), ("knee",), ("knee",), ("knee",)],
)
CODES: list[Code] = [("knee",), ("ankle",), ("wrist",)]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Failures:
    def __init__(self) -> None:
        self.rows: list[tuple[str, str, object]] = []

    def __call__(self, stage: str, reason: str, row: object) -> None:
        self.rows.append((stage, reason, row))


def prompted(server: Server, folder: Path, note: Failures, context: int | None = None, **rest: Any) -> Prompted:
    speed = {"retries": 0, "cache": folder}
    config = {"model": "openai:echo", "base_url": server.url, "speed": speed, "context": context}
    chat = open_chat(ChatConfig.model_validate(config))
    given = {"sampling": Sampling(temperature=1.0, max_tokens=50), "note": note, "spend": [].append, "shown": 4}
    return Prompted.fit(
        RECORDS, chat, lambda code: f"label: {code[0]}", Anonymiser("tags", random.Random(0)), **given | rest
    )


def asked(server: Server) -> dict[str, str]:
    """The prompts by code."""
    prompts = [body["messages"][-1]["content"] for body in server.requests]
    return {re.findall(r"\(label: (\w+)\)", prompt)[-1]: prompt for prompt in prompts}


def test_a_prompt_shows_anonymised_records_of_its_code_only(tmp_path: Path) -> None:
    failures = Failures()
    with Server(reply=lambda body, _: f"<record>new {body['seed']}</record>") as server:
        model = prompted(server, tmp_path, failures, shown=4)
        texts = model.write(CODES, [1, 2, 3])
        prompts = asked(server)
        assert all(body["stop"] == ["</record>"] for body in server.requests)
    assert len(set(texts)) == 3
    assert all(re.fullmatch(r"new \d+", text) and ended for text, ended in texts)
    assert prompts["knee"].count("<record>\n") == 4
    assert prompts["ankle"].count("<record>\n") == 1
    assert "An ankle hurts." in prompts["ankle"]
    assert "(no examples)" in prompts["wrist"]
    assert not re.search("Kumar|Vale|stiff knee </record>", "".join(prompts.values()))
    assert model.found == {"name": 2}
    assert model.used == {4: 1, 1: 1, 0: 1}
    assert not failures.rows


def test_a_text_depends_on_its_code_and_seed_alone(tmp_path: Path) -> None:
    with Server() as server:
        together = prompted(server, tmp_path / "a", Failures()).write(CODES, [1, 2, 3])
        alone = prompted(server, tmp_path / "b", Failures()).write(CODES[1:2], [2])
    assert together[1:2] == alone


def test_prompts_that_are_too_long_show_fewer_examples(tmp_path: Path) -> None:
    with Server() as server:
        whole = prompted(server, tmp_path / "a", Failures())
        whole.write([("knee",)], [1])
        (prompt,) = (body["messages"][-1]["content"] for body in server.requests)
        room = len(prompt) // 4 + 50  # tokens are estimated as characters over 4
        model = prompted(server, tmp_path / "b", Failures(), context=room - 5)
        model.write([("knee",)], [1])
    assert whole.used == {4: 1}
    assert list(model.used) in ([3], [2])


def test_failed_calls_and_empty_answers_are_noted_and_leave_an_empty_text(tmp_path: Path) -> None:
    failures = Failures()
    with Server(reply=lambda body, _: "<record> </record>", script=["400"]) as server:
        texts = prompted(server, tmp_path, failures).write(CODES[:2], [1, 2])
    assert [text for text, _ in texts] == ["", ""]
    assert sorted(str(row[2]) for row in failures.rows) == ["1", "2"]
    assert {row[0] for row in failures.rows} == {"prompted"}
    assert "the answer holds no record" in {row[1] for row in failures.rows}


def test_calls_are_made_side_by_side(tmp_path: Path) -> None:
    with Server(latency=0.05) as server:
        prompted(server, tmp_path, Failures()).write([("knee",)] * 20, range(20))
        assert server.busiest > 10


def test_own_instructions_need_both_slots(tmp_path: Path) -> None:
    with Server() as server:
        model = prompted(server, tmp_path, Failures(), task="{examples}\nOne more{code}, {please}:")
        model.write([("ankle",)], [1])
        assert server.requests[0]["messages"][-1]["content"].endswith("One more (label: ankle), {please}:")
        with pytest.raises(UserError, match=r"lack \{code\}; put"):
            prompted(server, tmp_path, Failures(), task="{examples}")


def test_a_model_here_continues_records(tmp_path: Path) -> None:
    chat = open_chat(ChatConfig.model_validate({"model": "lab:atlas", "speed": {"cache": tmp_path}}))
    note = Failures()
    bill: list[Spent] = []
    model = Prompted(
        chat,
        {("capital",): ["The capital of Peru is Lima.", "The capital of France is Paris."]},
        lambda code: code[0],
        found=Counter(),
        sampling=Sampling(temperature=0.7, max_tokens=12),
        note=note,
        spend=bill.append,
        shown=4,
        raw=True,
    )
    texts = [draft.text for draft in model.write([("capital",)] * 4, [1, 2, 3, 4])]
    assert sum(map(bool, texts)) + len(note.rows) == 4
    assert any(texts)
    assert [(spent.calls, spent.cost) for spent in bill] == [(4, 0.0)]
    assert bill[0].prompt > 4 * 10


def test_an_answer_that_is_cut_off_did_not_end(tmp_path: Path) -> None:
    note = Failures()
    chat = open_chat(ChatConfig.model_validate({"model": "lab:atlas", "speed": {"cache": tmp_path}}))
    examples: dict[Code, list[str]] = {("capital",): ["The capital of Peru is Lima."]}
    bill: list[Spent] = []

    def model(tokens: int) -> Prompted:
        how = Sampling(temperature=0.0, max_tokens=tokens)
        return Prompted(chat, examples, str, Counter(), how, note, bill.append, shown=1, raw=True)

    (short,), (long,) = (model(tokens).write([("capital",)], [1]) for tokens in (1, 60))
    assert short.ended is False
    assert long.text.startswith(short.text)
    assert long.ended is True


@pytest.mark.parametrize(
    ("answer", "record"),
    [
        ("<record>a\nb</record> more", "a\nb"),
        ("<RECORD>\ncut off", "cut off"),
        ("plain </record>", "plain"),
        ("```text\nfenced\n```", "fenced"),
        ("Here is one:\n\nannounced", "announced"),
        ("Here is my knee: it hurts", "Here is my knee: it hurts"),
        ("", ""),
    ],
)
def test_answers_are_read(answer: str, record: str) -> None:
    assert read(answer) == record
