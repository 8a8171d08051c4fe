"""What `upright kg load`, `kg info`, `kg query` and `kg link` can be told."""

from pathlib import Path
from typing import Annotated

from pydantic import NonNegativeInt, PositiveInt

from upright.knowledge.access import Access
from upright.run.config import Config, Positional


class Load(Config):
    """Which graphs to put on disk, and where."""

    files: Annotated[list[str], Positional]
    """Fact files (.nt, .ttl, .tsv, also .gz), folders of them, stored graphs or lab:NAME; they become one graph."""

    out: Path
    """Folder of the stored graph."""

    overwrite: bool = False
    """Replace another stored graph that lies in --out."""


class Info(Config):
    """Which graph to look at."""

    kg: Annotated[str, Positional]
    """A stored graph, fact file, folder of fact files or lab:NAME."""

    top: NonNegativeInt = 25
    """Relations to list, those with most facts first; 0 lists all."""

    json_: bool = False
    """Print JSON instead of a table."""


class Query(Config):
    """Which graph to ask, and what."""

    kg: Annotated[str, Positional]
    """A stored graph, fact file, folder of fact files, lab:NAME or sparql:URL."""

    query: Annotated[str, Positional]
    """SPARQL 1.1; a name X that is no IRI is written <X>, with %20 for a space."""

    json_: bool = False
    """Print JSON instead of a table."""

    access: Access = Access()


class Link(Config):
    """Which graph to search, and for what."""

    kg: Annotated[str, Positional]
    """A stored graph, fact file, folder of fact files, lab:NAME or sparql:URL."""

    text: Annotated[str, Positional]
    """A name, or with --mentions a question."""

    k: PositiveInt = 10
    """Candidates to show at most."""

    mentions: bool = False
    """Find the names in a whole question."""

    embed: str | None = None
    """Model that ranks names of equal fit by meaning, with their descriptions: Hugging Face id, folder or lab:NAME."""

    json_: bool = False
    """Print JSON instead of a table."""

    access: Access = Access()
