"""Variations by models: how much is kept, and what becomes of a call that fails."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.models.chat.server import Server
from upright.models.chat import ChatConfig, Sampling, Spent, open_chat
from upright.synthesis.generators.variations import Rephrased, Rewritten
from upright.synthesis.sampling import Draft


def test_a_rewriting_keeps_a_beginning_whose_mean_is_as_asked() -> None:
    text, seen = " ".join(f"w{i}" for i in range(40)), list[str]()

    def go_on(prompts: Sequence[str], seeds: Sequence[int]) -> list[Draft]:
        seen.extend(prompts)
        return [Draft("tail", False) for _ in prompts]

    changed = Rewritten(go_on, lambda code: f"{code[0]}: ", keep=0.3)
    found = changed([Draft(text, True)] * 4000, [("x",)] * 4000, range(4000))
    heads = [prompt.removeprefix("x: ").split() for prompt in seen]
    assert np.mean([len(head) for head in heads]) / 40 == pytest.approx(0.3, abs=0.02)
    assert all(text.startswith(" ".join(head)) for head in heads)
    assert found[0] == ((" ".join(heads[0]) + " tail").strip(), False)  # it ends where the new part ends
    assert {0, 39} <= {len(head) for head in heads}


SAME, ONE, TWO = Draft("same", True), Draft("one", False), Draft("two", True)


def chatting(
    server: Server, failed: list[tuple[str, str, object]], folder: object, bill: list[Spent] | None = None
) -> Rephrased:
    speed = {"retries": 0, "cache": folder}
    config = ChatConfig.model_validate({"model": "openai:echo", "base_url": server.url, "speed": speed})
    return Rephrased(
        open_chat(config),
        lambda code: code[0],
        Sampling(temperature=1.0),
        lambda *row: failed.append(row),
        ([] if bill is None else bill).append,
    )


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_a_chat_model_rephrases_each_text_by_its_seed(tmp_path: object) -> None:
    def reply(body: dict[str, object], _: int) -> str:
        return f"Sure. <text>\nnew {body['seed']}\n</text> Anything else?"  # the client spreads the seeds

    failed: list[tuple[str, str, object]] = []
    bill: list[Spent] = []
    with Server(reply=reply) as server:
        rephrased = chatting(server, failed, tmp_path, bill)
        four, five = rephrased([SAME, SAME], [("x",), ("x",)], [4, 5])
        assert four != five
        assert four.text.startswith("new ")
        assert four.ended
        assert rephrased([SAME], [("x",)], [4]) == [four]  # in an event loop of its own
        assert [(spent.calls, spent.cached) for spent in bill] == [(2, 0), (0, 1)]
        assert bill[0].completion > 0
        assert bill[1].completion == 0
        prompt = server.requests[0]["messages"][0]["content"]
    assert "<text>\nsame\n</text>" in prompt
    assert "(x)" in prompt
    assert not failed


def test_a_text_whose_call_fails_stays_and_is_noted(tmp_path: object) -> None:
    failed: list[tuple[str, str, object]] = []
    with Server(reply=lambda body, _: "<text> </text>", script=["400"]) as server:
        found = chatting(server, failed, tmp_path)([ONE, TWO], [("x",), ("x",)], [1, 2])
    assert found == [ONE, TWO]
    assert {row[0] for row in failed} == {"variation"}
    assert sorted(row[2] for row in failed if isinstance(row[2], int)) == [1, 2]
