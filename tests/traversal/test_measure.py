"""Answers against golds, on the borders of tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.traversal.measure import Judged, contains, judge, summary, tokens


@pytest.mark.parametrize(
    ("answers", "golds", "em_in", "recall"),
    [
        (["Paris"], ["Paris", "Lyon"], False, 0.5),
        (["The Paris and Lyon areas"], ["Paris", "Lyon"], True, 1.0),
        (["Norway"], ["no"], False, 0.0),
        (["10"], ["1"], False, 0.0),
        (["7"], ["seven"], True, 1.0),
        (["Sao Tome"], ["São Tomé"], True, 1.0),
        ([], ["Paris"], False, 0.0),
        (["New", "York"], ["New York"], False, 0.0),  # not across two answers
    ],
)
def test_golds_are_found_on_the_borders_of_tokens(
    answers: list[str], golds: list[str], em_in: bool, recall: float
) -> None:
    found = judge(answers, golds)
    assert (found.em_in, found.recall) == (em_in, recall)


def test_what_is_nothing_after_folding_is_not_scored() -> None:
    assert tokens("A") == ()
    assert tokens("The Who") == ("who",)
    assert judge(["x"], ["A"]) == Judged(em_in=False, recall=0.0, f1=0.0, hit=False, n=0)
    assert summary([judge(["x"], ["A"]), judge(["Rome"], ["Rome"])])[0].n == 1


def test_f1_and_first_answer_by_hand() -> None:
    """Two of three answers are golds, and two of four golds are answered: F1 = 2 * 2 / (3 + 4)."""
    found = judge(["x", "a1", "a2"], ["a1", "a2", "a3", "a4"])
    assert found.f1 == pytest.approx(4 / 7)
    assert not found.hit
    assert judge(["a1", "x"], ["a1"]).hit


def test_a_question_without_an_answer_counts() -> None:
    rows = [judge(["Rome"], ["Rome"]), judge([], ["Oslo"])]
    em_in, first, recall, f1 = summary(rows)
    assert [metric.value for metric in (em_in, first, recall, f1)] == [0.5, 0.5, 0.5, 0.5]
    assert em_in.n == 2


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), min_size=1, max_size=3))
def test_containment_is_that_of_substrings_with_borders(answer: list[str], gold: list[str]) -> None:
    assert contains(tuple(answer), tuple(gold)) == (f" {' '.join(gold)} " in f" {' '.join(answer)} ")
