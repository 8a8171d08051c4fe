"""What `upright audit epsilon` can be told."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from upright.run.config import Config as Base
from upright.run.config import Positional, RunConfig

Share = Annotated[float, Field(ge=0, lt=1)]
RANKS = [0.0, 0.01, 0.05, 0.2]


class ColumnsConfig(Base):
    """Names of the columns of the file."""

    score: str = "score"
    """Column of the scores; a larger score speaks for "in"."""
    included: str = "included"
    """Column that says whether the canary was in the training data: 0 or 1."""
    run: str = "run"
    """Column of the run, of which many-runs takes one row each; may be absent."""


class GuessConfig(Base):
    """One run: how many canaries are guessed, fixed before the scores are seen; several are corrected for."""

    in_: list[NonNegativeInt] = []
    """Canaries with the highest scores, guessed as in (default: half of all, of a quarter, of a sixteenth, …)."""
    out: list[NonNegativeInt] = []
    """Canaries with the lowest scores, guessed as out; as many numbers as for in."""


class ThresholdConfig(Base):
    """Many runs: which scores are called in; several thresholds are corrected for."""

    at: list[float] = []
    """Thresholds fixed before the scores were seen: a score above is called in."""
    pick: Literal["ranks", "split"] = "ranks"
    """Without `at`: at fixed ranks of the scores, or chosen on one half of the runs and tested on the other."""
    ranks: list[Share] = RANKS
    """Shares of one side's runs that may lie beyond a threshold; each is tried on both sides."""


class Config(RunConfig):
    """Lower bounds on epsilon from the scores of canaries, held against a claim."""

    file: Annotated[Path, Positional]
    """Scores as CSV, Parquet or JSONL, a row a canary: score (larger: in), included (0 or 1), optionally run."""
    delta: Annotated[float, Field(ge=0, lt=1)]
    """The δ at which ε is bounded, as in the claim."""
    claimed: PositiveFloat | None = None
    """The ε that is claimed; the command ends with exit code 3 when it is refuted."""
    method: Literal["one-run", "one-run-f-dp", "many-runs"] = "one-run"
    """One run with many canaries (by (ε, δ) or by whole trade-off curves), or many runs with one canary."""
    curve: Literal["any", "gaussian"] = "any"
    """What is known of the mechanism: nothing, or that its trade-off curve is Gaussian (no subsampling)."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """Chance with which the bound must hold."""
    unit: str = "record"
    """What one canary is, as in the claim: record, user, sequence."""
    adjacency: Literal["add-or-remove", "replace", "zero-out"] = "add-or-remove"
    """How data with and without the canary differ, as in the claim."""
    guess: GuessConfig = GuessConfig()
    threshold: ThresholdConfig = ThresholdConfig()
    columns: ColumnsConfig = ColumnsConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        many = self.method == "many-runs"
        if many and self.guess != GuessConfig():
            raise ValueError("--guess.in and --guess.out belong to one run; --method many-runs takes --threshold.at")
        if not many and self.threshold != ThresholdConfig():
            raise ValueError(f"--threshold belongs to many runs; --method {self.method} takes --guess.in, --guess.out")
        if self.curve == "gaussian" and (self.method == "one-run" or self.delta == 0):
            raise ValueError(
                f"--curve gaussian: got --method {self.method} --delta {self.delta:g}; "
                "needs --method one-run-f-dp or many-runs, and a delta above 0"
            )
        return self

    @model_validator(mode="after")
    def _numbers_are_whole(self) -> Self:
        heads, tails = self.guess.in_, self.guess.out
        if heads and tails and len(heads) != len(tails):
            raise ValueError(
                f"--guess.in has {len(heads)} numbers and --guess.out {len(tails)}; give as many of each, or one alone"
            )
        if (heads or tails) and not all(map(sum, self.guess_pairs())):
            raise ValueError("--guess.in 0 with --guess.out 0 is no guess; give a number above 0")
        if not self.threshold.at and self.threshold.pick == "ranks" and not self.threshold.ranks:
            raise ValueError("--threshold.ranks is empty; give shares, or thresholds with --threshold.at")
        return self

    @property
    def alpha(self) -> float:
        """Chance with which the bound may be wrong."""
        return 1 - self.confidence

    def guess_pairs(self) -> list[tuple[int, int]]:
        """Numbers of "in" and "out" guesses that were asked for, one pair a test; none leaves the choice to us."""
        heads, tails = self.guess.in_, self.guess.out
        return list(zip(heads or [0] * len(tails), tails or [0] * len(heads), strict=True))
