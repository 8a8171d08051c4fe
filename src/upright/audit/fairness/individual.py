"""Individual fairness: are people who are alike treated alike? Pure functions on arrays of n records."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upright.errors import MissingExtra

Floats = NDArray[np.float64]


def standardised(features: ArrayLike) -> Floats:
    """Features (n, F) with mean 0 and standard deviation 1; a constant one becomes 0."""
    x = np.asarray(features, dtype=float)
    spread = x.std(0)
    return np.asarray((x - x.mean(0)) / np.where(spread > 0, spread, 1.0))


def departures(decisions: ArrayLike, features: ArrayLike, neighbours: int = 5) -> Floats:
    """|ŷ_i - mean of ŷ over the k nearest other records| (n,), Euclidean distance (Zemel et al. 2013).

    A record is never its own neighbour, also where another has equal features. Consistency is 1 - their mean.

    Raises:
        ValueError: unless there are more records than neighbours.
        MissingExtra: without scikit-learn.
    """
    try:
        from sklearn.neighbors import NearestNeighbors
    except ImportError as error:
        raise MissingExtra("scikit-learn", "audit") from error
    y, x = np.asarray(decisions, dtype=float), np.asarray(features, dtype=float)
    if len(x) <= neighbours:
        raise ValueError(f"got {len(x)} records for {neighbours} neighbours; needs more records than neighbours")
    near = NearestNeighbors(n_neighbors=neighbours).fit(x).kneighbors(return_distance=False)
    return np.asarray(np.abs(y - y[near].mean(1)))


def consistency(decisions: ArrayLike, features: ArrayLike, neighbours: int = 5) -> float:
    """1 - (1/n) Σ |ŷ_i - (1/k) Σ_{j in kNN(i)} ŷ_j|: 1 when like are treated alike."""
    return float(1 - departures(decisions, features, neighbours).mean())


def flips(decisions: ArrayLike, swapped: ArrayLike) -> NDArray[np.bool_]:
    """Whether each decision (n,) is another for the same record with its group exchanged (Kusner et al. 2017).

    Their mean is the flip rate. Only the group, and what must change with it, may differ in the second record.

    Raises:
        ValueError: for arrays of unequal length.

    >>> float(flips([1, 0, 1, 1], [1, 1, 1, 0]).mean())
    0.5
    """
    first, second = np.asarray(decisions), np.asarray(swapped)
    if first.shape != second.shape:
        raise ValueError(f"got {first.shape} decisions and {second.shape} after the swap; must be equal")
    return np.asarray(first != second)


def changes(scores: ArrayLike, swapped: ArrayLike) -> Floats:
    """|f(x) - f(x')| (n,), x' the same record with its group exchanged. Raises ValueError for unequal lengths."""
    first, second = np.asarray(scores, dtype=float), np.asarray(swapped, dtype=float)
    if first.shape != second.shape:
        raise ValueError(f"got {first.shape} scores and {second.shape} after the swap; must be equal")
    return np.asarray(np.abs(first - second))


class Lipschitz(NamedTuple):
    """Disjoint pairs of records, so that they are independent of each other."""

    violations: int
    pairs: int
    largest: float
    """max |f(x) - f(x')| / d(x, x'); infinite when equal records are treated unlike."""


def lipschitz(scores: ArrayLike, features: ArrayLike, bound: float, rng: np.random.Generator) -> Lipschitz:
    """Pairs with |f(x) - f(x')| > L d(x, x') (Dwork et al. 2012, def. 2.1), d Euclidean, over a random pairing."""
    f, x = np.asarray(scores, dtype=float), np.asarray(features, dtype=float)
    order = rng.permutation(len(f))
    first, second = order[: len(f) // 2], order[len(f) // 2 : 2 * (len(f) // 2)]
    apart = np.abs(f[first] - f[second])
    distance = np.linalg.norm(x[first] - x[second], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        steep = np.where(apart > 0, apart / distance, 0.0)
    return Lipschitz(int((apart > bound * distance + 1e-12).sum()), len(first), float(steep.max(initial=0.0)))
