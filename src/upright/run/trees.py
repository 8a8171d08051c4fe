"""A tree as a drawing: one row a node, its branch to the left, what is said of it to the right."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from upright.run.drawing import ACCENT, INK, MUTED, PAPER, RULE, both

INDENT = 1.0
LETTERS = {True: 30, False: 78}  # of a label that fit beside a tree that is one level deep


class Twig(NamedTuple):
    """A node, in the order of depth-first search."""

    label: str
    depth: int
    """Steps from the root, which has 0; at most one more than the node before."""
    value: float | None = None
    """Shown at the right end of the row."""
    chosen: bool = False
    """On the path that was taken."""


def tree(twigs: Sequence[Twig], *, alt: str) -> str:
    """The nodes as an indented tree; what was chosen is filled, and its branch drawn in the accent.

    Args:
        alt: what the tree shows, in one sentence, for those who cannot see it.
    """
    if not twigs:
        raise ValueError("got no nodes")

    def draw(axes: Axes, narrow: bool) -> None:
        deepest = max(twig.depth for twig in twigs)
        width = INDENT * (deepest + 1) + (9 if narrow else 22)
        for row, twig in enumerate(twigs):
            _branch(axes, twigs, row)
            _node(axes, twig, row, LETTERS[narrow] - 2 * twig.depth)
            if twig.value is not None:
                axes.text(width, -row, f"{twig.value:.2f}", ha="right", va="center", color=MUTED)
        axes.set_xlim(-0.5, width)
        axes.set_ylim(-len(twigs) + 0.5, 0.5)
        axes.axis("off")

    return both(draw, lambda narrow: 16 + 24 * len(twigs), alt)


def _branch(axes: Axes, twigs: Sequence[Twig], row: int) -> None:
    """From the parent down, then right to the node."""
    twig = twigs[row]
    parent = next((r for r in range(row - 1, -1, -1) if twigs[r].depth == twig.depth - 1), None)
    if parent is not None:
        x, colour = INDENT * (twig.depth - 1), ACCENT if twig.chosen else RULE
        axes.plot(
            [x, x, x + INDENT], [-parent, -row, -row], color=colour, linewidth=1.4, zorder=2 if twig.chosen else 1
        )


def _node(axes: Axes, twig: Twig, row: int, letters: int) -> None:
    x = INDENT * twig.depth
    colour = ACCENT if twig.chosen else MUTED
    axes.plot(x, -row, "o", markersize=7, color=colour, markerfacecolor=colour if twig.chosen else PAPER, zorder=3)
    label = twig.label if len(twig.label) <= letters else f"{twig.label[: letters - 1]}…"
    axes.text(x + 0.45, -row, label, va="center", color=INK if twig.chosen else MUTED)
