"""The model alone: at once and with reasons; and what `--method` stands for."""

from pathlib import Path
from typing import Any

import pytest

from tests.traversal.told import QUESTION, Told, run, said
from upright.errors import UserError
from upright.knowledge.failures import GraphError
from upright.knowledge.memory import MemoryGraph
from upright.models.chat.config import ChatConfig
from upright.traversal.budget import Limits
from upright.traversal.config import BeamConfig, Config, SearchConfig
from upright.traversal.drawings import twigs
from upright.traversal.methods import check_method, method_of, method_settings
from upright.traversal.methods.beam import Beam
from upright.traversal.methods.direct import AT_ONCE, SOME_LINES, Direct, Reasoned, listed
from upright.traversal.methods.react import React
from upright.traversal.prompts import Compact, Plain
from upright.traversal.record import replay
from upright.traversal.runner import run as ask
from upright.traversal.search import TREE, Settings

# --- direct ---


def test_direct_asks_once_and_splits_the_answer() -> None:
    model = Told("Spain; France .\n")
    found, rows = run(Direct(), model)
    assert (found.status, found.labels, found.calls, found.value) == ("answered", ("Spain", "France"), 1, None)
    assert found.answer is not None
    assert not found.answer.grounded
    assert model.prompts == [f"{AT_ONCE}\n\nQuestion: {QUESTION}"]
    assert (model.samplings[0].temperature, model.samplings[0].stop) == (0.0, ("\n",))
    assert replay(rows) == found


def test_a_completion_model_is_asked_in_its_own_words() -> None:
    model = Told(" sol.")
    found, _ = run(Direct(completes=True), model)
    assert model.prompts == [f"Question: {QUESTION} Answer:"]
    assert found.labels == ("sol",)


def test_a_cut_answer_gives_what_was_whole() -> None:
    found, rows = run(Direct(), Told("Spain; France; Ger…"))
    assert (found.status, found.labels) == ("truncated", ("Spain", "France"))
    assert "256 tokens" in found.reason
    assert replay(rows) == found
    assert run(Direct(), Told("Spa…"))[0].labels == ("Spa",)


def test_an_empty_reply_is_no_answer() -> None:
    found, _ = run(Direct(), Told(" . "))
    assert (found.status, found.answer, found.reason) == ("exhausted", None, "the reply is empty")


@pytest.mark.parametrize("method", [Direct(), Reasoned()])
def test_a_failing_model_or_no_budget_ends_with_a_status(method: Any) -> None:
    failed, rows = run(method, Told("error: gone"))
    assert (failed.status, failed.reason, failed.calls) == ("error", "the model fails: error: gone", 1)
    assert replay(rows) == failed
    broke, rows = run(method, Told(), limits=Limits(calls=0))
    assert (broke.status, broke.calls) == ("budget_calls", 0)
    assert run(method, Told(), limits=Limits(tokens=5))[0].status == "budget_tokens"


@pytest.mark.parametrize("method", [Direct(), Reasoned()])
def test_the_graph_is_not_touched(method: Any) -> None:
    class Gone(MemoryGraph):
        def __getattribute__(self, name: str) -> Any:
            if name in ("link", "labels", "describe", "counts", "edges", "relations"):
                raise GraphError("http://example.org: refused")
            return super().__getattribute__(name)

    assert run(method, Told("Answer: sol"), seeds=(), graph=Gone([]))[0].status == "answered"


def test_parts_of_an_answer() -> None:
    assert listed(" a;b ;; a; c.") == ("a", "b", "c")
    assert listed("") == listed(" ;. ") == ()


# --- reasons first ---


def test_the_last_answer_line_wins() -> None:
    text = "Lima is in Peru.\nAnswer: peso\nNo, that is Chile.\n**Answer:** sol; nuevo sol.\n"
    found, rows = run(Reasoned(), Told(text))
    assert (found.status, found.labels, found.calls) == ("answered", ("sol", "nuevo sol"), 1)
    thought, answer = said(rows)
    assert thought == [("THINK", "Lima is in Peru. Answer: peso No, that is Chile.")]
    assert answer == [("ANSWER", "sol; nuevo sol.")]
    assert [(twig.depth, twig.chosen) for twig in twigs(rows)] == [(0, True), (1, True), (2, True)]
    assert replay(rows) == found


@pytest.mark.parametrize(
    ("text", "status", "labels"),
    [
        ("Lima is the capital of Peru, whose …", "truncated", ()),
        ("First.\nAnswer: sol\nMore rea…", "answered", ("sol",)),  # the line was whole
        ("First.\nAnswer: sol; nuevo so…", "truncated", ("sol",)),
        ("I do not know.", "exhausted", ()),
        ("The answer is easy.\nAnswer:\n", "exhausted", ()),
        ("Final answer: the sol", "answered", ("the sol",)),
    ],
)
def test_what_is_cut_or_missing_is_said(text: str, status: str, labels: tuple[str, ...]) -> None:
    found, rows = run(Reasoned(), Told(text))
    assert (found.status, found.labels) == (status, labels)
    assert (
        found.reason
        == {
            "truncated": f"the text was cut at {SOME_LINES} tokens",
            "exhausted": 'the reply has no line that begins with "Answer:"',
            "answered": "",
        }[status]
    )
    assert replay(rows) == found


# --- the choice of a method ---


def config(**fields: Any) -> Config:
    return Config.model_validate({"question": "Who?", "kg": ["lab:atlas"], **fields})


def test_methods_by_name() -> None:
    plain, compact = Plain(tokens=7), Compact()
    assert method_of(config(), plain) == method_of(config(method="chain"), plain) == TREE
    assert method_of(config(method="react"), plain) == React(plain)
    assert method_of(config(method="react"), compact) == TREE
    assert method_of(config(method="beam", beam=BeamConfig(width=2, depth=1)), plain) == Beam(2, 1)
    assert method_of(config(method="cot"), plain) == Reasoned()
    server = ChatConfig(model="openai:x")
    assert method_of(config(method="direct", chat=server), plain) == Direct(completes=False)
    assert method_of(config(method="direct", chat=ChatConfig(model="lab:atlas")), plain) == Direct(completes=True)


def test_a_chain_has_one_sample_whatever_is_said() -> None:
    given = {"search": SearchConfig(samples=5)}
    assert method_settings(config(method="chain", **given), Plain()) == {"samples": 1}
    assert method_settings(config(method="react", **given), Compact()) == {"samples": 1, "temperature": 0.0}
    assert method_settings(config(**given), Plain()) == method_settings(config(method="react"), Plain()) == {}


@pytest.mark.parametrize("method", ["direct", "cot"])
def test_a_model_that_only_drives_traversals_is_refused_before_a_run_begins(method: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lab:traveller only drives traversals; give a chat model") as caught:
        ask(config(method=method, out=tmp_path / "run"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    check_method(config(method=method), drives=False)
    check_method(config(method="beam"), drives=True)


def test_an_unknown_method_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match="'tree', 'chain', 'direct', 'cot', 'react' or 'beam'"):
        config(method="flare")


def test_the_record_names_the_method() -> None:
    for method in (Direct(), Reasoned(), React(), Beam()):
        _, rows = run(method, Told(by=lambda prompt: "error"), settings=Settings(errors=0))
        assert rows[0]["settings"]["method"] == method.name
