"""Exposure: how much rarer than chance a canary's rank among its like is (Carlini et al. 2019, arXiv:1802.08232)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kstest, skew, skewnorm

from upright.run.measures.intervals import percentile

Floats = NDArray[np.float64]
MAX_SKEW = 0.99  # a skew-normal law reaches 0.9953


def exposure(canary: ArrayLike, candidates: ArrayLike) -> Floats:
    """log2 |R| - log2 rank in bits (definition 5), for each canary (n,) among the same candidates (m,).

    Both are negative log-likelihoods; R holds the canary and the candidates, so the largest value is log2(m + 1). Ties
    take the middle rank. A canary drawn like the candidates has a uniform rank, whose mean exposure tends to 1 / ln 2.

    >>> exposure([0.5, 2.5], [1.0, 2.0, 3.0]).round(3).tolist()
    [2.0, 0.415]
    """
    own, others = np.asarray(canary, dtype=float), np.sort(np.asarray(candidates, dtype=float))
    rank = 1 + (np.searchsorted(others, own, "left") + np.searchsorted(others, own, "right")) / 2
    return np.asarray(np.log2(len(others) + 1) - np.log2(rank))


class Fitted(NamedTuple):
    """A skew-normal law of the candidates' negative log-likelihoods."""

    shape: float
    location: float
    scale: float
    distance: float
    """Kolmogorov-Smirnov distance from the candidates: how far the estimate can be trusted in the body of the law."""

    def exposure(self, canary: ArrayLike, space: float) -> Floats:
        """-log2 P(candidate <= canary) in bits, at most log2 of the space's size (section 4.3 of the paper).

        An estimate: it goes beyond the candidates that were scored by the shape of the law alone.
        """
        below = skewnorm.cdf(np.asarray(canary, dtype=float), self.shape, self.location, self.scale)
        return np.asarray(np.minimum(-np.log2(np.maximum(below, 2.0**-1000)), np.log2(space)))


def fit(candidates: ArrayLike) -> Fitted:
    """The law with the candidates' mean, variance and skewness (method of moments), as far as that is possible."""
    sample = np.asarray(candidates, dtype=float)
    mean, spread = float(sample.mean()), float(sample.std())
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return Fitted(0.0, mean, 1e-9 + spread, 1.0)
    skewed = float(np.clip(skew(sample), -MAX_SKEW, MAX_SKEW))
    power = abs(skewed) ** (2 / 3)
    delta = np.sign(skewed) * np.sqrt(np.pi / 2 * power / (power + ((4 - np.pi) / 2) ** (2 / 3)))
    scale = spread / np.sqrt(1 - 2 * delta**2 / np.pi)
    law = float(delta / np.sqrt(1 - delta**2)), float(mean - scale * delta * np.sqrt(2 / np.pi)), float(scale)
    return Fitted(*law, float(kstest(sample, skewnorm(*law).cdf).statistic))


class Difference(NamedTuple):
    """How much larger a mean is, with its 95 % interval."""

    value: float
    low: float
    high: float


def difference(first: ArrayLike, second: ArrayLike, rng: np.random.Generator, draws: int = 4000) -> Difference:
    """mean(first) - mean(second), each resampled by itself."""
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    means = [sample[rng.integers(0, len(sample), (draws, len(sample)))].mean(1) for sample in (a, b)]
    low, high = percentile(means[0] - means[1])
    return Difference(float(a.mean() - b.mean()), float(low), float(high))
