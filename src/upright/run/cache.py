"""Where results that outlive a run are kept: a folder for each kind, in UPRIGHT_CACHE or the user's cache."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """The folder of a kind of cached results, created on first use."""
    root = os.environ.get("UPRIGHT_CACHE")
    base = Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "upright"
    folder = base / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder
