"""What `upright audit interplay` can be told."""

import math
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PlainSerializer,
    PositiveFloat,
    PositiveInt,
)

from upright.audit.task import Task
from upright.run.config import Config as Base
from upright.run.config import SpeedConfig

Constraint = Literal["none", "reweighing", "parity"]
CONTROL: Constraint = "none"


def _budget(value: float) -> float:
    if not value > 0:
        raise ValueError(f"got {value:g}; must be > 0 (smaller is stricter), or inf for the control without privacy")
    return value


# JSON has no infinity, so a budget without limit is written as the word
Budget = Annotated[float, AfterValidator(_budget), PlainSerializer(lambda value: "inf" if math.isinf(value) else value)]


def _budgets(values: list[float]) -> list[float]:
    if math.inf not in values or len(set(values)) < len(values):
        shown = ",".join(f"{value:g}" for value in values)
        raise ValueError(f"got {shown or 'none'}; must be different budgets, with inf, the control, among them")
    return sorted(values, reverse=True)


def _constraints(values: list[Constraint]) -> list[Constraint]:
    if CONTROL not in values or len(set(values)) < len(values):
        raise ValueError(f"got {','.join(values) or 'none'}; must be different, with none, the plain model, among them")
    return sorted(values, key=lambda value: value != CONTROL)


class TrainingConfig(Base):
    """The model of every cell, and how it is trained; the same in all cells, so that only the goals differ."""

    hidden: NonNegativeInt = 32
    """Units of the hidden layer; 0 for logistic regression."""
    steps: PositiveInt = 400
    """Updates."""
    batch: PositiveInt = 256
    """Expected records of a batch; at most half of those trained on."""
    learning_rate: PositiveFloat = 0.01
    """Adam's step."""
    clip: PositiveFloat = 1.0
    """Largest norm of a record's gradient in private training."""
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The δ of the guarantee, below 1 / n for n records trained on (default: 1 / (n ln n))."""


class FairConfig(Base):
    """The fairness constraints."""

    strength: NonNegativeFloat = 5.0
    """Weight of the parity penalty, the squared distance of each group's mean score from the overall one."""
    rounds: Annotated[int, Field(ge=2, le=100)] = 10
    """Parts of a training; each begins with new mean scores for the parity penalty."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of ε that counts and mean scores of the groups may cost by themselves."""


class Config(Task):
    """Train one task over privacy levels and fairness constraints, and measure both goals by group."""

    epsilons: Annotated[list[Budget], AfterValidator(_budgets)] = [math.inf, 8.0, 4.0, 1.0]
    """Privacy budgets ε; inf is the control without privacy."""
    constraints: Annotated[list[Constraint], AfterValidator(_constraints)] = ["none", "reweighing", "parity"]
    """Fairness constraints: none, reweighing of records, or a penalty on unequal mean scores."""
    seeds: Annotated[int, Field(ge=1, le=50)] = 3
    """Models of each cell that are audited, each trained on its own random half of the records."""
    references: Annotated[int, Field(ge=0, le=256)] = 4
    """Further models of each cell, which only the attacks with reference models use."""
    rows: PositiveInt | None = None
    """Records taken at random from a larger table (default: all)."""
    min_group: PositiveInt = 100
    """People a group needs, ten of each outcome among them. Smaller groups are left out and listed."""
    equal_sizes: bool = False
    """Train on equally many records of each group: what is left of a gap is not due to their number."""
    draws: Annotated[int, Field(ge=200, le=20_000)] = 1000
    """Bootstrap draws behind the intervals."""
    training: TrainingConfig = TrainingConfig()
    fair: FairConfig = FairConfig()
    speed: SpeedConfig = SpeedConfig(batch_rows=4096)
