import numpy as np
import pytest

from tests.synthesis.evaluation.leaky import words
from upright.synthesis.evaluation.minhash import jaccard, near_duplicates, shingles, signatures


def sets(texts: list[str]) -> list[set[tuple[str, ...]]]:
    found = []
    for text in texts:
        parts = text.lower().split()
        size = min(3, len(parts))
        found.append({tuple(parts[i : i + size]) for i in range(len(parts) - size + 1)} if parts else set())
    return found


def naive(texts: list[str], similar: float = 0.8) -> list[bool]:
    all_sets = sets(texts)
    return [
        any(j != i and a and len(a & b) >= similar * len(a | b) for j, b in enumerate(all_sets))
        for i, a in enumerate(all_sets)
    ]


def varied(seed: int) -> list[str]:
    """Random texts, of some a copy with one word of 30 changed (at most 3 of 28 shingles: similarity 25/31 or more)."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(list("abcdefghijklmnop"), 30)) for _ in range(40)]
    for text in texts[:10]:
        parts = text.split()
        parts[int(rng.integers(30))] = "zzz"
        texts.append(" ".join(parts))
    return texts


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_what_all_pairs_show(seed: int) -> None:
    texts = varied(seed)
    assert near_duplicates(words(texts)).tolist() == naive(texts)


def test_short_and_empty_texts() -> None:
    texts = ["yes", "yes", "no", "", "", "a b", "b a", "A b"]
    assert near_duplicates(words(texts)).tolist() == [True, True, False, False, False, True, False, True]


def test_similarity_by_hand() -> None:
    """Shingles abc bcd cde and bcd cde def: 2 of 4."""
    found = shingles(words(["a b c d e", "b c d e f"]))
    assert jaccard(found, np.array([0]), np.array([1]))[0] == 0.5


def test_equal_values_are_as_frequent_as_the_sets_are_similar() -> None:
    """64 values of each of 30 pairs at similarity 1/2: standard error 0.011."""
    texts = [f"{i}a {i}b {i}c {i}d {i}e" for i in range(30)] + [f"{i}b {i}c {i}d {i}e {i}f" for i in range(30)]
    found = signatures(shingles(words(texts)), seed=0)
    assert (found[:30] == found[30:]).mean() == pytest.approx(0.5, abs=0.05)


def test_a_crowd_of_copies_costs_no_more_than_its_size() -> None:
    texts = ["the same words here"] * 20_000 + ["something else altogether now"]
    assert near_duplicates(words(texts)).sum() == 20_000


def test_no_text_at_all() -> None:
    assert near_duplicates(words([])).tolist() == []
