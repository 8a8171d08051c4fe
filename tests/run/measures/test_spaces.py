import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.errors import UserError
from upright.run.measures.spaces import ALPHABETS, Space

FORMAT = "a {digits:2}-{hex:1} z"


def test_every_number_has_its_own_text() -> None:
    """Two digits and one of sixteen letters: 1600 texts, from 00-0 to 99-f."""
    space = Space.parse(FORMAT)
    texts = [space.text(i) for i in range(space.size)]
    assert space.size == 1600 == len(set(texts))
    assert (texts[0], texts[17], texts[-1]) == ("a 00-0 z", "a 01-1 z", "a 99-f z")
    assert all(map(space.holds, texts))
    assert not space.holds("a 00-g z")
    assert not space.holds("a 00-0 z ")


@given(st.integers(0, 10**9), st.sampled_from(["{words:2} x", "Key {letters:8}", "{hex:16}{digits:4}."]))
def test_samples_are_different_and_of_the_space(seed: int, format: str) -> None:
    space = Space.parse(format)
    first = space.sample(20, random.Random(seed))
    others = space.sample(20, random.Random(seed), without=set(first))
    assert len({*first, *others}) == 40
    assert all(map(space.holds, [*first, *others]))


def test_a_small_space_is_given_whole() -> None:
    space = Space.parse("{digits:1}")
    assert sorted(space.sample(100, random.Random(0), without={"3"})) == [*"012456789"]


def test_draws_are_uniform() -> None:
    """20,000 draws of 100 texts: each is expected 200 times, with a standard deviation of 14."""
    space, counts = Space.parse("{digits:2}"), dict[str, int]()
    rng = random.Random(1)
    for _ in range(20_000):
        (text,) = space.sample(1, rng)
        counts[text] = counts.get(text, 0) + 1
    assert len(counts) == 100
    assert 130 < min(counts.values()) <= max(counts.values()) < 270


def test_words_of_the_alphabet_differ() -> None:
    assert all(len(set(letters)) == len(letters) for letters in ALPHABETS.values())


@pytest.mark.parametrize("format", ["no part", "{digit:3}", "{digits:0}", "{words:65}"])
def test_formats_that_are_none(format: str) -> None:
    with pytest.raises(UserError, match="format"):
        Space.parse(format)


@pytest.mark.parametrize("format", ["{word} {digits:6}", "{digits} {digits:6}", "{digits:six} {digits:6}"])
def test_what_looks_like_a_random_part_is_one(format: str) -> None:
    """Else it would be planted as it stands, and candidates would share it."""
    with pytest.raises(UserError, match=r"must be a kind and a length, such as \{digits:6\}"):
        Space.parse(format)
    assert Space.parse('{"code": {digits:2}, {"x"}').size == 100
