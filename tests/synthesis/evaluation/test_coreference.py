from dataclasses import replace

import numpy as np
import pytest

from upright.run.evidence import Metric
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.coreference import ALL_ONE, SCORE, coreference_part
from upright.synthesis.evaluation.part import CONTROL, HELDOUT, SYNTHETIC, Arms, Part

NAMES = ("Harrow", "Vale", "Thorn", "Moss", "Reed", "Garth")


def notes(n: int, seed: int, wrong: float = 0.0) -> Corpus:
    """Notes about one person and a relative; of a share `wrong` the last pronoun has the other sex."""
    rng = np.random.default_rng(seed)
    texts, codes = [], []
    for i in range(n):
        female = bool(rng.integers(2))
        title, own, kin = ("Ms.", "her", "sister") if female else ("Mr.", "his", "brother")
        last = ("He" if female else "She") if i < wrong * n else ("She" if female else "He")
        age, name = rng.integers(20, 90), rng.choice(NAMES)
        texts.append(f"{title} {name} is {age} years old. A visit with {own} {kin} went well. {last} walks.")
        codes.append(("female" if female else "male",))
    return Corpus(("sex",), texts, codes)


@pytest.fixture(scope="module")
def arms() -> Arms:
    return Arms(notes(60, 0), notes(40, 1), notes(50, 2), notes(40, 3, wrong=0.25), notes(45, 4), (), ("sex",))


@pytest.fixture(scope="module")
def part(arms: Arms) -> Part:
    return coreference_part(arms, 50)


def value(part: Part, name: str, split: str) -> Metric:
    return next(metric for metric in part.metrics if metric.name == name and metric.split == split)


def test_contradictions_are_found_where_they_are(part: Part) -> None:
    """A quarter of 40 records; none of them in the others."""
    name = "contradictory sexes, of records that tell one"
    found = {split: value(part, name, split) for split in (SYNTHETIC, CONTROL, HELDOUT)}
    assert {split: (metric.value, metric.n) for split, metric in found.items()} == {
        SYNTHETIC: (0.25, 40),
        CONTROL: (0.0, 40),
        HELDOUT: (0.0, 40),
    }
    assert value(part, "contradictory ages, of records that tell one", SYNTHETIC).value == 0


def test_a_code_that_the_text_contradicts(arms: Arms) -> None:
    swapped = replace(arms.synthetic, codes=[("male",)] * 40)
    part = coreference_part(replace(arms, synthetic=swapped), 10)
    women = sum(code == ("female",) for code in arms.synthetic.codes)
    assert value(part, "text contradicts sex, of records that tell one", SYNTHETIC).value == women / 40


def test_scores_of_what_each_side_teaches(part: Part) -> None:
    scores = {metric.split: metric.value for metric in part.metrics if metric.name == SCORE}
    assert set(scores) == {SYNTHETIC, CONTROL, HELDOUT, "train", ALL_ONE}
    assert all(scores[split] == 1 for split in (CONTROL, HELDOUT, "train"))
    assert (scores[ALL_ONE] or 1) < 1
    assert value(part, SCORE, HELDOUT).n == 50
    assert "silver" in part.text


def test_texts_without_persons_have_no_score() -> None:
    plain = Corpus(("sex",), ["My card was lost."] * 50, [("female",), ("male",)] * 25)
    part = coreference_part(Arms(plain, plain, plain, plain, None, (), ("sex",)))
    assert part.limits == ["No coreference score: 0 test records mention a person twice; at least 30 are needed."]
    assert value(part, "records that tell a person's sex", SYNTHETIC).value == 0
    assert value(part, "contradictory sexes, of records that tell one", SYNTHETIC).value is None


def test_groups_that_are_no_sexes_are_left_alone(arms: Arms) -> None:
    other = {
        name: replace(corpus, columns=("site",), codes=[("north",)] * len(corpus))
        for name, corpus in (("train", arms.train), ("test", arms.test), ("synthetic", arms.synthetic))
    }
    part = coreference_part(
        Arms(other["train"], other["test"], other["test"], other["synthetic"], None, (), ("site",)), 5
    )
    assert not any("contradicts" in metric.name for metric in part.metrics)


def test_no_record_is_said() -> None:
    empty, some = Corpus(("sex",), [], []), notes(5, 0)
    assert coreference_part(Arms(some, some, some, empty, None, (), ("sex",))).limits == [
        "Nothing was read: a side has no records."
    ]
