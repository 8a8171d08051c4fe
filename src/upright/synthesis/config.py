"""What `upright synthesize` can be told."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PlainSerializer,
    PositiveFloat,
    PositiveInt,
)

from upright.models.chat.config import ChatConfig
from upright.run.config import Config as Base
from upright.run.config import Names, RunConfig, SpeedConfig

Share = Annotated[float, Field(gt=0, lt=1)]
Epsilon = Annotated[
    PositiveFloat, PlainSerializer(lambda value: "inf" if math.isinf(value) else value, when_used="json")
]
Values = Annotated[list[str], BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value)]
Generator = Literal["tuned", "prompted", "evolution", "ngrams"]
Style = Literal["invented", "tags"]


def _delta(value: Any) -> Any:
    return None if value == "auto" else value


def _counts(value: str) -> str:
    if value not in ("noised", "uniform") and not value.lower().endswith((".csv", ".parquet", ".jsonl")):
        raise ValueError("must be noised, uniform, or a table (.csv, .parquet, .jsonl) with the columns and `count`")
    return value


class CodeConfig(Base):
    """How labels and groups steer the generator, and where their counts come from."""

    counts: Annotated[str, AfterValidator(_counts)] = "noised"
    """How many records of each combination: `noised` private counts, `uniform`, or a public table with `count`."""
    share: Share = 0.05
    """Part of epsilon that the noised counts may cost alone."""
    balance: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Part of the records spread evenly over all combinations, so that rare ones are written too."""
    values: dict[str, Values] = {}
    """Public values of each column; others are refused. Without them the values in the data are taken as public."""
    template: str | None = None
    """What stands before a record, with {COLUMN} for each value (default: `COLUMN: VALUE` of each, then a line end)."""
    names: dict[str, dict[str, str]] = {}
    """Public words that stand for a value in the template, by column: a good name tells the model what it knows."""


class SplitConfig(Base):
    """Real records that are never trained on, split off by unit."""

    test: Share = 0.2
    """Share that classifiers are tested on."""
    heldout: Share = 0.2
    """Share of the rest that stands beside the synthetic records as the reference."""


class TuneConfig(Base):
    """How the generator is fine-tuned."""

    method: Literal["lora", "full"] = "lora"
    """Train low-rank factors beside the linear layers, or all weights."""
    rank: PositiveInt = 8
    """Of the low-rank factors."""
    epochs: PositiveFloat = 20.0
    """How often each unit takes part, on average."""
    batch: PositiveInt = 256
    """Units in a step, on average; large batches bear noise better."""
    learning_rate: PositiveFloat = 3e-3
    """Of Adam, at its highest."""
    clip: PositiveFloat = 1.0
    """Largest norm of one unit's gradient."""
    tokens: PositiveInt = 256
    """Longest record, in tokens with its code; the rest of a longer one is cut off, and counted."""
    accountant: Literal["pld", "rdp"] = "pld"
    """Privacy-loss distributions, or Renyi orders (looser)."""
    chance: Literal["secure", "seeded"] = "secure"
    """Noise from the system's cryptographic generator, or from the seed: repeatable, so not for a release."""


class UnitConfig(Base):
    """What one unit, such as a patient, may give."""

    records: PositiveInt = 1
    """Records of a unit in a step, drawn anew; their loss is averaged before clipping."""
    most: PositiveInt = 200
    """Records a unit may have."""


class SamplingConfig(Base):
    """How records are written."""

    temperature: PositiveFloat = 1.0
    """Of the sampling rule."""
    top_k: PositiveInt | None = None
    """Tokens drawn from, the likeliest; none for all."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Mass of the likeliest tokens drawn from."""
    guidance: Annotated[float, Field(ge=1, le=10)] = 1.0
    """Lean towards what a code makes likelier, by classifier-free guidance; costs no epsilon, 1 for none."""
    tokens: PositiveInt = 200
    """Tokens of a record, at most."""
    block: PositiveInt | None = None
    """Refuse records that repeat so many words in a row of a training record; voids the guarantee, and is counted."""


class FilterConfig(Base):
    """What is left out of the synthetic records; the private ones are not looked at."""

    least: NonNegativeInt = 1
    """Words a record must have."""
    repeats: PositiveInt = 1
    """Times an identical record may occur, among those of 5 words and more."""
    loops: Share = 0.5
    """Left out if more than this share of its 4-grams are repetitions."""
    attempts: PositiveInt = 4
    """Records written for each wanted one, at most."""


