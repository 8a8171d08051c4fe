"""People who are alike: drawn from a table as numbers, are they treated alike, and what do features tell of groups?"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from upright.audit.fairness import counts as c
from upright.audit.fairness import individual, proxies, reading
from upright.audit.fairness.config import Config
from upright.audit.fairness.decisions import metric
from upright.errors import UserError
from upright.run.evidence import Metric, mean, paired_difference
from upright.run.measures.intervals import wilson
from upright.run.measures.roc import auc

Floats = NDArray[np.float64]
MOST_LEVELS = 50  # of a column of text that becomes indicator columns
CHANCE = "told by chance, balanced accuracy"
PROXY = "told from the features, balanced accuracy"


class People(NamedTuple):
    """Records drawn from a table: standardised features (n, F), decisions 0 and 1 (n,), scores (n,) if any."""

    features: Floats
    decisions: Floats
    scores: Floats | None
    groups: dict[str, NDArray[np.str_]]
    """Values (n,) of each group column."""


def people(config: Config, positive: tuple[str, ...], rng: np.random.Generator) -> People:
    """Usable records, at most `config.individuals`, picked at random; text becomes indicator columns."""
    frame = pl.concat([_features(path, config) for path in reading.files(config.table)], how="vertical_relaxed")
    if len(frame) > config.individuals:
        frame = frame[np.sort(rng.choice(len(frame), config.individuals, replace=False))]
    x = individual.standardised(np.column_stack([_numeric(frame[f"f:{name}"], name) for name in config.features]))
    scores = np.asarray(frame["score"].to_numpy(), dtype=float) if config.score else None
    groups = {name: frame[f"g:{name}"].replace("", None).fill_null(c.MISSING).to_numpy() for name in config.groups}
    if config.prediction is None and scores is not None:
        return People(x, (scores >= config.threshold).astype(float), scores, groups)
    return People(x, frame["said"].is_in(list(positive)).to_numpy().astype(float), scores, groups)


def _features(path: Path, config: Config) -> pl.DataFrame:
    source = reading.scan(path, config)
    columns = [pl.col(name).alias(f"f:{name}") for name in config.features]
    columns += [reading.plain(pl.col(name), source.kinds[name]).alias(f"g:{name}") for name in config.groups]
    decision = config.prediction or config.label
    said = reading.plain(pl.col(decision), source.kinds[decision]).alias("said")
    score = source.number(config.score) if config.score else pl.lit(None, pl.Float64)
    usable = source.frame.filter(reading.reason(source).is_null())
    return usable.select([*columns, said, score.alias("score")]).collect(engine="streaming")


def _numeric(column: pl.Series, name: str) -> Floats:
    """A column as numbers (n, 1), the mean where one is missing; or as indicators (n, levels)."""
    text = column.cast(pl.String).str.strip_chars().replace("", None)
    number = (text.replace(["true", "false"], ["1", "0"]) if column.dtype == pl.Boolean else text).cast(
        pl.Float64, strict=False
    )
    if number.null_count() == text.null_count():
        known = number.to_frame().select(pl.when(pl.first().is_finite()).then(pl.first())).to_series()
        if known.null_count() == len(known):
            raise UserError(f"--features {name}: holds no value; name another column")
        return np.asarray(known.fill_null(known.mean()).to_numpy()[:, None])
    if text.n_unique() > MOST_LEVELS:
        raise UserError(f"--features {name}: got {text.n_unique():,} different texts; at most {MOST_LEVELS}")
    return text.fill_null(c.MISSING).to_dummies().to_numpy().astype(float)


def individual_metrics(config: Config, positive: tuple[str, ...], rng: np.random.Generator) -> list[Metric]:
    """Consistency over nearest neighbours, pairs that break the Lipschitz condition, and what features tell of groups.

    Raises:
        UserError: for features that cannot be used, or fewer records than neighbours.
    """
    drawn = people(config, positive, rng)
    x, said, score = drawn.features, drawn.decisions, drawn.scores
    if len(x) <= config.neighbours:
        raise UserError(f"--neighbours: got {config.neighbours} for {len(x)} records; must be fewer than the records")
    alike = 1 - individual.departures(said, x, config.neighbours)
    found = [mean("consistency", alike, unit="proportion", better="higher", seed=config.seed)]
    if config.lipschitz is not None:
        found.append(_steep(said if score is None else score, x, config.lipschitz, rng))
    for column, values in drawn.groups.items():
        found += _proxies(config, column, values, x, rng)
    return found


def _steep(score: Floats, x: Floats, bound: float, rng: np.random.Generator) -> Metric:
    pairs = individual.lipschitz(score, x, bound, rng)
    low, high = wilson(pairs.violations, pairs.pairs)
    share = pairs.violations / max(pairs.pairs, 1)
    name = "pairs treated more unlike than they are"
    return metric(name, "all", share, (float(low), float(high)), pairs.pairs, "proportion", "lower")


def _proxies(
    config: Config, column: str, values: NDArray[np.str_], x: Floats, rng: np.random.Generator
) -> list[Metric]:
    """How well held-out members of the groups that are big enough are told apart by their features."""
    codes = np.unique(values, return_inverse=True)[1]
    size = np.bincount(codes)
    big = np.flatnonzero(size >= max(config.min_group, proxies.FOLDS))
    here = np.isin(codes, big)
    if len(big) < 2:
        return [metric(PROXY, column, np.nan, (np.nan, np.nan), here.sum(), "proportion", "lower")]
    y = np.searchsorted(big, codes[here])
    chance = proxies.held_out(x[here], y, rng)
    said = chance.argmax(1)
    told = proxies.balanced_accuracy(y, proxies.balanced(chance, y))
    found = [
        metric(PROXY, column, told.value, (told.low, told.high), len(y), "proportion", "lower"),
        metric(CHANCE, column, 1 / len(big), (1 / len(big), 1 / len(big)), len(y)),
        paired_difference(
            "told from the features, accuracy over the majority's",
            y == np.bincount(y).argmax(),
            said == y,
            split=column,
            better="lower",
            seed=config.seed,
        ),
    ]
    if len(big) == 2:
        found.append(auc(chance[y == 1, 1], chance[y == 0, 1], name="told from the features, AUC", split=column))
    return found
