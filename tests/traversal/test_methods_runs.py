"""Whole runs of `upright ask --method`: a trained actor on the lab, a model that knows the world, a chat server."""

from pathlib import Path
from typing import Any

import pytest

from tests.models.chat.server import Server
from tests.traversal.served import QUESTIONS, asking
from upright.models.chat.config import ChatConfig, ChatSpeed
from upright.run.files import read_jsonl
from upright.traversal.config import AskSpeed, BeamConfig, BudgetConfig, Config
from upright.traversal.drawings import twigs
from upright.traversal.questions import Question, write_questions
from upright.traversal.record import replay
from upright.traversal.runner import Result, run

LAB = [
    Question(id="one", question="What is the capital of Peru?", answer=("Lima",)),
    Question(
        id="two", question="Which currency is used in the country whose capital is Lima?", answer=("Peruvian sol",)
    ),
    Question(id="none", question="Who won the match?", answer=("nobody",)),
]


def lab(folder: Path, **fields: Any) -> Config:
    write_questions(folder / "questions.jsonl", LAB)
    chat = ChatConfig(model=fields.pop("model", "lab:traveller"), speed=ChatSpeed(cache=folder / "cache"))
    given = {"out": folder / "run", "speed": AskSpeed(device="cpu"), **fields}
    return Config(questions=folder / "questions.jsonl", kg=["lab:atlas"], chat=chat, **given)


def same_as_recorded(result: Result) -> bool:
    """Whether the record of each search gives its reply again."""
    kept = {row["id"]: replay(row["rows"]) for row in read_jsonl(result.out / "searches.jsonl")}
    return all(
        (one.answer, one.status, one.calls, one.score) == (found.labels, found.status, found.calls, found.value)
        for one in result.answers
        if (found := kept[one.id])
    )


@pytest.mark.parametrize("method", ["react", "beam"])
def test_an_actor_answers_by_each_method(method: str, tmp_path: Path) -> None:
    result = run(lab(tmp_path, method=method))
    answers = {reply.id: reply for reply in result.answers}
    assert answers["one"].answer == ("Lima",)
    assert answers["one"].evidence == (("Peru", "capital", "Lima"),)
    assert answers["two"].answer == ("Peruvian sol",)
    assert answers["two"].grounded
    assert ("Peru", "currency", "Peruvian sol") in answers["two"].evidence
    assert answers["none"].status == "no_entities"
    assert {m.n for m in result.metrics if m.name == "EM-in" and m.split == "all"} == {3}
    assert same_as_recorded(result)
    page = (result.out / "report.html").read_text(encoding="utf-8")
    assert method in page


def test_react_of_an_actor_is_its_likeliest_chain(tmp_path: Path) -> None:
    result = run(lab(tmp_path, method="react"))
    rows = next(row["rows"] for row in read_jsonl(result.out / "searches.jsonl") if row["id"] == "two")
    settings = rows[0]["settings"]
    assert (settings["samples"], settings["temperature"]) == (1, 0.0)
    assert [twig.depth for twig in twigs(rows)] == list(range(len(twigs(rows))))
    assert all(reply.score is None for reply in result.answers)


def test_the_width_and_the_budget_hold_for_the_beam(tmp_path: Path) -> None:
    result = run(lab(tmp_path, method="beam", beam=BeamConfig(width=1, depth=1), budget=BudgetConfig(calls=2)))
    assert {reply.id: reply.status for reply in result.answers}["one"] == "budget_calls"
    assert max(reply.calls for reply in result.answers) == 2
    assert same_as_recorded(result)


def test_a_model_that_knows_the_world_answers_without_the_graph(tmp_path: Path) -> None:
    result = run(lab(tmp_path, method="direct", model="lab:atlas"))
    answers = {reply.id: reply for reply in result.answers}
    assert (answers["one"].answer, answers["one"].grounded, answers["one"].seeds) == (("Lima",), False, ())
    assert {reply.calls for reply in result.answers} == {1}
    assert {reply.status for reply in result.answers} == {"answered"}
    assert same_as_recorded(result)
    assert "The search for" in (result.out / "report.html").read_text(encoding="utf-8")


def test_a_second_run_makes_no_call_and_gives_the_same(tmp_path: Path) -> None:
    first = run(lab(tmp_path, method="beam"))
    again = run(lab(tmp_path, method="beam", out=tmp_path / "again"))
    assert [reply.answer for reply in first.answers] == [reply.answer for reply in again.answers]
    assert all(reply.cached == reply.calls for reply in again.answers)


# --- a chat server ---


def reasoning(body: dict[str, Any], _: int) -> str:
    """Reasons with the right answer for each question, but for one that is refused."""
    prompt = body["messages"][-1]["content"]
    answers = {question.question: question.answer[0] for question in QUESTIONS}
    asked = next(text for text in answers if text in prompt)
    return f"I think of {asked}\nAnswer: {answers[asked]}"


def stepping(body: dict[str, Any], _: int) -> str:
    """Follows the capital backwards, then the currency, and finishes with the last set."""
    lines = body["messages"][-1]["content"].partition("\n\n")[0].splitlines()
    taken = sum(line.startswith("Observation") for line in lines)
    way = ["Follow[#1 | ~capital]", "Follow[#2 | currency]", "Finish[#3]"]
    return f"Step {taken + 1}.\nAction {taken + 1}: {way[min(taken, 2)]}"


def test_reasons_first_with_a_server(tmp_path: Path) -> None:
    with Server(reply=reasoning) as server:
        result = run(asking(tmp_path, server, method="cot"))
    assert [reply.answer for reply in result.answers] == [question.answer for question in QUESTIONS]
    assert {(reply.status, reply.calls) for reply in result.answers} == {("answered", 1)}
    assert same_as_recorded(result)


def test_react_with_a_server(tmp_path: Path) -> None:
    """The way of the first question leads nowhere in the others, and their errors are told until it is given up."""
    with Server(reply=stepping) as server:
        result = run(asking(tmp_path, server, method="react"))
    answers = {reply.id: reply for reply in result.answers}
    assert (answers["lima"].answer, answers["lima"].calls) == (("sol",), 3)
    assert answers["lima"].evidence == (("Peru", "capital", "Lima"), ("Peru", "currency", "sol"))
    assert answers["chile"].status == "exhausted"
    assert answers["chile"].calls == 4  # three errors in a row, and the answer asked for
    assert same_as_recorded(result)
