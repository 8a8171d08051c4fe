"""What `upright audit checklist` can be told."""

from pathlib import Path
from typing import Annotated, Literal

from upright.run.config import Positional, RunConfig

Access = Literal["documents", "text", "label", "score", "logits", "gradients", "training"]
"""What whoever audits can get hold of, each with all before it."""


class Config(RunConfig):
    """Put the findings of audits, and answers by hand, into one checklist that also names what was not tested."""

    runs: Annotated[list[Path], Positional] = []
    """Folders of finished `upright audit` runs; none gives the empty checklist."""
    answers: Path | None = None
    """Answers by hand, TOML: a table [area.name] with verdict and text, optionally by; an empty one is written."""
    access: Access = "training"
    """The most that is within reach; questions that need more are listed apart."""
