"""Runs of `upright ask` on the small world against a chat server on the loopback, which follows a script."""

from pathlib import Path
from typing import Any

from tests.models.chat.server import Server
from tests.traversal.scripted import FACTS, Script, kind_of, trajectory
from upright.models.chat.config import ChatConfig
from upright.traversal.config import Config
from upright.traversal.questions import Question, write_questions

QUESTIONS = [
    Question(id="lima", question="Which currency is used in the country whose capital is Lima?", answer=("sol",)),
    Question(id="peru", question="What is the capital of Peru?", answer=("Lima",)),
    Question(id="chile", question="What is the currency of Chile?", answer=("peso",)),
    Question(id="brazil", question="What is the currency of Brazil?", answer=("real",)),
]
WAYS = {"lima": ["~capital", "currency"], "peru": ["capital"], "chile": ["currency"], "brazil": ["currency"]}
BY_TEXT = {question.question: WAYS[question.id] for question in QUESTIONS}


def replying(script: Script) -> Any:
    """The script as the `reply` of a server, which is asked for one sample at a time."""

    def reply(body: dict[str, Any], sample: int) -> str:
        prompt = body["messages"][-1]["content"]
        said = script(kind_of(prompt), trajectory(prompt))
        return said if isinstance(said, str) else said[sample % len(said)]

    return reply


def knowing(body: dict[str, Any], _: int) -> str:
    """The way to the answer of each of the `QUESTIONS`, every state worth 0.9."""
    prompt = body["messages"][-1]["content"]
    kind, taken = kind_of(prompt), trajectory(prompt).count("FOUND")
    way = BY_TEXT[prompt.partition("\n")[0].removeprefix("Question: ")]
    match kind:
        case "default" | "forced":
            return f"ANSWER #{taken + 1}" if taken == len(way) or kind == "forced" else "EXPAND_KG"
        case "entities":
            return f"#{taken + 1}"
        case "relation":
            return way[taken]
        case _:
            return "Score: 0.9"


def write_world(folder: Path) -> Path:
    """The small world as a table."""
    (folder / "facts.tsv").write_text("".join("\t".join(fact) + "\n" for fact in FACTS))
    return folder / "facts.tsv"


def asking(folder: Path, server: Server, **fields: Any) -> Config:
    """All `QUESTIONS` to the server, one at a time where nothing else is said, without waits between retries."""
    write_questions(folder / "questions.jsonl", QUESTIONS)
    speed = {"cache": folder / "cache", "retries": 0, **fields.pop("chat_speed", {})}
    chat = ChatConfig.model_validate({"model": "openai:echo", "base_url": server.url, "speed": speed})
    given = {"questions": folder / "questions.jsonl", "out": folder / "run", "speed": {"questions": 1}, **fields}
    return Config(kg=[str(write_world(folder))], chat=chat, **given)
