"""Fairness of one ranking of n items: `groups` (n,) of group codes 0 … G-1, best first; `desired` (G,) shares.

Sources: Yang & Stoyanovich 2017 and Geyik et al. 2019 (infeasible index, skew, NDKL), Singh & Joachims 2018 (exposure).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upright.run.measures.rates import quotient, summed

Floats = NDArray[np.float64]


def _prefixes(groups: ArrayLike, size: int) -> Floats:
    """Members of each group among the first i, (n, G)."""
    return np.asarray(np.cumsum(np.eye(size)[np.asarray(groups, dtype=np.int64)], axis=0))


def infeasible_index(groups: ArrayLike, desired: ArrayLike) -> int:
    """Number of prefixes i in which some group has fewer than ⌊p_g i⌋ members (Geyik et al. 2019)."""
    p = np.asarray(desired, dtype=float)
    seen = _prefixes(groups, len(p))
    needed = np.floor(np.arange(1, len(seen) + 1)[:, None] * p + 1e-9)
    return int((seen < needed).any(1).sum())


def skew(groups: ArrayLike, desired: ArrayLike, top: int) -> Floats:
    """ln(share in the top / desired share) (G,); -inf for a group that is not there (Geyik et al. 2019)."""
    p, g = np.asarray(desired, dtype=float), np.asarray(groups, dtype=np.int64)[:top]
    share = np.bincount(g, minlength=len(p)) / max(len(g), 1)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(quotient(share, p)))


def ndkl(groups: ArrayLike, desired: ArrayLike) -> float:
    """Σ_i KL(D_i ‖ p) / log₂(i+1) over Σ_i 1/log₂(i+1), D_i the shares among the first i (Geyik et al. 2019)."""
    p = np.asarray(desired, dtype=float)
    seen = _prefixes(groups, len(p))
    rank = np.arange(1, len(seen) + 1)
    share = seen / rank[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.where(share > 0, share * np.log(share / p), 0.0).sum(1)
    discount = 1 / np.log2(rank + 1)
    return float((kl * discount).sum() / discount.sum())


def exposure(groups: ArrayLike, size: int) -> Floats:
    """Mean of 1/log₂(1 + rank) over each group's items (G,); NaN for a group without any."""
    g = np.asarray(groups, dtype=np.int64)
    given = 1 / np.log2(np.arange(2, len(g) + 2))
    return quotient(summed(g, size, given), summed(g, size))


def exposure_per_relevance(groups: ArrayLike, relevance: ArrayLike, size: int) -> Floats:
    """Exposure of each group over its mean relevance (G,): equal where attention follows merit."""
    g = np.asarray(groups, dtype=np.int64)
    merit = quotient(summed(g, size, np.asarray(relevance, dtype=float)), summed(g, size))
    return quotient(exposure(g, size), merit)


def dcg(relevance: ArrayLike) -> float:
    """Σ (2^rel - 1) / log₂(1 + rank)."""
    gain = 2 ** np.asarray(relevance, dtype=float) - 1
    return float((gain / np.log2(np.arange(2, len(gain) + 2))).sum())


def ndcg(relevance: ArrayLike) -> float:
    """DCG over that of the best order; NaN when nothing is relevant. A re-ranking costs the difference of two."""
    best = dcg(np.sort(np.asarray(relevance, dtype=float))[::-1])
    return dcg(relevance) / best if best > 0 else float("nan")
