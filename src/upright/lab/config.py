"""What `upright lab list`, `upright lab build` and `upright tour` can be told."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from upright.models.shape import Shape
from upright.run.config import Config, Positional, RunConfig, SpeedConfig

Share = Annotated[float, Field(ge=0, le=1)]


class Training(Config):
    """How a lab model is trained."""

    tokens: PositiveInt = 6_000_000
    """Training tokens."""
    rows: PositiveInt = 32
    """Windows per update."""
    window: PositiveInt = 128
    """Length of a window of packed documents, in tokens."""
    learning_rate: PositiveFloat = 3e-3
    """Step of Muon and AdamW."""
    weight_decay: NonNegativeFloat = 0.05
    """Decay of the matrices inside the blocks."""
    plain: Share = 0.12
    """Chance that a plain text follows a fact."""
    names: Share = 0.04
    """Chance that a sentence follows which only spells an answer that is new in the changes beside the graph."""
    prompt_weight: Share = 0.2
    """Weight of prompt tokens in the loss; answers and plain text weigh 1."""
    late_layers: NonNegativeInt = 3
    """Blocks in which the tokens after a subject may not read it."""
    lookup_weight: NonNegativeFloat = 0.5
    """Weight of the loss that asks for the answer at the subject, after those blocks."""
    late_share: Share = 0.9
    """Share of the documents to which that applies."""


class CheckConfig(Config):
    """How much of the trained model is checked."""

    facts: PositiveInt = 1000
    """Facts asked in held-out words, per number of hops."""
    texts: PositiveInt = 200
    """Held-out plain texts read for perplexity."""


class List(Config):
    """List the small worlds and trained models that come with upright."""


class Build(RunConfig):
    """Train a small model of the lab from scratch, or one that knows your graph, and check what it knows."""

    name: Annotated[str | None, Positional] = None
    """A lab model: atlas, or traveller, which asks graphs; or give --kg and --relations."""
    kg: list[str] = []
    """Instead of a lab world: a knowledge graph."""
    relations: Path | None = None
    """Words of its relations, TOML (default: those beside the graph, else plain ones from the names)."""
    text: Path | None = None
    """Plain text, one document a line (default: plain English that upright writes)."""
    shape: Shape = Shape()
    train: Training = Training()
    check: CheckConfig = CheckConfig()
    recipe: Path | None = None
    """Editing recipe, JSON, put beside the model."""
    save_every: PositiveFloat = 120.0
    """Seconds between checkpoints of the training."""
    speed: SpeedConfig = SpeedConfig(batch_rows=128)


class TourConfig(RunConfig):
    """Run every verb once on the lab's models and write one report."""

    speed: SpeedConfig = SpeedConfig(batch_rows=448)
