import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from matplotlib.figure import Figure

from upright.run.drawing import NARROW, WIDE
from upright.run.evidence import proportion, scalar
from upright.run.plots import Point, _legend, bars_before_after, forest, heatmap, lines, scatter, tick

PAIRS = [
    proportion("efficacy", 2, 100, stage="before"),
    proportion("efficacy", 96, 100, stage="after"),
    proportion("kept", 95, 100, stage="before"),
    proportion("kept", 94, 100, stage="after"),
]


def drawings(div: str) -> list[ET.Element]:
    return list(ET.fromstring(div))


def words(svg: ET.Element) -> list[str]:
    return [text.strip() for element in svg.iter("text") for text in element.itertext()]


@pytest.mark.parametrize("draw", [forest, bars_before_after])
def test_rows_are_labelled_words_on_both_drawings(draw: Callable[..., str]) -> None:
    both = drawings(draw(PAIRS, alt='A "plot"'))
    for svg, kind, width in zip(both, ("wide", "narrow"), (WIDE, NARROW), strict=True):
        assert svg.attrib["class"] == kind
        assert svg.attrib["aria-label"] == 'A "plot"'
        assert float(svg.attrib["viewBox"].split()[2]) == width
        assert {"efficacy", "kept", "before", "after", "0 %", "100 %"} <= set(words(svg))


def test_dots_stand_where_the_numbers_are() -> None:
    wide, _ = drawings(forest(PAIRS, alt="a"))
    grid = {text: place for text, place in _places(wide) if text.endswith("%")}
    zero, one = grid["0 %"], grid["100 %"]
    dots = [
        (float(use.attrib["x"]) - zero) / (one - zero) for use in wide.iter("use") if "accent" in use.attrib["style"]
    ]
    assert dots[:2] == [pytest.approx(0.96, abs=0.003), pytest.approx(0.94, abs=0.003)]


def _places(svg: ET.Element) -> list[tuple[str, float]]:
    """Words with their horizontal middle."""
    found = []
    for text in svg.iter("text"):
        place = text.attrib.get("x") or re.findall(r"translate\(([\d.]+)", text.attrib.get("transform", ""))[0]
        found.append(("".join(text.itertext()).strip(), float(place)))
    return found


def test_colours_are_variables_and_nothing_is_foreign() -> None:
    text = lines(
        {"a": [(0, 1), (1, 2)], "b": [Point(0, 1, 0.5, 1.5), Point(1, 3, 2.5, 3.5)]},
        x="step",
        y="loss",
        alt="l",
    )
    assert "var(--accent, #0f5e8c)" in text
    assert "var(--series-2, " in text
    assert not re.search(r"#0[0-9]0[0-9]0[0-9]|#000000|http|<metadata|DOCTYPE", text)


def test_two_plots_share_no_ids() -> None:
    first = lines({"a": [(0, 1), (1, 2)]}, x="x", y="y", alt="one")
    second = lines({"a": [(0, 1), (1, 2)]}, x="x", y="y", alt="two")
    ids = re.findall(r' id="([^"]+)"', first + second)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', first + second)) == set(ids)


def test_equal_data_give_equal_bytes() -> None:
    assert forest(PAIRS, alt="a") == forest(PAIRS, alt="a")


def test_mixed_units_and_too_many_lines_are_refused() -> None:
    with pytest.raises(ValueError, match="one axis shows one unit"):
        forest([*PAIRS, scalar("time", 1.0, unit="s")], alt="a")
    with pytest.raises(ValueError, match="got 7 series; one to 6"):
        lines({str(i): [(0, 0)] for i in range(7)}, x="x", y="y", alt="a")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.125, "proportion", "12.5 %"),
        (-0.5, "proportion", "−50 %"),
        (1500, "", "1,500"),
        (0.1 + 0.2, "", "0.3"),
        (30, "s", "30 s"),
    ],
)
def test_ticks(value: float, unit: str, text: str) -> None:
    assert tick(value, unit) == text


def test_a_heat_map_states_its_values_and_leaves_gaps() -> None:
    for svg in drawings(
        heatmap([[0.25, None], [0.5, 1.0]], rows=["A", "B"], columns=["x", "y"], alt="a", unit="proportion")
    ):
        assert sorted(words(svg)) == sorted(["A", "B", "x", "y", "25 %", "–", "50 %", "100 %"])
    with pytest.raises(ValueError, match=r"rows of \[1\] values for 1 rows, 2 columns"):
        heatmap([[0.5]], rows=["A"], columns=["x", "y"], alt="a")


def test_the_largest_value_of_a_heat_map_is_the_darkest() -> None:
    wide, _ = drawings(heatmap([[3.0, 1.0, 2.0]], rows=["A"], columns=["x", "y", "z"], alt="a"))
    shades = [
        float(found[1])
        for path in wide.iter("path")
        if (found := re.search(r"accent.*opacity: ([\d.]+)", path.get("style", "")))
    ]
    assert sorted(range(3), key=shades.__getitem__) == [1, 2, 0]


def test_points_of_a_scatter_stand_where_the_numbers_are() -> None:
    """Two points, at the ends of the axis and in the colours of their series, which the legend names."""
    both = drawings(
        scatter({"one": [(0.0, 1)], "two": [Point(1.0, 1, 0, 2)]}, x="gap", y="accuracy", alt="a", x_unit="proportion")
    )
    for svg in both:
        assert {"one", "two", "gap", "accuracy"} <= set(words(svg))
    (zero, at_zero), *_, (last, at_last) = sorted(
        (float(text.removesuffix(" %")) / 100, place) for text, place in _places(both[0]) if text.endswith(" %")
    )
    places = [float(use.attrib["x"]) for use in both[0].iter("use")][:2]  # the legend's come after them
    found = [zero + (last - zero) * (place - at_zero) / (at_last - at_zero) for place in places]
    assert found == pytest.approx([0, 1], abs=0.01)


def test_a_logarithmic_axis_puts_decades_at_equal_steps() -> None:
    wide, _ = drawings(
        lines({"a": [(1e-3, 1e-3), (1e-2, 1e-2), (1, 1)]}, x="x", y="y", alt="a", log_x=True, log_y=True)
    )
    xs, ys = zip(
        *[(float(u.attrib["x"]), float(u.attrib["y"])) for u in wide.iter("use") if "accent" in u.attrib["style"]][:3],
        strict=True,
    )
    assert (xs[2] - xs[1]) / (xs[1] - xs[0]) == pytest.approx(2, abs=0.01)
    assert (ys[2] - ys[1]) / (ys[1] - ys[0]) == pytest.approx(2, abs=0.01)


def test_long_names_get_fewer_columns_and_stay_inside_the_drawing() -> None:
    for names, rows in ((["a", "b", "c"], 1), (["likelihood under an n-gram model, calibrated"] * 3, 2)):
        figure = Figure(figsize=(9, 3), layout="constrained")
        axes = figure.add_subplot()
        for name in names:
            axes.plot([0, 1], [0, 1], label=name)
        _legend(axes, columns=3)
        figure.draw_without_rendering()
        (legend,) = figure.legends
        assert legend.get_window_extent().width <= figure.bbox.width
        heights = {round(text.get_window_extent().y0) for text in legend.get_texts()}
        assert len(heights) == rows
