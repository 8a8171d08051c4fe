"""What `upright audit fairness` can be told."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from upright.run.config import Names, Positional, RunConfig, SpeedConfig

ONLY = {
    "prediction": ("decisions", "regression"),
    "score": ("decisions", "ranking"),
    "query": ("ranking",),
    "positive": ("decisions",),
    "classes": ("decisions",),
    "strata": ("decisions",),
    "weight": ("decisions",),
    "features": ("decisions",),
    "swapped": ("decisions",),
    "swapped_score": ("decisions",),
    "population": ("decisions",),
}
"""Tasks that make something of an option; elsewhere it would be passed over in silence."""
Share = Annotated[float, Field(ge=0, le=1)]


class Config(RunConfig):
    """Measure how decisions, scores or predicted numbers differ between groups."""

    table: Annotated[Path, Positional]
    """CSV, Parquet, JSONL or lab:NAME, a row for each decision; or a folder of such files, whose counts are added."""
    groups: Names
    """Columns that say which group a record belongs to."""
    label: str
    """Column of the true outcome."""
    prediction: str | None = None
    """Column of the decision, or of the predicted number (default: score >= threshold)."""
    score: str | None = None
    """Column of the probability of the positive class, 0 to 1; for rankings any number, the largest first."""
    task: Literal["decisions", "regression", "ranking"] = "decisions"
    """What the model gives: classes, numbers, or an order."""
    threshold: Share = 0.5
    """Scores from here on are positive decisions, where no prediction is given."""
    positive: str | None = None
    """Value of label and prediction that counts as positive (default: 1, true or yes; several classes: none)."""
    classes: Names = []
    """Values that labels and predictions may take (default: those that occur)."""
    swapped: str | None = None
    """Column of the decision that the model gives to the same record with its group exchanged."""
    swapped_score: str | None = None
    """Column of the score that the model gives to the same record with its group exchanged."""
    population: Path | None = None
    """Table of the population the records stand for: group, share, and column where there are several --groups."""
    strata: str | None = None
    """Column within whose values the groups are compared as well."""
    weight: str | None = None
    """Column of record weights, 0 or more."""
    query: str | None = None
    """Column that tells one ranking from another (default: the table is one ranking)."""
    top: list[PositiveInt] = [10, 100]
    """Lengths of the top of a ranking, in items."""
    features: Names = []
    """Columns by which people are alike, for individual fairness."""
    neighbours: PositiveInt = 5
    """Nearest records that should be treated like a record."""
    lipschitz: PositiveFloat | None = None
    """Largest difference of scores for each unit of distance between standardised features (default: not tested)."""
    individuals: PositiveInt = 20_000
    """Records drawn for individual fairness, at most."""
    reference: dict[str, str] = {}
    """Group that others are compared with, COLUMN=VALUE (default: see --against)."""
    against: Literal["majority", "best"] = "majority"
    """Group to compare with where none is named: the largest, or the one most often given the positive decision."""
    limit: Share = 0.1
    """Largest gap between two groups that passes."""
    ratio_limit: Share = 0.8
    """Smallest ratio of selection rates that passes: four fifths."""
    min_group: PositiveInt = 30
    """Records a group needs to be compared; smaller ones are listed as not enough data."""
    min_events: PositiveInt = 5
    """Records a rate needs in its denominator."""
    draws: Annotated[int, Field(ge=200)] = 2000
    """Bootstrap tables behind an interval."""
    permutations: NonNegativeInt = 2000
    """Shuffles of the groups behind a p-value; 0 leaves p-values out."""
    rescans: Annotated[int, Field(ge=0)] = 199
    """Scans of fair data behind the p-value of the worst subgroup; 0 leaves the scan out."""
    speed: SpeedConfig = SpeedConfig(batch_rows=2**19)

    @model_validator(mode="after")
    def _columns(self) -> Self:
        if not self.groups:
            raise ValueError("--groups: got no column; name at least one")
        if self.prediction is None and self.score is None:
            raise ValueError("--prediction and --score are both missing; give at least one")
        if self.task == "regression" and self.prediction is None:
            raise ValueError("--task regression: got no --prediction; name the column of predicted numbers")
        if self.task == "ranking" and self.score is None:
            raise ValueError("--task ranking: got no --score; name the column that gives the order")
        if self.label in self.groups or self.prediction in self.groups:
            raise ValueError("--groups: holds the label or the prediction; name other columns")
        twice = {name for name in self.groups if self.groups.count(name) > 1}
        if twice:
            raise ValueError(f"--groups: got {min(twice)!r} twice; each column once")
        astray = sorted(set(self.reference) - set(self.groups))
        if astray:
            raise ValueError(f"--reference: got column {astray[0]!r}; must be one of --groups {','.join(self.groups)}")
        return self

    @model_validator(mode="after")
    def _of_use(self) -> Self:
        for name, tasks in ONLY.items():
            if self.task not in tasks and getattr(self, name) not in (None, []):
                flag, whom = name.replace("_", "-"), " and ".join(tasks)
                raise ValueError(f"--{flag}: says nothing to --task {self.task}, only to {whom}; drop it")
        if self.swapped_score is not None and self.score is None:
            raise ValueError("--swapped-score: needs the --score it is compared with")
        return self
