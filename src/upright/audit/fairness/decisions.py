"""Metrics of decisions for one grouping: all of `rates`, `inequality` and `intersections`, each with its interval.

Intervals: Wilson's for a rate, Newcombe's and Katz's against the reference group, the bootstrap over cells for all that
joins several groups; for ranges over groups also exact simultaneous ones and permutation p-values. Weighted tables
enter the intervals with their effective sizes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import SupportsFloat

import numpy as np
from numpy.typing import NDArray

from upright.audit.fairness import inequality, intersections
from upright.audit.fairness.config import Config
from upright.audit.fairness.counts import Table
from upright.audit.fairness.resample import (
    bootstrap,
    effective,
    permutation,
    shuffled,
    simultaneous_odds,
    simultaneous_ratio,
)
from upright.run.evidence import Better, Metric
from upright.run.measures import rates
from upright.run.measures.intervals import clopper_pearson, katz, newcombe, simultaneous_range, wilson
from upright.run.measures.rates import NAMES, PROPORTIONS, RATES

Floats = NDArray[np.float64]
CORE = ("selection rate", "true positive rate", "false positive rate", "positive predictive value", "accuracy")
TPR, FPR = NAMES.index("true positive rate"), NAMES.index("false positive rate")
SIMULTANEOUS = "(simultaneous)"


def metric(
    name: str,
    split: str,
    value: SupportsFloat,
    ends: tuple[SupportsFloat, SupportsFloat],
    n: SupportsFloat,
    unit: str = "",
    better: Better = "none",
) -> Metric:
    """A number with its interval; where either does not exist, the value is None: nothing was measured."""
    numbers = [float(value), float(ends[0]), float(ends[1])]
    known = bool(np.isfinite(numbers).all())
    shown: list[float | None] = list(numbers) if known else [None, None, None]
    return Metric(
        name=name,
        split=split,
        value=shown[0],
        ci_low=shown[1],
        ci_high=shown[2],
        n=int(float(n)),
        unit=unit,
        better=better,
    )


@dataclass(frozen=True)
class Grouping:
    """A table of two classes made ready: what is above and below the line of each rate, and where that is enough."""

    table: Table
    config: Config
    columns: tuple[str, ...]

    @cached_property
    def cells(self) -> Floats:
        """Weights (G, 2, 2)."""
        return np.asarray(self.table.cells.sum(1))

    @cached_property
    def factor(self) -> Floats:
        """What brings weights of a group to its effective size, (G,)."""
        scaled = effective(self.cells, self.table.squares).sum((1, 2))
        return np.where(self.cells.sum((1, 2)) > 0, scaled / np.maximum(self.cells.sum((1, 2)), 1e-300), 1.0)

    @cached_property
    def effective(self) -> Floats:
        """Cells (G, S, 2, 2) at effective size."""
        return self.table.cells * self.factor[:, None, None, None]

    @cached_property
    def parts(self) -> tuple[Floats, Floats]:
        """Hits and n (R, G) of every rate, at effective size."""
        return rates.parts(self.effective.sum(1))

    @cached_property
    def certain(self) -> tuple[Floats, Floats]:
        """The same, with one miss in one trial where there is no proportion, whose rate is not shown."""
        hits, n = self.parts
        fine = self.enough & np.array([[RATES[name].proportion] for name in NAMES])
        return np.where(fine, hits, 0.0), np.where(fine, n, 1.0)

    @cached_property
    def records(self) -> Floats:
        """Records below the line of every rate, (R, G)."""
        return rates.parts(self.table.records.sum(1))[1]

    @cached_property
    def big(self) -> NDArray[np.bool_]:
        """Groups with enough records, (G,)."""
        return np.asarray(self.table.size >= self.config.min_group)

    @cached_property
    def enough(self) -> NDArray[np.bool_]:
        """Where a rate has enough data, (R, G)."""
        return np.asarray(self.big & (self.records >= self.config.min_events))

    @cached_property
    def compared(self) -> NDArray[np.bool_]:
        """The same, but nothing where fewer than two groups have enough."""
        return np.asarray(self.enough & (self.enough.sum(1, keepdims=True) >= 2))

    @cached_property
    def weighted(self) -> bool:
        """Whether records count other than once: then no shuffle is exact."""
        return not np.array_equal(self.table.cells, self.table.records)

    @cached_property
    def reference(self) -> int | None:
        """The group that others are compared with; None when there is none big enough."""
        if not self.big.any():
            return None
        column = self.columns[0]
        if len(self.columns) == 1 and column in self.config.reference:
            return self.table.groups.index(self.config.reference[column])
        if self.config.against == "best":
            selected = np.where(self.enough[0], rates.rates(self.cells)[0], -1.0)
            return int(selected.argmax())
        return int(self.table.size.argmax())

    def split(self, group: int) -> str:
        """How metrics name a group."""
        return f"{self.table.name}: {self.table.groups[group]}"

    @property
    def by(self) -> str:
        """How metrics name the grouping."""
        return f"by {self.table.name}"


# --- one group -------------------------------------------------------------------------------------------------


def group_metrics(g: Grouping, names: Sequence[str] = PROPORTIONS) -> Iterator[Metric]:
    """Each rate of each group with Wilson's interval; too few data give a value of None."""
    value = np.where(g.enough, rates.rates(g.cells), np.nan)
    low, high = wilson(*g.certain)
    for name in (name for name in PROPORTIONS if name in names):
        r = NAMES.index(name)
        for i in range(len(g.table.groups)):
            ends = (low[r, i], high[r, i])
            yield metric(name, g.split(i), value[r, i], ends, g.records[r, i], "proportion", RATES[name].better)


