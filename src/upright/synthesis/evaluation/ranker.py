"""A small learnt coreference system: which earlier mention does a mention go back to?

A linear mention-pair ranker (after Soon et al. 2001 and Denis & Baldridge 2008): a logistic regression judges each
mention with each of those before it by their words, kinds and distance; a mention joins its likeliest antecedent, or
begins a chain of its own where none reaches one half. scikit-learn does the work.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upright.synthesis.evaluation.classifier import sklearn
from upright.synthesis.evaluation.persons import Mention, Reading

Floats = NDArray[np.float64]
Chain = frozenset[int]

BEFORE = 8
"""Antecedents looked at, the nearest."""
COLUMNS = 2**14


class Pairs(NamedTuple):
    """All pairs of mentions of some records."""

    names: list[list[str]]
    """What is seen of each pair."""
    same: NDArray[np.bool_]
    """Whether both are the same person."""


def pairs(readings: Sequence[Reading]) -> Pairs:
    """The pairs of each record: every mention with up to `BEFORE` before it."""
    names, same = [], []
    for reading in readings:
        for j, i in _candidates(len(reading.mentions)):
            names.append(_seen(reading.mentions[i], reading.mentions[j], j - i))
            same.append(reading.persons[i] == reading.persons[j])
    return Pairs(names, np.array(same, dtype=bool))


def _candidates(mentions: int) -> list[tuple[int, int]]:
    """(mention, antecedent), the nearest antecedent first."""
    return [(j, i) for j in range(1, mentions) for i in range(j - 1, max(-1, j - 1 - BEFORE), -1)]


def _seen(first: Mention, second: Mention, gap: int) -> list[str]:
    apart = min(second.sentence - first.sentence, 3)
    return [
        f"words {first.text} > {second.text}",
        f"kinds {first.kind} > {second.kind}",
        f"sexes {first.sex} > {second.sex}",
        f"kinds {first.kind} > {second.kind}, {apart} sentences",
        f"same words {first.text == second.text}",
        f"same last word {first.text.split()[-1] == second.text.split()[-1]}, {first.kind} > {second.kind}",
        f"{min(gap, 4)} mentions back",
        f"first {first.text}",
        f"second {second.text}",
    ]


class Ranker:
    """Learns from readings, and finds chains among the mentions of others.

    Raises:
        MissingExtra: without scikit-learn.
    """

    def __init__(self, readings: Sequence[Reading], seed: int = 0) -> None:
        learnt = pairs(readings)
        self._always: float | None = None
        if np.unique(learnt.same).size < 2:
            self._always = float(learnt.same.any())  # one kind of pair alone teaches nothing else
            return
        self._model: Any = sklearn("linear_model").LogisticRegression(solver="liblinear", random_state=seed)
        self._model.fit(_hashed(learnt.names), learnt.same)

    def chains(self, readings: Sequence[Reading]) -> list[list[Chain]]:
        """The chains of each record, as places of mentions; the readings' own persons are not looked at."""
        chances = self._chances(pairs(readings).names)
        found, at = [], 0
        for reading in readings:
            n = len(reading.mentions)
            size = len(_candidates(n))
            found.append(_joined(n, chances[at : at + size]))
            at += size
        return found

    def _chances(self, names: list[list[str]]) -> Floats:
        if self._always is not None or not names:
            return np.full(len(names), self._always or 0.0)
        return np.asarray(self._model.predict_proba(_hashed(names))[:, 1])


def _hashed(names: list[list[str]]) -> Any:
    return sklearn("feature_extraction").FeatureHasher(COLUMNS, input_type="string").transform(names)


def _joined(mentions: int, chances: Floats) -> list[Chain]:
    best: dict[int, tuple[float, int]] = {}
    for (j, i), chance in zip(_candidates(mentions), chances.tolist(), strict=True):
        if chance > best.get(j, (0.5, -1))[0]:
            best[j] = (chance, i)
    person = list(range(mentions))
    for j in range(mentions):
        if j in best:
            person[j] = person[best[j][1]]
    return chains(person)


def chains(persons: Sequence[int]) -> list[Chain]:
    """Mentions of the same person, as places; who is mentioned once is no chain (as in CoNLL-2012)."""
    places: dict[int, list[int]] = {}
    for place, person in enumerate(persons):
        places.setdefault(person, []).append(place)
    return [frozenset(chain) for chain in places.values() if len(chain) > 1]
