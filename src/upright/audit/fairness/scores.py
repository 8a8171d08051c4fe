"""Scores without a threshold, from histograms: separation, calibration, and the distance between whole score laws.

A histogram is an array (..., G, 2, B) of counts by group, label (0, 1) and score bin, the bins in rising order; `at`
(B,) is the score of each bin. Where each bin holds one distinct score all results are exact; else two scores that
share a bin count as tied. NaN where a group lacks what a measure needs.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from upright.run.measures.rates import largest, quotient, summed

Floats = NDArray[np.float64]
EDGE = 1e-6  # scores are kept this far from 0 and 1 before their logit is taken


def histogram(
    labels: ArrayLike, scores: ArrayLike, groups: ArrayLike, weights: ArrayLike | None = None
) -> tuple[list[str], Floats, Floats]:
    """Group names, cells (G, 2, B) and distinct scores (B,) of arrays (n,); labels are 0 and 1.

    Raises ValueError for scores that are not finite.
    """
    y, r = np.asarray(labels).astype(int), np.asarray(scores, dtype=float)
    if not np.isfinite(r).all():
        raise ValueError(f"scores: got {int((~np.isfinite(r)).sum())} that are not finite; leave such rows out")
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    at, bins = np.unique(r, return_inverse=True)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    flat = summed((group * 2 + y) * len(at) + bins, len(names) * 2 * len(at), w)
    return [str(name) for name in names], flat.reshape(len(names), 2, len(at)), at


# --- separation ------------------------------------------------------------------------------------------------


def cross_auc(positives: ArrayLike, negatives: ArrayLike) -> Floats:
    """P(r⁺ > r⁻) + ½ P(r⁺ = r⁻) of counts (..., B): positives of one law against negatives of another."""
    p, q = np.asarray(positives, dtype=float), np.asarray(negatives, dtype=float)
    below = np.cumsum(q, -1) - 0.5 * q
    return quotient((p * below).sum(-1), p.sum(-1) * q.sum(-1))


class Aucs(NamedTuple):
    """Areas under the curve by group (..., G) (Borkan et al. 2019)."""

    subgroup: Floats
    """Positives and negatives of the group."""
    bpsn: Floats
    """Background positive, subgroup negative: low where negatives of the group are scored too high."""
    bnsp: Floats
    """Background negative, subgroup positive: low where positives of the group are scored too low."""


def aucs(cells: ArrayLike) -> Aucs:
    """Subgroup, BPSN and BNSP AUC of cells (..., G, 2, B)."""
    h = np.asarray(cells, dtype=float)
    neg, pos = h[..., 0, :], h[..., 1, :]
    others = h.sum(-3, keepdims=True) - h
    return Aucs(cross_auc(pos, neg), cross_auc(others[..., 1, :], neg), cross_auc(pos, others[..., 0, :]))


def delong(cells: ArrayLike) -> tuple[Floats, Floats]:
    """AUC of each group and its standard error (DeLong et al. 1988) of cells (..., 2, B), both (...,)."""
    h = np.asarray(cells, dtype=float)
    neg, pos = h[..., 0, :], h[..., 1, :]
    m, n = pos.sum(-1, keepdims=True), neg.sum(-1, keepdims=True)
    over = quotient(np.cumsum(neg, -1) - 0.5 * neg, n)
    under = 1 - quotient(np.cumsum(pos, -1) - 0.5 * pos, m)
    auc = quotient((pos * over).sum(-1, keepdims=True), m)

    def spread(count: Floats, value: Floats, size: Floats) -> Floats:
        return quotient((count * (value - auc) ** 2).sum(-1), ((size - 1) * size)[..., 0])

    error = np.sqrt(spread(pos, over, m) + spread(neg, under, n))
    return np.asarray(auc[..., 0]), np.asarray(error)


# --- laws ------------------------------------------------------------------------------------------------------


def cumulative(laws: ArrayLike) -> Floats:
    """Distribution functions of counts (..., G, B); NaN for an empty group."""
    mass = np.asarray(laws, dtype=float)
    return quotient(np.cumsum(mass, -1), mass.sum(-1, keepdims=True))


def kolmogorov_smirnov(laws: ArrayLike) -> Floats:
    """max_{g,h} sup_r |F_g(r) - F_h(r)|: the largest range over groups at any score; counts (..., G, B)."""
    by_bin = np.moveaxis(cumulative(laws), -1, -2)
    return largest(largest(by_bin) + largest(-by_bin))


def wasserstein(laws: ArrayLike, at: ArrayLike) -> Floats:
    """max_{g,h} ∫ |F_g - F_h| dr, in units of the score: how far mass must move; counts (..., G, B), scores (B,)."""
    f, width = cumulative(laws)[..., :-1], np.diff(np.asarray(at, dtype=float))
    most = np.full(f.shape[:-2], np.nan)
    for g in range(f.shape[-2] - 1):
        apart = np.abs(f[..., g + 1 :, :] - f[..., g : g + 1, :]) @ width
        most = np.fmax(most, largest(apart))
    return most


def balance(cells: ArrayLike, at: ArrayLike) -> Floats:
    """Mean score by group and label, (..., G, 2): balance for the negative and the positive class
    (Kleinberg et al. 2017, cond. B and C).
    """  # noqa: D205
    h = np.asarray(cells, dtype=float)
    return quotient(h @ np.asarray(at, dtype=float), h.sum(-1))


# --- calibration -----------------------------------------------------------------------------------------------


def bins_for(records: float) -> int:
    """Number of calibration bins: 15, or one for each 50 records where that is fewer."""
    return int(max(1, min(15, records // 50)))


def equal_mass(mass: ArrayLike, bins: int) -> NDArray[np.int64]:
    """For each score (B,) the calibration bin, all of near equal mass: a score goes where its middle falls."""
    m = np.asarray(mass, dtype=float)
    middle = (np.cumsum(m) - 0.5 * m) / max(m.sum(), 1e-300)
    return np.asarray(np.minimum((middle * bins).astype(np.int64), bins - 1))


class Calibration(NamedTuple):
    """One group's bins (K,): weight, share of positives, mean score."""

    weight: Floats
    positives: Floats
    score: Floats


