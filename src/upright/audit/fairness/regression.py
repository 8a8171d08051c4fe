"""Fairness of predicted numbers: errors by group, the distance of whole laws, and who is ranked above whom."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upright.run.measures.rates import quotient, summed

Floats = NDArray[np.float64]


class Moments(NamedTuple):
    """Sums over the records of each group (G,): all that errors and their intervals need."""

    n: Floats
    residual: Floats
    """Σ (ŷ - y)."""
    absolute: Floats
    """Σ |ŷ - y|."""
    square: Floats
    """Σ (ŷ - y)²."""
    fourth: Floats
    """Σ (ŷ - y)⁴."""


def moments(labels: ArrayLike, predictions: ArrayLike, groups: ArrayLike, size: int) -> Moments:
    """Sums of the errors of arrays (n,) by group code 0 … size-1."""
    e, g = np.asarray(predictions, dtype=float) - np.asarray(labels, dtype=float), np.asarray(groups)
    terms = (np.ones_like(e), e, np.abs(e), e**2, e**4)
    return Moments(*(summed(g, size, term) for term in terms))


class Errors(NamedTuple):
    """Values by group (G,) with standard errors (G,)."""

    value: Floats
    error: Floats


def mean_residual(m: Moments) -> Errors:
    """Mean of ŷ - y: above 0 where the group is predicted too high."""
    return _mean(m.residual, m.square, m.n)


def mean_absolute_error(m: Moments) -> Errors:
    """Mean of |ŷ - y|."""
    return _mean(m.absolute, m.square, m.n)


def root_mean_square_error(m: Moments) -> Errors:
    """√ mean of (ŷ - y)²; standard error by the delta method."""
    square = _mean(m.square, m.fourth, m.n)
    root = np.sqrt(square.value)
    return Errors(root, quotient(square.error, 2 * root))


def _mean(total: Floats, squares: Floats, n: Floats) -> Errors:
    mean = quotient(total, n)
    spread = np.maximum(quotient(squares, n) - mean**2, 0.0)
    return Errors(mean, np.sqrt(quotient(spread, n - 1)))


def pairwise_accuracy(
    labels: ArrayLike, predictions: ArrayLike, groups: ArrayLike, size: int, pairs: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Right and all of random pairs, each (size, size): P(f > f' | y > y', x in g, x' in h) (Narasimhan et al. 2020).

    Pairs of equal labels say nothing and are left out; a tie of predictions is wrong. Pairs are disjoint, so they are
    independent; there are at most n/2 of them.
    """
    y, f, g = np.asarray(labels, dtype=float), np.asarray(predictions, dtype=float), np.asarray(groups)
    order = rng.permutation(len(y))[: 2 * min(pairs, len(y) // 2)]
    a, b = order[: len(order) // 2], order[len(order) // 2 :]
    high, low = np.where(y[a] > y[b], a, b), np.where(y[a] > y[b], b, a)
    unequal = y[high] > y[low]
    high, low = high[unequal], low[unequal]
    cell = g[high] * size + g[low]
    everything = np.bincount(cell, minlength=size * size)
    right = np.bincount(cell[f[high] > f[low]], minlength=size * size)
    return right.reshape(size, size), everything.reshape(size, size)


def laws(values: ArrayLike, groups: ArrayLike, size: int, bins: int = 512) -> tuple[Floats, Floats]:
    """Histogram (G, B) of values (n,) by group, and the value (B,) of each bin: distinct values, else equal mass."""
    v, g = np.asarray(values, dtype=float), np.asarray(groups)
    at, which = np.unique(v, return_inverse=True)
    if len(at) > bins:
        edges = np.unique(np.quantile(v, np.linspace(0, 1, bins + 1)[1:-1]))
        which = np.searchsorted(edges, v, side="right")
        mass = summed(which, len(edges) + 1)
        at = quotient(summed(which, len(mass), v), mass)
    flat = summed(g * len(at) + which, size * len(at))
    cells, kept = flat.reshape(size, len(at)), ~np.isnan(at)
    return cells[:, kept], at[kept]
