from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.synthesis.evaluation.leaky import words
from upright.synthesis.evaluation.tokens import Tokens, characters, words_of

texts = st.lists(st.text(alphabet="ab cD.é", max_size=12), max_size=6)


def naive(lists: list[list[int]], n: int) -> list[Counter[tuple[int, ...]]]:
    return [Counter(tuple(row[i : i + n]) for i in range(len(row) - n + 1)) for row in lists]


def rows(tokens: Tokens) -> list[list[int]]:
    return [tokens.ids[a:b].tolist() for a, b in zip(tokens.starts[:-1], tokens.starts[1:], strict=True)]


def test_words_are_those_between_spaces_and_marks() -> None:
    found = words(["Don't stop, don't!", "", "stop"])
    assert rows(found) == [[1, 2, 1], [], [2]]


@given(texts)
def test_characters_are_the_code_points(some: list[str]) -> None:
    assert rows(characters(some)) == [[ord(c) for c in text.lower()] for text in some]


def test_half_a_surrogate_pair_is_no_error() -> None:
    assert rows(characters(["a\ud800b"]))[0][::2] == [ord("a"), ord("b")]


@given(texts, st.integers(1, 7))
def test_ngrams_never_cross_texts(some: list[str], n: int) -> None:
    tokens = characters(some)
    keys, at = tokens.grams(n)
    found = [Counter(Counter(keys[at == i].tolist()).values()) for i in range(len(some))]
    assert found == [Counter(counts.values()) for counts in naive(rows(tokens), n)]


@given(texts, st.integers(1, 3))
def test_the_same_ngram_has_the_same_key_everywhere(some: list[str], n: int) -> None:
    tokens = characters(some)
    distinct = {gram for counts in naive(rows(tokens), n) for gram in counts}
    assert np.unique(tokens.grams(n)[0]).size == len(distinct)


def test_ngrams_of_two_lengths_differ() -> None:
    tokens = characters(["a"])
    assert tokens.grams(1)[0][0] != characters(["aa"]).grams(2)[0][0]


@given(texts, st.integers(0, 3))
def test_taking_is_tokenising_what_is_taken(some: list[str], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(some))
    taken = characters(some).take(order)
    assert rows(taken) == rows(characters([some[i] for i in order]))


def test_sides_share_their_numbers() -> None:
    sides = words_of({"a": ["x y"], "b": ["y z", ""], "c": []})
    assert {name: rows(side) for name, side in sides.items()} == {"a": [[1, 2]], "b": [[2, 3], []], "c": []}


def test_a_table_counts() -> None:
    table = words(["a b a", "b"]).matrix(1, 2**16)
    assert sorted(table.toarray()[0][table.toarray()[0] > 0]) == [1, 2]
    assert table.sum() == 4
