"""What can be said about a chat model, on the command line and in files. The key is never among it."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from upright.run.config import Config, SpeedConfig


def _chat(spec: str) -> str:
    kind, _, name = spec.partition(":")
    if kind not in ("openai", "hf", "lab") or not name:
        raise ValueError("must be openai:NAME (any server with that API), hf:ID_OR_FOLDER or lab:NAME")
    return spec


def _url(url: str) -> str:
    if not re.match(r"https?://[^/?#]+", url):
        raise ValueError("must be the URL of an API, such as http://localhost:8000/v1")
    if "@" in url or "?" in url:
        raise ValueError("must hold no key or password; the key comes from the environment")
    return url.rstrip("/")


def _variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w{0,63}", name):
        raise ValueError("must be the name of an environment variable, never the key itself")
    return name


class ChatPrices(Config):
    """What a server charges, in US dollars per million tokens; for the bill alone."""

    prompt: NonNegativeFloat | None = None
    """Of tokens it reads."""
    completion: NonNegativeFloat | None = None
    """Of tokens it writes."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.prompt is None) != (self.completion is None):
            raise ValueError("give both prices, of prompt and of completion, or neither")
        return self


class ChatSpeed(SpeedConfig):
    """How fast answers come, and how often a failing call is made again."""

    concurrency: PositiveInt = 32
    """Calls under way at once."""
    timeout: PositiveFloat = 120.0
    """Seconds a server has for one answer."""
    retries: NonNegativeInt = 6
    """Times a call that failed for a passing reason is made again, after 0.5, 1, 2, … seconds."""
    cache: Path | None = None
    """Folder of stored answers, on a local disk (default: chat in upright's cache folder)."""
    reuse: bool = True
    """Take stored answers; off asks anew and stores the new ones."""


class ChatConfig(Config):
    """A chat model and how it is called."""

    model: Annotated[str, AfterValidator(_chat)]
    """Chat model: openai:NAME (any server with that API), hf:ID_OR_FOLDER or lab:NAME."""
    base_url: Annotated[str, AfterValidator(_url)] | None = None
    """Address of the server's API for openai: models (default: OpenAI's own)."""
    key_env: Annotated[str, AfterValidator(_variable)] | None = None
    """Environment variable that holds the server's key (default: OPENAI_API_KEY, which a server given by its address
    may not need)."""
    raw: bool = False
    """Give the last message as it stands: for a model here that knows no conversations (lab: models always)."""
    context: PositiveInt | None = None
    """Tokens that fit into the model (default: what the model says; servers say nothing)."""
    prices: ChatPrices = ChatPrices()
    speed: ChatSpeed = ChatSpeed()
