"""Metrics and runs as tables for the terminal."""

import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from upright.run.evidence import Change, Metric, changes, display, interval

COLOUR = {"better": "green", "worse": "red", "none": "default"}


def console() -> Console:
    """Standard output; a pipe gets lines wide enough that nothing is cut."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120, highlight=False)


def table(*headings: str, numbers_from: int = 1) -> Table:
    """An empty table in the house style; columns from `numbers_from` on are set to the right."""
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for index, heading in enumerate(headings):
        grid.add_column(heading, justify="right" if index >= numbers_from else "left", overflow="fold")
    return grid


def metric_table(metrics: Sequence[Metric]) -> Table:
    """Before, after, change, 95 % interval and n of each metric."""
    rows = changes(metrics)
    paired = any(row.before is not None for row in rows)
    headings = ["before", "after", "change"] if paired else ["value"]
    grid = table("", *headings, "95 % interval", "n")
    for row in rows:
        numbers = _paired(row) if paired else [display(row.shown.value, row.shown.unit)]
        grid.add_row(label(row), *numbers, interval(row.shown), f"{row.shown.n:,}")
    return grid


def label(row: Change) -> str:
    """The name of a metric, with its split unless that is everything."""
    return row.name if row.split == "all" else f"{row.name} ({row.split})"


def _paired(row: Change) -> list[str | Text]:
    before = display(row.before.value, row.before.unit) if row.before else ""
    after = row.after or row.result
    style = COLOUR[row.verdict] if row.apart else "default"
    change = "" if row.delta is None else display(row.delta, row.shown.unit, signed=True)
    return [before, display(after.value, after.unit) if after else "", Text(change, style=style)]
