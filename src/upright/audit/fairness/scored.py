"""Metrics of scores for one grouping: separation, calibration, laws, each with its interval.

Values come from the full histogram. Intervals come from bootstrap tables of at most 256 bins of equal mass, moved by
the difference that the coarser bins make; AUC has DeLong's, intercept and slope of calibration have Wald's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from upright.audit.fairness import scores
from upright.audit.fairness.config import Config
from upright.audit.fairness.counts import Table
from upright.audit.fairness.decisions import metric
from upright.audit.fairness.resample import bootstrap
from upright.audit.fairness.scores import Calibration
from upright.run.evidence import Z_95, Better, Metric
from upright.run.measures import rates
from upright.run.measures.intervals import range_of_means

Floats = NDArray[np.float64]
COARSE = 256
DRAWN = 2**23  # cells drawn in all: many groups make do with fewer bootstrap tables, at least 200


@dataclass(frozen=True)
class Scored:
    """The scores of the groups that are big enough."""

    table: Table
    cells: Floats
    """Weights (G, 2, B)."""
    at: Floats
    """Scores (B,)."""
    factor: Floats
    """What brings a group's weights to its effective size, (G,)."""
    config: Config

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Whether a group has enough records of label 0 and 1, (G, 2)."""
        return np.asarray(self.table.records.sum((1, 3)) >= self.config.min_events)

    @cached_property
    def coarse(self) -> tuple[Floats, Floats]:
        """Cells on few bins."""
        return scores.coarser(self.cells, self.at, COARSE)

    @cached_property
    def bins(self) -> list[int]:
        """Calibration bins of each group."""
        return [scores.bins_for(size) for size in self.cells.sum((1, 2)) * self.factor]

    def split(self, group: int) -> str:
        """How metrics name a group."""
        return f"{self.table.name}: {self.table.groups[group]}"


def calibrations(s: Scored) -> list[Calibration]:
    """Calibration bins of every group, on the full histogram."""
    return [scores.calibration(cells, s.at, bins) for cells, bins in zip(s.cells, s.bins, strict=True)]


def score_metrics(s: Scored, rng: np.random.Generator) -> list[Metric]:
    """All measures of the scores."""
    return [*_separation(s), *_resampled(s, rng), *_null_ece(s, rng), *_recalibrated(s)]


def _separation(s: Scored) -> Iterator[Metric]:
    auc, error = scores.delong(s.cells * s.factor[:, None, None])
    for i in range(len(auc)):
        spread = Z_95 * error[i] / max(auc[i] * (1 - auc[i]), 1e-12)
        odds = auc[i] / max(1 - auc[i], 1e-12)
        ends = tuple(odds * np.exp(k * spread) / (1 + odds * np.exp(k * spread)) for k in (-1, 1))
        flat = error[i] == 0 or not 0 < auc[i] < 1  # the rule of three where nothing varies
        few = 3 / max(min(s.table.records[i].sum((0, 2))), 1)
        low, high = (max(0.0, auc[i] - few), min(1.0, auc[i] + few)) if flat else ends
        value = auc[i] if s.known[i].all() else np.nan
        yield metric("AUC", s.split(i), value, (low, high), s.table.size[i], "", "higher")


def _measures(cells: Floats, at: Floats, which: NDArray[np.int64], known: NDArray[np.bool_]) -> dict[str, Floats]:
    """Numbers by name, of cells (B, G, 2, C) with scores (C,); `which` (G, C) are the calibration bins.

    Where a group has too few records of a label (`known` (G, 2) is false), what needs them is NaN.
    """
    neg, pos = known.T
    auc = scores.aucs(cells)
    auc = scores.Aucs(*(np.where(fine, a, np.nan) for a, fine in zip(auc, (neg & pos, neg, pos), strict=True)))
    mean = np.where(known, scores.balance(cells, at), np.nan)
    brier = scores.brier(cells, at)
    error, gap, joint = _binned(cells, at, which)
    law = cells.sum(-2)
    found = {
        "AUC, difference": rates.difference(auc.subgroup),
        "Kolmogorov-Smirnov distance of scores": scores.kolmogorov_smirnov(law),
        "Wasserstein distance of scores": scores.wasserstein(law, at),
        "balance for the positive class, difference": rates.difference(mean[..., 1]),
        "balance for the negative class, difference": rates.difference(mean[..., 0]),
        "Brier score, difference": rates.difference(brier),
        "calibration error, difference": rates.difference(error),
        "multicalibration violation": joint.max((-2, -1)),
    }
    each = {
        "AUC, background positive": auc.bpsn,
        "AUC, background negative": auc.bnsp,
        "mean score of positives": mean[..., 1],
        "mean score of negatives": mean[..., 0],
        "Brier score": brier,
        "calibration error": error,
        "largest bin gap": gap,
    }
    for name, values in each.items():
        found |= {f"{name}|{i}": values[..., i] for i in range(values.shape[-1])}
    return found


def _binned(cells: Floats, at: Floats, which: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """ECE, largest bin gap (..., G), and |surplus| over all records (..., G, K)."""
    place = np.eye(int(which.max()) + 1)[which]  # (G, C, K)
    mass = cells.sum(-2)
    surplus = np.matmul(np.swapaxes(cells[..., 1, :] - mass * at, 0, -2), place)  # (G, ..., K)
    size = np.matmul(np.swapaxes(mass, 0, -2), place)
    surplus, size = np.swapaxes(surplus, 0, -2), np.swapaxes(size, 0, -2)
    error = rates.quotient(np.abs(surplus).sum(-1), size.sum(-1))
    gap = rates.largest(rates.quotient(np.abs(surplus), size))
    return error, gap, np.abs(surplus) / np.maximum(size.sum((-2, -1), keepdims=True), 1e-300)


def _which(cells: Floats, bins: Sequence[int]) -> NDArray[np.int64]:
    return np.stack([scores.equal_mass(own.sum(0), k) for own, k in zip(cells, bins, strict=True)])


def _resampled(s: Scored, rng: np.random.Generator) -> Iterator[Metric]:
    cells, at = s.coarse
    which = _which(cells, s.bins)
    factor = s.factor[:, None, None]

    def statistic(tables: Floats) -> Floats:
        return np.stack(list(_measures(tables / factor, at, which, s.known).values()), -1)

    draws = int(np.clip(DRAWN // cells.size, 200, s.config.draws))
    low, high = bootstrap(cells * factor, statistic, draws, rng, accelerate=False)
    fine = _measures(s.cells[None], s.at, _which(s.cells, s.bins), s.known)
    near = statistic((cells * factor)[None])[0]
    even = _even(s)
    for (name, seen), rough, start, end in zip(fine.items(), near, low, high, strict=True):
        base, _, group = name.partition("|")
        move = float(seen[0]) - rough
        split, n = (
            (s.split(int(group)), s.table.size[int(group)]) if group else (f"by {s.table.name}", s.table.size.sum())
        )
        better: Better = "higher" if base.startswith("AUC, back") else "none" if base.startswith("mean") else "lower"
        ends = np.clip([start + move, end + move], 0.0, 1.0)  # distances, shares and scores: all lie there
        ends[0] = 0.0 if base in even else ends[0]
        yield metric(base, split, float(seen[0]), (ends[0], ends[1]), n, "", better)


def _even(s: Scored) -> set[str]:
    """Differences of means that may be 0, which no bootstrap draw is: their simultaneous interval begins there."""
    cells = s.cells * s.factor[:, None, None]
    loss = np.stack([s.at**2, (1 - s.at) ** 2])
    negatives, positives = (_means(cells[:, y], s.at) for y in (0, 1))
    measures = {
        "AUC, difference": (*scores.delong(cells), s.known.all(1)),
        "Brier score, difference": (*_means(cells.reshape(len(cells), -1), loss.ravel()), s.known.any(1)),
        "balance for the negative class, difference": (*negatives, s.known[:, 0]),
        "balance for the positive class, difference": (*positives, s.known[:, 1]),
    }
    return {
        name
        for name, (value, error, fine) in measures.items()
        if fine.sum() > 1 and range_of_means(value[fine], error[fine]).low == 0
    }


def _means(mass: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Mean of values (V,) under counts (G, V), and its standard error."""
    n = mass.sum(-1)
    mean = rates.quotient(mass @ values, n)
    spread = np.maximum(rates.quotient(mass @ values**2, n) - mean**2, 0.0)
    return mean, np.sqrt(rates.quotient(spread, n - 1))


def _null_ece(s: Scored, rng: np.random.Generator) -> Iterator[Metric]:
    """The calibration error to expect of a calibrated score, as binned errors are biased upward."""
    cells, at = s.coarse
    for i in range(len(cells)):
        null = scores.ece_if_calibrated(cells[i] * s.factor[i], at, min(500, s.config.draws), rng)
        ends = tuple(np.quantile(null, [0.025, 0.975]))
        yield metric("calibration error if calibrated", s.split(i), float(null.mean()), ends, s.table.size[i])


def _recalibrated(s: Scored) -> Iterator[Metric]:
    for i in range(len(s.cells)):
        fit = scores.recalibration(s.cells[i] * s.factor[i], s.at)
        for name in ("intercept", "slope"):
            value = np.nan if fit is None else getattr(fit, name)
            half = np.nan if fit is None else Z_95 * getattr(fit, f"{name}_error")
            yield metric(f"calibration {name}", s.split(i), value, (value - half, value + half), s.table.size[i])
