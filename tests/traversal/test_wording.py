"""Which way is meant, by words: a posterior by hand, and agreement with what each question could mean."""

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.traversal.wording import SEEN, Said, _Fit, told


def said(words: str, *ways: str) -> Said[str]:
    return Said(frozenset(words.split()), dict.fromkeys(ways, 1.0))


def test_the_posterior_by_hand() -> None:
    """Way A was meant by two questions, "big" said in both; way B by one, with "old".

    p(A) ~ 2 + s, p(B) ~ 1 + s; for "big": A (2 + s) / (2 + 2 s), B s / (1 + 2 s); "old" is not said: A all, as no
    question of A says it, B 1 - (1 + s) / (1 + 2 s).
    """
    taught = [said("big", "A"), said("big", "A"), said("old", "B")]
    fit = _Fit(taught, [{"A": 1.0}, {"A": 1.0}, {"B": 1.0}])
    s = SEEN
    a = (2 + s) * (2 + s) / (2 + 2 * s)
    b = (1 + s) * s / (1 + 2 * s) * (1 - (1 + s) / (1 + 2 * s))
    assert fit.shares(said("big", "A", "B"))["A"] == pytest.approx(a / (a + b))
    assert fit.shares(said("big", "B")) == {"B": 1.0}


def test_the_words_of_the_sure_decide_for_the_unsure() -> None:
    taught = [said("which is the largest", "most"), said("which is the oldest", "first")] * 3
    unsure = [said("the largest of these", "first", "most"), said("the oldest of these", "first", "most")]
    assert told([*taught, *unsure])[-2:] == ["most", "first"]


def test_without_words_that_tell_the_commoner_way_is_meant() -> None:
    assert told([said("x", "A"), said("x", "A"), said("x", "B"), said("x", "B", "A")])[-1] == "A"


def test_the_better_explanation_is_meant_where_words_do_not_tell() -> None:
    assert told([Said(frozenset({"x"}), {"A": 0.5, "B": 1.0})] * 3) == ["B"] * 3
    assert told([said("x", "A")] * 9 + [Said(frozenset({"x"}), {"A": 0.5, "B": 1.0})])[-1] == "A"  # as nine others


def test_nobody_sure_and_yet_told_apart() -> None:
    """Each question allows the way of its kind and one that no other question allows."""
    both = [said("how big is it", "size", f"odd {i}") for i in range(4)]
    both += [said("how old is it", "age", f"odd {i}") for i in range(4, 8)]
    assert told(both) == ["size"] * 4 + ["age"] * 4


questions = st.lists(
    st.builds(
        Said[str],
        st.frozensets(st.sampled_from("uvwxyz"), max_size=4),
        st.dictionaries(st.sampled_from("ABCD"), st.floats(0.1, 1), min_size=1, max_size=4),
    ),
    max_size=8,
)


@given(questions)
def test_each_question_gets_one_of_its_own_ways(asked: list[Said[str]]) -> None:
    assert all(way in one.ways for way, one in zip(told(asked), asked, strict=True))


@given(questions.filter(bool))
def test_shares_are_those_of_all_words_one_by_one(asked: list[Said[str]]) -> None:
    """The chance of each way times that of every word that is said, and of every other word of the way not being."""
    fit = _Fit(asked, [dict.fromkeys(one.ways, 1 / len(one.ways)) for one in asked])
    for one in asked:
        logs = {}
        for way in one.ways:
            logs[way] = log(fit.ways[way] + SEEN)
            for word in {*fit.words[way], *one.words}:
                share = (fit.words[way].get(word, 0.0) + SEEN) / (fit.ways[way] + 2 * SEEN)
                logs[way] += log(share if word in one.words else 1 - share)
        naive = {way: one.ways[way] * exp(value) for way, value in logs.items()}
        assert fit.shares(one) == pytest.approx({way: value / sum(naive.values()) for way, value in naive.items()})
