"""The privacy plan of a run: δ, steps and the noise of each query, from the settings and the number of units."""

import math
from collections.abc import Sequence

from upright.errors import UserError
from upright.synthesis.config import Config
from upright.synthesis.shares import QUERY
from upright.training.private import Plan, Query, query_noise_for

FEWEST = 10
"""Units without which a budget means nothing: each is a tenth of all that is learnt."""


def delta_of(config: Config, units: int) -> float:
    """The δ that was asked for, or 1 / (N ln N) of N units.

    Raises:
        UserError: for a δ of 1/N or more, which allows that somebody's record is published, and for so few units that
            each δ of use is.
    """
    if units < FEWEST:
        raise UserError(f"{units} units to learn from; must be at least {FEWEST}: with fewer nobody can be hidden")
    if config.delta is None:
        return 1 / (units * math.log(units))
    if config.delta >= 1 / units:
        raise UserError(
            f"delta={config.delta:g} with {units} units that are learnt from; must be below 1/{units} = "
            f"{1 / units:.2g}, as one unit in as many could be given away: lower --delta, or leave it at auto"
        )
    return config.delta


def queries_of(config: Config, delta: float) -> tuple[Query, ...]:
    """The counts of the codes, which alone cost `codes.share` of ε; none where they are public or there is no code."""
    if config.codes.counts != "noised" or not (config.labels or config.groups):
        return ()
    if math.isinf(config.epsilon):
        return (Query(QUERY, 0.0),)
    return (Query(QUERY, query_noise_for(config.codes.share * config.epsilon, delta, 1, config.tune.accountant)),)


def steps_of(config: Config, units: int) -> tuple[float, int]:
    """Units in a step on average, and steps: never more units than there are."""
    batch = min(config.tune.batch, units)
    return batch, max(1, math.ceil(config.tune.epochs * units / batch))


def tuning_plan(config: Config, units: int, queries: Sequence[Query] | None = None) -> Plan:
    """The plan of DP-SGD together with the counts; ε = inf keeps the clipping, so that only the noise differs.

    Raises:
        UserError: for a δ that is too large, and when the counts alone use the budget up.
        MissingExtra: without dp-accounting.
    """
    delta = delta_of(config, units)
    batch, steps = steps_of(config, units)
    asked = tuple(queries_of(config, delta) if queries is None else queries)
    tune = config.tune
    if math.isinf(config.epsilon):
        return Plan(units, batch, steps, tune.clip, 0.0, delta, asked, tune.accountant)
    return Plan.for_epsilon(
        config.epsilon,
        records=units,
        batch=batch,
        steps=steps,
        delta=delta,
        clip=tune.clip,
        queries=asked,
        accountant=tune.accountant,
    )
