"""The plan of a run."""

import math
from pathlib import Path
from typing import Any

import pytest

from upright.errors import UserError
from upright.synthesis.budget import delta_of, queries_of, steps_of, tuning_plan
from upright.synthesis.config import Config
from upright.training.private.accounting import Mechanism, epsilon


def settings(**more: Any) -> Config:
    return Config(**{"data": Path("d.csv"), "labels": ["kind"], **more})


def test_delta_by_hand() -> None:
    assert delta_of(settings(), 1000) == pytest.approx(1 / (1000 * math.log(1000)))
    assert delta_of(settings(delta=1e-6), 1000) == 1e-6


def test_a_delta_that_gives_somebody_away_is_refused() -> None:
    with pytest.raises(UserError, match=r"delta=0.01 with 100 units .* must be below 1/100 = 0.01"):
        delta_of(settings(delta=0.01), 100)


def test_a_handful_of_people_cannot_be_hidden() -> None:
    with pytest.raises(UserError, match="9 units to learn from; must be at least 10"):
        delta_of(settings(), 9)


def test_steps_by_hand() -> None:
    """20 epochs of 1,000 units in batches of 256: 78.1 steps; 100 units fill no batch of 256."""
    assert steps_of(settings(), 1000) == (256, 79)
    assert steps_of(settings(), 100) == (100, 20)


def test_counts_cost_their_share_alone() -> None:
    config = settings(epsilon=8, codes={"share": 0.05})
    (query,) = queries_of(config, 1e-5)
    alone = epsilon(Mechanism(1.0, 0.0, 0, ((query.noise, 1),)), 1e-5)
    assert 0.39 < alone <= 0.4


@pytest.mark.parametrize("more", [{"labels": []}, {"codes": {"counts": "uniform"}}])
def test_nothing_is_asked_where_nothing_is_private(more: dict[str, Any]) -> None:
    assert queries_of(settings(**more), 1e-5) == ()


def test_the_plan_keeps_the_budget_with_all_that_is_asked() -> None:
    plan = tuning_plan(settings(epsilon=2, tune={"epochs": 4, "batch": 100}), 800)
    assert 1.95 < plan.epsilon <= 2
    assert plan.allowance == {"counts": 1}
    assert plan.steps == 32


def test_without_privacy_only_the_noise_is_missing() -> None:
    private, free = (tuning_plan(settings(epsilon=e, tune={"epochs": 2}), 800) for e in (4, math.inf))
    assert (free.noise, free.query("counts").noise, free.epsilon) == (0, 0, math.inf)
    assert (free.clip, free.steps, free.batch) == (private.clip, private.steps, private.batch)
