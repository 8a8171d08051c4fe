from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from tests.synthesis.evaluation.leaky import words
from upright.run.evidence import Metric
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.diversity import distinct, diversity_part, entropy, self_bleu
from upright.synthesis.evaluation.part import HELDOUT, SYNTHETIC, Arms, Part


def corpus(texts: list[str]) -> Corpus:
    return Corpus((), texts, [()] * len(texts))


def random_texts(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(list("abcdefghij"), int(rng.integers(1, 15)))) for _ in range(n)]


@pytest.fixture(scope="module")
def part() -> Part:
    real = [" ".join(f"w{word}" for word in np.random.default_rng(i).integers(0, 500, 12)) for i in range(60)]
    flat = ["the same words again and again"] * 30 + [f"number {i} is here for once" for i in range(30)]
    return diversity_part(Arms(corpus(real), corpus(real), corpus(real), corpus(flat), None, (), ()))


def value(part: Part, name: str, split: str = SYNTHETIC) -> Metric:
    return next(metric for metric in part.metrics if metric.name == name and metric.split == split)


def test_by_hand() -> None:
    """a a b c: 3 of 4; entropy 1/2 · 1 + 2 · 1/4 · 2 = 1.5 bits."""
    codes = np.array([0, 0, 1, 2])
    assert (distinct(codes), entropy(codes)) == (0.75, 1.5)
    assert (distinct(codes[:0]), entropy(codes[:0])) == (0, 0)


def test_the_flat_side_is_less_diverse(part: Part) -> None:
    for name in ("distinct 1-grams", "distinct 3-grams", "entropy of 2-grams"):
        mine, real = value(part, name), value(part, name, HELDOUT)
        assert (mine.ci_high or 0) < (real.ci_low or 0)
    assert (value(part, "self-BLEU").value or 0) > (value(part, "self-BLEU", HELDOUT).value or 1)


def test_duplicates_are_counted(part: Part) -> None:
    assert value(part, "records that occur more than once").value == 0.5
    assert value(part, "records with a near-duplicate").value == 0.5
    assert value(part, "records with a near-duplicate", HELDOUT).value == 0


def test_one_record_has_no_diversity() -> None:
    one = corpus(["a"])
    assert diversity_part(Arms(one, one, one, one, None, (), ())).limits == [
        "Diversity needs two records of each side; got 1."
    ]


def test_empty_texts_are_no_error() -> None:
    empty = corpus([""] * 5)
    part = diversity_part(Arms(empty, empty, empty, empty, None, (), ()))
    assert value(part, "distinct 1-grams").value == 0
    assert value(part, "records that occur more than once").value == 1


def naive_bleu(texts: list[str], i: int) -> float:
    mine, others = texts[i].split(), [text.split() for j, text in enumerate(texts) if j != i]
    total = 0.0
    for n in range(1, 5):
        grams = [Counter(tuple(t[k : k + n]) for k in range(len(t) - n + 1)) for t in [mine, *others]]
        matched = sum(min(count, max(other[gram] for other in grams[1:])) for gram, count in grams[0].items())
        size, more = sum(grams[0].values()), int(n > 1)
        if matched + more == 0:
            return 0.0
        total += np.log((matched + more) / max(size + more, 1)) / 4
    closest = min((len(other) for other in others), key=lambda length: (abs(length - len(mine)), length))
    return float(np.exp(total + min(0, 1 - closest / len(mine))))


@pytest.mark.parametrize("seed", range(4))
def test_self_bleu_is_bleu_against_all_others(seed: int) -> None:
    texts = random_texts(25, seed)
    assert self_bleu(words(texts)) == pytest.approx([naive_bleu(texts, i) for i in range(25)])


def test_self_bleu_at_its_ends() -> None:
    assert self_bleu(words(["a b c d e", "a b c d e"])) == pytest.approx([1, 1])
    assert self_bleu(words(["a b c d", "e f g h", ""])) == pytest.approx([0, 0, 0])


def test_entropy_grows_with_the_number_of_values() -> None:
    found = [entropy(np.arange(n)) for n in (1, 2, 4, 8)]
    assert found == pytest.approx([0, 1, 2, 3])
    assert all(a < b for a, b in pairwise(found))
