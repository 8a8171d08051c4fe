"""The blocklist against plain sets of tuples."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.synthesis.blocking import Blocklist

TRAIN = ["The patient, a baker, has knee pain.", "No pain in the left arm today"]


def grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def test_records_that_repeat_four_words_are_refused() -> None:
    found = Blocklist(TRAIN, 4).check(
        ["PATIENT a baker HAS a cold", "a baker has a knee", "so: no pain in the left arm!", "", "pain has"]
    )
    assert found.refused.tolist() == [True, False, True, False, False]
    # no pain in the | pain in the left | in the left arm
    assert found.copies.tolist() == [1, 0, 3, 0, 0]
    assert found.count == 2


def test_n_grams_do_not_reach_over_the_end_of_a_record() -> None:
    assert Blocklist(["a b", "c d"], 3).check(["a b c d"]).count == 0


def test_order_of_words_matters() -> None:
    assert Blocklist(["a b c"], 3).check(["c b a", "b a c", "a b c"]).refused.tolist() == [False, False, True]


def test_it_reads_a_stream_once_and_keeps_distinct_n_grams() -> None:
    blocklist = Blocklist((f"w{i % 10} x y" for i in range(10_000)), 3)
    assert len(blocklist) == 10


def test_nothing_to_compare_with() -> None:
    assert Blocklist([], 2).check(["a b c"]).count == 0
    assert Blocklist(["a"], 2).check(["a a a"]).count == 0
    with pytest.raises(ValueError, match="at least 1"):
        Blocklist([], 0)


TEXTS = st.lists(st.text(alphabet="abAB ,", max_size=20), max_size=12)


@given(TEXTS, TEXTS, st.integers(1, 4))
def test_it_agrees_with_sets_of_tuples(train: list[str], texts: list[str], n: int) -> None:
    known = {gram for text in train for gram in grams(text, n)}
    blocklist = Blocklist(train, n)
    assert len(blocklist) == len(known)
    assert blocklist.check(texts).copies.tolist() == [sum(gram in known for gram in grams(text, n)) for text in texts]
