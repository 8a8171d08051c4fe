"""Audits that need single records, which are held in memory: alike people, predicted numbers, rankings."""

from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm

from upright.audit.fairness import counts as c
from upright.audit.fairness import individual, ranking, rates, reading, regression, scores
from upright.audit.fairness.config import Config
from upright.audit.fairness.decisions import metric
from upright.audit.fairness.resample import bootstrap
from upright.audit.intervals import clopper_pearson, wilson
from upright.errors import UserError
from upright.run.evidence import Z_95, Metric, mean

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
MOST_LEVELS = 50  # of a column of text that becomes indicator columns


# --- records ---------------------------------------------------------------------------------------------------


def records(config: Config, numbers: list[str]) -> tuple[pl.DataFrame, list[dict[str, object]]]:
    """All rows with every one of `numbers` a finite number, groups as text; and the rows left out, with the reason."""
    frames, left = [], []
    for path in reading.files(config.table):
        source = reading.scan(path, config)
        groups = [reading.plain(pl.col(name), source.kinds[name]).alias(f"g:{name}") for name in config.groups]
        query = [] if config.query is None else [pl.col(config.query).cast(pl.String).alias("query")]
        values = [source.number(name).alias(f"x:{name}") for name in numbers]
        frame = source.frame.select([*groups, *query, *values]).with_row_index("row", offset=1).collect()
        bad = pl.any_horizontal([~pl.col(f"x:{name}").is_finite().fill_null(False) for name in numbers])
        for row in frame.filter(bad).head(reading.LISTED).iter_rows(named=True):
            left.append({"file": str(path), **row})
        frames.append(frame.filter(~bad))
    every = pl.concat(frames)
    if not len(every):
        raise UserError(f"{config.table}: no row has a number in {', '.join(numbers)}; check the columns named")
    return every.with_columns(pl.col(f"g:{name}").fill_null(c.MISSING) for name in config.groups), left


def coded(frame: pl.DataFrame, columns: tuple[str, ...]) -> tuple[list[str], Codes]:
    """Group names and codes (n,) of the crossing of some columns."""
    values, codes = c._crossing(frame, columns)
    return [c.CROSS.join(value) for value in values], codes


def crossings(columns: list[str]) -> list[tuple[str, ...]]:
    """Each column, each pair, and all of them together."""
    sizes = sorted({1, min(2, len(columns)), len(columns)})
    return [chosen for size in sizes for chosen in combinations(columns, size)]


# --- alike people ----------------------------------------------------------------------------------------------


class People(NamedTuple):
    """Records drawn from a table: standardised features (n, F), decisions 0 and 1 (n,), scores (n,) if any."""

    features: Floats
    decisions: Floats
    scores: Floats | None


def people(config: Config, rng: np.random.Generator) -> People:
    """Usable records, at most `config.individuals`, picked at random; text becomes indicator columns."""
    frame = pl.concat([_features(path, config) for path in reading.files(config.table)], how="vertical_relaxed")
    if len(frame) > config.individuals:
        frame = frame[np.sort(rng.choice(len(frame), config.individuals, replace=False))]
    x = individual.standardised(np.column_stack([_numeric(frame[f"f:{name}"], name) for name in config.features]))
    scores = np.asarray(frame["score"].to_numpy(), dtype=float) if config.score else None
    if config.prediction is None and scores is not None:
        return People(x, (scores >= config.threshold).astype(float), scores)
    said = frame["said"].to_numpy().astype(str)
    classes = sorted(set(said))
    if len(classes) > 2 and config.positive is None:
        raise UserError(f"--features: got {len(classes)} classes; name the --positive one for individual fairness")
    return People(x, (said == (config.positive or classes[-1])).astype(float), scores)


def _features(path: Path, config: Config) -> pl.DataFrame:
    source = reading.scan(path, config)
    columns = [pl.col(name).alias(f"f:{name}") for name in config.features]
    decision = config.prediction or config.label
    said = reading.plain(pl.col(decision), source.kinds[decision]).alias("said")
    score = source.number(config.score) if config.score else pl.lit(None, pl.Float64)
    usable = source.frame.filter(reading.reason(source).is_null())
    return usable.select([*columns, said, score.alias("score")]).collect(engine="streaming")


def _numeric(column: pl.Series, name: str) -> Floats:
    """A column as numbers (n, 1), or as indicators (n, levels)."""
    number = column.cast(pl.Float64, strict=False)
    if number.null_count() == column.null_count():
        filled = number.fill_null(number.mean())
        return np.asarray(filled.to_numpy()[:, None])
    levels = column.fill_null(c.MISSING).cast(pl.String)
    if levels.n_unique() > MOST_LEVELS:
        raise UserError(f"--features {name}: got {levels.n_unique():,} different texts; at most {MOST_LEVELS}")
    return levels.to_dummies().to_numpy().astype(float)


def individual_metrics(config: Config, rng: np.random.Generator) -> list[Metric]:
    """Consistency over nearest neighbours, and the share of pairs that break the Lipschitz condition."""
    x, said, score = people(config, rng)
    if len(x) <= config.neighbours:
        raise UserError(f"--neighbours: got {config.neighbours} for {len(x)} records; must be fewer than the records")
    alike = 1 - individual.departures(said, x, config.neighbours)
    found = [mean("consistency", alike, unit="proportion", better="higher", seed=config.seed)]
    if config.lipschitz is None:
        return found
    pairs = individual.lipschitz(said if score is None else score, x, config.lipschitz, rng)
    low, high = wilson(pairs.violations, pairs.pairs)
    share = pairs.violations / max(pairs.pairs, 1)
    name = "pairs treated more unlike than they are"
    return [*found, metric(name, "all", share, (float(low), float(high)), pairs.pairs, "proportion", "lower")]


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
        yield from _laws(config, what, f"by {name}", regression.laws(values, g, len(groups)), rng)
    yield from _pairs(name, groups, regression.pairwise_accuracy(y, f, g, len(groups), len(y), rng))


def _range(name: str, split: str, value: Floats, error: Floats, n: float) -> Metric:
    """The range with normal intervals at 1 - 0.05/G each, which hold together (Bonferroni)."""
    half = norm.ppf(1 - 0.025 / len(value)) * error
    low, high = value - half, value + half
    ends = (max(0.0, float(low.max() - high.min())), float(high.max() - low.min()))
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
    """Measures of order for each group column, averaged over rankings, beside what a random order would show."""
    keys = ["query"] if config.query else []
    order = frame.sort([*keys, f"x:{config.score}"], descending=[False] * len(keys) + [True])
    relevance = order[f"x:{config.label}"].to_numpy()
    cuts = [0, len(order)]
    if config.query:
        changed = (order["query"] != order["query"].shift(1)).fill_null(True).to_numpy()
        cuts = [*np.flatnonzero(changed).tolist(), len(order)]
    found: list[Metric] = []
    for column in config.groups:
        names, codes = coded(order, (column,))
        ranked = [(codes[a:b], relevance[a:b]) for a, b in pairwise(cuts)]
        found += _ranked(config, column, names, ranked, rng)
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
            bent = ranking.skew(groups, desired, top)
            found |= {
                f"smallest skew in the top {top}": float(bent.min()),
                f"largest skew in the top {top}": float(bent.max()),
            }
    return found
