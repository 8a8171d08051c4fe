"""The Fréchet distance of two samples of vectors, each taken for a normal law (Dowson & Landau 1982)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Moments(NamedTuple):
    """Mean (d,) and covariance (d, d)."""

    mean: Floats
    covariance: Floats


def moments(vectors: ArrayLike) -> Moments:
    """Moments of vectors (n, d), n >= 2, with the divisor n - 1, in double precision."""
    x = np.asarray(vectors, dtype=np.float64)
    centred = x - x.mean(0)
    return Moments(x.mean(0), centred.T @ centred / (len(x) - 1))


def frechet(first: Moments, second: Moments) -> float:
    """|μ1 - μ2|² + tr(Σ1 + Σ2 - 2 (Σ1^½ Σ2 Σ1^½)^½), from symmetric eigendecompositions.

    >>> a, b = (Moments(np.array([m]), np.array([[s**2]])) for m, s in ((1.0, 2.0), (4.0, 3.0)))
    >>> frechet(a, b)  # (1 - 4)² + (2 - 3)²
    10.0
    """
    root = _root(first.covariance)
    middle = root @ second.covariance @ root
    cross = np.sqrt(_clipped(np.linalg.eigvalsh((middle + middle.T) / 2))).sum()
    shift = first.mean - second.mean
    value = shift @ shift + np.trace(first.covariance) + np.trace(second.covariance) - 2 * cross
    return float(max(value, 0.0))


def _root(covariance: Floats) -> Floats:
    values, axes = np.linalg.eigh(covariance)
    return np.asarray((axes * np.sqrt(_clipped(values))) @ axes.T)


def _clipped(values: ArrayLike) -> Floats:
    """Without what is rounding: its square root would be some 1e-8 of the largest, in every empty direction."""
    found = np.asarray(values, dtype=np.float64)
    return np.where(found > found.size * np.finfo(float).eps * found.max(initial=0), found, 0.0)


def extrapolated(whole: float, halves: ArrayLike) -> float:
    """The distance at n = ∞, whose bias falls as 1/n, from that of n and of n / 2 records (Chong & Forsyth 2020)."""
    return 2 * whole - float(np.mean(np.asarray(halves, dtype=float)))
