"""The main figures of a synthesis, those of the records beside those of their two references, in one drawing."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from upright.run.drawing import ACCENT, INK, MARKERS, MUTED, PAPER, SERIES, STYLE, both
from upright.run.evidence import Metric
from upright.synthesis.evaluation.part import CONTROL, HELDOUT, SYNTHETIC

MARKS = {SYNTHETIC: (ACCENT, MARKERS[0]), CONTROL: (SERIES[1], MARKERS[1]), HELDOUT: (MUTED, MARKERS[2])}
SAID = {SYNTHETIC: "synthetic", CONTROL: "control, without privacy", HELDOUT: "real records"}
CHANCE = 0.5
ALT = "Main figures of the synthetic records, of the control without privacy and of real records, with intervals."
STEP = 0.22  # of a row's height, between its marks


class Figure(NamedTuple):
    """A row of the drawing: one measure from 0 to 1, of up to three sides.

    Args:
        label: its name, with what is good.
        sides: (split, metric); a split is one of `MARKS`.
        chance: whether one half is what blind guessing gives.
    """

    label: str
    sides: Sequence[tuple[str, Metric]]
    chance: bool


def beside(figures: Sequence[Figure]) -> str:
    """Dots with their 95 % intervals, a row for each measure, coloured by side."""

    def draw(axes: Axes, narrow: bool) -> None:
        for row, figure in enumerate(figures):
            if figure.chance:
                axes.plot([CHANCE, CHANCE], [0.4 - row, -0.4 - row], color=MUTED, linewidth=1.4, linestyle=":")
            for place, (split, metric) in enumerate(figure.sides):
                _mark(axes, split, metric, (len(figure.sides) - 1) / 2 * STEP - place * STEP - row)
            if narrow:
                axes.annotate(
                    " ".join(figure.label.split()), (0, 0.38 - row), xycoords=("axes fraction", "data"), va="bottom"
                )
        labels = [] if narrow else [figure.label for figure in figures]
        axes.set_yticks([-float(row) for row in range(len(labels))], labels, color=INK)
        axes.set_ylim(-len(figures) + 0.45, 0.75 if narrow else 0.5)
        axes.set_xlim(0, 1)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        _legend(axes, (split for figure in figures for split, _ in figure.sides), narrow)

    return both(draw, lambda narrow: 60 + len(figures) * (74 if narrow else 62) + 22 * narrow, ALT)


def _mark(axes: Axes, split: str, metric: Metric, height: float) -> None:
    colour, marker = MARKS[split]
    if metric.ci_low is not None and metric.ci_high is not None:
        axes.plot([metric.ci_low, metric.ci_high], [height, height], color=colour, linewidth=2.2)
    axes.plot([metric.value or 0.0], [height], marker, color=colour, markersize=8, markeredgecolor=PAPER)


def _legend(axes: Axes, splits: Iterable[str], narrow: bool) -> None:
    there = set(splits)
    for split in (split for split in MARKS if split in there):
        colour, marker = MARKS[split]
        axes.plot([], [], marker, color=colour, label=SAID[split], markersize=8)
    axes.figure.legend(
        loc="outside upper left",
        ncols=1 if narrow else len(MARKS),
        labelcolor=INK,
        handlelength=1.2,
        columnspacing=1.4,
        fontsize=STYLE["font.size"],
    )
