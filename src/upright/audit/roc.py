"""How well a score tells members from non-members (or positives from negatives): ROC, AUC, power at low error.

A larger score speaks for a member. Pure functions on arrays.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from upright.audit.intervals import clopper_pearson
from upright.run.evidence import Z_95, Metric

Floats = NDArray[np.float64]


class Curve(NamedTuple):
    """Rates (k,) at falling thresholds, from (0, 0) to (1, 1)."""

    fpr: Floats
    tpr: Floats
    threshold: Floats


def scores_of(members: ArrayLike, nonmembers: ArrayLike) -> tuple[Floats, Floats]:
    """Both as arrays. Raises ValueError when one is empty or a score is not a number: rows to report, not to rank."""
    found = np.asarray(members, float).ravel(), np.asarray(nonmembers, float).ravel()
    for name, values in zip(("members", "nonmembers"), found, strict=True):
        if not values.size or np.isnan(values).any():
            raise ValueError(
                f"{name}: {np.isnan(values).sum()} of {values.size} scores are NaN; needs some, all numbers"
            )
    return found


def roc(members: ArrayLike, nonmembers: ArrayLike) -> Curve:
    """The ROC curve; tied scores are passed together."""
    pos, neg = scores_of(members, nonmembers)
    levels = np.unique(np.concatenate([pos, neg]))[::-1]
    tpr = 1 - np.searchsorted(np.sort(pos), levels, side="left") / pos.size
    fpr = 1 - np.searchsorted(np.sort(neg), levels, side="left") / neg.size
    return Curve(np.r_[0.0, fpr], np.r_[0.0, tpr], np.r_[np.inf, levels])


def auc(
    members: ArrayLike, nonmembers: ArrayLike, *, name: str = "AUC", split: str = "all", better: str = "lower"
) -> Metric:
    """P(member scores higher), ties half, with DeLong's interval (DeLong et al. 1988; logit scale inside (0, 1))."""
    pos, neg = scores_of(members, nonmembers)
    m, n = pos.size, neg.size
    pooled = rankdata(np.concatenate([pos, neg]))
    over = (pooled[:m] - rankdata(pos)) / n  # for each member, the share of non-members below it
    under = 1 - (pooled[m:] - rankdata(neg)) / m
    value = float(over.mean())
    variance = (over.var(ddof=1) / m if m > 1 else 0.25) + (under.var(ddof=1) / n if n > 1 else 0.25)
    low, high = _logit_interval(value, float(np.sqrt(variance)), min(m, n))
    return Metric.model_validate(
        {"name": name, "split": split, "value": value, "n": m + n, "ci_low": low, "ci_high": high, "better": better}
    )


def _logit_interval(value: float, error: float, n: int) -> tuple[float, float]:
    """An interval that stays inside [0, 1]; at the ends, where the error is 0, the rule of three."""
    if error == 0.0 or value in (0.0, 1.0):
        return (max(0.0, value - 3 / n), value) if value > 0.5 else (value, min(1.0, value + 3 / n))
    logit, half = np.log(value / (1 - value)), Z_95 * error / (value * (1 - value))
    return float(1 / (1 + np.exp(half - logit))), float(1 / (1 + np.exp(-half - logit)))


def tpr_at_fpr(
    members: ArrayLike, nonmembers: ArrayLike, fpr: float, *, name: str | None = None, split: str = "all"
) -> Metric:
    """The largest TPR at a threshold that flags at most a share `fpr` of the non-members, with its exact interval.

    The value is None where the non-members are too few to show such a rate (fewer than 1 / fpr).
    """
    pos, neg = scores_of(members, nonmembers)
    title = name or f"TPR at {100 * fpr:g} % FPR"
    if neg.size * fpr < 1:
        return Metric(name=title, split=split, value=None, n=pos.size, unit="proportion", better="lower")
    allowed = int(np.floor(neg.size * fpr))
    threshold = np.sort(neg)[::-1][allowed] if allowed < neg.size else -np.inf  # only scores above it are flagged
    hits = int((pos > threshold).sum())
    low, high = clopper_pearson(hits, pos.size)
    return Metric(
        name=title,
        split=split,
        value=hits / pos.size,
        n=pos.size,
        ci_low=float(low),
        ci_high=float(high),
        unit="proportion",
        better="lower",
    )


def advantage(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """Max over thresholds of TPR - FPR."""
    curve = roc(members, nonmembers)
    return float((curve.tpr - curve.fpr).max())
