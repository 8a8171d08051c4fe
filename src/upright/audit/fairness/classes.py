"""Metrics of decisions among more than two classes: accuracy, distances of whole laws, each class against the rest."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from upright.audit.fairness.config import Config
from upright.audit.fairness.counts import Table
from upright.audit.fairness.decisions import SIMULTANEOUS, Gap, metric
from upright.audit.fairness.resample import bootstrap, effective, free_shares, simultaneous_distance
from upright.run.evidence import Metric
from upright.run.measures import rates
from upright.run.measures.intervals import Interval, wilson
from upright.run.measures.rates import NAMES, PROPORTIONS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Classes:
    """A table of several classes, of the groups that are big enough."""

    table: Table
    config: Config

    @cached_property
    def cells(self) -> Floats:
        """Weights (G, K, K)."""
        return np.asarray(self.table.cells.sum(1))

    @cached_property
    def effective(self) -> Floats:
        """The same at effective size."""
        return effective(self.cells, self.table.squares)

    @cached_property
    def enough(self) -> NDArray[np.bool_]:
        """Where a rate of one class against the rest has enough records below the line, (K, R, G)."""
        below = rates.parts(rates.one_against_rest(self.table.records.sum(1)))[1]
        return np.asarray(below >= self.config.min_events)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Whether a group has enough records of a label, (G, K)."""
        return np.asarray(self.table.records.sum((1, 3)) >= self.config.min_events)


def big_groups(table: Table, config: Config) -> NDArray[np.bool_]:
    """Groups with enough records that count, (G,)."""
    return np.asarray((table.size >= config.min_group) & (table.cells.sum((1, 2, 3)) > 0))


def class_metrics(table: Table, config: Config, rng: np.random.Generator) -> list[Metric]:
    """Measures of more than two classes: accuracy by group, distances of whole laws, and one class against the rest."""
    big = big_groups(table, config)
    found = list(_accuracies(table, big))
    by, size = f"by {table.name}", table.records.sum()
    kept = Classes(table.pick(big), config)
    if big.sum() < 2:
        return [*found, metric("parity distance", by, np.nan, (np.nan, np.nan), size)]
    factor = rates.quotient(kept.effective.sum((1, 2)), kept.cells.sum((1, 2)))[:, None, None]

    def statistic(tables: Floats) -> Floats:
        return np.stack(list(_many(tables / factor, kept).values()), -1)

    value = _many(kept.cells[None], kept)
    low, high = bootstrap(kept.effective, statistic, config.draws, rng)
    n = kept.table.records.sum()
    found += [
        metric(name, by, float(seen[0]), (start, end), n, "proportion", "lower")
        for (name, seen), start, end in zip(value.items(), low, high, strict=True)
    ]
    return found + [
        metric(f"{name} {SIMULTANEOUS}", by, gap.value, (gap.low, gap.high), gap.n, "proportion", "lower")
        for name, gap in class_gaps(table, config).items()
    ]


def _accuracies(table: Table, big: NDArray[np.bool_]) -> Iterator[Metric]:
    cells = effective(table.cells.sum(1), table.squares)
    right, n = np.trace(cells, axis1=-2, axis2=-1), cells.sum((-2, -1))
    value = np.where(big, rates.quotient(right, n), np.nan)
    low, high = wilson(right, n)
    for i, group in enumerate(table.groups):
        ends = (low[i], high[i])
        yield metric("accuracy", f"{table.name}: {group}", value[i], ends, table.size[i], "proportion", "higher")


def class_gaps(table: Table, config: Config, alpha: float = 0.05) -> dict[str, Gap]:
    """Distances between the laws of groups with exact simultaneous intervals; empty for fewer than two big groups."""
    kept = Classes(table.pick(big_groups(table, config)), config)
    if len(kept.table.groups) < 2:
        return {}
    value = _many(kept.cells[None], kept)
    n = int(kept.table.records.sum())
    ends = [simultaneous_distance(kept.effective.sum(1), alpha)]
    laws = [kept.effective[kept.known[:, y], y] for y in range(len(kept.table.classes))]
    laws = [law for law in laws if len(law) > 1]
    if laws:
        tests = sum(free_shares(law.shape) for law in laws)
        each = [simultaneous_distance(law, alpha, tests) for law in laws]
        ends.append(Interval(np.max([one.low for one in each]), np.max([one.high for one in each])))
    names = ("parity distance", "odds distance")
    return {
        name: Gap(float(value[name][0]), float(low), float(high), n)
        for name, (low, high) in zip(names, ends, strict=False)
    }


def _many(tables: Floats, kept: Classes) -> dict[str, Floats]:
    right = rates.quotient(np.trace(tables, axis1=-2, axis2=-1), tables.sum((-2, -1)))
    gaps = rates.difference(np.where(kept.enough, rates.rates(rates.one_against_rest(tables)), np.nan))  # (B, K, R)
    found = {
        "parity distance": rates.parity_distance(tables),
        "odds distance": rates.odds_distance(np.where(kept.known[..., None], tables, 0.0)),
        "accuracy, difference": rates.difference(right),
    }
    for name in (name for name in PROPORTIONS if name not in ("accuracy", "error rate", "base rate")):
        each = gaps[..., NAMES.index(name)]
        found[f"{name}, difference, mean over classes"] = np.where(
            np.isnan(each).all(-1), np.nan, rates.quotient(np.nansum(each, -1), (~np.isnan(each)).sum(-1).astype(float))
        )
        found[f"{name}, difference, largest over classes"] = rates.largest(each)
    return found
