"""Plots in one house style, as inline SVG for a report.

Every function returns a wide and a narrow drawing of the same data; see `upright.run.drawing`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from upright.run.drawing import ACCENT, DASHES, GAP, INK, MARKERS, MUTED, PAPER, SERIES, STYLE, both
from upright.run.evidence import Change, Metric, changes, display

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Point(NamedTuple):
    """A point of a line; `low` and `high` draw a band around it."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


def lines(
    series: Mapping[str, Sequence[Point | tuple[float, float]]],
    *,
    x: str,
    y: str,
    alt: str,
    unit: str = "",
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """One line for each named series over a shared axis.

    Args:
        series: points by name, at most six names.
        x, y: axis labels with their units.
        alt: what the plot shows, in one sentence, for those who cannot see it.
        unit: unit of y as in `Metric.unit`; "proportion" labels the axis in percent.
    """
    if not 0 < len(series) <= len(SERIES):
        raise ValueError(f"got {len(series)} series; one to {len(SERIES)} can be told apart")

    def draw(axes: Axes, narrow: bool) -> None:
        for (name, points), colour, dash in zip(series.items(), SERIES, DASHES, strict=False):
            _line(axes, name, [Point(*point) for point in points], colour, dash)
        axes.grid(axis="y")
        axes.set_xlabel(x)
        axes.set_title(y, loc="left", color=MUTED, fontsize=STYLE["font.size"], pad=10)
        if log_y:
            axes.set_yscale("log")
        else:
            axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value, unit)))
        if log_x:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(_power))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 8, integer=_whole(series)))
        if len(series) > 1:
            _legend(axes, columns=2 if narrow else 3)

    return both(draw, lambda narrow: 240 if narrow else 300, alt)


def scatter(
    series: Mapping[str, Sequence[Point | tuple[float, float]]],
    *,
    x: str,
    y: str,
    alt: str,
    x_unit: str = "",
    y_unit: str = "",
) -> str:
    """Points that trade one measure for another, in as many colours as there are named series.

    Args:
        series: points by name, at most six names; `low` and `high` draw an upright interval.
        x, y: axis labels.
        alt: what the plot shows, in one sentence, for those who cannot see it.
        x_unit, y_unit: as in `Metric.unit`; "proportion" labels an axis in percent.
    """
    if not 0 < len(series) <= len(SERIES):
        raise ValueError(f"got {len(series)} series; one to {len(SERIES)} can be told apart")

    def draw(axes: Axes, narrow: bool) -> None:
        for (name, points), colour, marker in zip(series.items(), SERIES, MARKERS, strict=False):
            for point in (Point(*point) for point in points):
                if point.low is not None and point.high is not None:
                    axes.plot([point.x, point.x], [point.low, point.high], color=colour, linewidth=1.2, alpha=0.6)
            xs, ys = [point[0] for point in points], [point[1] for point in points]
            axes.plot(xs, ys, marker, color=colour, label=name, markersize=7.5, markeredgecolor=PAPER)
        axes.grid()
        axes.set_xlabel(x)
        axes.set_title(y, loc="left", color=MUTED, fontsize=STYLE["font.size"], pad=10)
        for axis, unit, most in ((axes.xaxis, x_unit, 4 if narrow else 8), (axes.yaxis, y_unit, 5)):
            axis.set_major_locator(MaxNLocator(most))
            axis.set_major_formatter(FuncFormatter(partial(_tick_at, unit=unit)))
        _legend(axes, columns=2 if narrow else 3)

    return both(draw, lambda narrow: 280 if narrow else 340, alt)


def heatmap(
    values: Sequence[Sequence[float | None]], *, rows: Sequence[str], columns: Sequence[str], alt: str, unit: str = ""
) -> str:
    """A field for each row and column, the darker the larger its value, which it states; None stays empty.

    Args:
        values: one list of `len(columns)` numbers for each of the `rows`.
        unit: of the values, as in `Metric.unit`.
    """
    if not rows or not columns or [len(row) for row in values] != [len(columns)] * len(rows):
        raise ValueError(
            f"got rows of {[len(row) for row in values]} values for {len(rows)} rows, {len(columns)} columns"
        )
    known = [value for row in values for value in row if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)

    def draw(axes: Axes, narrow: bool) -> None:
        for (i, row), j in product(enumerate(values), range(len(columns))):
            _field(axes, (j, -i - 1), row[j], _shade(row[j], low, high), unit, fontsize=9 if narrow else 11)
        axes.set_xlim(0, len(columns))
        axes.set_ylim(-len(rows), 0)
        turn = 60 if narrow or max(map(len, columns)) * len(columns) > 70 else 0
        axes.set_xticks(
            [j + 0.5 for j in range(len(columns))], columns, rotation=turn, ha="right" if turn else "center"
        )
        axes.set_yticks([-i - 0.5 for i in range(len(rows))], rows)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)

    return both(draw, lambda narrow: 110 + len(rows) * (32 if narrow else 36), alt)


def _shade(value: float | None, low: float, high: float) -> float:
    """Opacity of a field; none for an unknown value."""
    if value is None:
        return 0.0
    return 0.08 + 0.82 * ((value - low) / (high - low) if high > low else 0.5)


def _field(axes: Axes, corner: tuple[int, int], value: float | None, shade: float, unit: str, *, fontsize: int) -> None:
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=ACCENT, alpha=shade, linewidth=0))
    text = "–" if value is None else tick(float(f"{value:.3g}"), unit)
    ink = PAPER if shade > 0.55 else INK  # light on dark
    axes.text(corner[0] + 0.5, corner[1] + 0.5, text, ha="center", va="center", color=ink, fontsize=fontsize)


def _tick_at(value: float, _: int, unit: str) -> str:
    return tick(value, unit)


