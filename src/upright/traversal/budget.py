"""What one question may cost, and what it has cost so far."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from upright.models.chat.meter import Prices
from upright.models.chat.protocol import Completion

Status = Literal[
    "answered",
    "below_threshold",
    "exhausted",
    "truncated",
    "no_entities",
    "budget_calls",
    "budget_tokens",
    "budget_seconds",
    "budget_money",
    "error",
    "cancelled",
]


class Stop(Exception):
    """The search ends here, with the best answer so far."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """Most that one question may cost; None is no limit.

    Attributes:
        calls: requests to the model.
        tokens: tokens read and written together. The request that would pass it by its prompt is not made.
        seconds: wall time. Waiting is cut off; reading a graph in memory is not interrupted.
        dollars: money, where prices are given. The request that passes it is the last.
    """

    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    dollars: float | None = None


class Budget:
    """Counts calls and tokens, cached ones too, so that a repeated run ends at the same place as the first."""

    def __init__(self, limits: Limits, prices: Prices | None) -> None:
        if limits.dollars is not None and prices is None:
            raise ValueError("a limit in dollars needs prices")
        self.limits, self.prices = limits, prices
        self.admitted = self.calls = self.cached = self.prompt = self.completion = 0
        self._begin = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time since the budget was made."""
        return time.monotonic() - self._begin

    @property
    def dollars(self) -> float | None:
        """Price of all tokens, None where prices are not known."""
        if self.prices is None:
            return None
        return (self.prompt * self.prices.prompt + self.completion * self.prices.completion) / 1e6

    def admit(self, prompt: int) -> None:
        """Take one request with a prompt of so many tokens into account. Raises `Stop` when it is one too many."""
        limits, dollars = self.limits, self.dollars
        if limits.calls is not None and self.admitted >= limits.calls:
            raise Stop("budget_calls", f"{limits.calls} calls are used up")
        if limits.tokens is not None and self.prompt + self.completion + prompt > limits.tokens:
            raise Stop("budget_tokens", f"{limits.tokens} tokens are used up")
        if limits.dollars is not None and dollars is not None and dollars >= limits.dollars:
            raise Stop("budget_money", f"{limits.dollars} dollars are used up")
        self.on_time()
        self.admitted += 1

    def on_time(self) -> None:
        """Raises `Stop` when the time is up."""
        if self.limits.seconds is not None and self.seconds >= self.limits.seconds:
            raise Stop("budget_seconds", f"{self.limits.seconds} seconds are used up")

    def add(self, completions: Sequence[Completion]) -> None:
        """Count what a request gave."""
        self.calls += 1
        self.prompt += sum(completion.usage.prompt for completion in completions)
        self.completion += sum(completion.usage.completion for completion in completions)
        self.cached += all(completion.cached for completion in completions)