def calibration(cells: ArrayLike, at: ArrayLike, bins: int | None = None) -> Calibration:
    """Equal-mass bins of one group's cells (2, B) with scores (B,); empty bins are left out."""
    h, r = np.asarray(cells, dtype=float), np.asarray(at, dtype=float)
    mass = h.sum(0)
    which = equal_mass(mass, bins or bins_for(mass.sum()))
    weight, hits, total = (summed(which, int(which.max()) + 1, w) for w in (mass, h[1], mass * r))
    some = weight > 0
    return Calibration(weight[some], hits[some] / weight[some], total[some] / weight[some])


def ece(bins: Calibration) -> float:
    """Expected calibration error Σ_b (n_b/n) |ȳ_b - r̄_b|. Biased upward when a bin holds few records."""
    return float((bins.weight * np.abs(bins.positives - bins.score)).sum() / bins.weight.sum())


def largest_bin_gap(bins: Calibration) -> float:
    """max_b |ȳ_b - r̄_b|."""
    return float(np.abs(bins.positives - bins.score).max())


def ece_if_calibrated(cells: ArrayLike, at: ArrayLike, draws: int, rng: np.random.Generator) -> Floats:
    """The ECE (draws,) that a group of this size would show with labels drawn from its scores: its null law."""
    h, r = np.asarray(cells, dtype=float), np.asarray(at, dtype=float)
    mass = np.rint(h.sum(0))
    which = equal_mass(mass, bins_for(mass.sum()))
    positives = rng.binomial(mass.astype(np.int64), np.clip(r, 0, 1), size=(draws, len(r)))
    gaps = (positives - mass * r) @ np.eye(int(which.max()) + 1)[which]
    return np.asarray(np.abs(gaps).sum(1) / mass.sum())


def brier(cells: ArrayLike, at: ArrayLike) -> Floats:
    """Mean of (r - y)², of cells (..., 2, B), as (...,)."""
    h, r = np.asarray(cells, dtype=float), np.asarray(at, dtype=float)
    loss = np.stack([r**2, (1 - r) ** 2])
    return quotient((h * loss).sum((-2, -1)), h.sum((-2, -1)))


class Recalibration(NamedTuple):
    """logit P(y=1) = intercept + slope · logit(r) (Cox 1958), with standard errors; 0 and 1 when calibrated."""

    intercept: float
    slope: float
    intercept_error: float
    slope_error: float


def recalibration(cells: ArrayLike, at: ArrayLike, steps: int = 50) -> Recalibration | None:
    """Maximum likelihood by Newton's method of cells (2, B); None where it has no answer: one score, one label,
    or a score that separates the labels.
    """  # noqa: D205
    h, r = np.asarray(cells, dtype=float), np.clip(np.asarray(at, dtype=float), EDGE, 1 - EDGE)
    n = h.sum(0)
    x = np.stack([np.ones_like(r), logit(r)])
    if (h.sum(1) == 0).any() or len(np.unique(r[n > 0])) < 2:
        return None
    beta = np.array([0.0, 1.0])
    for _ in range(steps):
        p = expit(beta @ x)
        information = (x * (n * p * (1 - p))) @ x.T
        if np.linalg.det(information) < 1e-12 * max(n.sum(), 1.0) ** 2 * 1e-6:
            return None
        move = np.linalg.solve(information, x @ (h[1] - n * p))
        beta = beta + np.clip(move, -2, 2)
        if np.abs(move).max() < 1e-10:
            errors = np.sqrt(np.diag(np.linalg.inv(information)))
            return Recalibration(float(beta[0]), float(beta[1]), float(errors[0]), float(errors[1]))
    return None


def multicalibration(cells: ArrayLike, at: ArrayLike, member: ArrayLike, bins: int = 15) -> float:
    """The largest over subgroups S and bins b of P(S, b) |E[y - r | S, b]| (Hébert-Johnson et al. 2018).

    Args:
        cells: (I, 2, B) of the finest groups; `at` (B,) their scores.
        member: (M, I), 1 where the finest group belongs to the subgroup.
    """
    h, r = np.asarray(cells, dtype=float), np.asarray(at, dtype=float)
    which = equal_mass(h.sum((0, 1)), bins)
    surplus = h[:, 1] - h.sum(1) * r
    binned = surplus @ np.eye(bins)[which]
    return float(np.abs(np.asarray(member, dtype=float) @ binned).max() / h.sum())


def coarser(cells: ArrayLike, at: ArrayLike, bins: int = 256) -> tuple[Floats, Floats]:
    """The same cells on at most `bins` bins of equal mass, each at its mean score: small enough to resample."""
    h, r = np.asarray(cells, dtype=float), np.asarray(at, dtype=float)
    mass = h.reshape(-1, h.shape[-1]).sum(0)
    if np.count_nonzero(mass) <= bins:
        return h[..., mass > 0], r[mass > 0]
    which = np.unique(equal_mass(mass, bins), return_inverse=True)[1]
    starts = np.flatnonzero(np.diff(which, prepend=-1))
    return np.add.reduceat(h, starts, axis=-1), np.add.reduceat(mass * r, starts) / np.add.reduceat(mass, starts)
