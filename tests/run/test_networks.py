"""A network drawing says what its nodes say, in both widths."""

import re

import pytest

from upright.run.networks import LETTERS, Arc, Column, Spot, network

COLUMNS = [
    Column("#1", [Spot("lima", "Lima", chosen=True)]),
    Column("#2 ← capital", [Spot("peru", "Peru", chosen=True), Spot("x", "Elsewhere")], more=1200),
]


def drawings(columns: list[Column], arcs: list[Arc]) -> list[str]:
    return re.findall(r"<svg class.*?</svg>", network(columns, arcs, alt="Lima lies in Peru."), re.DOTALL)


def words(drawing: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing)


def test_every_node_and_title_is_drawn_once_in_each_width() -> None:
    for part in drawings(COLUMNS, [Arc("lima", "peru", chosen=True)]):
        assert sorted(words(part)) == sorted(["#1", "#2 ← capital", "Lima", "Peru", "Elsewhere", "and 1,200 more"])
        assert 'aria-label="Lima lies in Peru."' in part


def test_arcs_join_drawn_nodes_only_and_the_chosen_ones_in_the_accent() -> None:
    plain = [Column("a", [Spot("1", "one")]), Column("b", [Spot("2", "two")])]

    def lines(arcs: list[Arc]) -> int:
        return drawings(plain, arcs)[0].count("<path")

    assert lines([Arc("1", "2")]) == lines([]) + 1
    assert lines([Arc("1", "absent"), Arc("1", "1")]) == lines([])
    assert "--accent" in drawings(plain, [Arc("1", "2", chosen=True)])[0]
    assert "--accent" not in drawings(plain, [Arc("1", "2")])[0]


def test_long_labels_are_cut_and_say_so() -> None:
    columns = [Column("a", [Spot("1", "x" * 200)]), Column("b", [])]
    for narrow, part in zip((False, True), drawings(columns, []), strict=True):
        assert "x" * (LETTERS[narrow] // 2 - 1) + "…" in words(part)


def test_no_nodes_is_an_error() -> None:
    with pytest.raises(ValueError, match="no nodes"):
        network([Column("a", [])], [], alt="nothing")
