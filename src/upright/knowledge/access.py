"""How a graph behind a SPARQL endpoint is spoken to: its vocabulary, its languages, and manners."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from upright.run.config import Config, Names

Flavour = Literal["plain", "wikidata"]


def _no_colon(prefixes: dict[str, str]) -> dict[str, str]:
    wrong = [name for name in prefixes if ":" in name]
    if wrong:
        raise ValueError(f"got {wrong[0]!r}; a prefix is a name without its colon")
    return prefixes


class Access(Config):
    """How an endpoint is read. The first five fields bear on the answers, the others on requests alone."""

    flavour: Literal["auto"] | Flavour = "auto"
    """How facts are written there: plain (any RDF), wikidata (truthy statements), auto (by the URL)."""

    languages: Names = ["en", "mul"]
    """Languages of labels, the preferred first; after them come labels without a language, then all others."""

    prefixes: Annotated[dict[str, str], AfterValidator(_no_colon)] = {}
    """Namespaces that ids are shortened by, beside those every flavour knows: {name = IRI}."""

    api: str = "https://www.wikidata.org/w/api.php"
    """MediaWiki API that finds Wikidata's things by name; empty: they are found by exact label in SPARQL."""

    max_rows: PositiveInt = 100_000
    """Facts that one question without a limit may bring, in rows; a larger answer is refused, never cut."""

    page_rows: PositiveInt = 10_000
    """Rows asked for at once."""

    batch_ids: PositiveInt = 100
    """Ids asked for at once."""

    timeout: PositiveFloat = 60.0
    """Seconds until a request is given up."""

    retries: NonNegativeInt = 4
    """Further tries after a refusal, a broken connection or a broken answer."""

    longest_wait: PositiveFloat = 120.0
    """Seconds to wait before a further try, at most; an endpoint that asks for more counts as failed."""

    per_second: PositiveFloat | None = None
    """Requests a second, at most (default: 5 for public hosts, any number for one's own)."""

    at_once: PositiveInt | None = None
    """Requests under way at a time (default: 1 for public hosts, 8 for one's own)."""

    contact: str = ""
    """Address for the User-Agent, so that the operators of a public endpoint can write to you."""

    cache: Path | None = None
    """SQLite file of earlier replies (default: sparql/replies.sqlite in the user's cache)."""

    cache_hours: NonNegativeFloat = 168.0
    """Hours for which a reply in the cache holds."""

    refresh: bool = False
    """Ask anew what is in the cache."""
