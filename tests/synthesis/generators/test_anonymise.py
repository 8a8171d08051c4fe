"""Personal data of a text: what is found, and what stands in its place."""

import random
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.run.measures.recognise import recognise
from upright.synthesis.generators.anonymise import Anonymiser, personal

LETTER = (
    "Mr. Jonas Kumar, aged 93, of 12 Elm Street, was born on 03/04/1921 and seen on July 31, 2008 by Dr. Vale. "
    "Kumar can be reached at j.kumar@mail.com or 555-123-4567. MRN 48213. His brother is a 67-year-old baker; "
    "his aunt is a 101 year old. My name is Ann and I saw Vale on May 3."
)


def anonymiser(style: str = "tags", seed: int = 0) -> Anonymiser:
    return Anonymiser("tags" if style == "tags" else "invented", random.Random(seed))


def test_tags_stand_for_everything_that_is_found() -> None:
    done = anonymiser()(LETTER)
    assert done.text == (
        "Mr. <NAME>, aged <AGE>, of <ADDRESS>, was born on <DATE> and seen on <DATE> by Dr. <NAME>. "
        "<NAME> can be reached at <E-MAIL> or <PHONE NUMBER>. MRN <NUMBER>. His brother is a 67-year-old baker; "
        "his aunt is a <AGE> year old. My name is <NAME> and I saw <NAME> on <DATE>."
    )
    assert done.found == {
        "name": 5,
        "age": 2,
        "address": 1,
        "date": 3,
        "e-mail": 1,
        "phone number": 1,
        "number": 1,
    }


def test_invented_values_keep_the_form_and_none_of_the_old_ones_is_left() -> None:
    done = anonymiser("invented")(LETTER)
    for old in (
        "Jonas",
        "Kumar",
        "Vale",
        "Ann",
        "93",
        "Elm",
        "1921",
        "July 31",
        "kumar",
        "555",
        "48213",
        "101",
        "May 3",
    ):
        assert old not in done.text, old
    assert "67-year-old baker" in done.text
    assert re.search(r"aged 90, of \d+ \w+ Street, was born on \d\d/\d\d/20\d\d and seen on \w+ \d+, 20\d\d", done.text)
    assert re.search(r"reached at \w+\.\w+@example\.org or \d{3}-\d{3}-\d{4}\. MRN \d{5}\.", done.text)
    found = re.match(r"Mr\. (\w+) (\w+),.* by Dr\. (\w+)\. (\w+) can", done.text)
    assert found is not None
    assert found[2] == found[4]  # the surname that stands alone later
    assert found[2] != found[3]


def test_equal_values_get_equal_replacements_in_all_texts() -> None:
    replace = anonymiser("invented")
    one, two = replace("Call 555-123-4567, Dr. Kumar").text, replace("Call (555) 123-4567. Mrs Kumar").text
    assert one.split("Dr. ")[1] == two.split("Mrs ")[1]
    assert re.findall(r"\d+", one) == re.findall(r"\d+", two)


@pytest.mark.parametrize(
    "text",
    [
        "The patient is a 76-year-old female. Dr. The test was fine.",
        "Take 250 mg twice; 1,200 calories; 0.12345 of it; 90 days",
        "She may 3 times a day march on",
    ],
)
def test_what_is_no_personal_data_stays(text: str) -> None:
    assert anonymiser()(text).text == text


def test_capitals_within_a_sentence_count_only_when_thorough() -> None:
    text = "Yesterday we met Ola Nordmann, the Dr from Oslo."
    assert [found.value for found in personal(text)] == ["Ola Nordmann", "Oslo"]
    assert personal(text, thorough=False) == []


def test_spans_do_not_overlap_and_stand_in_order() -> None:
    spans = personal(LETTER * 2)
    assert all(one.end <= two.start for one, two in pairwise(spans))
    assert all(LETTER[found.start : found.end] == found.value for found in personal(LETTER))


@given(st.text(alphabet="Dr. MKumarb 0123456789/-@", max_size=60), st.integers(0, 5))
def test_any_text_is_taken_and_only_what_was_found_changes(text: str, seed: int) -> None:
    done = anonymiser("tags", seed)(text)
    assert done.found.total() == len(personal(text))
    assert not recognise(done.text) or done.found.total()
