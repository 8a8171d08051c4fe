"""A chat model that is told its replies one by one, and keeps what it was asked."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tests.traversal.scripted import GREEDY, LITERALS, world
from upright.models.chat.protocol import Completion, Message, Sampling, Usage
from upright.traversal.budget import Limits
from upright.traversal.inquiry import Method
from upright.traversal.prompts import Plain, Style
from upright.traversal.record import Outcome, Row
from upright.traversal.search import UNLIMITED, Searcher, Settings

QUESTION = "Which currency is used in the country whose capital is Lima?"
SETTINGS, PLAIN = Settings(), Plain()
Reply = Callable[[str], str]


class Told:
    """Replies from a list, or by a function of the prompt; `error…` is a failed call, a text ending in `…` a cut one.

    One token a word is read and written.
    """

    name = "test:told"
    context = None

    def __init__(self, *replies: str, by: Reply | None = None) -> None:
        self.replies, self.by = list(replies), by
        self.prompts: list[str] = []
        self.samplings: list[Sampling] = []

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling = GREEDY,
        samples: int = 1,
        choices: Sequence[str] | None = None,
    ) -> list[Completion]:
        assert samples == 1
        prompt = messages[-1].content
        text = self.by(prompt) if self.by else self.replies[len(self.prompts)]
        self.prompts.append(prompt)
        self.samplings.append(sampling)
        if text.startswith("error"):
            return [Completion("", "error", Usage(0, 0), error=text)]
        usage = Usage(self.count(messages), len(text.split()))
        return [Completion(text.removesuffix("…"), "length" if text.endswith("…") else "stop", usage)]

    def count(self, messages: Sequence[Message]) -> int:
        return sum(len(message.content.split()) for message in messages)


def run(
    method: Method,
    model: Any,
    seeds: Sequence[str] = ("Lima",),
    settings: Settings = SETTINGS,
    limits: Limits = UNLIMITED,
    graph: Any = None,
    style: Style = PLAIN,
    question: str = QUESTION,
) -> tuple[Outcome, list[Row]]:
    """The outcome of a question and its record."""
    rows: list[Row] = []
    searcher = Searcher(graph or world(), model, style, LITERALS, settings, limits, method=method)
    return asyncio.run(searcher.answer(question, seeds, rows.append)), rows


def said(rows: Sequence[Row]) -> list[list[tuple[str, str]]]:
    """The lines of all nodes but the root."""
    return [[(tag, text) for tag, text in row["lines"]] for row in rows if row["kind"] == "node"][1:]
