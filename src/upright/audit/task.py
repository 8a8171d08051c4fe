"""What audits that train classifiers are told of a table."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, PositiveInt

from upright.run.config import Names, Positional, RunConfig


def _different(names: list[str]) -> list[str]:
    if not names or len(set(names)) < len(names):
        raise ValueError(f"got {names}; must be one or more different columns")
    return names


class Task(RunConfig):
    """A classifier to be trained on a table of people."""

    table: Annotated[Path, Positional]
    """Table of people to learn from: CSV, Parquet, JSONL or lab:NAME."""
    label: str
    """Column of the outcome."""
    positive: str = "1"
    """The value of the label that counts as the favourable outcome; all others count as the other."""
    groups: Annotated[Names, AfterValidator(_different)]
    """Columns of the protected attributes; several are crossed."""
    features: Names = []
    """Columns the model may use (default: all but the label and the groups)."""
    min_group: PositiveInt = 30
    """People a group needs, some of each outcome among them. Smaller groups are left out and listed."""
