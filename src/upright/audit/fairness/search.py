"""Which subgroup is treated worst, over every crossing of the group columns, with what a search finds by chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upright.audit.fairness import rich, scan, scores
from upright.audit.fairness.decisions import Grouping, metric
from upright.audit.fairness.intersections import MOST_SUBGROUPS, Subgroups, subgroups, worst_subgroup
from upright.run.evidence import Metric
from upright.run.measures import rates
from upright.run.measures.intervals import clopper_pearson, wilson
from upright.run.measures.rates import NAMES

Floats = NDArray[np.float64]
BINS = 50  # expectations that the scan tells apart
SEARCHED = ("selection rate", "false positive rate", "true positive rate")


@dataclass(frozen=True)
class Search:
    """What one search found."""

    metrics: list[Metric]
    subgroup: str
    p: float
    beyond: bool
    """Whether its rate is further from what was expected than the limit, by all of its interval."""
    telling: bool
    """Whether all records together show the rate to within the limit; else finding nothing says nothing."""
    text: str


def worst_gaps(g: Grouping, rng: np.random.Generator) -> list[Search]:
    """The subgroup whose weighted gap is largest (Kearns et al. 2018), for three rates; empty for weighted data."""
    grid = 1
    for j in range(len(g.columns)):
        grid *= 1 + len({value[j] for value in g.table.values})
    if g.weighted or grid > MOST_SUBGROUPS:
        return []
    found = subgroups(g.table.values, g.columns)
    return [one for name in SEARCHED if (one := _worst(g, name, found, rng)) is not None]


def _worst(g: Grouping, name: str, groups: Subgroups, rng: np.random.Generator) -> Search | None:
    hits, n = (part[NAMES.index(name)] for part in rates.parts(g.table.records.sum(1)))
    records = g.table.records.sum()
    if not 0 < hits.sum() < n.sum():
        return None
    worst = worst_subgroup(hits, n, groups.member, records, g.config.draws, rng)
    inside = groups.member[[worst.place]].indices
    x, size = float(hits[inside].sum()), float(n[inside].sum())
    whole = float(hits.sum() / n.sum())
    low, high = (float(end) for end in wilson(x, size))
    telling = _telling(g, hits.sum(), n.sum())
    subgroup = groups.names[worst.place]
    p = worst.above / worst.shuffles
    rate = f"{x / size:.3f}" if size else "not known"
    text = (
        f"{name} of {subgroup} is {rate} ({low:.3f} to {high:.3f}, n = {size:,.0f}) against {whole:.3f} of "
        "all; "
        f"weighted gap {worst.gap:.4f} ({worst.low:.4f} to {worst.high:.4f}, over {len(groups.names):,} subgroups at "
        f"once), {_shown(p)}"
    )
    metrics = [
        metric(f"{name}, largest weighted gap of a subgroup", subgroup, worst.gap, (worst.low, worst.high), records),
        _p(f"{name}, p of the largest weighted gap", subgroup, worst.above, worst.shuffles),
    ]
    beyond = worst.low * records / max(size, 1.0) > g.config.limit
    return Search(metrics, subgroup, p, bool(beyond), telling, text)


def rich_gaps(g: Grouping, rng: np.random.Generator) -> list[Search]:
    """The worst subgroup over linear rules and small trees, found on one half and judged on the other, for three rates.

    Empty for weighted data.
    """
    if g.weighted:
        return []
    values = rich.features(g.table.values, g.columns)
    return [one for name in SEARCHED if (one := _rich(g, name, values, rng)) is not None]


def _rich(g: Grouping, name: str, values: rich.Features, rng: np.random.Generator) -> Search | None:
    hits, n = (part[NAMES.index(name)] for part in rates.parts(g.table.records.sum(1)))
    records = g.table.records.sum()
    found = rich.rich_subgroup(hits, n, values, records, rng)
    if found is None or not found.n:
        return None
    low, high = (float(end) for end in wilson(found.hits, found.n))
    words = found.rule.words
    text = (
        f"{name} where {words} is {found.hits / found.n:.3f} ({low:.3f} to {high:.3f}, n = {found.n:,.0f}) against "
        f"{found.whole:.3f} of all; found on one half of the records, judged on the other; weighted gap "
        f"{found.gap:.4f} ({found.low:.4f} to {found.high:.4f}), {_shown(found.p)}"
    )
    title = f"{name}, weighted gap of a regressed subgroup"
    p = metric(f"{name}, p of a regressed subgroup", words, found.p, (found.p, found.p), found.n)
    metrics = [metric(title, words, found.gap, (found.low, found.high), records / 2), p]
    beyond = found.low * records / 2 / found.n > g.config.limit
    return Search(metrics, words, found.p, bool(beyond), _telling(g, hits.sum() / 2, n.sum() / 2), text)


def _telling(g: Grouping, hits: float, n: float) -> bool:
    low, high = wilson(hits, n)
    return bool((high - low) / 2 <= g.config.limit)


def bias_scans(g: Grouping, law: tuple[Floats, Floats] | None, rng: np.random.Generator) -> list[Search]:
    """Scan up and down. With scores: labels against what the scores promise; without: false positives against the
    overall false positive rate. Empty for weighted data.
    """  # noqa: D205
    if g.weighted or not g.config.rescans:
        return []
    observed, n, p, what = _outcomes(g, law)
    if not 0 < observed.sum() < n.sum():
        return []
    levels = [sorted({value[j] for value in g.table.values}) for j in range(len(g.columns))]
    codes = np.array([[levels[j].index(v) for j, v in enumerate(value)] for value in g.table.values])
    size = [len(level) for level in levels]
    found = []
    for up in (True, False):
        one = scan.bias_scan(scan.Cells(codes, size, n, p), observed, rng, up=up, rescans=g.config.rescans)
        found.append(_scanned(g, levels, one, what, up, _telling(g, observed.sum(), n.sum())))
    return found


def _outcomes(g: Grouping, law: tuple[Floats, Floats] | None) -> tuple[Floats, Floats, Floats, str]:
    if law is None:
        hits, n = (part[NAMES.index("false positive rate")] for part in rates.parts(g.table.records.sum(1)))
        return hits, n[:, None], np.array([hits.sum() / max(n.sum(), 1)]), "false positives"
    cells, at = scores.coarser(law[0], law[1], BINS)
    return cells[:, 1].sum(-1), cells.sum(1), np.clip(at, 1e-6, 1 - 1e-6), "positive labels"


def _scanned(g: Grouping, levels: list[list[str]], one: scan.Found, what: str, up: bool, telling: bool) -> Search:
    names = [
        f"{column}={'|'.join(level[i] for i in chosen)}"
        for column, level, chosen in zip(g.columns, levels, one.chosen, strict=True)
        if len(chosen) < len(level)
    ]
    subgroup = ", ".join(names) or "everyone"
    way = "more" if up else "fewer"
    low, high = (float(end) for end in wilson(one.observed, one.records))
    p = one.above / one.rescans
    rate = one.observed / max(one.records, 1)
    text = (
        f"{subgroup}: {rate:.3f} {what} a record ({low:.3f} to {high:.3f}, n = {one.records:,.0f}) where "
        f"{one.expected / max(one.records, 1):.3f} were expected, score {one.score:.2f}, {_shown(p)}"
    )
    name = f"bias scan, {way} {what} than expected"
    metrics = [
        metric(name, subgroup, rate, (low, high), one.records, "proportion"),
        _p(f"{name}, p", subgroup, one.above, one.rescans),
    ]
    expected = one.expected / max(one.records, 1)
    beyond = low - expected > g.config.limit or expected - high > g.config.limit
    return Search(metrics, subgroup, p, bool(beyond), telling, text)


def _p(name: str, split: str, above: int, all_: int) -> Metric:
    low, high = clopper_pearson(above, all_)
    return metric(name, split, above / all_, (float(low), float(high)), all_)


def _shown(p: float) -> str:
    return f"p = {p:.4f}" if p >= 0.0001 else "p < 0.0001"
