"""A small network as a drawing: nodes in columns from left to right, arcs between them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from upright.run.drawing import ACCENT, INK, MUTED, PAPER, RULE, both

LETTERS = {True: 42, False: 100}  # of a row of labels, all columns together


class Spot(NamedTuple):
    """A node."""

    key: str
    label: str
    chosen: bool = False


class Column(NamedTuple):
    """Nodes one below the other, with what they have in common above them."""

    title: str
    spots: Sequence[Spot]
    more: int = 0
    """Nodes that are not drawn."""


class Arc(NamedTuple):
    """A line from one node to another; arcs of nodes that are not drawn are left out."""

    source: str
    target: str
    chosen: bool = False


def network(columns: Sequence[Column], arcs: Iterable[Arc], *, alt: str) -> str:
    """The columns with their arcs; what was chosen is filled, and its arcs drawn in the accent.

    A node that stands in several columns is one in each; an arc joins the nearest two.

    Args:
        alt: what the network shows, in one sentence, for those who cannot see it.
    """
    if not columns or not any(column.spots for column in columns):
        raise ValueError("got no nodes")
    arcs = list(arcs)
    tallest = max(len(column.spots) + bool(column.more) for column in columns)

    def draw(axes: Axes, narrow: bool) -> None:
        letters = LETTERS[narrow] // len(columns)
        for arc in arcs:
            _arc(axes, columns, arc)
        for x, column in enumerate(columns):
            axes.text(x, 1, _cut(column.title, letters), va="center", color=MUTED, fontstyle="italic")
            for y, spot in enumerate(column.spots):
                _spot(axes, x, -y, spot, letters)
            if column.more:
                axes.text(x + 0.05, -len(column.spots), f"and {column.more:,} more", va="center", color=MUTED)
        axes.set_xlim(-0.05, len(columns))
        axes.set_ylim(0.5 - tallest, 1.5)
        axes.axis("off")

    return both(draw, lambda narrow: 16 + 26 * (tallest + 1), alt)


def _spot(axes: Axes, x: int, y: int, spot: Spot, letters: int) -> None:
    colour = ACCENT if spot.chosen else MUTED
    axes.plot(x, y, "o", markersize=7, color=colour, markerfacecolor=colour if spot.chosen else PAPER, zorder=3)
    # paper behind the words, so that arcs do not run through them
    paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
    ink = INK if spot.chosen else MUTED
    axes.text(x + 0.05, y, _cut(spot.label, letters), va="center", color=ink, bbox=paper, zorder=2)


def _arc(axes: Axes, columns: Sequence[Column], arc: Arc) -> None:
    ends = [(s, t) for s in _places(columns, arc.source) for t in _places(columns, arc.target) if s[0] != t[0]]
    if not ends:
        return
    (x, y), (to_x, to_y) = min(ends, key=lambda pair: abs(pair[0][0] - pair[1][0]))
    colour, order = (ACCENT, 1) if arc.chosen else (RULE, 0)
    axes.plot([x, to_x], [y, to_y], color=colour, linewidth=1.4, zorder=order)


def _places(columns: Sequence[Column], key: str) -> list[tuple[int, int]]:
    return [(x, -y) for x, column in enumerate(columns) for y, spot in enumerate(column.spots) if spot.key == key]


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
