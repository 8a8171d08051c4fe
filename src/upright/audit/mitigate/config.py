"""What `upright audit mitigate` can be told."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveInt

from upright.audit.task import Task
from upright.errors import unknown
from upright.run.config import Config as Base
from upright.run.config import Names, SpeedConfig

Share = Annotated[float, Field(ge=0, le=1)]


class Method(NamedTuple):
    """What a reader must know of a method before using it."""

    stage: Literal["pre", "in", "post"]
    """Where it acts: on the data, in training, or on the scores."""
    reads_group: bool
    """Whether the group must be known when a decision is made."""
    source: Literal["upright", "fairlearn"]
    """Whose code it is."""
    rule: str
    """The rule in words."""


Cost = Literal["fnr", "fpr", "both"]
NONE = "none"
METHODS = {
    "reweighing": Method("pre", False, "upright", "weighs rows by P(g) P(y) / P(g, y)"),
    "repair": Method("pre", True, "upright", "moves each number towards the median law over groups"),
    "decorrelation": Method("pre", True, "fairlearn", "takes the part that is linear in the group out of the inputs"),
    "reduction-parity": Method("in", False, "fairlearn", "exponentiated gradient under equal selection rates"),
    "reduction-odds": Method("in", False, "fairlearn", "exponentiated gradient under equal TPR and FPR"),
    "thresholds-parity": Method("post", True, "fairlearn", "thresholds by group with equal selection rates"),
    "thresholds-odds": Method("post", True, "fairlearn", "thresholds by group with equal TPR and FPR"),
    "reject-option": Method("post", True, "upright", "close decisions go in favour of the disadvantaged group"),
    "calibrated-odds": Method("post", True, "upright", "some scores give way to the group's base rate"),
}


def _known(names: list[str]) -> list[str]:
    if not names:
        raise ValueError(f"got no method; must be all, or some of {', '.join(METHODS)}")
    for name in names:
        if name != "all" and name not in METHODS:
            raise ValueError(str(unknown("method", name, ["all", *METHODS])))
    return list(METHODS) if "all" in names else list(dict.fromkeys(names))


class MethodConfig(Base):
    """Settings of single methods."""

    repair: Share = 1.0
    """Repair: how far each number is moved; 0 leaves it, 1 gives all groups one law."""
    removed: Share = 1.0
    """Decorrelation: share of the linear part that is removed."""
    slack: NonNegativeFloat = 0.01
    """Reductions: largest gap the training allows."""
    rounds: PositiveInt = 30
    """Reductions: models fitted, at most."""
    margin: Annotated[float, Field(ge=0, le=0.5)] | None = None
    """Reject option: scores this close to 1/2 are reassigned (default: the margin that closes the gap best)."""
    cost: Cost = "both"
    """Calibrated odds: the error that shall be equal between groups, or the sum of both."""


class Config(Task):
    """Compare ways to make a classifier fairer, on held-out rows."""

    methods: Annotated[Names, AfterValidator(_known)] = ["all"]
    """Methods to compare with the plain model."""
    model: Literal["logistic", "boosting"] = "logistic"
    """The classifier: logistic regression or gradient boosting."""
    folds: Annotated[int, Field(ge=2, le=50)] = 5
    """Parts the rows are cut into; each is predicted by models that learned from the others."""
    seeds: Annotated[int, Field(ge=1, le=20)] = 1
    """Times that cutting, training and predicting is repeated; the predictions are averaged."""
    utility: Literal["accuracy", "balanced accuracy"] = "accuracy"
    """What the frontier trades for fairness."""
    gap: Literal["odds", "parity"] = "odds"
    """The gap that the verdict is about: equalised odds or demographic parity."""
    actions: Path | None = None
    """Table of changes open to whoever is refused: feature, change (+2, -2 or a new value) and cost."""
    limit: Share = 0.1
    """Largest gap that counts as fair."""
    draws: Annotated[int, Field(ge=200)] = 4000
    """Bootstrap draws behind the intervals."""
    method: MethodConfig = MethodConfig()
    speed: SpeedConfig = SpeedConfig()
