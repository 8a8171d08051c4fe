"""How a model is asked: with instructions, or by transcripts, as its folder says of one of `upright ask learn`."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from upright import lab
from upright.models.chat.config import ChatConfig
from upright.run.files import read_json, write_json

NAME = "traversal.json"


class Manner(BaseModel):
    """What a model of `upright ask learn` was trained on; beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    style: Literal["compact"] = "compact"
    omit: Literal["path", "seeds"]
    """What sets leave out."""
    depth: int
    """Actions after which it answers."""

    def save(self, folder: Path) -> None:
        """Write it beside the weights."""
        write_json(folder / NAME, self.model_dump())


def manner_of(chat: ChatConfig) -> Manner | None:
    """The manner of a model on this machine; None where it was not trained to drive a traversal."""
    kind, _, name = chat.model.partition(":")
    if kind == "openai":
        return None
    path = (lab.checkpoint(name) if kind == "lab" else Path(name)) / NAME
    return Manner.model_validate(read_json(path)) if path.is_file() else None
