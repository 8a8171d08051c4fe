"""Fairness through unawareness: how much of the group do the features tell? Pure functions on arrays of n records.

A model that is not given the group still acts on it where other features stand in for it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upright.audit.folds import fold_numbers
from upright.errors import MissingExtra
from upright.run.measures.intervals import wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FOLDS = 5
TREES = 50


def held_out(features: ArrayLike, codes: Ints, rng: np.random.Generator) -> Floats:
    """P(group | features) (n, K) by boosted trees that never saw the record: five folds, stratified by group.

    Raises:
        MissingExtra: without scikit-learn.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as error:
        raise MissingExtra("scikit-learn", "audit") from error
    x = np.asarray(features, dtype=float)
    chance = np.empty((len(x), int(codes.max()) + 1))
    parts = fold_numbers(codes, FOLDS, rng)
    for part in range(FOLDS):
        inside = parts != part
        model = HistGradientBoostingClassifier(
            max_iter=TREES, max_leaf_nodes=15, early_stopping=False, random_state=int(rng.integers(2**31))
        )
        chance[~inside] = model.fit(x[inside], codes[inside]).predict_proba(x[~inside])
    return chance


def balanced(chance: Floats, codes: Ints) -> Ints:
    """The group (n,) whose chance is highest over its share: the guess that serves balanced accuracy."""
    return np.asarray((chance / np.bincount(codes)).argmax(1))


class Recall(NamedTuple):
    """Mean over groups of the share that is told rightly, with a 95 % interval."""

    value: float
    low: float
    high: float


def balanced_accuracy(codes: Ints, said: Ints) -> Recall:
    """Mean recall over K groups; 1/K is chance. Interval from Wilson's of each recall (MOVER; Zou & Donner 2008)."""
    n = np.bincount(codes).astype(float)
    hits = np.bincount(codes, weights=said == codes, minlength=len(n))
    share, (low, high) = hits / n, wilson(hits, n)
    below, above = (float(np.sqrt(((share - end) ** 2).sum())) / len(n) for end in (low, high))
    return Recall(float(share.mean()), float(share.mean()) - below, float(share.mean()) + above)
