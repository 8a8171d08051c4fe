"""How a model is asked: with instructions, or by transcripts, as its folder says of one of `upright ask learn`."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from upright import lab
from upright.errors import UserError
from upright.models.chat.config import ChatConfig
from upright.run.files import write_json

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
    """The manner of a model on this machine; None where it was not trained to drive a traversal.

    Raises:
        UserError: for a lab model that does not exist, and for a manner that cannot be read.
    """
    kind, _, name = chat.model.partition(":")
    if kind == "openai":
        return None
    path = (lab.checkpoint(name) if kind == "lab" else Path(name)) / NAME
    if not path.is_file():
        return None
    try:
        return Manner.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"].lower()
        raise UserError(f"{path}: {problem}; write the model anew with upright ask learn") from None
