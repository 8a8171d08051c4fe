"""Inequality of benefits (Speicher et al. 2018): generalised entropy, Theil, variation, and the part between groups.

Benefits are numbers b ≥ 0; by default b = prediction - label + 1: 0 for a missed chance, 1 for a right decision, 2 for
an undeserved one. All functions take the law of b as values (..., V) with weights (..., V).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upright.run.measures.rates import quotient

Floats = NDArray[np.float64]
BENEFIT = np.array([1.0, 2.0, 0.0, 1.0])  # of TN, FP, FN, TP


def generalised_entropy(benefits: ArrayLike, weights: ArrayLike | None = None, alpha: float = 2.0) -> Floats:
    """GE_a = 1/(n a (a-1)) Σ [(b/μ)^a - 1]; a = 1 is Theil's index, a = 0 the mean log deviation.

    0 · ln 0 is 0. NaN where all benefits are 0; infinite at a ≤ 0 where one is.

    Raises:
        ValueError: for a negative benefit.

    >>> round(float(generalised_entropy([0, 1, 2, 1])), 4)
    0.25
    """
    b = np.asarray(benefits, dtype=float)
    w = (
        np.ones_like(b)
        if weights is None
        else np.broadcast_to(np.asarray(weights, dtype=float), np.broadcast_shapes(b.shape, np.shape(weights)))
    )
    if (b < 0).any():
        raise ValueError(f"benefits: got {b.min():g}; must be 0 or more")
    n = w.sum(-1)
    mean = quotient((w * b).sum(-1), n)
    x = quotient(np.broadcast_to(b, w.shape), np.broadcast_to(mean[..., None], w.shape))
    return quotient((w * _term(x, alpha)).sum(-1), n)


def _term(x: Floats, alpha: float) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        if alpha == 1:
            return np.where(x > 0, x * np.log(np.where(x > 0, x, 1.0)), np.where(np.isnan(x), np.nan, 0.0))
        if alpha == 0:
            return np.asarray(-np.log(x))
        return np.asarray((x**alpha - 1) / (alpha * (alpha - 1)))


def theil(benefits: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """(1/n) Σ (b/μ) ln(b/μ)."""
    return generalised_entropy(benefits, weights, 1.0)


def variation(benefits: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Coefficient of variation, standard deviation over mean: √(2 GE₂)."""
    return np.asarray(np.sqrt(2 * generalised_entropy(benefits, weights, 2.0)))


def split(benefits: ArrayLike, weights: ArrayLike, alpha: float = 2.0) -> tuple[Floats, Floats]:
    """GE_a between groups and within them; both add up to the whole (Shorrocks 1980).

    Benefits (V,), weights (..., G, V). Between: each benefit is replaced by its group's mean. Within:
    Σ_g (n_g/n) (μ_g/μ)^a GE_a(g).
    """
    b, w = np.asarray(benefits, dtype=float), np.asarray(weights, dtype=float)
    size = w.sum(-1)
    mean = np.nan_to_num(quotient((w * b).sum(-1), size))
    n = size.sum(-1, keepdims=True)
    whole = quotient((size * mean).sum(-1, keepdims=True), n)
    inner = np.nan_to_num(generalised_entropy(b, w, alpha))
    within = (quotient(size, n) * quotient(mean, np.broadcast_to(whole, mean.shape)) ** alpha * inner).sum(-1)
    return generalised_entropy(mean, size, alpha), within


def means(benefits: ArrayLike, weights: ArrayLike) -> Floats:
    """Mean benefit of each group: benefits (V,), weights (..., G, V), as (..., G)."""
    w = np.asarray(weights, dtype=float)
    return quotient(w @ np.asarray(benefits, dtype=float), w.sum(-1))


def benefit_weights(tables: ArrayLike) -> Floats:
    """Weights (..., G, 4) of `BENEFIT` from confusion tables (..., G, 2, 2)."""
    cells = np.asarray(tables, dtype=float)
    return cells.reshape(*cells.shape[:-2], 4)
