"""What `upright ask` and `upright ask learn` can be told."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from upright.knowledge.access import Access
from upright.models.chat.config import ChatConfig
from upright.models.shape import Shape
from upright.run.config import Config as Base
from upright.run.config import Names, Positional, RunConfig, SpeedConfig

Share = Annotated[float, Field(ge=0, le=1)]
Omit = Literal["path", "seeds"]
LessonKind = Literal["sets", "yes-no", "superlatives"]
Kinds = Annotated[list[LessonKind], Field(min_length=1)]
MethodName = Literal["tree", "chain", "direct", "cot", "react", "beam"]


class SearchConfig(Base):
    """How the tree is searched; see the README for the published values."""

    samples: PositiveInt = 3
    """Children of a state, at most; 1 is a chain without values (Chain-of-Traversals)."""
    depth: PositiveInt | None = None
    """Actions after which only an answer is allowed; a hop takes three (default: as the model was taught, else 10)."""
    expansions: PositiveInt = 20
    """States expanded, at most."""
    threshold: Share = 0.8
    """An answer of this value ends the search."""
    errors: NonNegativeInt = 2
    """Consecutive errors after which a path, or the model, is given up."""
    temperature: NonNegativeFloat = 1.0
    """Of sampled actions; values are asked for at 0."""
    rows: PositiveInt = 10_000
    """Facts read by one expansion, at most; where there are more, the answer says so."""
    listed: PositiveInt = 50
    """Options shown in a prompt, at most."""
    omit: Omit | None = None
    """What a new set leaves out: the entities of the question ("seeds"), or all on the way to it ("path"); by default
    as the model was taught, else "seeds"."""


class BeamConfig(Base):
    """The paths that `--method beam` keeps."""

    width: PositiveInt = 3
    """Paths kept side by side."""
    depth: PositiveInt = 3
    """Steps of a path, at most."""


class BudgetConfig(Base):
    """Most that one question may cost; what was found until then is the answer, marked."""

    calls: PositiveInt | None = None
    """Requests to the model."""
    tokens: PositiveInt | None = None
    """Tokens read and written."""
    seconds: PositiveFloat | None = None
    """Wall time."""
    dollars: PositiveFloat | None = None
    """Money, where --chat.prices are given."""


class AskSpeed(SpeedConfig):
    """Knobs that change only speed."""

    questions: PositiveInt = 64
    """Questions under way at once."""


class Config(RunConfig):
    """Answer questions from knowledge graphs by tree search, with the facts each answer rests on."""

    question: Annotated[str | None, Positional] = None
    """A question."""
    questions: Path | None = None
    """Instead of one question: JSONL with id, question and, to measure, answer; see the README."""
    kg: list[str] = []
    """Knowledge graphs: folders, .tsv, .nt or .ttl files, lab:NAME, sparql:URL; NAME=GRAPH keeps several apart."""
    links: Path | None = None
    """Table of what is the same in graphs with names, GRAPH:ID and GRAPH:ID with a tab between."""
    link_by: Names = []
    """Find more of that: names, GRAPH:RELATION=GRAPH or GRAPH:RELATION=GRAPH:FORM; see the README."""
    access: Access = Access()
    changes: Path | None = None
    """Fact changes that hold from now on, JSONL as `upright edit` takes them; the graph is not touched."""
    seeds: Names = []
    """Names or ids of the entities of the question (default: those whose names stand in it)."""
    chat: ChatConfig = ChatConfig(model="lab:traveller")
    style: Literal["auto", "plain", "compact"] = "auto"
    """Prompts with instructions, or transcripts for a model of `upright ask learn` (auto: as the model is)."""
    method: MethodName = "tree"
    """Tree search; to compare: one sample a state (chain), the model alone (direct, cot), ReAct, a beam of paths."""
    search: SearchConfig = SearchConfig()
    beam: BeamConfig = BeamConfig()
    budget: BudgetConfig = BudgetConfig()
    speed: AskSpeed = AskSpeed(batch_rows=128)

    @model_validator(mode="after")
    def _asked(self) -> Self:
        if (self.question is None) == (self.questions is None):
            raise ValueError("give either a question or --questions FILE")
        if not self.kg:
            raise ValueError("--kg is missing: give a folder, a TSV, N-Triples or Turtle file, lab:NAME or sparql:URL")
        return self


class Lessons(Base):
    """Write questions about a graph, with their answers, made from the words of its relations."""

    kg: list[str]
    """Knowledge graphs; the words come from the relations.toml beside them."""
    file: Path
    """JSONL file to write."""
    count: PositiveInt = 1000
    """Questions, as many of each kind and number of steps as there are."""
    kinds: Kinds = ["sets", "yes-no", "superlatives"]
    """Answered by sets and their sizes, by yes or no, by the largest, smallest, first or last of a set."""
    split: Literal["teach", "measure"] = "teach"
    """Words that teach, or those held out to measure."""
    seed: NonNegativeInt = 0
    """Seed of what is asked."""


class Training(Base):
    """How the actor is trained."""

    tokens: PositiveInt = 4_000_000
    """Training tokens."""
    batch: PositiveInt = 4096
    """Tokens of an update."""
    learning_rate: PositiveFloat | None = None
    """Step (default: 3e-3 from nothing, 1e-4 for a trained model)."""
    wrong: NonNegativeFloat = 1.0
    """Wrong turns, from which values are learnt, for each right one."""


class Learn(RunConfig):
    """Train a small model to drive the traversal, from questions and their answers alone."""

    questions: Path | None = None
    """JSONL with question and answer; seeds where the question does not name its entities as the graph does."""
    lessons: PositiveInt | None = None
    """Instead of --questions: so many of all kinds, made from the words of the graph's relations (`ask lessons`)."""
    kg: list[str]
    """Knowledge graphs in which the answers are found, as for upright ask."""
    links: Path | None = None
    """Table of what is the same in graphs with names, GRAPH:ID and GRAPH:ID with a tab between."""
    link_by: Names = []
    """Find more of that: names, GRAPH:RELATION=GRAPH or GRAPH:RELATION=GRAPH:FORM; see the README."""
    access: Access = Access()
    model: str | None = None
    """Model to tune: Hugging Face id or folder (default: a small one, from nothing)."""
    hops: Annotated[int, Field(ge=1, le=4)] = 3
    """Longest gold path."""
    agreement: Share = 0.5
    """A path is gold if what it reaches agrees with the answers at least so well (F1)."""
    omit: Omit = "seeds"
    """What a new set leaves out, here and when the model is asked."""
    held_out: Share = 0.05
    """Share of the questions that are not learnt, to check the model on."""
    shape: Shape = Shape(vocabulary=3000, hidden=128, mlp=384, layers=4, heads=4, context=512)
    """Size of a small model from nothing."""
    train: Training = Training()
    save_every: PositiveFloat = 120.0
    """Seconds between checkpoints of the training."""
    speed: SpeedConfig = SpeedConfig(batch_rows=128)

    @model_validator(mode="after")
    def _taught(self) -> Self:
        if (self.questions is None) == (self.lessons is None):
            raise ValueError("give either --questions FILE or --lessons NUMBER")
        return self
