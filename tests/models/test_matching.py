"""When a generated answer counts."""

import pytest

from upright.models.matching import answer_of, matches, normalise


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The  Euro!", "euro"),
        ("Côte d'Ivoire", "côte divoire"),
        ("a b an the c", "b c"),
        ("Theatre", "theatre"),
        (".fr", "fr"),
        ("$", "$"),  # nothing but punctuation stays
        ("The", "the"),  # and so does nothing but an article
        ("", ""),
    ],
)
def test_normalising(text: str, plain: str) -> None:
    assert normalise(text) == plain


@pytest.mark.parametrize(
    ("generated", "answer"),
    [
        (" Paris. It lies on the Seine.", "Paris"),
        (" Paris\nQuestion: what", "Paris"),
        (" Who? Nobody.", "Who"),
        ("3.14 is", "3.14 is"),  # a full stop inside a word ends nothing
        ("", ""),
    ],
)
def test_the_answer_ends_with_its_sentence(generated: str, answer: str) -> None:
    assert answer_of(generated) == answer


@pytest.mark.parametrize(
    ("generated", "answers"),
    [
        (" Paris.", ["Paris"]),
        (" the Euro. And", ["euro"]),
        (" St. Louis. It", ["St. Louis"]),
        (" Washington, D.C. It", ["Washington, D.C."]),
        (" UK.", ["United Kingdom", "UK"]),
        (" .fr.", [".fr"]),
        (" Paris", ["Paris"]),
        (" +33.", ["33"]),
    ],
)
def test_what_counts(generated: str, answers: list[str]) -> None:
    assert matches(generated, answers)


@pytest.mark.parametrize(
    ("generated", "answers"),
    [
        (" Norway.", ["no"]),
        (" Guinea-Bissau.", ["Guinea"]),
        (" Paris and Lyon.", ["Paris"]),
        (" In Paris.", ["Paris"]),
        (" St. Louis.", ["St. Petersburg"]),
        (" Lyon. Paris.", ["Paris"]),
        ("", ["Paris"]),
        (" Paris.", []),
    ],
)
def test_what_does_not_count(generated: str, answers: list[str]) -> None:
    assert not matches(generated, answers)
