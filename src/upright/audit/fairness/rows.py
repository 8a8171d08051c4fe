"""Audits that need single records, which are held in memory: predicted numbers and rankings."""

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from upright.audit.fairness import counts as c
from upright.audit.fairness import ranking, reading, regression, scores
from upright.audit.fairness.config import Config
from upright.audit.fairness.decisions import SIMULTANEOUS, metric
from upright.audit.fairness.resample import bootstrap, simultaneous_smirnov
from upright.errors import UserError
from upright.run.evidence import Z_95, Metric, mean
from upright.run.measures import rates
from upright.run.measures.intervals import clopper_pearson, range_of_means, wilson

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


# --- records ---------------------------------------------------------------------------------------------------


class Records(NamedTuple):
    """Rows of a table that are held in memory."""

    frame: pl.DataFrame
    """Those that can be used: row, g:NAME as text, x:NAME as numbers, and the query if there is one."""
    listed: list[dict[str, object]]
    """The first of each file that cannot."""
    dropped: int
    """How many cannot."""


def records(config: Config, numbers: list[str]) -> Records:
    """All rows; those can be used in which every one of `numbers` is finite, and the query is there.

    Raises:
        UserError: when most cannot be used.
    """
    frames, left, dropped = [], [], 0
    asked = [] if config.query is None else [config.query]
    for path in reading.files(config.table):
        source = reading.scan(path, config)
        groups = [reading.plain(pl.col(name), source.kinds[name]).alias(f"g:{name}") for name in config.groups]
        query = [reading.plain(pl.col(name), source.kinds[name]).alias("query") for name in asked]
        values = [source.number(name).alias(f"x:{name}") for name in dict.fromkeys(numbers)]
        frame = source.frame.select([*groups, *query, *values]).with_row_index("row", offset=1).collect()
        unknown = [~pl.col(f"x:{name}").is_finite().fill_null(False) for name in numbers]
        bad = pl.any_horizontal([*unknown, *(pl.col("query").fill_null("") == "" for _ in asked)])
        dropped += int(frame.select(bad.sum()).item())
        for row in frame.filter(bad).head(reading.LISTED).iter_rows(named=True):
            left.append({"file": str(path), **row})
        frames.append(frame.filter(~bad))
    every = pl.concat(frames)
    if len(every) < max(dropped, 1):
        raise UserError(
            f"{config.table}: {dropped:,} of {len(every) + dropped:,} rows lack {' or '.join([*numbers, *asked])} "
            "(numbers must be finite); check the columns that were named"
        )
    groups = [pl.col(f"g:{name}").replace("", None).fill_null(c.MISSING) for name in config.groups]
    return Records(every.with_columns(groups), left, dropped)


def coded(frame: pl.DataFrame, columns: tuple[str, ...]) -> tuple[list[str], Codes]:
    """Group names and codes (n,) of the crossing of some columns."""
    values, codes = c._crossing(frame, columns)
    return [c.CROSS.join(value) for value in values], codes


def crossings(columns: list[str]) -> list[tuple[str, ...]]:
    """Each column, each pair, and all of them together."""
    sizes = sorted({1, min(2, len(columns)), len(columns)})
    return [chosen for size in sizes for chosen in combinations(columns, size)]


# --- predicted numbers -----------------------------------------------------------------------------------------


def regression_metrics(config: Config, frame: pl.DataFrame, rng: np.random.Generator) -> list[Metric]:
    """Errors, laws and pairwise order of predicted numbers, for every grouping."""
    y, f = frame[f"x:{config.label}"].to_numpy(), frame[f"x:{config.prediction}"].to_numpy()
    found: list[Metric] = []
    for columns in crossings(config.groups):
        names, codes = coded(frame, columns)
        size = np.bincount(codes, minlength=len(names))
        big = np.flatnonzero(size >= config.min_group)
        name = c.CROSS.join(columns)
        for small in np.flatnonzero(size < config.min_group):
            nothing = (np.nan, np.nan)
            found.append(metric("mean absolute error", f"{name}: {names[small]}", np.nan, nothing, size[small]))
        if len(big) < 2:
            continue
        place = np.full(len(names), -1)
        place[big] = np.arange(len(big))
        here = place[codes] >= 0
        kept = [names[i] for i in big]
        found += _regressed(config, name, kept, y[here], f[here], place[codes[here]], rng)
    return found


