"""`upright ask learn` on a tiny world: a model that answers, the same bits after a kill, and what goes wrong."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.traversal.places import places_of
from upright.errors import UserError
from upright.models.causal import load
from upright.models.chat import ChatConfig
from upright.run.files import read_json, read_jsonl, sha256
from upright.traversal import actor, learner
from upright.traversal.config import Config, Learn
from upright.traversal.learner import Result
from upright.traversal.questions import Question, read_questions, write_questions
from upright.traversal.runner import run as ask
from upright.traversal.style import Manner, manner_of

TINY = {"vocabulary": 400, "hidden": 64, "mlp": 128, "layers": 2, "heads": 4, "context": 256}
TOKENS = 400_000
ODD = [
    Question(id="nowhere", question="Where is Atlantis?", answer=("Avela",)),
    Question(id="unreachable", question="What is the anthem of Avela?", answer=("a song",)),
    Question(id="unanswered", question="What is the capital of Avela?"),
]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPRIGHT_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def learn(folder: Path, questions: Sequence[Question], out: str, tokens: int, **fields: Any) -> Result:
    write_questions(folder / f"{out}.jsonl", questions)
    given = {"questions": folder / f"{out}.jsonl", "kg": [str(folder / "world")], "out": folder / out, "hops": 2}
    train = {"tokens": tokens, "batch": 1024, **fields.pop("train", {})}
    return learner.run(Learn.model_validate({**given, "shape": TINY, "train": train, **fields}))


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A model taught 400 questions of all kinds, a fifth of them held out, and three that cannot be learnt from."""
    folder = tmp_path_factory.mktemp("taught")
    asked = places_of(folder / "world").asked("teach", 400, ("sets", "yes-no", "superlatives"))
    with pytest.MonkeyPatch.context() as during:
        during.setenv("UPRIGHT_CACHE", str(folder / "cache"))
        torch.set_num_threads(1)
        return learn(folder, [*asked, *ODD], "run", TOKENS, held_out=0.2)


# --- what comes out ---


def test_the_model_opens_and_says_how_it_is_asked(taught: Result) -> None:
    assert manner_of(ChatConfig(model=f"hf:{taught.model}")) == Manner(omit="seeds", depth=6)
    assert read_json(taught.model / "traversal.json") == {"style": "compact", "omit": "seeds", "depth": 6}
    model = load(str(taught.model), "cpu")
    assert model.model.config.max_position_embeddings == 256
    assert not (taught.out / "training.pt").exists()


def test_the_numbers_and_the_report_are_those_of_the_run(taught: Result) -> None:
    metrics = {(m.name, m.split): m for m in taught.metrics}
    gold = metrics["questions with a gold path", "all"]
    failures = read_jsonl(taught.out / "failures.jsonl")
    dropped = {row["row"]["id"]: row["reason"] for row in failures}
    held_out = metrics["EM-in", "tree search"].n
    assert held_out == round(0.2 * 402)  # those with an answer
    assert gold.n == 402 - held_out
    golds = read_json(taught.out / "steps" / "gold-paths.json")["value"]
    assert len(golds) + sum(row["stage"] == "gold paths" for row in failures) == gold.n
    assert gold.value == len(golds) / gold.n
    assert dropped.pop("unanswered") == "has no answer"
    assert dropped.pop("nowhere", "names no entity of the graph") == "names no entity of the graph"
    assert dropped.pop("unreachable", "no path reaches its answers") == "no path reaches its answers"
    assert not dropped
    assert metrics["parameters", "all"].value == sum(p.numel() for p in load(str(taught.model)).model.parameters())
    losses = read_json(taught.out / "steps" / "training.json")["value"]
    assert len(losses) == TOKENS // 1024
    page = (taught.out / "report.html").read_text(encoding="utf-8")
    em_in = metrics["EM-in", "tree search"].value
    assert em_in is not None
    assert f"{em_in:.1%} of {held_out} others by tree search" in page
    assert "has no answer" in page


def test_questions_of_all_kinds_are_learnt(taught: Result, tmp_path: Path) -> None:
    """A model that always took the commonest answer would be right in a quarter of these."""
    for name in ("tree search", "chain"):
        em_in = next(m.value for m in taught.metrics if (m.name, m.split) == ("EM-in", name))
        assert em_in is not None
        assert em_in > 0.6
    questions = read_questions(taught.out.with_suffix(".jsonl"))[:60]
    write_questions(tmp_path / "q.jsonl", questions)
    given = {"questions": tmp_path / "q.jsonl", "kg": [str(taught.out.parent / "world")], "out": tmp_path / "asked"}
    replies = ask(Config.model_validate({**given, "chat": {"model": f"hf:{taught.model}"}})).answers
    right = {kind: [0, 0] for kind in ("is", "count", "largest", "smallest", "first", "last", "#")}
    for question, reply in zip(questions, replies, strict=True):
        kind = next(kind for kind in right if reply.form.startswith(kind))
        right[kind][set(reply.answer) == set(question.answer)] += 1
    assert all(right[kind][1] for kind in ("is", "largest", "smallest", "first", "last", "#"))
    assert sum(good for _, good in right.values()) >= 45


