"""`upright ask` on the lab: a trained actor searches a real graph."""

import json
from pathlib import Path

import pytest

from upright.errors import UserError
from upright.models.chat.config import ChatConfig, ChatSpeed
from upright.run.files import read_jsonl
from upright.traversal.config import AskSpeed, BudgetConfig, Config, SearchConfig
from upright.traversal.drawings import twigs
from upright.traversal.questions import Question, write_questions
from upright.traversal.runner import Result, run

QUESTIONS = [
    Question(id="one", question="What is the capital of Peru?", answer=("Lima",)),
    Question(
        id="two",
        question="Which currency is used in the country whose capital is Lima?",
        answer=("Peruvian sol", "sol"),
    ),
    Question(id="all", question="Name all countries whose currency is the euro.", answer=("Spain", "France")),
    Question(id="none", question="Who won the match?", answer=("nobody",)),
]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    write_questions(tmp_path / "questions.jsonl", QUESTIONS)
    return Config(
        questions=tmp_path / "questions.jsonl",
        kg=["lab:atlas"],
        chat=ChatConfig(model="lab:traveller", speed=ChatSpeed(cache=tmp_path / "cache")),
        speed=AskSpeed(device="cpu"),
        out=tmp_path / "run",
    )


@pytest.fixture
def one(config: Config) -> Config:
    return config.model_copy(update={"questions": None, "question": "What is the capital of Peru?"})


def test_answers_come_with_the_facts_they_rest_on(config: Config) -> None:
    result = run(config)
    answers = {reply.id: reply for reply in result.answers}
    assert answers["one"].answer == ("Lima",)
    assert answers["one"].evidence == (("Peru", "capital", "Lima"),)
    assert answers["one"].grounded
    assert answers["two"].answer == ("Peruvian sol",)
    assert ("Peru", "currency", "Peruvian sol") in answers["two"].evidence
    assert len(answers["two"].evidence) == 2  # and how Lima led to Peru: by its country, or as a capital
    assert {"Spain", "France"} <= set(answers["all"].answer)
    assert answers["none"].status == "no_entities"
    found = {(m.name, m.split): m for m in result.metrics}
    assert found[("EM-in", "all")].n == 4  # the question without an answer counts
    written = read_jsonl(config.out / "answers.jsonl") if config.out else []
    assert [row["id"] for row in written] == ["one", "two", "all", "none"]
    assert written[0]["evidence"] == [["Peru", "capital", "Lima"]]


def test_a_second_run_makes_no_call_and_gives_the_same(config: Config, tmp_path: Path) -> None:
    first, again = run(config), run(config.model_copy(update={"out": tmp_path / "again"}))
    assert [reply.answer for reply in first.answers] == [reply.answer for reply in again.answers]
    assert all(reply.cached == reply.calls for reply in again.answers)


def test_a_changed_world_gives_the_new_answer_and_the_graph_the_old(one: Config, tmp_path: Path) -> None:
    changes = tmp_path / "changes.jsonl"
    changes.write_text(json.dumps({"subject": "Peru", "relation": "capital", "object": "Cusco"}) + "\n")
    changed = run(one.model_copy(update={"changes": changes}))
    assert changed.answers[0].answer == ("Cusco",)
    assert run(one.model_copy(update={"out": tmp_path / "base"})).answers[0].answer == ("Lima",)


def test_the_terminal_shows_answer_evidence_and_cost(one: Config) -> None:
    result = run(one)
    lines = result.message.splitlines()
    assert lines[0] == "Lima"
    assert lines[1] == "  Peru → capital → Lima"
    assert "calls" in lines[2]
    assert result.summary() == ()


def test_a_budget_ends_a_search_and_is_said(config: Config, tmp_path: Path) -> None:
    hard = config.model_copy(update={"budget": BudgetConfig(calls=1), "out": tmp_path / "short"})
    statuses = {reply.id: reply.status for reply in run(hard).answers}
    assert statuses["two"] == "budget_calls"


def test_the_search_is_drawn_with_the_way_to_the_answer_chosen(config: Config) -> None:
    run(config)
    assert config.out is not None
    rows = next(row["rows"] for row in read_jsonl(config.out / "searches.jsonl") if row["id"] == "two")
    drawn = twigs(rows)
    chosen = [twig for twig in drawn if twig.chosen]
    assert [twig.depth for twig in chosen] == list(range(len(chosen)))
    assert chosen[-1].label.startswith("ANSWER #3")
    page = (config.out / "report.html").read_text(encoding="utf-8")
    assert "Which currency is used in the country whose capital is Lima?" in page


def test_the_chain_asks_for_no_values(one: Config) -> None:
    chain = run(one.model_copy(update={"search": SearchConfig(samples=1)}))
    assert chain.answers[0].answer == ("Lima",)
    assert chain.answers[0].score is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give either a question or --questions"),
        ({"question": "Who?"}, "--kg is missing"),
    ],
)
def test_what_is_missing_is_said(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config.model_validate(given)


def test_an_unknown_graph_or_model_is_one_line(one: Config) -> None:
    with pytest.raises(UserError, match="nowhere"):
        run(one.model_copy(update={"kg": ["nowhere"]}))
    with pytest.raises(UserError, match="unknown lab model 'travel'"):
        run(one.model_copy(update={"chat": ChatConfig(model="lab:travel")}))


def test_the_result_is_typed(one: Config) -> None:
    result = run(one)
    assert isinstance(result, Result)
    assert result.labels["Peru"] == "Peru"
