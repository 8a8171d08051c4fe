"""Noisy sums over the units: the one way by which a generator that trains no network reaches private records.

The noise, how often one may ask and what it costs are those of a `Plan` of no steps, as for private training.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from upright.errors import UserError
from upright.run.files import atomic
from upright.training.private.accounting import Accountant, epsilon, query_noise_for
from upright.training.private.noise import Randomness, Secure
from upright.training.private.plan import Plan, Query
from upright.training.private.training import Certificate, noisy_sum


def plan_of(
    target: float,
    *,
    records: int,
    delta: float,
    name: str,
    times: int,
    sensitivity: float = 1.0,
    others: Sequence[Query] = (),
    accountant: Accountant = "pld",
) -> Plan:
    """The plan in which the query `name`, asked `times` times, takes what `others` leave of ε = `target`.

    Gaussian mechanisms compose to one of noise^-2 = Σ times · noise_i^-2 (Dong, Roth & Su 2022, corollary 3.3), so
    the noise follows from that of a single query. An infinite target gives the control without noise.

    Raises:
        UserError: for a budget that the others use up.
        MissingExtra: without dp-accounting.
    """
    if target == math.inf:
        queries = [Query(q.name, 0.0, q.times, q.sensitivity) for q in others] + [Query(name, 0.0, times, sensitivity)]
    else:
        left = query_noise_for(target, delta, 1, accountant) ** -2 - sum(q.times / q.noise**2 for q in others)
        if left <= 0:
            raise UserError(f"epsilon={target:g}: the counts asked for use it up; raise epsilon or lower their share")
        queries = [*others, Query(name, math.sqrt(times / left), times, sensitivity)]
    return Plan(records, 1.0, 0, 1.0, 0.0, delta, tuple(queries), accountant)


class Queries:
    """Answers the queries of a plan, each as often as planned, and keeps count.

    Guarantee: all answers together are (`epsilon`, `plan.delta`)-private for adding or removing one unit, if each
    row of contributions depends on its own unit, on earlier answers and on public facts alone.

    Args:
        units: whose contributions are summed.
        state: file of the answers so far, written before anybody sees them; a later process gets the same ones.
    """

    def __init__(self, plan: Plan, units: int, randomness: Randomness, state: Path | None = None) -> None:
        self.plan, self.units = plan, units
        self._randomness, self._state = randomness, state
        self._asked: Counter[str] = Counter()
        self._answers: dict[str, list[Tensor]] = {query.name: [] for query in plan.queries}
        if state is not None and state.exists():
            self._load(state)

    def deviation(self, name: str) -> float:
        """Standard deviation of the noise in the answers of a query. Raises KeyError for one that was not planned."""
        query = self.plan.query(name)
        return query.noise * query.sensitivity

    @property
    def asked(self) -> dict[str, int]:
        """How often each query was answered."""
        return dict(self._asked)

    @property
    def epsilon(self) -> float:
        """ε of what was answered so far, at the plan's δ."""
        return epsilon(self.plan.mechanism(0, self._asked), self.plan.delta, self.plan.accountant)

    def ask(self, name: str, contributions: Tensor) -> Tensor:
        """A noisy sum (k,) of what each unit contributes (units, k), see `noisy_sum`.

        Raises:
            UserError: for a query that was not planned, or was answered as often as planned.
        """
        allowed = self.plan.allowance.get(name, 0)
        if self._asked[name] >= allowed:
            raise UserError(f"query {name!r}: planned {allowed} times; plan it more often")
        if len(contributions) != self.units:
            raise ValueError(f"got {len(contributions)} contributions; must be one for each of {self.units} units")
        number = self._asked[name]
        self._asked[name] += 1  # first of all, so that no failure can leave an answer uncounted
        answers = self._answers[name]
        if number == len(answers):
            answers.append(noisy_sum(contributions, self.plan.query(name), self._randomness))
            self._save()
        if len(answers[number]) != contributions.shape[1]:
            raise ValueError(f"{name}: the saved answer has {len(answers[number])} sums, not {contributions.shape[1]}")
        return answers[number].clone()

    def certificate(self) -> Certificate:
        """What was earned by the answers, in the terms of a training without steps."""
        plan = self.plan
        return Certificate(
            epsilon=self.epsilon,
            epsilon_renyi=epsilon(plan.mechanism(0, self._asked), plan.delta, "rdp"),
            delta=plan.delta,
            steps=0,
            planned_steps=0,
            sample_rate=1.0,
            noise=max((plan.query(name).noise for name in self._asked), default=0.0),
            clip=max((plan.query(name).sensitivity for name in self._asked), default=0.0),
            queries=self.asked,
            secret=isinstance(self._randomness, Secure),
        )

    def _save(self) -> None:
        if self._state is None:
            return
        found = {"plan": self.plan.as_dict(), "answers": self._answers, "randomness": self._randomness.state()}
        self._state.parent.mkdir(parents=True, exist_ok=True)
        with atomic(self._state) as part:
            torch.save(found, part)

    def _load(self, path: Path) -> None:
        found = torch.load(path, weights_only=True)
        if found["plan"] != self.plan.as_dict():
            raise ValueError(f"{path}: got answers of the plan {found['plan']}; must be of {self.plan.as_dict()}")
        self._randomness.restore(found["randomness"])
        self._answers = found["answers"]