def reference_metrics(g: Grouping, names: Sequence[str] = PROPORTIONS) -> Iterator[Metric]:
    """Difference and ratio of each rate to the reference group."""
    if g.reference is None:
        return
    hits, n = g.certain
    ref = g.reference
    value = np.where(g.enough, rates.rates(g.cells), np.nan)
    shift = newcombe(hits, n, hits[:, [ref]], n[:, [ref]])
    times = katz(hits, n, hits[:, [ref]], n[:, [ref]])
    quotient = rates.quotient(value, np.broadcast_to(value[:, [ref]], value.shape))
    to = f"to {g.table.groups[ref]}"
    for r, i in np.ndindex(*value.shape):
        if i == ref or NAMES[r] not in names:
            continue
        at, count = g.split(i), g.records[r, i] + g.records[r, ref]
        gap = value[r, i] - value[r, ref]
        yield metric(f"{NAMES[r]}, difference {to}", at, gap, (shift.low[r, i], shift.high[r, i]), count)
        ends = (times.low[r, i], times.high[r, i])
        yield metric(f"{NAMES[r]}, ratio {to}", at, quotient[r, i], ends, count)


# --- several groups: bootstrap ---------------------------------------------------------------------------------


def _joined(g: Grouping, tables: Floats) -> dict[str, Floats]:
    """Every number that joins groups, of tables (B, G, S, 2, 2), each (B,)."""
    cells = tables.sum(-3)
    m = np.where(g.compared, rates.rates(cells), np.nan)
    whole = rates.overall(cells)
    gaps, least = rates.difference(m), rates.ratio(m)
    away, spread = rates.deviations(m, whole), rates.variance(m)
    bad = rates.worst(m, rates.BEST_LARGE)
    found: dict[str, Floats] = {}
    for r, name in enumerate(NAMES):
        found |= {
            f"{name}, difference": gaps[:, r],
            f"{name}, ratio": least[:, r],
            f"{name}, sum of deviations": np.where(np.isnan(gaps[:, r]), np.nan, away[:, r]),
            f"{name}, variance between groups": spread[:, r],
        }
        if RATES[name].better != "none":
            found[f"{name}, worst group"] = bad[:, r]
    found["equalised odds, larger gap"] = np.maximum(gaps[:, TPR], gaps[:, FPR])
    found["equalised odds, average gap"] = 0.5 * (gaps[:, TPR] + gaps[:, FPR])
    if m.shape[-1] == 2:
        found["equalised odds, signed average"] = 0.5 * (m[:, [TPR, FPR], 1] - m[:, [TPR, FPR], 0]).sum(-1)
    return found | _of_all(g, cells) | _of_groups(g, tables, m)


