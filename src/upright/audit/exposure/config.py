"""What `upright audit exposure` and `upright audit plant` can be told."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from upright.run.config import Config as Base
from upright.run.config import RunConfig, SpeedConfig

Share = Annotated[float, Field(gt=0, le=1)]
FORMAT = "The access code of {words:2} is {digits:6}."


def _levels(repeats: list[int]) -> list[int]:
    if not repeats:
        raise ValueError("got no number; must be one or more, such as 1,4,16")
    return repeats


class Plant(Base):
    """Make canaries: random sentences to hide in training text, and others of the same kind that stay out."""

    out: Path
    """JSONL file of the record; the lines to train on go beside it, to the same name with .txt."""
    count: PositiveInt = 100
    """Canaries to plant."""
    controls: PositiveInt = 100
    """Canaries that are never trained on."""
    format: str = FORMAT
    """Sentence with random parts: {digits:N}, {letters:N}, {hex:N} characters or {words:N} invented words."""
    repeats: Annotated[list[PositiveInt], AfterValidator(_levels)] = [1]
    """Times a canary stands in the training text; several levels are dealt out in turn."""
    seed: NonNegativeInt = 0
    """Seed of the random parts."""
    overwrite: bool = False
    """Replace files that are there."""


class CanaryConfig(Base):
    """How exposure is measured."""

    candidates: Annotated[int, Field(ge=100)] = 2000
    """Other sentences of the same format that a canary is ranked among; small spaces are ranked whole."""
    least: PositiveInt = 20
    """Canaries and controls that a verdict needs, of each."""


class ExtractionConfig(Base):
    """How training text is drawn out of the model."""

    prompt: PositiveInt = 50
    """First tokens of a text that the model is given."""
    target: PositiveInt = 50
    """Tokens after them that must come out exactly."""
    texts: PositiveInt = 500
    """Texts tried of each side, at most."""
    draws: PositiveInt = 100
    """Samples an attacker takes for each text."""
    chance: Share = 0.5
    """A text counts as discoverable if it comes out in that many draws with at least this probability."""
    temperature: PositiveFloat = 1.0
    """Of the sampling rule."""
    top_k: PositiveInt | None = 40
    """Of the sampling rule: tokens drawn from, the likeliest; none for all."""
    top_p: Share = 1.0
    """Of the sampling rule: mass of the likeliest tokens drawn from."""


class AttributeConfig(Base):
    """How an attribute is inferred from the model's representation of a text."""

    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Parts each side is cut into; a probe never sees the part it is judged on."""
    texts: PositiveInt = 1000
    """Texts used of each side, at most."""
    least: PositiveInt = 50
    """Texts of each side that a verdict needs."""


class PersonalConfig(Base):
    """How personal data are looked for in what the model writes."""

    samples: NonNegativeInt = 200
    """Texts of each side that are continued, at most; 0 leaves this test out."""
    prompt: PositiveInt = 20
    """First tokens of a text that the model is given."""
    tokens: PositiveInt = 60
    """Tokens it may write."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """Of the sampling rule; 0 takes the likeliest token."""
    top_k: PositiveInt | None = 40
    """Of the sampling rule: tokens drawn from, the likeliest; none for all."""


class Config(RunConfig):
    """Measure what a language model gives away of the text it was trained on."""

    model: str
    """Hugging Face id, folder, or lab:NAME."""
    canaries: Path | None = None
    """Record of planted canaries and controls, as `upright audit plant` writes it."""
    members: Path | None = None
    """Texts the model was trained on: JSONL, CSV or Parquet, or plain text (.txt), one a line."""
    nonmembers: Path | None = None
    """Texts of the same law that it was not trained on: a random part held out before training."""
    column: str = "text"
    """Column of the files that holds the text."""
    attribute: str | None = None
    """Column to infer; the texts should not state it."""
    canary: CanaryConfig = CanaryConfig()
    extraction: ExtractionConfig = ExtractionConfig()
    inference: AttributeConfig = AttributeConfig()
    personal: PersonalConfig = PersonalConfig()
    speed: SpeedConfig = SpeedConfig(batch_rows=32)
