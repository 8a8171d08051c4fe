"""What is left out of synthetic records, by numbers made by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.synthesis.config import FilterConfig
from upright.synthesis.filters import EMPTY, LOOP, REPEAT, SECRET, SHORT, accept, repetition

NONE = ((),) * 100


def test_repetition_is_one_minus_distinct_over_all() -> None:
    # abcabcab: 4-grams abca bcab cabc abca bcab, three distinct of five
    assert repetition(list("abcabcab")) == pytest.approx(2 / 5)
    assert repetition(list("aaaaa")) == pytest.approx(1 / 2)
    assert repetition(list("abc")) == 0.0


def test_each_reason_is_counted_with_its_code() -> None:
    texts = [
        "a fine record of five words",
        " \n ",
        "one two",
        "no no no no no no no no",
        "a fine  record of five\nwords",
        "the Secret 1234 stands here now",
        "another record that is fine too",
    ]
    codes = [("x",), ("x",), ("y",), ("y",), ("x",), ("y",), ("y",)]
    found = accept(texts, codes, FilterConfig(least=3), secrets=["SECRET\t1234"])
    assert found.kept == [0, 6]
    assert found.reasons == {EMPTY: 1, SHORT: 1, LOOP: 1, REPEAT: 1, SECRET: 1}
    assert found.refused == {("x",): 2, ("y",): 3}


def test_short_records_may_repeat_and_long_ones_as_often_as_told() -> None:
    short, long = "No known allergies here", "No known allergies to any drug"
    assert accept([short] * 3, NONE[:3], FilterConfig()).kept == [0, 1, 2]
    assert accept([long] * 3, NONE[:3], FilterConfig(repeats=2)).kept == [0, 1]


def test_a_loop_at_the_limit_stays() -> None:
    # of aaaaa's two 4-grams one is a repetition: a half, which is not more than a half
    assert accept(["a a a a a", "a a a a a a"], NONE[:2], FilterConfig(loops=0.5)).kept == [0]


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="empty secret"):
        accept(["a"], [()], FilterConfig(), secrets=[" "])


@given(st.lists(st.text(alphabet="ab \n", max_size=24), max_size=30))
def test_what_was_kept_is_kept_again_and_nothing_is_lost(texts: list[str]) -> None:
    config = FilterConfig(least=2)
    found = accept(texts, NONE[: len(texts)], config)
    assert found.kept == sorted(found.kept)
    assert len(found.kept) + found.reasons.total() == len(texts)
    again = [texts[i] for i in found.kept]
    assert accept([*again, *texts], NONE[: len(again) + len(texts)], config).kept[: len(again)] == list(
        range(len(again))
    )
