import pytest

from upright.synthesis.evaluation.persons import Reading, mentions, read


def whom(reading: Reading) -> list[tuple[str, int]]:
    return [(mention.text, person) for mention, person in zip(reading.mentions, reading.persons, strict=True)]


def test_one_person_through_names_nouns_and_pronouns() -> None:
    found = read("Mr. Harrow is a 45-year-old man. He denies pain. The patient says his knee hurts.")
    assert whom(found) == [("harrow", 0), ("man", 0), ("he", 0), ("the patient", 0), ("his", 0)]
    assert (found.sex, found.mixed, set(found.ages)) == ("male", False, {45})


def test_relatives_and_doctors_are_others() -> None:
    found = read("She lives with her husband. He smokes. Dr. Vale told her so, and her mothers do not know.")
    named = {"husband": 1, "he": 1, "vale": 2, "mother": 3}
    said = ["she", "her", "husband", "he", "vale", "her", "her", "mother"]
    assert whom(found) == [(text, named.get(text, 0)) for text in said]
    assert (found.sex, found.mixed) == ("female", False)


@pytest.mark.parametrize(
    "text",
    [
        "The patient is a 67-year-old female. He denies fever.",
        "She is well. He will come back.",
        "Ms. Doe is a man of few words.",
        "The patient is a woman. The patient is a man.",
    ],
)
def test_contradictory_sexes(text: str) -> None:
    assert read(text).mixed


@pytest.mark.parametrize(
    "text",
    [
        "She has a 12-year-old son. He is well.",  # another person is there to be meant
        "He was seen by Dr. X. She put him on insulin.",  # doctors may be of either sex
        "Mr. Doe came with Mrs. Doe. She is his wife.",
        "The patient is a boy born to a white female mother.",
        "Patient denies. His wife says she is fine.",
        "",
    ],
)
def test_no_contradiction(text: str) -> None:
    assert not read(text).mixed


@pytest.mark.parametrize(
    ("text", "ages"),
    [
        ("A 45-year-old man, 45 years old.", {45}),
        ("A 45 yo man. The patient is 54 years old.", {45, 54}),
        ("Age: 61. He was injured at age 12.", {61}),  # the past is no contradiction
        ("Her mother is 80 years old. She is 50 years old.", {50}),
        ("She has a 12-year-old son.", set()),
        ("He took 20 mg for 3 years.", set()),
    ],
)
def test_ages_are_those_of_the_record_s_person(text: str, ages: set[int]) -> None:
    assert set(read(text).ages) == ages


def test_a_name_before_an_age_is_a_person() -> None:
    assert whom(read("Jane Doe is a 30 year old. Ms. Doe has asthma.")) == [("jane doe", 0), ("doe", 0)]


def test_words_within_words_are_no_mentions() -> None:
    assert mentions("The pathologist shed theses; manuals herald shepherds.") == []


def test_mentions_know_their_sentence() -> None:
    found = mentions("Mr. Harrow came. He left.\nHis wife stayed")
    assert [(mention.text, mention.sentence) for mention in found] == [
        ("harrow", 0),
        ("he", 1),
        ("his", 2),
        ("wife", 2),
    ]


def test_long_texts_take_no_more_than_their_length() -> None:
    assert len(read("He is well. " * 5000).mentions) == 5000
