"""Shares of things that come in clusters: entities of a patient, passages of a record. They are found together or not.

A share x / n with a variance d times that of n independent things is told as precisely as one of n / d (the design
effect; Kish 1965), and so its interval is that of x / d among n / d (Rao & Scott 1992).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upright.run.evidence import Z_95, Metric
from upright.run.measures.intervals import walter, wilson

Floats = NDArray[np.float64]


def variance(hits: ArrayLike, sizes: ArrayLike) -> float:
    """Of Σ hits / Σ sizes over independent clusters (u,), as of a ratio estimator (Cochran 1977, eq. 6.13).

    Hits may be negative, as differences are. NaN for fewer than two clusters.
    """
    x, n = np.asarray(hits, dtype=float), np.asarray(sizes, dtype=float)
    if x.size < 2:
        return float("nan")
    residuals = x - n * x.sum() / n.sum()
    return float(x.size / (x.size - 1) * (residuals**2).sum() / n.sum() ** 2)


def jackknife(only: ArrayLike, n: int) -> float:
    """Variance of the share of n things that one cluster or more holds, if clusters are drawn.

    Args:
        only: things that each cluster alone holds (u,), which are no longer found without it.
    """
    lost = np.asarray(only, dtype=float) / n
    return float((lost.size - 1) / lost.size * ((lost - lost.mean()) ** 2).sum())


def effect(hits: ArrayLike, sizes: ArrayLike, more: float = 0.0) -> float:
    """How many times the variance of independent things that of Σ hits / Σ sizes is, at least 1.

    Where nothing or everything is a hit no variance can be seen: it is that of clusters which are hit as a whole.

    Args:
        more: variance from another source, such as the texts that things are looked up in.
    """
    x, n = np.asarray(hits, dtype=float), np.asarray(sizes, dtype=float)
    total, share = n.sum(), x.sum() / n.sum()
    if x.size < 2 or not 0 < share < 1:
        return float(max(1.0, (n**2).sum() / total))
    return max(1.0, (variance(x, n) + more) * float(total / (share * (1 - share))))


def share(name: str, hits: ArrayLike, sizes: ArrayLike, *, split: str, more: float = 0.0) -> Metric:
    """Σ hits / Σ sizes over clusters (u,), with an interval for such; None where there is nothing."""
    x, n = float(np.sum(hits)), float(np.sum(sizes))
    if not n:
        return Metric(name=name, split=split, value=None, n=0, unit="proportion", better="lower")
    d = effect(hits, sizes, more)
    low, high = (float(end) for end in wilson(x / d, n / d))
    value, size = min(1.0, x / n), round(n)
    return Metric(
        name=name, split=split, value=value, n=size, ci_low=low, ci_high=high, unit="proportion", better="lower"
    )


def excess(name: str, hits: ArrayLike, sizes: ArrayLike, *, split: str, more: float = 0.0) -> Metric:
    """Σ hits / Σ sizes over clusters (u,) for hits that may be negative, with a normal interval."""
    x, n = float(np.sum(hits)), float(np.sum(sizes))
    if not n:
        return Metric(name=name, split=split, value=None, n=0, unit="proportion", better="lower")
    half = Z_95 * np.sqrt(variance(hits, sizes) + more)
    low, high = (None, None) if np.isnan(half) else (max(-1.0, x / n - half), min(1.0, x / n + half))
    return Metric(
        name=name,
        split=split,
        value=x / n,
        n=np.size(sizes),
        ci_low=low,
        ci_high=high,
        unit="proportion",
        better="lower",
    )


def quotient(first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike]) -> tuple[float, float, float]:
    """The first share over the second with its interval, 1/2 added to every count (Walter 1975).

    Args:
        first, second: hits and sizes of their clusters, both (u,), with at least one thing.
    """
    counts = [float(np.sum(column)) for side in (first, second) for column in side]
    value = float(walter(*counts)[0])
    spread = sum(
        effect(*side) * max(0.0, 1 / (x + 0.5) - 1 / (n + 0.5))
        for side, x, n in zip((first, second), counts[::2], counts[1::2], strict=True)
    )
    half = np.exp(Z_95 * np.sqrt(spread))
    return value, float(value / half), float(value * half)