def _of_all(g: Grouping, cells: Floats) -> dict[str, Floats]:
    """What takes every group, however small: shares, inequality, smoothed ε."""
    weight = inequality.benefit_weights(cells)
    between, within = inequality.split(inequality.BENEFIT, weight)
    said, label = cells.sum(-2), cells.sum(-1)
    everyone = weight.sum(-2)
    own = np.where(g.big & (g.big.sum() >= 2), inequality.means(inequality.BENEFIT, weight), np.nan)
    return {
        "mean benefit, ratio": rates.ratio(own),
        "benefit, generalised entropy": between + within,
        "benefit, generalised entropy between groups": between,
        "benefit, generalised entropy within groups": within,
        "benefit, Theil index": inequality.theil(inequality.BENEFIT, everyone),
        "benefit, coefficient of variation": inequality.variation(inequality.BENEFIT, everyone),
        "differential fairness of predictions": intersections.differential_fairness(said),
        "differential fairness of labels": intersections.differential_fairness(label),
        "bias amplification": intersections.bias_amplification(cells),
    }


def _of_groups(g: Grouping, tables: Floats, m: Floats) -> dict[str, Floats]:
    """What each group has besides proportions; named `measure|group`."""
    cells = tables.sum(-3)
    disparity = np.where(g.big, rates.demographic_disparity(cells), np.nan)
    found = {}
    for i in np.flatnonzero(g.big):
        found[f"demographic disparity|{i}"] = disparity[:, i]
        for name in ("F1", "false negatives per false positive"):
            found[f"{name}|{i}"] = m[:, NAMES.index(name), i]
    if len(g.table.strata) > 1:
        selected, apart = (np.where(g.big, values, np.nan) for values in rates.conditional(np.swapaxes(tables, 1, 2)))
        found["conditional selection rate, difference"] = rates.difference(selected)
        for i in np.flatnonzero(g.big):
            found[f"conditional selection rate|{i}"] = selected[:, i]
            found[f"conditional demographic disparity|{i}"] = apart[:, i]
    return found


def joined_metrics(g: Grouping, rng: np.random.Generator) -> Iterator[Metric]:
    """All numbers that join groups, with bootstrap intervals.

    Where the exact test of "no gap" does not reject it, the interval of a difference starts at 0 and that of a ratio
    ends at 1, which no bootstrap draw can reach. The test shuffles groups; for weighted records, and without shuffles,
    it asks whether the simultaneous interval holds 0.
    """

    def statistic(tables: Floats) -> Floats:
        return np.stack(list(_joined(g, tables / g.factor[:, None, None, None]).values()), -1)

    value = {name: float(v[0]) for name, v in _joined(g, g.table.cells[None]).items()}
    low, high = bootstrap(g.effective, statistic, g.config.draws, rng)
    tests = _no_gap(g, rng)
    even = {name for name, (above, shuffles) in tests.items() if above / shuffles > 0.05}
    if not tests:
        even = {
            name.rpartition(", ")[0]
            for name, gap in simultaneous(g).items()
            if not name.endswith("ratio") and gap.low == 0
        }
    size = g.table.records.sum()
    for (name, seen), start, end in zip(value.items(), low, high, strict=True):
        base, _, group = name.partition("|")
        measure, _, kind = base.partition(", ")
        if measure in even and kind in ("difference", "ratio", "larger gap"):
            start, end = (start, max(end, 1.0)) if kind == "ratio" else (0.0, end)
        n = g.table.size[int(group)] if group else _n(g, measure, size)
        split = g.split(int(group)) if group else g.by
        yield metric(base, split, seen, (start, end), n, _unit(measure, kind), _better(measure, kind))
    yield from _p_values(g, tests)


def _n(g: Grouping, measure: str, size: float) -> float:
    """Records behind a measure of all groups."""
    if measure in RATES:
        r = NAMES.index(measure)
        return float(g.records[r, g.compared[r]].sum())
    return float(size)


def _unit(measure: str, kind: str) -> str:
    plain = measure in PROPORTIONS or measure.startswith(("conditional selection", "equalised"))
    shown = kind in ("difference", "worst group", "larger gap", "average gap")
    return "proportion" if plain and (shown or measure == "conditional selection rate") else ""


def _better(measure: str, kind: str) -> Better:
    if kind == "ratio":
        return "higher"
    if kind == "worst group":
        return RATES[measure].better
    return "lower" if kind in ("difference", "sum of deviations", "larger gap", "average gap") else "none"


# --- several groups: exact -------------------------------------------------------------------------------------


