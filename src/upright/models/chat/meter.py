"""What calls cost: calls, tokens, money and time."""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Self


class Prices(NamedTuple):
    """US dollars per million tokens."""

    prompt: float
    completion: float


@dataclass(frozen=True)
class Spent:
    """Sums of a meter at one moment; the difference of two is what was spent between."""

    calls: int = 0
    """Calls of `complete` that needed the model."""
    cached: int = 0
    """Calls that were answered without it."""
    requests: int = 0
    """Attempts at the model, with those that failed and were made again."""
    failed: int = 0
    """Completions with finish "error"."""
    prompt: int = 0
    """Tokens read."""
    completion: int = 0
    """Tokens written."""
    seconds: float = 0.0
    """Waiting time summed over attempts, whether they ran side by side or not."""
    cost: float | None = 0.0
    """US dollars; None where the price is not known."""

    def __add__(self, other: Self) -> "Spent":
        return self._with(other, 1)

    def __sub__(self, other: Self) -> "Spent":
        return self._with(other, -1)

    def _with(self, other: Self, sign: int) -> "Spent":
        names = [field.name for field in fields(self) if field.name != "cost"]
        sums = {name: getattr(self, name) + sign * getattr(other, name) for name in names}
        unknown = self.cost is None or other.cost is None
        return Spent(**sums, cost=None if unknown else (self.cost or 0) + sign * (other.cost or 0))


class Meter:
    """Adds up what calls cost. What is added to a part of a meter is added to the whole as well."""

    def __init__(self, prices: Prices | None = None, whole: "Meter | None" = None) -> None:
        self._prices = prices
        self._whole = whole
        self._spent = Spent()

    def add(self, spent: Spent) -> None:
        """Add to the sums; the cost is found from the tokens and the prices."""
        self._spent += replace(spent, cost=0.0)
        if self._whole is not None:
            self._whole.add(spent)

    def part(self) -> "Meter":
        """A meter from zero whose sums also count here."""
        return Meter(self._prices, self)

    def snapshot(self) -> Spent:
        """The sums so far."""
        if self._prices is None:
            return replace(self._spent, cost=None)
        dollars = self._spent.prompt * self._prices.prompt + self._spent.completion * self._prices.completion
        return replace(self._spent, cost=dollars / 1e6)
