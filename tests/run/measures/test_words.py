import math
import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.run.measures.words import Passages, log_likelihood, words

texts = st.lists(st.lists(st.sampled_from("abc"), max_size=9).map(" ".join), min_size=2, max_size=7)


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    own = words(text)
    return [tuple(own[i : i + n]) for i in range(len(own) - n + 1)]


def common(first: str, second: str) -> int:
    return max((n for n in range(1, 10) if set(ngrams(first, n)) & set(ngrams(second, n))), default=0)


def flags(count: int, cut: int) -> tuple[np.ndarray, np.ndarray]:
    own = np.arange(count) < cut
    return own, ~own


@given(texts, st.integers(1, 9))
def test_codes_are_equal_for_equal_ngrams_and_no_others(texts: list[str], n: int) -> None:
    found = Passages(texts).ngrams(n)
    plain = [gram for text in texts for gram in ngrams(text, n)]
    assert len(plain) == found.code.size
    assert len(set(plain)) == len(set(zip(plain, found.code.tolist(), strict=True))) == len(set(found.code.tolist()))


@given(texts, st.integers(1, 6))
def test_longest_against_all_pairs(texts: list[str], cut: int) -> None:
    own, others = flags(len(texts), cut)
    expected = [max((common(text, other) for other in texts[cut:]), default=0) for text in texts[:cut]]
    found = Passages(texts).longest(own, others)
    assert found[own].tolist() == expected
    assert not found[others].any()


@given(texts, st.integers(1, 6), st.integers(1, 4))
def test_shared_ngrams_against_sets(texts: list[str], cut: int, n: int) -> None:
    own, others = flags(len(texts), cut)
    mine = {gram for text in texts[:cut] for gram in ngrams(text, n)}
    theirs = {gram for text in texts[cut:] for gram in ngrams(text, n)}
    owner = np.arange(len(texts)) // 2
    found = Passages(texts).shared(n, own, [others, own], owner)
    assert found.text.size == len(mine)
    assert (found.owners > 0).sum(1).tolist() == [len(mine & theirs), len(mine)]
    held = [{at for i, at in enumerate(owner) if i >= cut and gram in ngrams(texts[i], n)} for gram in mine]
    assert sorted(found.owners[0]) == sorted(map(len, held))
    assert sorted(found.only[0]) == sorted(min(one) if len(one) == 1 else -1 for one in held)
    assert own[found.text].all()


@given(texts, st.integers(1, 6), st.randoms())
def test_passages_looked_up_one_by_one(texts: list[str], cut: int, rng: random.Random) -> None:
    """Passages of all sizes at once, against the n-grams of the other texts."""
    _, others = flags(len(texts), cut)
    theirs = {gram for text in texts[cut:] for n in range(1, 10) for gram in ngrams(text, n)}
    passages = Passages(texts)
    flat = [word for text in texts for word in words(text)]
    spans = [(i, rng.randint(1, int(room))) for i, room in enumerate(passages.left)]
    place, sizes = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    expected = [tuple(flat[i : i + n]) in theirs for i, n in spans]
    assert passages.contained(place, sizes, others).tolist() == expected


@given(texts, st.integers(1, 3))
def test_rows_of_the_matrix_are_the_sets(texts: list[str], n: int) -> None:
    matrix = Passages(texts).sets(n)
    common = (matrix @ matrix.T).toarray()
    sets = [set(ngrams(text, n)) for text in texts]
    assert common.tolist() == [[len(a & b) for b in sets] for a in sets]


def test_a_text_cannot_be_compared_with_itself() -> None:
    with pytest.raises(ValueError, match="1 texts are on both sides"):
        Passages(["a b"]).longest(np.array([True]), np.array([True]))


def test_likelihood_by_hand() -> None:
    """Fitted on "a b" and "a c": p(a) = (2+1)/(4+4), p(b) = p(c) = 2/8, p(d) = 1/8, with V = 4 words.

    p(b|a) = (1 + p(b)) / (2 + 1) = 5/12; after b nothing was seen: p(d|b) = p(d) = 1/8.
    """
    found = log_likelihood(Passages(["a b", "a c", "a b d", ""]), np.array([True, True, False, False]))
    assert found[2] == pytest.approx((math.log(3 / 8) + math.log(5 / 12) + math.log(1 / 8)) / 3)
    assert math.isnan(found[3])


@given(texts, st.integers(1, 3))
def test_likelihoods_are_those_of_a_law(texts: list[str], order: int) -> None:
    """After any context the chances of all words sum to 1: each word is added to the context as a text of its own."""
    seen = sorted({word for text in texts for word in words(text)})
    if not seen:
        return
    contexts = [" ".join(gram) for gram in {gram for text in texts for gram in ngrams(text, max(1, order - 1))}]
    more = [f"{context} {word}" for context in contexts for word in seen]
    passages = Passages([*texts, *contexts, *more])
    fitted = np.arange(passages.texts) < len(texts)
    total = log_likelihood(passages, fitted, order) * passages.sizes
    for i in range(len(contexts)):
        start = len(texts) + len(contexts) + i * len(seen)
        chances = np.exp(total[start : start + len(seen)] - total[len(texts) + i])
        assert chances.sum() == pytest.approx(1.0)


def test_thousands_of_texts_in_a_moment() -> None:
    rng = np.random.default_rng(0)
    drawn = [" ".join(map(str, row)) for row in rng.integers(0, 300, (6000, 50))]
    drawn[7] = drawn[5900]
    start = time.perf_counter()
    found = Passages(drawn).longest(*flags(6000, 1000))
    assert time.perf_counter() - start < 5
    assert found[7] == 50
    assert np.delete(found[:1000], 7).max() < 10