def bars_before_after(metrics: Sequence[Metric], *, alt: str) -> str:
    """A pair of bars for each metric, before and after, with 95 % intervals; all metrics in one unit."""

    def mark(axes: Axes, metric: Metric, height: float, colour: str) -> None:
        axes.barh(height, metric.value or 0, height=2 * GAP, color=colour, linewidth=0)
        if metric.ci_low is not None and metric.ci_high is not None:
            for colour, width in ((PAPER, 3.0), (INK, 1.2)):  # a light edge keeps the line visible on the bar
                axes.plot([metric.ci_low, metric.ci_high], [height, height], color=colour, linewidth=width)

    return _rows(metrics, mark, alt, join=False)


def forest(metrics: Sequence[Metric], *, alt: str) -> str:
    """Dots with their 95 % intervals, before above after, a row for each metric; all metrics in one unit."""

    def mark(axes: Axes, metric: Metric, height: float, colour: str) -> None:
        if metric.ci_low is not None and metric.ci_high is not None:
            axes.plot([metric.ci_low, metric.ci_high], [height, height], color=colour, linewidth=2.4)
        axes.plot([metric.value or 0.0], [height], "o", color=colour, markersize=7, markeredgecolor=PAPER)

    return _rows(metrics, mark, alt, join=True)


def tick(value: float, unit: str) -> str:
    """A short label for an axis.

    >>> tick(0.25, "proportion"), tick(1500, ""), tick(-2, "")
    ('25 %', '1,500', '−2')
    """
    if unit == "proportion":
        return f"{100 * value:.6g} %".replace("-", "−")
    if unit in ("bytes", "s"):
        return display(value, unit)
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}").replace("-", "−")


# --- drawing ---


def _power(value: float, _: int) -> str:
    """A power of ten in plain characters; as a formula it would take half the time of the drawing.

    >>> _power(0.001, 0), _power(20, 1)
    ('10⁻³', '20')
    """
    exponent = math.log10(value)
    if not math.isclose(exponent, round(exponent), abs_tol=1e-9):
        return tick(value, "")
    return "10" + str(round(exponent)).translate(RAISED)


def _line(axes: Axes, name: str, points: list[Point], colour: str, dash: Any) -> None:
    xs, ys = [point.x for point in points], [point.y for point in points]
    banded = [point for point in points if point.low is not None and point.high is not None]
    if banded:
        lows, highs = [point.low or 0.0 for point in banded], [point.high or 0.0 for point in banded]
        axes.fill_between([point.x for point in banded], lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.plot(
        xs,
        ys,
        color=colour,
        linestyle=dash,
        label=name,
        marker="o" if len(points) <= 12 else "",
        markersize=4.5,
    )


def _whole(series: Mapping[str, Sequence[Point | tuple[float, float]]]) -> bool:
    """Whether all x are whole numbers (steps, layers, rounds), so that the ticks should be."""
    return all(float(point[0]).is_integer() for points in series.values() for point in points)


@dataclass(frozen=True)
class _Row:
    label: str
    marks: tuple[tuple[Metric, str], ...]


def _row(change: Change) -> _Row:
    pairs = ((change.before, MUTED), (change.after, ACCENT), (change.result, ACCENT))
    label = change.name if change.split == "all" else f"{change.name} ({change.split})"
    return _Row(label, tuple((metric, colour) for metric, colour in pairs if metric and metric.value is not None))


def _rows(metrics: Sequence[Metric], mark: Callable[[Axes, Metric, float, str], None], alt: str, join: bool) -> str:
    """Rows of marks, their labels beside them or (narrow) above them; `join` ties before to after."""
    units = {metric.unit for metric in metrics}
    if len(units) != 1:
        raise ValueError(f"one axis shows one unit, got {sorted(units)}; draw one plot for each")
    (unit,) = units
    rows = [row for row in map(_row, changes(metrics)) if row.marks]

    def draw(axes: Axes, narrow: bool) -> None:
        for index, row in enumerate(rows):
            offsets = (GAP, -GAP) if len(row.marks) == 2 else (0.0,)
            for (metric, colour), offset in zip(row.marks, offsets, strict=False):
                mark(axes, metric, offset - index, colour)
            if join and len(row.marks) == 2:
                ends = [metric.value or 0.0 for metric, _ in row.marks]
                axes.plot(ends, [GAP - index, -GAP - index], color=MUTED, linewidth=0.8, alpha=0.6, zorder=1.5)
            if narrow:
                axes.annotate(row.label, (0, 0.32 - index), xycoords=("axes fraction", "data"), va="bottom")
        labels = [] if narrow else [row.label for row in rows]
        axes.set_yticks([-float(index) for index in range(len(labels))], labels, color=INK)
        axes.set_ylim(-len(rows) + 0.4, 0.75 if narrow else 0.5)
        _value_axis(axes, unit, not join, narrow)
        if any(len(row.marks) == 2 for row in rows):
            for name, colour in (("before", MUTED), ("after", ACCENT)):
                axes.plot([], [], "o", color=colour, label=name)
            _legend(axes, columns=2)

    return both(draw, lambda narrow: 70 + len(rows) * (58 if narrow else 42), alt)


def _value_axis(axes: Axes, unit: str, from_zero: bool, narrow: bool) -> None:
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value, unit)))
    if unit == "proportion":
        axes.set_xlim(0, 1)
    elif from_zero:
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, 0), max(high, 0))


def _legend(axes: Axes, columns: int) -> None:
    """Over the drawing, in at most so many columns: fewer where long names would run out of it."""
    figure = axes.figure
    for count in range(columns, 0, -1):
        style = {"labelcolor": INK, "handlelength": 1.6, "columnspacing": 1.4}
        legend = figure.legend(loc="outside upper left", ncols=count, **style)
        if count == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()
