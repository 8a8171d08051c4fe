"""What generators that train no network share: their budget, the shares of the codes, how a chat model is asked."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upright.models.causal import CausalModel
from upright.models.chat import Sampling
from upright.synthesis.budget import delta_of, queries_of
from upright.synthesis.codes import BARE, Codes
from upright.synthesis.config import Config
from upright.synthesis.corpus import Code
from upright.synthesis.generators.asking import Queries, plan_of
from upright.synthesis.generators.protocol import Task
from upright.synthesis.shares import QUERY, contributions, noised_shares, open_shares, settled
from upright.training.private import Certificate, Plan, Query

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Queried:
    """The half of a `Generator` that is alike where no network is trained.

    Args:
        certificate: what was earned by the queries; None without a formal guarantee.
        shares: of the codes (K,), see `Generator.shares`.
        learnt: limits that stand when it has learnt, before it has written.
    """

    certificate: Certificate | None
    shares: Floats
    learnt: tuple[str, ...] = ()

    @property
    def model(self) -> CausalModel | None:
        """No model was tuned that could score texts."""
        return None

    @property
    def limits(self) -> tuple[str, ...]:
        """As `Generator.limits`."""
        return self.learnt


def queries_for(task: Task, name: str, times: int, sensitivity: float = 1.0) -> Queries:
    """The query `name`, asked `times` times, with all of ε that the counts of the codes leave.

    Answers lie in `task.state`, so that a resumed run asks no query twice. The codes of the control are given, and
    nobody is counted for them.

    Raises:
        UserError: for a δ that is too large, and when the counts alone use the budget up.
        MissingExtra: without dp-accounting.
    """
    config, units = task.config, len(task.members)
    plan = plan_of(
        config.epsilon,
        records=units,
        delta=delta_of(config, units),
        name=name,
        times=times,
        sensitivity=sensitivity,
        others=_counts(task),
        accountant=config.tune.accountant,
    )
    return _open(task, plan)


def queries_of_counts(task: Task) -> Queries:
    """The counts of the codes and nothing else, where they are not public. Raises as `queries_for` does."""
    delta = delta_of(task.config, len(task.members))
    plan = Plan(len(task.members), 1.0, 0, 1.0, 0.0, delta, _counts(task), task.config.tune.accountant)
    return _open(task, plan)


def _counts(task: Task) -> tuple[Query, ...]:
    return () if task.control else queries_of(task.config, delta_of(task.config, len(task.members)))


def _open(task: Task, plan: Plan) -> Queries:
    return Queries(plan, len(task.members), task.randomness("queries"), task.state)


def shares_of(task: Task, queries: Queries) -> tuple[Floats, list[str]]:
    """The shares of the codes, asked of the records where they are not public, and what must be known of them."""
    codes = task.codes
    if QUERY not in queries.plan.allowance:
        return settled(open_shares(task.config.codes.counts, codes))
    counts = queries.ask(QUERY, contributions(task.unit_codes, codes.combinations))
    return settled(noised_shares(counts.double().numpy(), queries.deviation(QUERY)))


def described(codes: Codes, code: Code) -> str:
    r"""A code in words, as it stands before a record; empty where there is nothing to say.

    >>> described(Codes(("sex",), (("f", "m"),), "sex: {sex}\n", {}), ("f",))
    'sex: f'
    """
    return "" if codes.template == BARE else codes.prompt(code).strip()


def asked_for(config: Config) -> Sampling:
    """How a chat model draws a record."""
    how = config.sampling
    return Sampling(temperature=how.temperature, max_tokens=how.tokens, top_p=how.top_p)
