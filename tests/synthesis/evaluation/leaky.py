"""Records of invented people, and generators that copy some of them or none."""

from collections.abc import Sequence

import numpy as np

from upright.run.measures.words import Vocabulary
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.part import Arms
from upright.synthesis.evaluation.tokens import Tokens

FIRST = [a + b for a in ("Al", "Be", "Co", "Da", "El", "Fi", "Gu", "Ha") for b in ("ra", "mo", "nit", "sk", "vo")]
LAST = [a + b for a in ("Mar", "Nol", "Ost", "Pri", "Qua", "Ros", "Stu", "Tre") for b in ("den", "ley", "ick", "ows")]
ILLS = ["a cough", "knee pain", "a rash", "dizziness", "back pain", "fever", "nausea", "a headache"]
SINCE = ["two days", "a week", "March", "last winter", "the fall", "years"]
PLANS = ["rest", "ibuprofen", "a scan", "physiotherapy", "a blood test", "watchful waiting"]


def people(count: int, seed: int, notes: int = 1) -> Corpus:
    """Notes of `count` invented people, all drawn from one law; `notes` of each."""
    rng = np.random.default_rng(seed)
    texts, codes, units = [], [], []
    for person in range(count):
        name = f"{rng.choice(FIRST)} {rng.choice(LAST)}"
        phone = f"555-01{rng.integers(100):02d}-{rng.integers(1000, 9999)}"
        sex = str(rng.choice(["female", "male"]))
        for _ in range(notes):
            ill, since, plan = rng.choice(ILLS), rng.choice(SINCE), rng.choice(PLANS)
            texts.append(f"Today we saw {name} with {ill} since {since}. Reach us at {phone}. The plan is {plan}.")
            codes.append((str(ill), sex))
            units.append(f"person-{seed}-{person}")
    return Corpus(("illness", "sex"), texts, codes, units if notes > 1 else ())


def arms(synthetic: Corpus, control: Corpus | None = None, size: int = 300, notes: int = 1, seed: int = 0) -> Arms:
    """The `synthetic` records beside real ones of other people; train is `people(size, 3 * seed)`."""
    real = [people(size, 3 * seed + i, notes) for i in range(3)]
    return Arms(real[0], real[1], real[2], synthetic, control, ("illness",), ("sex",), seed)


def words(texts: Sequence[str]) -> Tokens:
    """The words of one side alone."""
    return Tokens.of(Vocabulary().add(texts))
