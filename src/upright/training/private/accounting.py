"""What a mechanism costs: (ε, δ) of Poisson-subsampled Gaussian steps and Gaussian queries; the noise for a budget.

Neighbouring data sets differ by one record added or removed; the larger of both directions counts. Privacy-loss
distributions (Koskela et al. 2020; Doroshenko et al. 2022) and Rényi orders (Mironov et al. 2019) are those of
dp-accounting. Both bound ε from above; the first is the tighter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from upright.errors import MissingExtra, UserError

Accountant = Literal["pld", "rdp"]

FINE, COARSE = 1e-4, 1e-3
"""Grids of the privacy loss, in nats: for what is stated, and for the search (coarser only rounds up further)."""

ORDERS = (*(1 + k / 10 for k in range(10, 110)), *range(12, 65), 128, 256, 512)
WIDEST = 1e6


@dataclass(frozen=True)
class Mechanism:
    """All that was done to the records.

    Args:
        sample_rate: probability with which each record takes part in a step, independently.
        noise: standard deviation of a step's noise, in multiples of the clipping norm.
        steps: steps taken.
        queries: (noise multiplier, how many times) of Gaussian queries over all records.
    """

    sample_rate: float
    noise: float
    steps: int
    queries: tuple[tuple[float, int], ...] = ()

    @property
    def idle(self) -> bool:
        """Whether no record was looked at."""
        return not self.steps and not any(times for _, times in self.queries)

    @property
    def noisy(self) -> bool:
        """Whether everything that was looked at got noise."""
        used = [self.noise] * bool(self.steps) + [noise for noise, times in self.queries if times]
        return all(noise > 0 for noise in used)


@lru_cache(maxsize=256)
def epsilon(mechanism: Mechanism, delta: float, accountant: Accountant = "pld", grid: float = FINE) -> float:
    """The ε that holds at `delta`: 0 when nothing was looked at, infinite without noise.

    Raises:
        MissingExtra: without dp-accounting.
    """
    if mechanism.idle:
        return 0.0
    if not mechanism.noisy:
        return math.inf
    dp = _dp_accounting()
    ledger = dp.pld.PLDAccountant(value_discretization_interval=grid) if accountant == "pld" else _renyi(dp)
    for event, times in _events(dp, mechanism):
        ledger.compose(event, times)
    return float(ledger.get_epsilon(delta))


@lru_cache(maxsize=256)
def noise_for(target: float, delta: float, mechanism: Mechanism, accountant: Accountant = "pld") -> float:
    """The least noise multiplier, to 0.1 %, with which the steps of `mechanism` fit into ε = `target` at `delta`.

    `mechanism.noise` is ignored; its queries are paid for first.

    Raises:
        UserError: when the queries alone cost more than the budget.
        MissingExtra: without dp-accounting.
    """
    queries = Mechanism(mechanism.sample_rate, 0.0, 0, mechanism.queries)
    alone = epsilon(queries, delta, accountant, COARSE)
    if alone >= target:
        raise UserError(
            f"epsilon={target:g} at delta={delta:g}: the counts and means asked for cost {alone:.3g} alone; "
            "ask for fewer, give them more noise, or raise epsilon"
        )

    def cost(noise: float) -> float:
        tried = Mechanism(mechanism.sample_rate, noise, mechanism.steps, mechanism.queries)
        return epsilon(tried, delta, accountant, COARSE)

    return _least(cost, target, f"epsilon={target:g} at delta={delta:g}")


@lru_cache(maxsize=256)
def query_noise_for(target: float, delta: float, times: int, accountant: Accountant = "pld") -> float:
    """The least noise multiplier, to 0.1 %, with which `times` Gaussian queries fit into ε = `target` at `delta`."""

    def cost(noise: float) -> float:
        return epsilon(Mechanism(1.0, 0.0, 0, ((noise, times),)), delta, accountant, COARSE)

    return _least(cost, target, f"epsilon={target:g} at delta={delta:g} for {times} queries")


def _least(cost: Callable[[float], float], target: float, what: str) -> float:
    """The least noise whose falling `cost` is at most `target`: bracket by doubling, then halve on the log scale."""
    high = 1.0
    while cost(high) > target:
        high *= 2
        if high > WIDEST:
            raise UserError(f"{what}: cannot be reached with any noise up to {WIDEST:g}; raise epsilon or delta")
    low = high / 2
    while low > 0.05 and cost(low) <= target:
        high, low = low, low / 2
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if cost(middle) <= target else (middle, high)
    return high


def _events(dp: Any, mechanism: Mechanism) -> list[tuple[Any, int]]:
    step = dp.PoissonSampledDpEvent(mechanism.sample_rate, dp.GaussianDpEvent(mechanism.noise))
    found = [(step, mechanism.steps)] if mechanism.steps else []
    return found + [(dp.GaussianDpEvent(noise), times) for noise, times in mechanism.queries if times]


def _renyi(dp: Any) -> Any:
    return dp.rdp.RdpAccountant(ORDERS)


def _dp_accounting() -> Any:
    try:
        import dp_accounting
        from dp_accounting import pld, rdp  # noqa: F401 - so that the package has both
    except ImportError as error:
        raise MissingExtra("dp-accounting", "private") from error
    return dp_accounting
