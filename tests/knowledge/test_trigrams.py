from hypothesis import given
from hypothesis import strategies as st

from upright.knowledge.trigrams import SHARE, Trigrams

WORDS = st.text("abcé日", min_size=1, max_size=6)


def pieces(word: str) -> set[str]:
    padded = f"  {word} "
    return {padded[place : place + 3] for place in range(len(padded) - 2)}


def dice(left: str, right: str) -> float:
    return 2 * len(pieces(left) & pieces(right)) / (len(pieces(left)) + len(pieces(right)))


def test_dice_by_hand() -> None:
    # "  g", "rgi", "gia", "ia " of 8 and 8 are shared: 2 * 4 / 16 = 0.5
    assert dice("goergia", "georgia") == 0.5
    words = ["paris", "georgia", "gorgias", "x" * 65]
    index = Trigrams.build(words)
    assert index.alike("goergia", 5) == [1, 2]  # gorgias shares "  g", " go", "rgi", "gia", as many
    assert index.alike("georgia", 1) == [1]
    assert index.alike("x" * 65, 5) == []


@given(st.lists(WORDS, unique=True, max_size=12), WORDS, st.integers(1, 5))
def test_the_likest_words_are_those_of_brute_force(words: list[str], word: str, limit: int) -> None:
    every = sorted((-dice(other, word), place) for place, other in enumerate(words))
    naive = [place for likeness, place in every if -likeness >= SHARE]
    assert Trigrams.build(words).alike(word, limit) == naive[:limit]


def test_nothing_is_like_anything_in_an_empty_index() -> None:
    assert Trigrams.build([]).alike("word", 3) == []
