"""A tree drawing says what its nodes say, in both widths."""

import re

import pytest

from upright.run.trees import LETTERS, Twig, tree

TWIGS = [
    Twig("Lima", 0, 1.0, chosen=True),
    Twig("~capital", 1, 0.98, chosen=True),
    Twig("currency", 2, 0.99, chosen=True),
    Twig("continent", 2, 0.02),
    Twig("country", 1),
]


def test_every_node_and_value_is_drawn_once_in_each_width() -> None:
    drawn = tree(TWIGS, alt="A search of five nodes.")
    wide, narrow = re.findall(r"<svg class.*?</svg>", drawn, re.DOTALL)
    for part in (wide, narrow):
        words = re.findall(r"<text[^>]*>([^<]*)</text>", part)
        assert sorted(words) == sorted([*(twig.label for twig in TWIGS), "1.00", "0.98", "0.99", "0.02"])
        assert 'aria-label="A search of five nodes."' in part


def test_long_labels_are_cut_and_say_so() -> None:
    text = "x" * 200
    words = re.findall(r"<text[^>]*>([^<]*)</text>", tree([Twig(text, 0)], alt="One node."))
    assert words == ["x" * (LETTERS[narrow] - 1) + "…" for narrow in (False, True)]


def test_the_path_taken_is_in_the_accent_and_the_rest_is_not() -> None:
    wide = tree(TWIGS[:2], alt="a").split("</svg>")[0]
    other = tree([Twig("Lima", 0), Twig("~capital", 1)], alt="a").split("</svg>")[0]
    assert "--accent" in wide
    assert "--accent" not in other


def test_no_nodes_is_an_error() -> None:
    with pytest.raises(ValueError, match="no nodes"):
        tree([], alt="nothing")