def _regressed(
    config: Config, name: str, groups: list[str], y: Floats, f: Floats, g: Codes, rng: np.random.Generator
) -> Iterator[Metric]:
    m = regression.moments(y, f, g, len(groups))
    measures = {
        "mean residual": regression.mean_residual(m),
        "mean absolute error": regression.mean_absolute_error(m),
        "root mean square error": regression.root_mean_square_error(m),
    }
    for measure, (value, error) in measures.items():
        for i, group in enumerate(groups):
            ends = (value[i] - Z_95 * error[i], value[i] + Z_95 * error[i])
            yield metric(measure, f"{name}: {group}", value[i], ends, m.n[i])
        yield _range(f"{measure}, difference", f"by {name}", value, error, m.n.sum())
    whole = regression.mean_absolute_error(regression.moments(y, f, np.zeros_like(g), 1)).value[0]
    mae = measures["mean absolute error"]
    if whole > 0:
        relative = "mean absolute error, difference over the overall error"
        yield _range(relative, f"by {name}", mae.value / whole, mae.error / whole, m.n.sum())
    for what, values in (("predictions", f), ("residuals", f - y)):
        law = regression.laws(values, g, len(groups))
        yield from _laws(config, what, f"by {name}", law, rng)
        low, high = simultaneous_smirnov(law[0])
        distance = float(scores.kolmogorov_smirnov(law[0]))
        title = f"Kolmogorov-Smirnov distance of {what} {SIMULTANEOUS}"
        yield metric(title, f"by {name}", distance, (low, high), m.n.sum(), "", "lower")
    yield from _pairs(name, groups, regression.pairwise_accuracy(y, f, g, len(groups), len(y), rng))


def _range(name: str, split: str, value: Floats, error: Floats, n: float) -> Metric:
    ends = range_of_means(value, error)
    return metric(name, split, float(rates.difference(value)), ends, n, "", "lower")


