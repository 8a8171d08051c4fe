"""The data themselves: how many records of each group there are, and whether its labels follow another law.

Laws are arrays (..., K) of counts or shares over K labels. Sources: Das et al. 2021 (Amazon SageMaker Clarify) for
class imbalance and the divergences between label laws; Lin 1991 for Jensen and Shannon's.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from upright.audit.fairness.config import Config
from upright.audit.fairness.counts import Table
from upright.audit.fairness.decisions import metric
from upright.audit.fairness.resample import bootstrap, effective
from upright.errors import UserError
from upright.run.evidence import Metric
from upright.run.measures.intervals import clopper_pearson
from upright.run.measures.rates import quotient
from upright.run.tables import need_columns, read_table

Floats = NDArray[np.float64]
SHARE, OVER = "share of records", "share of records over the population's"
WHOLE = 1e-3  # how far shares of a population may be from adding up to 1


# --- laws ------------------------------------------------------------------------------------------------------


def imbalance(larger: ArrayLike, smaller: ArrayLike) -> Floats:
    """(n_a - n_d) / (n_a + n_d), from -1 to 1; 0 for groups of one size."""
    a, d = np.asarray(larger, dtype=float), np.asarray(smaller, dtype=float)
    return quotient(a - d, a + d)


def kullback_leibler(p: ArrayLike, q: ArrayLike) -> Floats:
    """Σ_y p(y) ln(p(y) / q(y)), in nats; infinite where q lacks a label of p.

    >>> round(float(kullback_leibler([1, 1], [3, 1])), 4)
    0.1438
    """
    a, b = _shares(p), _shares(q)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(a > 0, a * np.log(a / b), np.where(np.isnan(a), np.nan, 0.0)).sum(-1))


def jensen_shannon(p: ArrayLike, q: ArrayLike) -> Floats:
    """½ KL(p ‖ m) + ½ KL(q ‖ m), m the mean of both laws: from 0 to ln 2 nats, whatever is lacking."""
    a, b = _shares(p), _shares(q)
    return np.asarray(0.5 * kullback_leibler(a, (a + b) / 2) + 0.5 * kullback_leibler(b, (a + b) / 2))


def total_variation(p: ArrayLike, q: ArrayLike) -> Floats:
    """½ Σ_y |p(y) - q(y)|; of two labels the size of the difference of base rates."""
    return np.asarray(0.5 * np.abs(_shares(p) - _shares(q)).sum(-1))


def _shares(law: ArrayLike) -> Floats:
    mass = np.asarray(law, dtype=float)
    return quotient(mass, mass.sum(-1, keepdims=True))


LAWS = {
    "Kullback-Leibler divergence of labels": kullback_leibler,
    "Jensen-Shannon divergence of labels": jensen_shannon,
    "total variation of labels": total_variation,
}


def same_law(p: ArrayLike, q: ArrayLike) -> Floats:
    """P-value of equal laws by the likelihood ratio, G = 2 Σ O ln(O / E) ~ χ² (Wilks 1938), of counts (..., K)."""
    a, b = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    both = a + b
    g = 2 * (a.sum(-1) * kullback_leibler(a, both) + b.sum(-1) * kullback_leibler(b, both))
    return np.asarray(chi2.sf(g, np.maximum((both > 0).sum(-1) - 1, 1)))


# --- metrics ---------------------------------------------------------------------------------------------------


def label_metrics(table: Table, reference: int, config: Config, rng: np.random.Generator) -> list[Metric]:
    """Size and label law of each big enough group against the reference group's.

    Divergences have bootstrap intervals, which start at 0 where the labels do not differ beyond chance.
    """
    cells = effective(table.cells.sum(1), table.squares).sum(2)  # (G, K)
    others = np.flatnonzero((table.size >= config.min_group) & (np.arange(len(table.size)) != reference))
    if table.size[reference] < config.min_group or not len(others):
        return []

    def statistic(tables: Floats) -> Floats:
        found = [law(tables[:, [reference]], tables[:, others]) for law in LAWS.values()]
        return np.where(np.isfinite(found), found, np.nan).transpose(1, 0, 2).reshape(len(tables), -1)

    value = statistic(cells[None])[0].reshape(len(LAWS), -1)
    low, high = (end.reshape(value.shape) for end in bootstrap(cells, statistic, config.draws, rng))
    low = np.where(same_law(cells[[reference]], cells[others]) > 0.05, 0.0, low)
    found = []
    for j, i in enumerate(others):
        split, n = f"{table.name}: {table.groups[i]}", table.size[i] + table.size[reference]
        found.append(_imbalance(cells[reference].sum(), cells[i].sum(), split, table.groups[reference], n))
        for k, name in enumerate(LAWS):
            ends = (low[k, j], high[k, j])
            found.append(metric(f"{name} to {table.groups[reference]}", split, value[k, j], ends, n, "", "lower"))
    return found


def _imbalance(reference: float, own: float, split: str, to: str, n: float) -> Metric:
    low, high = clopper_pearson(reference, reference + own)  # (a - d) / (a + d) = 2 a / (a + d) - 1
    return metric(f"class imbalance to {to}", split, imbalance(reference, own), (2 * low - 1, 2 * high - 1), n)


# --- against a population --------------------------------------------------------------------------------------


def read_population(path: Path, groups: list[str]) -> dict[str, dict[str, float]]:
    """Shares of the population by column and group, from a table with `group`, `share`, and `column` if need be.

    Raises:
        UserError: for columns that are missing or unknown, and shares that are none or do not add up to 1.
    """
    frame = read_table(path)
    need_columns(path, ["group", "share", *(["column"] if len(groups) > 1 else [])], frame.columns)
    column = frame["column"] if "column" in frame.columns else pl.Series([groups[0]] * len(frame))
    share = frame["share"].cast(pl.Float64, strict=False)
    found: dict[str, dict[str, float]] = {}
    for name, group, part in zip(column.cast(pl.String), frame["group"].cast(pl.String), share, strict=True):
        if name not in groups:
            raise UserError(f"--population {path}: got column {name!r}; must be one of --groups {','.join(groups)}")
        if group is None or part is None or not 0 < part <= 1:
            raise UserError(f"--population {path}: got group {group} with share {part}; must be above 0 and at most 1")
        found.setdefault(name, {})[group] = part
    for name, shares in found.items():
        if abs(sum(shares.values()) - 1) > WHOLE:
            raise UserError(f"--population {path}: shares of {name} add up to {sum(shares.values()):g}; must be 1")
    return found


def population_metrics(table: Table, shares: dict[str, float], alpha: float = 0.05) -> Iterator[Metric]:
    """Share of each group among the records of all groups named, with exact intervals; also over the population's."""
    size = dict(zip(table.groups, effective(table.cells, table.squares).sum((1, 2, 3)), strict=True))
    n = sum(size.get(group, 0.0) for group in shares)
    for group, wanted in shares.items():
        own = size.get(group, 0.0)
        low, high = clopper_pearson(own, n, alpha)
        split, share = f"{table.name}: {group}", own / n if n else np.nan
        yield metric(SHARE, split, share, (low, high), n, "proportion")
        yield metric(OVER, split, share / wanted, (low / wanted, high / wanted), n)
