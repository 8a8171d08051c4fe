import numpy as np

from upright.synthesis.evaluation.persons import read
from upright.synthesis.evaluation.ranker import BEFORE, Ranker, chains, pairs

TEXTS = [
    f"{title} {name} came with {own} {kin}. {pronoun} is well."
    for name in ("Harrow", "Vale", "Thorn", "Moss", "Reed")
    for title, own, kin, pronoun in (("Mr.", "his", "wife", "She"), ("Ms.", "her", "father", "He"))
]


def test_it_learns_the_rules_it_is_shown() -> None:
    """Names it has not seen, the same way of speaking: he or she is the relative."""
    readings = [read(text) for text in TEXTS]
    new = [read("Mr. Garth came with his wife. She is well."), read("Ms. Hollow came with her father. He is well.")]
    assert Ranker(readings).chains(new) == [[frozenset({0, 1}), frozenset({2, 3})]] * 2


def test_a_pair_for_each_of_the_nearest_before() -> None:
    reading = read("He is well. " * 12)
    assert len(pairs([reading]).names) == sum(min(j, BEFORE) for j in range(12))
    assert pairs([reading]).same.all()


def test_one_kind_of_pair_teaches_to_join_all_or_none() -> None:
    alone = read("He is well. He walks. He eats.")
    assert Ranker([alone]).chains([alone]) == [[frozenset({0, 1, 2})]]
    assert Ranker([read("nobody")]).chains([alone, read("")]) == [[], []]


def test_chains_leave_out_who_is_mentioned_once() -> None:
    assert chains([0, 1, 0, 2, 2]) == [frozenset({0, 2}), frozenset({3, 4})]


def test_the_same_seed_learns_the_same() -> None:
    readings = [read(text) for text in TEXTS]
    order = np.random.default_rng(0).permutation(len(readings))
    shuffled = [readings[i] for i in order]
    assert Ranker(shuffled, 1).chains(readings) == Ranker(shuffled, 1).chains(readings)
