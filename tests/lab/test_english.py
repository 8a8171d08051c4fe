import random
import re
import time
from itertools import islice
from pathlib import Path

import pytest

from upright.lab.english import (
    Words,
    _compile,
    _grammar,
    _inflect,
    _read_genres,
    _regular_past,
    _third,
    stories,
    story,
)

VOWEL_SOUND = re.compile(r"(?!(?:uni|use|usu|eu|one\b|once\b))(?:[aeiou]|hour|honest)", re.IGNORECASE)
DAYS = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
OTHERS = {"I"}


@pytest.fixture(scope="module")
def sample() -> list[str]:
    return list(islice(stories(seed=0), 2000))


def sentences(text: str) -> list[str]:
    """Split where an end mark (and perhaps a closing quote) is followed by a capital or a digit."""
    return re.split(r'(?:(?<=[.!?])|(?<=[.!?]")) (?="?[A-Z0-9])', text)


def plain_words() -> Words:
    return Words(past={"go": "went"}, same={"big": "big|large"})


def test_same_seed_same_text() -> None:
    assert list(islice(stories(7), 20)) == list(islice(stories(7), 20))
    assert list(islice(stories(7), 20)) != list(islice(stories(8), 20))


def test_global_random_state_is_neither_read_nor_written() -> None:
    random.seed(1)
    before = random.getstate()
    first = story(random.Random(3))
    assert random.getstate() == before
    random.seed(2)
    assert story(random.Random(3)) == first


def test_length(sample: list[str]) -> None:
    for text in sample:
        assert 40 <= len(text.split()) <= 120, text
        assert 4 <= len(sentences(text)) <= 13, text  # this splitter also counts sentences inside a quotation


def test_sentences_start_with_a_capital_and_end_with_a_mark(sample: list[str]) -> None:
    for text in sample:
        assert re.fullmatch(r'"?[A-Z0-9].*[.!?]"?', text), text
        assert not re.search(r'\. "?[a-z]', text), text


def test_no_marks_of_the_grammar_and_no_stray_spaces(sample: list[str]) -> None:
    for text in sample:
        assert not re.search(r"[{}<>\[\]|~/#]|  | [.,!?;:]|,,|\.\.|\bcan not\b", text), text
        assert text == text.strip()
        assert text.count('"') % 2 == 0, text


def test_articles_agree_with_the_next_sound(sample: list[str]) -> None:
    for text in sample:
        for article, word in re.findall(r"\b([Aa]n?) (\w+)", text):
            assert (article.lower() == "an") == bool(VOWEL_SOUND.match(word)), (article, word, text)


def test_be_and_have_agree_with_i_and_with_pronouns(sample: list[str]) -> None:
    wrong = re.compile(
        r"\b(?:(?<!and )I (?:is|are|were|has)|[Ss]?[Hh]e (?:am|are|were|have)|[Tt]hey (?:am|is|was|has))\b"
    )
    for text in sample:
        assert not wrong.search(text), text


def test_pronouns_after_a_preposition_are_objects(sample: list[str]) -> None:
    wrong = re.compile(r"\b(?:for|to|with|from|of|at|without|beside|about) (?:I|he|she|they|we)\b")
    for text in sample:
        assert not wrong.search(text), text


def test_a_story_keeps_its_tense(sample: list[str]) -> None:
    for text in sample:
        told = re.sub(r'"[^"]*"', "", text)
        past, present = (re.search(rf"\b[Ss]?[Hh]e (?:{verbs})\b", told) for verbs in ("was|had", "is|has"))
        assert not (past and present), text


def test_capitals_inside_a_sentence_are_known_names(sample: list[str]) -> None:
    """No country, city, currency or language can slip in: every other capital is a name from the lists."""
    lists = _grammar().lists
    names = {str(word[0]) for key in ("name_f", "name_m", "pet_name", "month") for word in lists[key]}
    for text in sample:
        for word in re.findall(r"(?<=[a-z,] )[A-Z]\w*", text):
            assert word in names | OTHERS or word.removesuffix("s") in DAYS, (word, text)


def test_variety(sample: list[str]) -> None:
    assert len({word for text in sample for word in re.findall(r"[a-z']+", text.lower())}) >= 1200
    assert len(set(sample)) > 0.999 * len(sample)
    assert len({tuple(text.split()[:4]) for text in sample}) > 600
    assert sum('"' in text for text in sample) > 0.3 * len(sample)
    assert sum("?" in text for text in sample) > 0.2 * len(sample)


def test_the_grammar_is_large() -> None:
    sections = [section for genre in _grammar().genres.values() for section in genre.sections.values()]
    assert sum(len(steps) for steps in sections) >= 150
    assert len(_grammar().lists["name_f"]) + len(_grammar().lists["name_m"]) == 80


def test_speed() -> None:
    next(stories(0))  # reads the grammar
    start = time.process_time()
    list(islice(stories(1), 1000))
    assert time.process_time() - start < 0.5  # 2,000 stories a second


@pytest.mark.parametrize(
    ("base", "past", "third"),
    [
        ("walk", "walked", "walks"),
        ("carry", "carried", "carries"),
        ("play", "played", "plays"),
        ("wash", "washed", "washes"),
        ("love", "loved", "loves"),
    ],
)
def test_regular_verbs(base: str, past: str, third: str) -> None:
    assert (_regular_past(base), _third(base)) == (past, third)


def test_irregular_verbs_and_be() -> None:
    assert _inflect("go", "s", plain_words()) == ("went", "goes")
    assert _inflect("be", "I", plain_words()) == ("was", "am")
    assert _inflect("be", "p", plain_words()) == ("were", "are")


def test_a_word_widens_to_its_group_but_not_inside_a_slot() -> None:
    assert plain_words().widen("a big {big} <big> bigger box") == "a [big|large] {big} <big> bigger box"


def test_a_broken_pattern_is_named() -> None:
    with pytest.raises(ValueError, match="brackets do not match"):
        _compile("{A} <go> [home|away", plain_words())


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_text("=== bad\nspeed 3\n")
    with pytest.raises(ValueError, match="'speed 3': unknown setting"):
        _read_genres(path, plain_words())