def _no_gap(g: Grouping, rng: np.random.Generator) -> dict[str, tuple[int, int]]:
    """Permutation tests of no gap, by measure: shuffles at least as far apart, and all."""
    if g.weighted or not g.config.permutations:
        return {}
    hits, n = g.parts
    found = {}
    for name in PROPORTIONS:
        r = NAMES.index(name)
        at = g.compared[r]
        if at.any():
            found[name] = permutation(hits[r, at], n[r, at], g.config.permutations, rng)
    t, f = g.compared[TPR], g.compared[FPR]
    if t.any() and f.any():
        more = (hits[FPR, f], n[FPR, f])
        found["equalised odds"] = permutation(hits[TPR, t], n[TPR, t], g.config.permutations, rng, more)
    if len(g.table.strata) > 1 and g.big.sum() >= 2:
        found["conditional selection rate"] = _no_conditional_gap(g, rng)
    return found


def _no_conditional_gap(g: Grouping, rng: np.random.Generator) -> tuple[int, int]:
    """The same for the selection rate within strata: groups are shuffled inside each."""
    tables = g.table.records[g.big]  # (G, S, 2, 2)
    n, hits = tables.sum((-2, -1)), tables.sum(-2)[..., 1]
    share = g.table.records.sum((0, 2, 3)) / g.table.records.sum()
    shuffles = [shuffled(hits[:, s], n[:, s], g.config.permutations, rng) for s in range(n.shape[1])]
    drawn = np.concatenate([hits[None], np.stack(shuffles, -1)])  # (1 + B, G, S)
    parts = np.where(share > 0, share * rates.quotient(drawn, np.broadcast_to(n, drawn.shape)), 0.0)
    gaps = rates.difference(parts.sum(-1))
    return int((gaps[1:] >= gaps[0] - 1e-12).sum()) + 1, g.config.permutations + 1


def _p_values(g: Grouping, tests: dict[str, tuple[int, int]]) -> Iterator[Metric]:
    for name, (above, shuffles) in tests.items():
        low, high = clopper_pearson(above, shuffles)
        yield metric(f"{name}, p of no gap", g.by, above / shuffles, (float(low), float(high)), shuffles)


@dataclass(frozen=True)
class Gap:
    """A gap or ratio with an interval that holds for all groups at once."""

    value: float
    low: float
    high: float
    n: int


def simultaneous(g: Grouping, alpha: float = 0.05) -> dict[str, Gap]:
    """Exact simultaneous intervals: of each rate's difference, the selection ratio, and equalised odds."""
    hits, n = g.parts
    m = rates.rates(g.cells)
    found = {}
    for name in PROPORTIONS:
        r = NAMES.index(name)
        at = g.compared[r]
        if at.any():
            ends = simultaneous_range(hits[r, at], n[r, at], alpha)
            found[f"{name}, difference"] = _gap(rates.difference(m[r, at]), ends, g.records[r, at])
    at = g.compared[0]
    if at.any():
        ends = simultaneous_ratio(hits[0, at], n[0, at], alpha)
        found["selection rate, ratio"] = _gap(rates.ratio(m[0, at]), ends, g.records[0, at])
    t, f = g.compared[TPR], g.compared[FPR]
    if t.any() and f.any():
        ends = simultaneous_odds((hits[TPR, t], n[TPR, t]), (hits[FPR, f], n[FPR, f]), alpha)
        value = np.maximum(rates.difference(m[TPR, t]), rates.difference(m[FPR, f]))
        found["equalised odds, larger gap"] = _gap(value, ends, np.r_[g.records[TPR, t], g.records[FPR, f]])
    return found


def _gap(value: Floats, ends: tuple[Floats, Floats], n: Floats) -> Gap:
    return Gap(float(value), float(ends[0]), float(ends[1]), int(n.sum()))


def simultaneous_metrics(g: Grouping) -> Iterator[Metric]:
    """The same as metrics."""
    for name, gap in simultaneous(g).items():
        unit = "" if name.endswith("ratio") else "proportion"
        better: Better = "higher" if name.endswith("ratio") else "lower"
        yield metric(f"{name} {SIMULTANEOUS}", g.by, gap.value, (gap.low, gap.high), gap.n, unit, better)


def decision_metrics(g: Grouping, rng: np.random.Generator) -> list[Metric]:
    """Everything about the decisions of two classes; for crossings, single groups show the core rates alone."""
    names = PROPORTIONS if len(g.columns) == 1 else CORE
    found = [*group_metrics(g, names), *joined_metrics(g, rng), *simultaneous_metrics(g)]
    return found + (list(reference_metrics(g)) if len(g.columns) == 1 else [])
