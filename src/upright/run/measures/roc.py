"""How well a score tells members from non-members (or positives from negatives): ROC, AUC, power at low error.

A larger score speaks for a member. Pure functions on arrays.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import hypergeom, norm, rankdata

from upright.run.evidence import Metric
from upright.run.measures.intervals import clopper_pearson

Floats = NDArray[np.float64]

ROUNDING = 1e-9  # n * fpr of a whole number must not fall below it


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


# --- area under the curve --------------------------------------------------------------------------------------


def delong(members: ArrayLike, nonmembers: ArrayLike) -> tuple[float, float]:
    """P(member scores higher), ties half, and its standard error (DeLong, DeLong & Clarke-Pearson 1988).

    With one record on a side that side's part of the variance is unknown and taken at its largest, 1/4.
    """
    pos, neg = scores_of(members, nonmembers)
    m, n = pos.size, neg.size
    pooled = rankdata(np.concatenate([pos, neg]))
    over = (pooled[:m] - rankdata(pos)) / n  # for each member, the share of non-members below it
    under = 1 - (pooled[m:] - rankdata(neg)) / m
    variance = (over.var(ddof=1) / m if m > 1 else 0.25) + (under.var(ddof=1) / n if n > 1 else 0.25)
    return float(over.mean()), float(np.sqrt(variance))


def auc_interval(value: float, error: float, smaller: int, alpha: float = 0.05) -> tuple[float, float]:
    """An interval on the logit scale, so that it stays inside [0, 1].

    Without a spread (separated or wholly tied scores) the error says nothing; the rule of three on the `smaller`
    side, -ln(alpha) / n, takes its place.
    """
    if error == 0.0 or value in (0.0, 1.0):
        room = -np.log(alpha) / smaller
        return (1.0 if value == 1.0 else value) - (room if value > 0 else 0.0), value + (room if value < 1 else 0.0)
    logit, half = np.log(value / (1 - value)), norm.ppf(1 - alpha / 2) * error / (value * (1 - value))
    return float(1 / (1 + np.exp(half - logit))), float(1 / (1 + np.exp(-half - logit)))


def auc(
    members: ArrayLike, nonmembers: ArrayLike, *, name: str = "AUC", split: str = "all", better: str = "lower"
) -> Metric:
    """P(member scores higher), ties half, with DeLong's 95 % interval (`auc_interval`).

    >>> auc([3, 2], [1, 0], name="area").value
    1.0
    """
    pos, neg = scores_of(members, nonmembers)
    value, error = delong(pos, neg)
    low, high = auc_interval(value, error, min(pos.size, neg.size))
    fields = {"value": value, "n": pos.size + neg.size, "ci_low": max(low, 0.0), "ci_high": min(high, 1.0)}
    return Metric.model_validate({"name": name, "split": split, "better": better, **fields})


# --- power at low error ----------------------------------------------------------------------------------------


def resolvable(fpr: float, nonmembers: int, confidence: float = 0.95) -> bool:
    """Whether so many non-members could show an FPR below `fpr`: none flagged would have a chance of at most 5 %.

    >>> [n for n in (298, 299) if resolvable(0.01, n)], [n for n in (2994, 2995) if resolvable(0.001, n)]
    ([299], [2995])
    """
    return bool(nonmembers * np.log1p(-fpr) <= np.log(1 - confidence))


def threshold_at(nonmembers: ArrayLike, fpr: float) -> float:
    """The least threshold that at most a share `fpr` of the non-members exceed: only what lies above it is flagged."""
    neg = np.sort(np.asarray(nonmembers, float).ravel())[::-1]
    allowed = _allowed(neg.size, fpr)
    return float(neg[allowed]) if allowed < neg.size else -np.inf


def _allowed(nonmembers: int, fpr: float) -> int:
    return int(np.floor(nonmembers * fpr + ROUNDING))


def tpr_at_fpr(
    members: ArrayLike, nonmembers: ArrayLike, fpr: float, *, name: str | None = None, split: str = "all"
) -> Metric:
    """The largest TPR at a threshold that flags at most a share `fpr` of the non-members, with its exact interval.

    The value is None where the non-members are too few to show such a rate (see `resolvable`). The interval is for
    the members' part alone, at the threshold that was found; `power_p_value` accounts for both sides.
    """
    pos, neg = scores_of(members, nonmembers)
    title = name or f"TPR at {100 * fpr:g} % FPR"
    if not resolvable(fpr, neg.size):
        return Metric(name=title, split=split, value=None, n=pos.size, unit="proportion", better="lower")
    return rate_above(pos, threshold_at(neg, fpr), name=title, split=split)


def rate_above(scores: ArrayLike, threshold: float, *, name: str, split: str = "all") -> Metric:
    """The share of scores above a given threshold, with its exact interval."""
    values = np.asarray(scores, float).ravel()
    hits = int((values > threshold).sum())
    low, high = clopper_pearson(hits, values.size)
    return Metric(
        name=name,
        split=split,
        value=hits / values.size if values.size else None,
        n=values.size,
        ci_low=float(low),
        ci_high=float(high),
        unit="proportion",
        better="lower",
    )


def power_p_value(members: ArrayLike, nonmembers: ArrayLike, fpr: float) -> float:
    """P(at least as many members above the threshold of `tpr_at_fpr`) if members and non-members are exchangeable.

    Exact: with a non-members allowed and h members found, the event says that among the a + h highest of all scores
    at most a are non-members, a hypergeometric count. Ties make it larger, never smaller.
    """
    pos, neg = scores_of(members, nonmembers)
    allowed = _allowed(neg.size, fpr)
    hits = int((pos > threshold_at(neg, fpr)).sum())
    return float(hypergeom.cdf(allowed, pos.size + neg.size, neg.size, allowed + hits)) if hits else 1.0


def advantage(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """Max over thresholds of TPR - FPR."""
    curve = roc(members, nonmembers)
    return float((curve.tpr - curve.fpr).max())
