"""Nearest neighbours among sets and among vectors, in parts of bounded memory."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

AT_ONCE = 2**23  # similarities held at a time


def mean_jaccard(own: Any, others: Any, k: int) -> Floats:
    """Mean Jaccard similarity (common / all members) of each set to the k most similar of others; empty sets have 0.

    Args:
        own: (n, f) sparse rows of ones, one for each set, in compressed rows.
        others: (m, f) likewise; all of them are taken where m < k.

    Returns:
        (n,) in [0, 1].
    """
    sizes, theirs = own.sum(1), others.sum(1)
    k, step = min(k, others.shape[0]), max(1, AT_ONCE // others.shape[0])
    turned, found = others.T.tocsr(), np.zeros(own.shape[0])
    for start in range(0, own.shape[0], step):
        common = (own[start : start + step] @ turned).toarray()
        union = sizes[start : start + step, None] + theirs - common
        likeness = common / np.maximum(union, 1)
        found[start : start + step] = -np.partition(-likeness, k - 1, axis=1)[:, :k].mean(1)
    return found


class Neighbours(NamedTuple):
    """The nearest of others for each vector (n,)."""

    distance: Floats
    """1 - cosine, in [0, 2]."""
    row: NDArray[np.int64]


def unit_vectors(vectors: ArrayLike) -> Floats:
    """Vectors (n, d) scaled to length 1; zero stays zero. Raises ValueError for values that are not finite."""
    given = np.asarray(vectors, dtype=float)
    bad = np.flatnonzero(~np.isfinite(given).all(1))
    if bad.size:
        raise ValueError(f"{bad.size} of {len(given)} vectors are not finite (first: row {bad[0]})")
    return np.asarray(given / np.maximum(np.linalg.norm(given, axis=1, keepdims=True), 1e-300))


def nearest(own: ArrayLike, others: ArrayLike) -> Neighbours:
    """The nearest of `others` (m, d) by cosine for each vector of `own` (n, d); the first of equally near ones.

    >>> nearest([[1, 0], [0, 3]], [[2, 0], [1, 1]]).row.tolist()
    [0, 1]
    """
    mine, theirs = unit_vectors(own), unit_vectors(others)
    step = max(1, AT_ONCE // len(theirs))
    rows, best = np.empty(len(mine), dtype=np.int64), np.empty(len(mine))
    for start in range(0, len(mine), step):
        cosine = mine[start : start + step] @ theirs.T
        rows[start : start + step] = found = cosine.argmax(1)
        best[start : start + step] = cosine[np.arange(len(found)), found]
    return Neighbours(np.clip(1 - best, 0.0, 2.0), rows)
