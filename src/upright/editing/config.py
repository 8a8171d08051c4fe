"""What `upright edit`, `upright edit undo` and `upright edit apply` can be told."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from upright.run.config import Config as Base
from upright.run.config import Names, Positional, RunConfig, SpeedConfig

Share = Annotated[float, Field(ge=0, le=1)]


class TargetConfig(Base):
    """How target vectors are optimised (MEMIT step 1). None takes the model's recipe."""

    learning_rate: PositiveFloat | None = None
    """Adam's step on the vectors."""
    steps: PositiveInt | None = None
    """Evaluations of the loss; one fewer updates."""
    clamp: PositiveFloat | None = None
    """Largest norm of the change, as a multiple of the state's norm."""
    decay: NonNegativeFloat | None = None
    """Weight of the change's norm in the loss."""
    kl: NonNegativeFloat | None = None
    """Weight of the divergence on the bare subject in the loss."""
    stop_below: NonNegativeFloat | None = None
    """A fact is done when its loss falls below this."""
    prefixes: NonNegativeInt | None = None
    """Random texts before the prompt, so that the edit holds in any context."""
    prefix_tokens: PositiveInt = 10
    """Length of each of them, in tokens."""
    wordings: NonNegativeInt | None = None
    """Other sentences that ask the same, so that the edit holds in other words; never those that measure."""


class StatsConfig(Base):
    """The text on which key statistics are taken."""

    text: Path | None = None
    """Plain text, one document a line (default: plain English that upright writes)."""
    sequences: PositiveInt = 3000
    """Texts read."""
    tokens: PositiveInt = 64
    """Longest text, in tokens."""
    facts: Share = 0.8
    """Weight of the keys of unchanged facts of the graph, against those of running text."""
    known: PositiveInt = 10_000
    """Unchanged facts that are asked for, at most."""


class _ClosedForm(Base):
    layers: list[NonNegativeInt] | None = None
    """Layers whose MLP is written, lowest first (default: the model's recipe)."""
    shrink: Share = 0.01
    """Weight of the identity mixed into the key statistics."""
    retries: NonNegativeInt = 8
    """Times that what the model does not yet say is solved again on top, so that the rest can be protected more."""


class Memit(_ClosedForm):
    """MEMIT: least squares that trades the edits against all keys of plain text."""

    type: Literal["memit"] = "memit"
    lambda_: PositiveFloat | None = None
    """Weight of the key statistics: higher changes less elsewhere (default: the model's recipe)."""


class AlphaEdit(_ClosedForm):
    """AlphaEdit: as MEMIT, but only along directions that plain text leaves unused."""

    type: Literal["alphaedit"] = "alphaedit"
    l2: PositiveFloat | None = None
    """Ridge on the change inside the free directions (default: the model's recipe)."""
    kept_energy: Share | None = None
    """Share of the statistics' trace that no edit may touch (default: the model's recipe)."""


class Emmet(_ClosedForm):
    """EMMET: equality-constrained editing of one layer, relaxed by mu; ROME for a single fact."""

    type: Literal["emmet"] = "emmet"
    mu: PositiveFloat | None = None
    """Weight of the key statistics (default: the model's recipe)."""


class Finetune(Base):
    """LocFT-BF: Adam on one down projection, breadth first over all facts."""

    type: Literal["finetune"] = "finetune"
    layer: NonNegativeInt | None = None
    """Layer whose MLP is trained (default: the model's recipe)."""
    learning_rate: PositiveFloat | None = None
    """Adam's step (default: the model's recipe)."""
    epochs: PositiveInt = 25
    """Passes over the facts, at most."""
    batch: PositiveInt = 100
    """Facts per update."""
    stop_below: NonNegativeFloat = 1e-2
    """Batches below this loss are skipped; an epoch below it is the last."""


Solver = Annotated[Memit | AlphaEdit | Emmet | Finetune, Field(discriminator="type")]


class ContextConfig(Base):
    """K-Edit: what else must change so that the consequences of an edit hold."""

    hops: NonNegativeInt = 2
    """Longest chain of facts through an edit that is written; 0 writes the facts alone."""
    cap: PositiveInt = 32
    """Chains written per fact and direction, at most."""
    hub: PositiveInt = 100
    """Things that more facts than this point to are not passed through backwards."""
    deny: list[str] = []
    """Relations no chain goes through."""
    rounds: Literal["after", "per-hop", "together"] = "after"
    """Chains in one round after the facts, one round per chain length, or in one batch with the facts."""
    memory: bool = True
    """Later rounds keep what earlier ones wrote (off: an ablation)."""


class MeasureConfig(Base):
    """How much is measured, before and after."""

    facts: NonNegativeInt = 200
    """Edited facts that are tested, at most; 0 asks nothing at all."""
    neighbours: PositiveInt = 5
    """Facts of other subjects tested per edit."""
    untouched: PositiveInt = 300
    """Facts unrelated to the edits that are tested, at most."""
    chains: PositiveInt = 500
    """Multi-hop questions, at most."""
    hops: PositiveInt = 3
    """Longest chain in a question."""
    texts: NonNegativeInt = 100
    """Plain texts for perplexity, and subjects for fluency."""
    text: Path | None = None
    """Plain text for perplexity, one document a line (default: plain English that upright writes)."""


class Config(RunConfig):
    """Change facts in a model's weights, with their consequences."""

    model: str
    """Hugging Face id, folder, or lab:NAME."""
    facts: Path | None = None
    """Fact changes, JSONL: subject, relation, object, optionally was."""
    counterfactuals: PositiveInt | None = None
    """Instead of a file: this many invented changes, drawn from the graph."""
    kg: Names = []
    """Knowledge graph: folder, TSV, N-Triples, Turtle or lab:NAME; several are merged."""
    relations: Path | None = None
    """Words of the relations, TOML (default: those beside the graph, else plain ones from the names)."""
    solver: Solver = Memit()
    """The method that writes."""
    batch: PositiveInt = 1000
    """Facts solved at once; more come in turns that remember each other."""
    target: TargetConfig = TargetConfig()
    stats: StatsConfig = StatsConfig()
    context: ContextConfig = ContextConfig()
    measure: MeasureConfig = MeasureConfig()
    save: Literal["patch", "model"] = "patch"
    """Write the patch alone, or the edited model as well."""
    speed: SpeedConfig = SpeedConfig(batch_rows=448)


class Undo(Base):
    """Take an edit out of the model that a run or an apply wrote; the weights are bit-identical again."""

    folder: Annotated[Path, Positional]
    """Run folder, or folder of an edited model."""


class Apply(Base):
    """Write a patch into a model and save the edited model."""

    patch: Annotated[Path, Positional]
    """A patch file, or the run folder that holds it."""
    model: str
    """Hugging Face id, folder, or lab:NAME: the model the patch was made for."""
    out: Path
    """Folder of the edited model."""
    overwrite: bool = False
    """Replace an edited model that lies in --out."""
    speed: SpeedConfig = SpeedConfig()
