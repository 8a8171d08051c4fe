import time

import numpy as np
import pytest

from tests.synthesis.evaluation.leaky import arms, people
from upright.run.evidence import Metric
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.copies import search
from upright.synthesis.evaluation.overlaps import overlaps_part
from upright.synthesis.evaluation.part import CONTROL, HELDOUT, SYNTHETIC, Arms, Part


def part_of(arms: Arms) -> Part:
    return overlaps_part(arms, search({name: side.texts for name, side in arms.compared.items()}, arms.train.texts))


def corpus(*texts: str) -> Corpus:
    return Corpus((), texts, [()] * len(texts))


def metric(part: Part, name: str, split: str = SYNTHETIC) -> Metric:
    (found,) = [m for m in part.metrics if (m.name, m.split) == (name, split)]
    return found


def test_shares_and_lengths_by_hand() -> None:
    """ "a b c d e f" has two 5-grams, of which train holds "a b c d e"; "Z, y x w v!" has one, which both hold."""
    real = corpus("q a b c d e", "z y x w v"), corpus("z y x w v", "r s")
    part = part_of(Arms(*real, corpus("t"), corpus("a b c d e f", "Z, y x w v!"), None, (), ()))
    train, heldout = (metric(part, f"5-grams found in {side} records") for side in ("train", "held-out"))
    assert train.n == 3
    assert train.value == pytest.approx(2 / 3)
    assert heldout.value == pytest.approx(1 / 3)
    assert metric(part, "5-grams found in train, more than in held-out records").value == pytest.approx(1 / 3)
    assert metric(part, "longest passage shared with train records").value == 5
    assert metric(part, "longest passage shared with held-out records").value == 2.5
    assert metric(part, "longest passage shared, more with train than with held-out records").value == 2.5
    assert metric(part, "duplicates of training records").value == 0.5
    assert metric(part, "8-grams found in train records").value is None  # no record is that long
    assert metric(part, "5-grams found in train records", HELDOUT).value == 1.0


def test_copies_are_looked_for_in_all_training_records() -> None:
    """Held-out records are fewer, so that the matched sample may miss the one that was copied."""
    long = " ".join(f"w{i}" for i in range(60))
    train = corpus(*(f"n{i} is short" for i in range(30)), long)
    part = part_of(Arms(train, corpus("b", "c"), corpus("t"), corpus(f"so {long[:-3]} on", "no"), None, (), ()))
    assert metric(part, "copies of 50 words and more of training records").value == 0.5
    assert metric(part, "duplicates of training records").value == 0.0


def test_copying_shows_and_the_law_alone_does_not() -> None:
    part = part_of(arms(people(300, 8), people(300, 0)))
    name = "5-grams found in train, more than in held-out records"
    own, control = metric(part, name), metric(part, name, CONTROL)
    assert own.ci_low is not None
    assert own.ci_high is not None
    assert own.ci_low <= 0 <= own.ci_high
    assert (control.ci_low or 0) > 0.2
    assert metric(part, "duplicates of training records, of 5 words and more", CONTROL).value == 1.0
    assert metric(part, "duplicates of training records, of 5 words and more").value == 0.0
    assert not any(text in str(part) for text in people(300, 0).texts)


def test_size_is_no_obstacle() -> None:
    rng = np.random.default_rng(0)
    drawn = [corpus(*(" ".join(row) for row in rng.integers(0, 500, (n, 50)).astype(str))) for n in (5000, 5000, 1000)]
    start = time.perf_counter()
    part_of(Arms(drawn[0], drawn[1], drawn[2], drawn[2], None, (), ()))
    assert time.perf_counter() - start < 15


def test_what_one_patient_alone_gives_is_no_proof() -> None:
    """All that was copied is one patient's: other patients might have been drawn, and so the interval holds 0."""
    alike = [f"seen for item {i} by us as ever" for i in range(40)]
    copied = corpus(*(f"{text} and then we all went home {i}" for i, text in enumerate(alike)))
    others = [f"n{i} has none of it at all" for i in range(40)]
    train = Corpus((), [*alike, *others], [()] * 80, ["p"] * 40 + [f"q{i}" for i in range(40)])
    heldout = corpus(*(f"m{i} had nothing like that here" for i in range(80)))
    name = "5-grams found in train, more than in held-out records"
    one = metric(part_of(Arms(train, heldout, corpus("t"), copied, None, (), ())), name)
    apart = Corpus((), train.texts, train.codes)
    many = metric(part_of(Arms(apart, heldout, corpus("t"), copied, None, (), ())), name)
    assert one.value == many.value
    assert (one.ci_low or 0) <= 0 < (many.ci_low or 0)


def test_chance_holds_over_many_draws() -> None:
    """Over 20 splits of patients with three notes each the interval of the excess misses 0 at most 4 times."""
    missed = 0
    for seed in range(20):
        part = part_of(arms(people(60, 1000 + seed, 3), size=60, notes=3, seed=seed))
        found = metric(part, "5-grams found in train, more than in held-out records")
        missed += not (found.ci_low or 0) <= 0 <= (found.ci_high or 0)
    assert missed <= 4
