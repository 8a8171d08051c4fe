"""What `upright audit membership` can be told."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from upright.run.config import Config as Base
from upright.run.config import Names, RunConfig, SpeedConfig

Share = Annotated[float, Field(ge=0, le=1)]
Signal = Literal["loss", "zlib", "min-k", "min-k++", "window", "lower-case", "recall", "neighbour", "gradient"]


class TextConfig(Base):
    """How a language model is asked about texts."""

    column: str = "text"
    """Column of the files that holds the text."""
    tokens: Annotated[int, Field(ge=8)] = 512
    """Longest text, in tokens of the audited model; what is beyond is cut off on both sides alike."""
    signals: list[Signal] = ["loss", "zlib", "min-k", "min-k++", "window", "lower-case", "recall", "neighbour"]
    """Signals computed; the first five share one forward pass, gradient (not by default) takes a backward pass."""
    k: Annotated[float, Field(gt=0, le=100)] = 20.0
    """Share of the least likely tokens that min-k and min-k++ average, in percent."""
    window: PositiveInt = 16
    """Length of the best window, in tokens."""
    neighbours: PositiveInt = 10
    """Altered copies of each text for the neighbour signal."""
    replaced: Share = 0.15
    """Share of tokens replaced in each copy."""
    prefix: PositiveInt = 5
    """Non-members set aside as the prefix of the recall signal."""
    corpus: Path | None = None
    """Other texts like those the model learned from, for the frequencies of tokens that the dc-pdd signal needs."""


class BlindConfig(Base):
    """The check that members and non-members are of one law, made without the model."""

    folds: Annotated[int, Field(ge=2)] = 5
    """Folds of the cross-validation."""
    overlap: Annotated[float, Field(gt=0, le=1)] = 0.8
    """A text is a copy if this share of its word 8-grams is found on the other side."""


class Config(RunConfig):
    """Attack a model to see whether it gives away what it was trained on."""

    model: str | None = None
    """Language model under audit: Hugging Face id, folder, or lab:NAME."""
    members: Path | None = None
    """Texts it was trained on: JSONL, CSV or Parquet, or plain text (.txt), one a line."""
    nonmembers: Path | None = None
    """Texts of the same law that it was not trained on, in one of the same formats."""
    suspects: Path | None = None
    """Texts of the same law of which it is not known: what share of them was trained on is estimated."""
    reference: Names = []
    """Language models that saw neither; several may be given."""
    scores: Path | None = None
    """Instead of a language model: outputs of a classifier and of reference models (CSV, Parquet or JSONL)."""
    group: str | None = None
    """Column with the group of a record, for risks by group."""
    features: Names = []
    """Columns of --scores that describe a record, for the blind check and the quantile attack (default: all x_*)."""
    rmia_a: Share | None = None
    """RMIA's offline constant (default: tuned on two reference models if their masks are known, else 0.9)."""
    smallest: PositiveInt = 30
    """Fewest members and non-members, in all and in a group, below which nothing is concluded."""
    text: TextConfig = TextConfig()
    blind: BlindConfig = BlindConfig()
    speed: SpeedConfig = SpeedConfig(batch_rows=32)