class EvolutionConfig(Base):
    """Private evolution (Xie et al. 2024): a model varies what the private records vote for."""

    rounds: PositiveInt = 5
    """Rounds of votes."""
    variations: PositiveInt = 4
    """Candidates for each record wanted, in a round."""
    votes: PositiveInt = 1
    """Nearest candidates that a unit votes for."""
    threshold: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """Votes a candidate needs more of to count at all (default: the standard deviation of their noise)."""
    embedding: str | None = None
    """Model of the distances (default: the generator's model)."""
    keep: Share = 0.5
    """Words of a record that a variation keeps, when a causal model rewrites it."""


class PromptedConfig(Base):
    """In-context learning: a chat model is shown anonymised records. No formal guarantee."""

    examples: PositiveInt = 4
    """Records shown in a prompt."""
    instructions: Path | None = None
    """Text file with the task in your words, with {examples} and {code}."""
    style: Style = "invented"
    """What stands for personal data in the records shown: invented values, or tags such as <NAME>."""
    thorough: bool = True
    """Also replace whatever may be a name because it is capitalised within a sentence: places and drugs go with it."""


class NgramConfig(Base):
    """A noised n-gram model: the plain baseline."""

    order: Annotated[int, Field(ge=1, le=4)] = 2
    """Words of an n-gram."""
    per_record: PositiveInt = 40
    """n-grams a unit counts for, at most, drawn at random."""
    vocabulary: Path | None = None
    """Text file of public words, which alone are counted and written (default: those that are tokens of the model)."""


class EvaluationConfig(Base):
    """What is measured, each beside real held-out records and the control."""

    utility: bool = True
    """Classifiers trained on synthetic, tested on real records, also by group."""
    coreference: bool = True
    """Whether entities keep their names, sexes and ages through a record."""
    closeness: bool = True
    """MAUVE, Frechet distance, perplexity, lengths, n-grams, diversity."""
    leakage: bool = True
    """Personal data, overlaps, nearest neighbours, membership from the synthetic text."""
    canaries: NonNegativeInt = 100
    """Random sentences of which each is trained on or not by a coin: exposure and epsilon audited; 0 for none."""
    repeats: PositiveInt = 1
    """Records of a canary's unit."""
    embedding: str | None = None
    """Model of the vectors and perplexities (default: the generator's model before tuning)."""
    rows: PositiveInt = 2000
    """Records of each side that are compared, at most."""
    resamples: PositiveInt = 200
    """Bootstrap samples where an interval needs them."""


class SynthesisSpeed(SpeedConfig):
    """How fast a run goes, never what comes out."""

    workers: PositiveInt = 2
    """Shards under way at once on a cluster."""
    tokens: PositiveInt = 8192
    """Tokens of a part of a batch whose gradients are computed at once."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the forward pass; auto takes bfloat16 on a GPU that has it."""
    save_every: PositiveFloat = 60.0
    """Seconds between saves while training."""


class Config(RunConfig):
    """Differentially private synthetic records, with an account of what they are good for and what they give away."""

    data: Path
    """Private records: CSV, Parquet or JSONL, or lab:clinic."""
    text: str = "text"
    """Column of the text."""
    labels: Names = []
    """Columns a record is written for, such as a diagnosis; classifiers of the synthetic records learn the first."""
    groups: Names = []
    """Columns of people's groups, such as sex: written for as well, and compared."""
    unit: str | None = None
    """Column of the unit that is protected, such as the patient (default: each record its own)."""
    epsilon: Epsilon = 8.0
    """Privacy budget of the release; smaller is stricter, inf is the control without privacy."""
    delta: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, BeforeValidator(_delta)] = None
    """Chance by which the guarantee may fail (default, or auto: 1 / (N ln N) of N units)."""
    model: str = "lab:atlas"
    """Model to tune: Hugging Face id, folder, or lab:NAME."""
    records: PositiveInt = 1000
    """Synthetic records to write."""
    generator: Generator = "tuned"
    """A model tuned with DP-SGD, a prompted chat model, private evolution, or noised n-grams."""
    control: Literal["train", "none"] = "train"
    """Also run the generator without privacy, to compare; its records are not kept."""
    engine: Literal["local", "ray"] = "local"
    """Where a tuned model writes and everything is compared: here, or sharded over a Ray cluster, to the same end."""
    show_real: bool = False
    """Show real records beside synthetic ones in the report; such a report must not leave the house."""
    codes: CodeConfig = CodeConfig()
    split: SplitConfig = SplitConfig()
    units: UnitConfig = UnitConfig()
    tune: TuneConfig = TuneConfig()
    sampling: SamplingConfig = SamplingConfig()
    filters: FilterConfig = FilterConfig()
    evolution: EvolutionConfig = EvolutionConfig()
    prompted: PromptedConfig = PromptedConfig()
    ngrams: NgramConfig = NgramConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    chat: ChatConfig = ChatConfig(model="lab:atlas")
    speed: SynthesisSpeed = SynthesisSpeed()
