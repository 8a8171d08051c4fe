"""How classifiers that learnt from each side treat groups of people, on the same real test records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from upright.run.evidence import Z_95, Better, Metric, proportion
from upright.run.measures import rates
from upright.run.measures.intervals import range_of_means, simultaneous_range
from upright.synthesis.evaluation.scores import Tally, accuracy, macro_f1, macro_rates, tally

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LEAST = 30
"""Records of a group below which nothing is said of it."""


@dataclass(frozen=True)
class Judged:
    """Test records with what each side's classifier said of them.

    Args:
        label: the column that is predicted.
        real: classes (n,).
        said: classes (n,) by side.
        classes: how many there are.
        weights: (draws, n), see `scores.resampled_sets`.
    """

    label: str
    real: Ints
    said: Mapping[str, Ints]
    classes: int
    weights: Floats


def by_group(judged: Judged, column: str, values: Sequence[str]) -> tuple[list[Metric], list[str]]:
    """Metrics by the groups of one column, with what they lack; `values` (n,) are those of the test records."""
    names, group = np.unique(np.asarray(values), return_inverse=True)
    sizes = np.bincount(group, minlength=len(names))
    kept = np.flatnonzero(sizes >= LEAST)
    limits = [
        f"Not enough data on {column} = {names[g]}: {sizes[g]} test records; at least {LEAST} are needed."
        for g in np.flatnonzero(sizes < LEAST)
    ]
    metrics = []
    for split, said in judged.said.items():
        shape = (len(names), judged.classes)
        counts = tally(judged.real, said, group, shape, judged.weights).groups(kept)
        subject = f"{judged.label} by {column}"
        metrics += _rates(subject, [str(name) for name in names[kept]], counts, split)
        if kept.size > 1:
            metrics += _gaps(subject, counts, split)
    return metrics, limits


def _rates(subject: str, names: Sequence[str], counts: Tally, split: str) -> list[Metric]:
    """Accuracy, macro-F1 and both rates of each group."""
    tpr, fpr = macro_rates(counts)
    sizes, hits = counts.real[0].sum(-1), counts.hit[0].sum(-1)
    kinds: list[tuple[str, Floats, Better]] = [
        ("macro-F1", macro_f1(counts), "higher"),
        ("true positive rate", tpr, "higher"),
        ("false positive rate", fpr, "lower"),
    ]
    metrics = []
    for g, name in enumerate(names):
        n = int(sizes[g])
        metrics.append(proportion(f"{subject}: accuracy of {name}", int(hits[g]), n, split=split))
        for kind, draws, better in kinds:
            metrics.append(drawn(f"{subject}: {kind} of {name}", draws[:, g], n, split, "proportion", better))
    return metrics


def _gaps(subject: str, counts: Tally, split: str) -> list[Metric]:
    """What stands between the groups, with intervals that hold for all groups together."""
    tpr, fpr = macro_rates(counts)
    whole = [m[:, 0] for m in macro_rates(counts.all)]
    n = int(counts.real[0].sum())
    exact = simultaneous_range(counts.hit[0].sum(-1), counts.real[0].sum(-1))
    found = {
        "range of accuracy": (float(rates.difference(accuracy(counts)[0])), float(exact.low), float(exact.high)),
        "equalised odds difference": _odds(tpr, fpr),
    }
    sums = {"FPED": _deviations(fpr, whole[1]), "FNED": _deviations(1 - tpr, 1 - whole[0])}
    return [
        *(_gap(f"{subject}: {name}", *ends, n, split, "proportion") for name, ends in found.items()),
        *(_gap(f"{subject}: {name}", *ends, n, split, "") for name, ends in sums.items()),
    ]


def _gap(name: str, value: float, low: float, high: float, n: int, split: str, unit: str) -> Metric:
    """A gap with its interval; no number where a group has no case to tell a rate from."""
    if not np.isfinite([value, low, high]).all():
        return Metric(name=name, split=split, value=None, n=0, unit=unit, better="lower")
    high = min(high, 1.0) if unit else high  # a sum over groups may exceed 1
    return Metric(name=name, split=split, value=value, n=n, ci_low=low, ci_high=high, unit=unit, better="lower")


def _odds(tpr: Floats, fpr: Floats) -> tuple[float, float, float]:
    """max(range of TPR, range of FPR) (Hardt et al. 2016); both ranges hold at once, at half of alpha each."""
    ranges = [range_of_means(m[0], _error(m), alpha=0.025) for m in (tpr, fpr)]
    value = max(float(rates.difference(m[0])) for m in (tpr, fpr))
    return value, max(float(r.low) for r in ranges), max(float(r.high) for r in ranges)


def _deviations(m: Floats, whole: Floats) -> tuple[float, float, float]:
    """Σ_g |m_g - m| (Dixon et al. 2018, FPED and FNED) of draws (B, G) and (B,).

    Each term has a normal interval at 1 - 0.05 / G. A percentile of the draws would never reach 0: a sum of absolute
    values only grows with noise.
    """
    gaps = m - whole[:, None]
    half = norm.ppf(1 - 0.025 / m.shape[1]) * _error(gaps)
    sizes = np.abs(gaps[0])
    value = float(rates.deviations(m[0], whole[0]))
    return value, float(np.maximum(0, sizes - half).sum()), float((sizes + half).sum())


def _error(draws: Floats) -> Floats:
    """Standard errors (G,) from resampled test sets (B + 1, G), whose first row is the test set itself.

    Draws that are no number (a group without a case) are left out; NaN without two others.
    """
    known = ~np.isnan(draws[1:])
    size = known.sum(0)
    centre = np.where(known, draws[1:], 0.0).sum(0) / np.maximum(size, 1)
    squares = np.where(known, (draws[1:] - centre) ** 2, 0.0).sum(0)
    return np.where(size > 1, np.sqrt(squares / np.maximum(size - 1, 1)), np.nan)


def drawn(name: str, draws: Floats, n: int, split: str, unit: str, better: Better) -> Metric:
    """A metric from draws (B + 1,) whose first is its value: a normal interval with the others' standard error.

    Percentiles would lie off the value: rare classes are missing in many of the resampled test sets, which moves a
    mean over classes.
    """
    value, error = float(draws[0]), float(_error(draws))
    if not np.isfinite(value):
        return Metric(name=name, split=split, value=None, n=0, unit=unit, better=better)
    low, high = (None, None) if np.isnan(error) else (value - Z_95 * error, value + Z_95 * error)
    if unit == "proportion" and low is not None and high is not None:
        low, high = max(0.0, low), min(1.0, high)
    return Metric(name=name, split=split, value=value, n=n, ci_low=low, ci_high=high, unit=unit, better=better)
