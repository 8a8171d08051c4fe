"""Scores of several-class predictions from counts, so that thousands of resampled test sets cost one product.

Arrays are (..., G, K): by group of people and class, with any number of draws in front.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix

from upright.run.measures import rates

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Tally(NamedTuple):
    """Records by group and class, each (..., G, K)."""

    hit: Floats
    """Of the class, and said to be."""
    real: Floats
    """Of the class."""
    said: Floats
    """Said to be of the class."""

    @property
    def all(self) -> "Tally":
        """Everyone in one group, (..., 1, K)."""
        return Tally(*(counts.sum(-2, keepdims=True) for counts in self))

    def groups(self, kept: ArrayLike) -> "Tally":
        """These groups alone, by their places."""
        return Tally(*(counts[..., np.asarray(kept, dtype=np.int64), :] for counts in self))


def tally(real: Ints, said: Ints, group: Ints, shape: tuple[int, int], weights: Floats) -> Tally:
    """Counts of n test records, for each row of `weights` (draws, n): how often a record is in that test set.

    Args:
        real, said: classes (n,).
        group: (n,).
        shape: groups and classes.
    """
    hit = np.flatnonzero(real == said)
    return Tally(
        _counted(real[hit], group[hit], shape, weights[:, hit]),
        _counted(real, group, shape, weights),
        _counted(said, group, shape, weights),
    )


def _counted(classes: Ints, group: Ints, shape: tuple[int, int], weights: Floats) -> Floats:
    cells = csr_matrix(
        (np.ones(classes.size), (group * shape[1] + classes, np.arange(classes.size))),
        shape=(shape[0] * shape[1], classes.size),
    )
    return np.asarray((cells @ weights.T).T).reshape(len(weights), *shape)


def resampled_sets(n: int, resamples: int, seed: int) -> Floats:
    """How often each of n records is in the test set itself (first row), and in resampled ones: (resamples + 1, n)."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    return np.concatenate([np.ones((1, n)), drawn]).astype(np.float64)


def accuracy(counts: Tally) -> Floats:
    """Share found, (..., G); micro-F1 is the same number where each record has one class."""
    return rates.quotient(counts.hit.sum(-1), counts.real.sum(-1))


def f1(counts: Tally) -> Floats:
    """2TP / (2TP + FP + FN) of each class, (..., G, K); a class never said is 0, one the test set lacks is NaN."""
    value = rates.quotient(2 * counts.hit, counts.real + counts.said)
    return np.where(counts.real > 0, value, np.nan)


def macro_f1(counts: Tally) -> Floats:
    """Plain mean of F1 over the classes in the test set, (..., G); NaN without a record."""
    return _mean(f1(counts))


def macro_rates(counts: Tally) -> tuple[Floats, Floats]:
    """True and false positive rate, (..., G): means over classes, each against the rest.

    Of two classes only the last counts, as their mean would hide that one's gain is the other's loss.
    """
    negative = counts.real.sum(-1, keepdims=True) - counts.real
    both = rates.quotient(counts.hit, counts.real), rates.quotient(counts.said - counts.hit, negative)
    if counts.real.shape[-1] == 2:
        return both[0][..., 1], both[1][..., 1]
    return _mean(both[0]), _mean(both[1])


def _mean(values: Floats) -> Floats:
    """Mean over the last axis of what is a number; NaN where nothing is."""
    known = ~np.isnan(values)
    return rates.quotient(np.where(known, values, 0.0).sum(-1), known.sum(-1).astype(np.float64))
