"""Whether persons stay who they are through a record, and whether a system that learns this from it has learnt it."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from upright.run import plots
from upright.run.evidence import Metric, proportion
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.chains import conll, counts
from upright.synthesis.evaluation.fairness import drawn
from upright.synthesis.evaluation.part import SYNTHETIC, TRAIN, Arms, Part
from upright.synthesis.evaluation.persons import FEMALE, MALE, Reading, read
from upright.synthesis.evaluation.ranker import Chain, Ranker, chains
from upright.synthesis.evaluation.scores import resampled_sets
from upright.synthesis.evaluation.sizes import equal, equal_rows

Floats = NDArray[np.float64]
Readings = Mapping[str, Sequence[Reading]]

TITLE = "Persons through a record"
SCORE = "CoNLL score of a learnt coreference system"
SEXES = {
    **dict.fromkeys(("female", "f", "woman", "women", "girl"), FEMALE),
    **dict.fromkeys(("male", "m", "man", "men", "boy"), MALE),
}
ALL_ONE = "all one person"
MOST = 500
"""Records that a system learns from or is judged on; pairs of mentions are many."""
LEAST = 30
"""Test records with a chain, below which no score is given."""
TEXT = (
    "Rules read who is mentioned in a record (titles with names, words of sex and kinship, pronouns, ages) and whether "
    "they contradict each other: he and she for the same person, two ages, a sex other than the record's code. "
    "A coreference system then learns from the rules' labels on each side and is judged on real test records. "
    "These labels are silver, made by rules for English records about one person: read every number beside that of "
    "the held-out records, whose contradictions are the rules' own mistakes for the most part. Most mentions in such "
    "records are of one person, so a system that takes all for one is the score to beat."
)


def coreference_part(arms: Arms, resamples: int = 200) -> Part:
    """Rates of contradictions and the CoNLL score of what each side teaches, from silver labels.

    Args:
        resamples: resampled test sets that the intervals of the score come from.

    Raises:
        MissingExtra: without scikit-learn.
    """
    sides = equal(arms.compared, arms.seed)
    if not len(sides[SYNTHETIC]):
        return Part(TITLE, TEXT, limits=["Nothing was read: a side has no records."])
    readings = {name: [read(text) for text in corpus.texts] for name, corpus in sides.items()}
    metrics = [metric for name in sides for metric in _consistent(readings[name], name)]
    for column in _sex_columns(arms):
        metrics += [_against_code(readings[name], corpus, column, name) for name, corpus in sides.items()]
    scores, limits = _scores(arms, readings, resamples)
    drawings = []
    if scores:
        svg = plots.forest(scores, alt="CoNLL score on real test records, by what the system learnt from.")
        drawings.append((svg, "Silver CoNLL score on real test records, by what the system learnt from."))
    return Part(TITLE, TEXT, metrics + scores, drawings, limits=limits)


def _consistent(readings: Sequence[Reading], split: str) -> list[Metric]:
    """Contradictions among the records that tell a sex, or an age, at all."""
    sexed, aged = [r for r in readings if r.sex], [r for r in readings if r.ages]
    found = [
        ("records that tell a person's sex", len(sexed), len(readings)),
        ("records that tell a person's age", len(aged), len(readings)),
        ("contradictory sexes, of records that tell one", sum(r.mixed for r in sexed), len(sexed)),
        ("contradictory ages, of records that tell one", sum(len(r.ages) > 1 for r in aged), len(aged)),
    ]
    return [
        proportion(name, hits, n, split=split, better="lower" if name.startswith("contra") else "none")
        for name, hits, n in found
    ]


def _sex_columns(arms: Arms) -> list[str]:
    """Group columns whose values are words for the two sexes, or some of them."""
    values = {name: {value.strip().lower() for value in arms.train.column(name)} for name in arms.groups}
    return [name for name, found in values.items() if {SEXES.get(value) for value in found} >= {FEMALE, MALE}]


def _against_code(readings: Sequence[Reading], corpus: Corpus, column: str, split: str) -> Metric:
    """Records whose text tells another sex than their code, of those where both tell one."""
    coded = [SEXES.get(value.strip().lower()) for value in corpus.column(column)]
    told = [(r.sex, code) for r, code in zip(readings, coded, strict=True) if r.sex and code]
    return proportion(
        f"text contradicts {column}, of records that tell one",
        sum(sex != code for sex, code in told),
        len(told),
        split=split,
        better="lower",
    )


def _scores(arms: Arms, readings: Readings, resamples: int) -> tuple[list[Metric], list[str]]:
    """The CoNLL score on the same test records of a system taught by each side, and by as many training records."""
    test = [r for r in map(read, _some(arms.test, arms.seed)) if chains(r.persons)]
    if len(test) < LEAST:
        few = f"No coreference score: {len(test)} test records mention a person twice; at least {LEAST} are needed."
        return [], [few]
    size = min(MOST, *(len(side) for side in readings.values()))
    taught = {name: side[:size] for name, side in readings.items()}
    taught[TRAIN] = [read(text) for text in _some(arms.train, arms.seed, size)]
    weights = resampled_sets(len(test), resamples, arms.seed)
    metrics = []
    for name, side in taught.items():
        draws = _judged(Ranker(side, arms.seed).chains(test), test, weights)
        metrics.append(drawn(SCORE, draws, len(test), name, "proportion", "higher"))
    draws = _judged([chains([0] * len(r.persons)) for r in test], test, weights)
    return [*metrics, drawn(SCORE, draws, len(test), ALL_ONE, "proportion", "higher")], []


def _judged(answers: Sequence[Sequence[Chain]], test: Sequence[Reading], weights: Floats) -> Floats:
    """CoNLL scores of answers for the test set and for resampled ones, (draws,)."""
    sums = np.stack([counts(chains(r.persons), answer) for r, answer in zip(test, answers, strict=True)])
    return conll(np.tensordot(weights, sums, axes=1))


def _some(corpus: Corpus, seed: int, most: int = MOST) -> list[str]:
    """At most so many texts, drawn by the seed."""
    rows = equal_rows({TRAIN: len(corpus), "wanted": min(most, len(corpus))}, seed)[TRAIN]
    return [corpus.texts[i] for i in rows.tolist()]
