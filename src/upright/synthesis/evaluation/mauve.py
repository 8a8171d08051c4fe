"""MAUVE: one number for how far two samples of vectors are from each other in both directions (Pillutla et al. 2021).

The area under the curve (exp(-c KL(q|r)), exp(-c KL(p|r))), r = λp + (1-λ)q, 0 < λ < 1, of the laws p and q of two
samples over the same clusters. Equal laws have 1, laws without a common cluster (c!)² / (2c)!: 1/252 at c = 5.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upright.synthesis.evaluation.classifier import sklearn

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCALE = 5.0
VARIANCE = 0.9
PER_CLUSTER = 10
STEP, REACH = 0.25, 40.0


def area(p: ArrayLike, q: ArrayLike, c: float = SCALE) -> float:
    """MAUVE of two laws (K,) over the same clusters, exact to about 1e-12.

    With λ = 1 / (1 + exp(-t)) the integral over the curve runs over all t, where the trapezoidal rule converges
    exponentially (Trefethen & Weideman 2014). Beyond t = 40 the curve stands at height 1 and x falls as exp(-a t), a
    being c times the mass of q outside p; the rest of the rule's sum is a geometric series.

    >>> round(1 / area([1, 0], [0, 1]), 9), area([0.5, 0.5], [0.5, 0.5])
    (252.0, 1.0)
    """
    laws = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    first, second = (law / law.sum() for law in laws)
    some = first + second > 0
    first, second = first[some], second[some]
    t = np.arange(-REACH, REACH + STEP, STEP)[:, None]
    weight, rest = 1 / (1 + np.exp(-t)), 1 / (1 + np.exp(t))
    mixture = weight * first + rest * second
    x, y = np.exp(-c * _divergence(second, mixture)), np.exp(-c * _divergence(first, mixture))
    slope = c * x * (second * (first - second) / mixture).sum(1) * (weight * rest)[:, 0]
    fall = c * STEP * second[first == 0].sum()
    return float(-STEP * (y * slope).sum() + x[-1] * (fall / np.expm1(fall) if fall else 1.0))


def _divergence(law: Floats, mixture: Floats) -> Floats:
    """KL(law | mixture) in nats, for each row of mixtures (T, K): (T,)."""
    there = law > 0
    return np.asarray((law[there] * (np.log(law[there]) - np.log(mixture[:, there]))).sum(1))


def principal(vectors: Floats, share: float = VARIANCE, most: int | None = None) -> Floats:
    """Vectors (n, d) in their fewest principal components that keep `share` of the variance, or in the first `most`."""
    centred = vectors - vectors.mean(0)
    tall = centred.shape[0] >= centred.shape[1]
    values, axes = np.linalg.eigh(centred.T @ centred if tall else centred @ centred.T)
    values, axes = np.maximum(values[::-1], 0), axes[:, ::-1]
    kept = most or int(np.searchsorted(np.cumsum(values), share * values.sum())) + 1
    return np.asarray(centred @ axes[:, :kept] if tall else axes[:, :kept] * np.sqrt(values[:kept]))


def mauve(first: ArrayLike, second: ArrayLike, seed: int, c: float = SCALE) -> float:
    """MAUVE of two samples of vectors, each (n, d), over n / 10 clusters of both together.

    The vectors are taken as they are; see `principal`. What comes out depends on n and on the clusters: compare only
    values of the same n, over several seeds.
    """
    p, q = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    clusters = max(2, round(min(len(p), len(q)) / PER_CLUSTER))
    both = np.concatenate([p, q])
    found = _clusters(both, min(clusters, len(np.unique(both, axis=0))), seed)
    counts = [np.bincount(part, minlength=clusters) for part in (found[: len(p)], found[len(p) :])]
    return area(counts[0], counts[1], c)


def _clusters(vectors: Floats, k: int, seed: int) -> Ints:
    means: Any = sklearn("cluster").KMeans(k, n_init=1, max_iter=100, random_state=seed)
    return np.asarray(means.fit_predict(vectors.astype(np.float32)))


def over_halves(first: Floats, second: Floats, rows: Sequence[tuple[Ints, Ints]], seed: int) -> Floats:
    """MAUVE of halves of both samples, one value for each pair of `rows`, in the components of both samples."""
    both = principal(np.concatenate([first, second]).astype(np.float64))
    p, q = both[: len(first)], both[len(first) :]
    return np.array([mauve(p[a], q[b], (seed + i) % 2**32) for i, (a, b) in enumerate(rows)])
