"""The lab: small worlds written for this project, and small trained models that know them.

Resources are opened by name; what builds them lives in the submodules and is imported only when asked for.
"""

from collections.abc import Iterator
from pathlib import Path

from upright.errors import unknown

_HERE = Path(__file__).parent
WORLDS, CHECKPOINTS = _HERE / "worlds", _HERE / "checkpoints"


def _folder(root: Path, what: str, name: str, marker: str) -> Path:
    known = sorted(path.parent.name for path in root.glob(f"*/{marker}"))
    if name not in known:
        raise unknown(what, name, known)
    return root / name


def world(name: str) -> Path:
    """Folder of a world: `facts.tsv`, `relations.toml`, `aliases.tsv`. Raises UserError for an unknown name."""
    return _folder(WORLDS, "lab world", name, "facts.tsv")


def table(name: str) -> Path:
    """File of a world that is one table, `NAME.csv`. Raises UserError for an unknown name."""
    return _folder(WORLDS, "lab table", name, "*.csv") / f"{name}.csv"


def checkpoint(name: str) -> Path:
    """Folder of a trained model in Hugging Face form. Raises UserError for an unknown name."""
    return _folder(CHECKPOINTS, "lab model", name, "config.json")


def stories(seed: int) -> Iterator[str]:
    """Endless short stories in plain English; see `upright.lab.english`."""
    from upright.lab import english

    return english.stories(seed)