# --- the same after a kill ---


def weights(run: Result) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(run.model.iterdir())}


@pytest.fixture
def fifty(tmp_path: Path) -> list[Question]:
    return places_of(tmp_path / "world").asked("teach", 50)


@pytest.mark.parametrize("place", ["update", "save"])
def test_a_run_that_was_killed_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fifty: list[Question], place: str
) -> None:
    """Ended in the twelfth of 20 updates, or when the model was written but its manner was not."""
    whole = learn(tmp_path, fifty, "whole", 20 * 1024, save_every=1e-6, held_out=0.1)
    loss, calls = actor.loss_of, list[int]()

    def interrupted(*args: Any) -> Tensor:
        calls.append(1)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return loss(*args)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        if place == "update":
            during.setattr(actor, "loss_of", interrupted)
        else:
            during.setattr(Manner, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            learn(tmp_path, fifty, "broken", 20 * 1024, save_every=1e-6, held_out=0.1)
    assert (tmp_path / "broken" / "training.pt").exists()
    with monkeypatch.context() as during:
        during.setattr(actor, "loss_of", lambda *args: calls.append(2) or loss(*args))  # type: ignore[func-returns-value]
        resumed = learn(tmp_path, fifty, "broken", 20 * 1024, save_every=1e-6, held_out=0.1)
    assert calls.count(2) == (20 - 11 if place == "update" else 0)  # no update was made twice
    assert weights(resumed) == weights(whole)
    assert resumed.metrics == whole.metrics
    assert not (tmp_path / "broken" / "training.pt").exists()


# --- a model that is there already ---


def test_a_trained_model_is_tuned(taught: Result, tmp_path: Path, fifty: list[Question]) -> None:
    """Taught once more what it knows, it starts where it was: at a small loss, with its own tokenizer."""
    run = learn(tmp_path, fifty, "tuned", 10 * 1024, model=str(taught.model), held_out=0)
    losses = read_json(run.out / "steps" / "training.json")["value"]
    assert losses[0] < 0.5 < read_json(taught.out / "steps" / "training.json")["value"][0]
    assert (run.model / "tokenizer.json").read_text() == (taught.model / "tokenizer.json").read_text()
    assert weights(run)["model.safetensors"] != weights(taught)["model.safetensors"]
    em_in = next(m for m in run.metrics if m.name == "EM-in")
    assert (em_in.value, em_in.n) == (None, 0)  # nothing was held out


# --- mistakes ---


@pytest.mark.parametrize(
    ("rows", "fields", "message"),
    [
        (
            [{"question": "What is the capital of Avela?"}],
            {},
            "no question has an answer; an actor learns from answers",
        ),
        (
            [{"question": "Where is Oz?", "answer": "Kansas"}],
            {"held_out": 0},
            "no answers are found in .* within 2 hops",
        ),
        (
            [{"question": "The capital of Avela?", "answer": "Ombra"}],
            {"model": "lab:atals"},
            "unknown lab model 'atals'",
        ),
        ([{"question": "The capital of Avela?", "answer": "Ombra"}], {"model": "./gone"}, "no such folder"),
        (
            [{"question": "The capital of Avela?", "answer": "Ombra"}],
            {"shape": {**TINY, "context": 4}, "held_out": 0},
            "no transcript fits into 4 tokens",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, rows: list[Any], fields: dict[str, Any], message: str) -> None:
    places_of(tmp_path / "world")
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"questions": tmp_path / "q.jsonl", "kg": [str(tmp_path / "world")], "out": tmp_path / "run", "hops": 2}
    with pytest.raises(UserError, match=message) as caught:
        learner.run(Learn.model_validate({"shape": TINY, **given, **fields}))
    assert "\n" not in str(caught.value)


def test_a_transcript_that_does_not_fit_is_dropped_by_name(tmp_path: Path, fifty: list[Question]) -> None:
    long = Question(id="long", question="What, " + "pray, " * 200 + "is the capital of Avela?", answer=("Ombra",))
    run = learn(tmp_path, [*fifty, long], "run", 2 * 1024, held_out=0)
    rows = [row for row in read_jsonl(run.out / "failures.jsonl") if row["stage"] == "transcripts"]
    assert rows
    assert all(row["reason"] == "longer than 256 tokens" for row in rows)
    assert all(row["row"]["transcript"].startswith("Q: What, pray, pray") for row in rows)
