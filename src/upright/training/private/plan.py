"""The plan of a private training: one object that fixes sampling, clipping, noise and what they cost together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from upright.errors import UserError
from upright.training.private.accounting import Accountant, Mechanism, epsilon, noise_for


@dataclass(frozen=True)
class Query:
    """A sum over all records that the training may ask for, besides its gradients: counts, means.

    Args:
        name: by which it is asked.
        noise: standard deviation of the noise in multiples of `sensitivity`; 0 gives no privacy.
        times: how often it may be asked.
        sensitivity: largest Euclidean norm of one record's contribution; longer ones are scaled down to it.
    """

    name: str
    noise: float
    times: int = 1
    sensitivity: float = 1.0


@dataclass(frozen=True)
class Plan:
    """DP-SGD with Poisson sampling (Abadi et al. 2016), add-or-remove-one neighbours, the record as the unit.

    Args:
        records: public estimate of the number of records; it fixes the sample rate and nothing else.
        batch: expected number of records in a step, and what the noisy sum is divided by.
        steps: steps that may be taken.
        clip: largest norm of one record's gradient; infinite only without noise.
        noise: standard deviation of the noise in multiples of `clip`; 0 is the control without privacy.
        delta: the δ of the guarantee, below 1 / `records`.
        queries: what else may be asked of the records; it is paid for in the same sum.
    """

    records: int
    batch: float
    steps: int
    clip: float
    noise: float
    delta: float
    queries: tuple[Query, ...] = ()
    accountant: Accountant = "pld"

    def __post_init__(self) -> None:
        _check(self.records >= 1, "records", self.records, ">= 1")
        _check(0 < self.batch <= self.records, "batch", self.batch, f"> 0 and at most the {self.records} records")
        _check(self.steps >= 0, "steps", self.steps, ">= 0")
        _check(self.clip > 0, "clip", self.clip, "> 0")
        _check(0 <= self.noise < math.inf, "noise", self.noise, ">= 0 and finite")
        _check(not self.noise or self.clip < math.inf, "clip", self.clip, "finite when noise is added")
        _check(0 < self.delta < 1 / self.records, "delta", self.delta, f"in (0, 1/{self.records}), below 1/records")
        _check(len({q.name for q in self.queries}) == len(self.queries), "queries", self.queries, "of unlike names")
        for query in self.queries:
            _check(query.sensitivity > 0, f"sensitivity of {query.name}", query.sensitivity, "> 0")
            _check(0 <= query.noise < math.inf, f"noise of {query.name}", query.noise, ">= 0 and finite")

    @classmethod
    def for_epsilon(
        cls,
        target: float,
        *,
        records: int,
        batch: float,
        steps: int,
        delta: float,
        clip: float = 1.0,
        queries: Sequence[Query] = (),
        accountant: Accountant = "pld",
    ) -> Self:
        """The plan with the least noise that keeps ε ≤ `target` in all; infinite gives the control without privacy.

        Raises:
            UserError: for a budget of 0 or less, or one that the queries use up.
            MissingExtra: without dp-accounting.
        """
        _check(target > 0, "epsilon", target, "> 0 (the privacy budget; smaller is stricter)")
        if target == math.inf:
            silent = tuple(replace(query, noise=0.0) for query in queries)
            return cls(records, batch, steps, math.inf, 0.0, delta, silent, accountant)
        draft = cls(records, batch, steps, clip, 1.0, delta, tuple(queries), accountant)
        return replace(draft, noise=noise_for(target, delta, draft.mechanism(steps, draft.allowance), accountant))

    @property
    def sample_rate(self) -> float:
        """Probability of each record to be in a step."""
        return self.batch / self.records

    @property
    def allowance(self) -> dict[str, int]:
        """How often each query may be asked."""
        return {query.name: query.times for query in self.queries}

    def query(self, name: str) -> Query:
        """The query of that name. Raises KeyError for one that was not planned."""
        return {query.name: query for query in self.queries}[name]

    def mechanism(self, steps: int, asked: Mapping[str, int]) -> Mechanism:
        """What `steps` steps and queries `asked` so often have done to the records."""
        queries = tuple((query.noise, asked.get(query.name, 0)) for query in self.queries)
        return Mechanism(self.sample_rate, self.noise, steps, queries)

    @property
    def epsilon(self) -> float:
        """The ε of the plan carried out to its end."""
        return epsilon(self.mechanism(self.steps, self.allowance), self.delta, self.accountant)

    def as_dict(self) -> dict[str, Any]:
        """For a record of the run, and to tell whether two plans are the same."""
        return asdict(self)


def _check(holds: bool, name: str, got: object, allowed: str) -> None:
    if not holds:
        raise UserError(f"{name}={got}; must be {allowed}")
