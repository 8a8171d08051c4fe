"""Typed configurations: the base class, the fields every run shares, and what identifies a run.

A configuration is at once the Python API, the command line, the TOML file and the record of a run. A
field's docstring is its help text. A field whose plain name is a Python keyword or a pydantic method ends
in an underscore (`lambda_`, `json_`); on the command line and in files it goes by the plain name.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, NonNegativeInt, PositiveInt


class Positional:
    """Marks a field that the command line takes without a flag: `path: Annotated[Path, Positional]`."""


Names = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
"""A list of names; in Python and TOML a single one needs no brackets."""


class Config(BaseModel):
    """Base of every configuration: frozen, closed to unknown keys, documented by attribute docstrings."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        populate_by_name=True,
        validate_default=True,
        alias_generator=lambda name: name.rstrip("_"),
    )


class RunConfig(Config):
    """What every verb that writes a run folder shares."""

    out: Path | None = None
    """Folder of the run (default: runs/VERB-DATE-TIME-xxxx)."""

    overwrite: bool = False
    """Replace another run that lies in --out."""

    seed: NonNegativeInt = 0
    """Seed of all randomness; the same seed gives the same result."""


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("must be auto, cpu, cuda, cuda:N or mps")
    return name


ELSEWHERE = ("out", "overwrite", "engine")
"""Fields of a run that say where it happens, never what comes out."""


class SpeedConfig(Config):
    """How fast a run goes, never what comes out (beyond the rounding of floating-point sums)."""

    device: Annotated[str, AfterValidator(_device)] = "auto"
    """Where tensors live: auto, cpu, cuda, cuda:N or mps."""

    batch_rows: PositiveInt = 16
    """Rows computed at once; fewer rows need less memory."""

    threads: NonNegativeInt = 0
    """CPU threads; 0 leaves the choice to torch."""


def speeds(config: BaseModel) -> Iterator[SpeedConfig]:
    """Every `SpeedConfig` inside `config`, at any depth of nested configurations."""
    for value in (getattr(config, name) for name in type(config).model_fields):
        if isinstance(value, SpeedConfig):
            yield value
        elif isinstance(value, BaseModel):
            yield from speeds(value)


def identity(config: BaseModel) -> dict[str, Any]:
    """The JSON form of all that can change a result: everything but `speed` and where the run happens."""
    dump = config.model_dump(mode="json", by_alias=True)
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, SpeedConfig) or (isinstance(config, RunConfig) and name in ELSEWHERE):
            del dump[field.alias or name]
        elif isinstance(value, BaseModel):
            dump[field.alias or name] = identity(value)
    return dump


def digest(config: BaseModel, verb: str) -> str:
    """Hexadecimal SHA-256, equal for two configurations of a verb that must give the same result."""
    text = json.dumps([verb, identity(config)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