def _laws(
    config: Config, what: str, split: str, law: tuple[Floats, Floats], rng: np.random.Generator
) -> Iterator[Metric]:
    cells, at = law

    def statistic(tables: Floats) -> Floats:
        return np.stack([scores.kolmogorov_smirnov(tables), scores.wasserstein(tables, at)], -1)

    value = statistic(cells[None])[0]
    draws = int(np.clip(2**23 // cells.size, 200, config.draws))
    low, high = bootstrap(cells, statistic, draws, rng, accelerate=False)
    for i, distance in enumerate(("Kolmogorov-Smirnov", "Wasserstein")):
        ends = (low[i], high[i])
        yield metric(f"{distance} distance of {what}", split, value[i], ends, cells.sum(), "", "lower")


def _pairs(name: str, groups: list[str], counted: tuple[Codes, Codes]) -> Iterator[Metric]:
    right, every = counted
    low, high = wilson(right, every)
    for i, j in np.ndindex(*right.shape):
        share = right[i, j] / every[i, j] if every[i, j] else np.nan
        split = f"{name}: {groups[i]} above {groups[j]}"
        ends = (low[i, j], high[i, j])
        yield metric("pairs in the right order", split, share, ends, every[i, j], "proportion", "higher")


# --- rankings --------------------------------------------------------------------------------------------------


def ranking_metrics(config: Config, frame: pl.DataFrame, rng: np.random.Generator) -> list[Metric]:
    """Measures of order for each group column, averaged over rankings, beside what a random order would show.

    Groups under `config.min_group` items are listed, and their items are left out of the order.
    """
    keys = ["query"] if config.query else []
    mixed = frame[rng.permutation(len(frame))]  # ties fall at random, not as the file has them
    order = mixed.sort([*keys, f"x:{config.score}"], descending=[False] * len(keys) + [True], maintain_order=True)
    relevance = order[f"x:{config.label}"].to_numpy()
    cuts = [0, len(order)]
    if config.query:
        changed = (order["query"] != order["query"].shift(1)).fill_null(True).to_numpy()
        cuts = [*np.flatnonzero(changed).tolist(), len(order)]
    found: list[Metric] = []
    for column in config.groups:
        names, codes = coded(order, (column,))
        size = np.bincount(codes, minlength=len(names))
        found += [
            metric("exposure", f"{column}: {names[i]}", np.nan, (np.nan, np.nan), size[i])
            for i in np.flatnonzero(size < config.min_group)
        ]
        big = np.flatnonzero(size >= config.min_group)
        if len(big) < 2:
            found.append(metric("NDKL, p of a random order", f"by {column}", np.nan, (np.nan, np.nan), len(codes)))
            continue
        place = np.full(len(names), -1)
        place[big] = np.arange(len(big))
        parts = [(place[codes[a:b]], relevance[a:b]) for a, b in pairwise(cuts)]
        ranked = [(g[g >= 0], r[g >= 0]) for g, r in parts if (g >= 0).any()]
        found += _ranked(config, column, [names[i] for i in big], ranked, rng)
    return found


def _ranked(
    config: Config, column: str, names: list[str], ranked: list[tuple[Codes, Floats]], rng: np.random.Generator
) -> Iterator[Metric]:
    share = np.bincount(np.concatenate([g for g, _ in ranked]), minlength=len(names))
    desired = share / share.sum()
    seen = [_order(config, names, desired, g, r) for g, r in ranked]
    shuffles = max(1, min(config.permutations, 2_000_000 // max(int(share.sum()), 1)))
    null = np.array([np.mean([ranking.ndkl(rng.permutation(g), desired) for g, _ in ranked]) for _ in range(shuffles)])
    for name in seen[0]:
        values = np.array([one[name] for one in seen])
        values = values[np.isfinite(values)]
        yield mean(name, values, split=f"by {column}", seed=config.seed)
    value = float(np.mean([one["NDKL"] for one in seen]))
    above = int((null >= value - 1e-12).sum()) + 1
    ends = np.quantile(null, [0.025, 0.975])
    yield metric("NDKL of a random order", f"by {column}", float(null.mean()), (ends[0], ends[1]), share.sum())
    low, high = clopper_pearson(above, shuffles + 1)
    yield metric(
        "NDKL, p of a random order", f"by {column}", above / (shuffles + 1), (float(low), float(high)), shuffles + 1
    )


def _order(config: Config, names: list[str], desired: Floats, groups: Codes, relevance: Floats) -> dict[str, float]:
    """Measures of one ranking."""
    given = ranking.exposure(groups, len(names))
    merit = ranking.exposure_per_relevance(groups, relevance, len(names))
    found = {
        "NDKL": ranking.ndkl(groups, desired),
        "infeasible prefixes, share": ranking.infeasible_index(groups, desired) / len(groups),
        "exposure, ratio": float(rates.ratio(given)),
        "exposure per relevance, ratio": float(rates.ratio(merit)),
        "NDCG": ranking.ndcg(relevance) if (relevance <= 30).all() else float("nan"),
    }
    for top in config.top:
        if top <= len(groups):
            times = np.exp(ranking.skew(groups, desired, top))  # 0, not -inf, for a group that is not there
            found |= {
                f"share in the top {top} over share of all, smallest": float(times.min()),
                f"share in the top {top} over share of all, largest": float(times.max()),
            }
    return found
