"""Counterfactual swaps: would the same record with its group exchanged be decided, or scored, otherwise?

The model is not here: the table holds its answer for each record, and that for the record with its group exchanged.
Both are counted in one stream, so the table may be larger than memory.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from upright.audit.fairness import counts as c
from upright.audit.fairness import reading
from upright.audit.fairness.config import Config
from upright.audit.fairness.decisions import metric
from upright.audit.fairness.reading import Source, plain
from upright.errors import UserError
from upright.run.evidence import Z_95, Metric
from upright.run.measures.intervals import wilson

Floats = NDArray[np.float64]
SAID, SWAPPED = "said", "swapped"
MOVED, SQUARED = "moved", "squared"
FLIPS, CHANGES = "flip rate under the swap", "mean change of the score under the swap"
FAVOURED = "favoured by the swap"
LOST = "records without an answer for the swap"


def swap_metrics(config: Config, positive: tuple[str, ...] | None) -> list[Metric]:
    """Flips and changes of scores, of all records and by group.

    Raises:
        UserError: for answers to swaps that share no word with the decisions.
    """
    words = None if positive is None else {_truth(word) for word in positive}
    files = reading.files(config.table)
    frame = pl.concat([_counted(path, config, words or set()) for path in files], how="vertical_relaxed")
    usable = frame.filter(pl.col(c.REASON).is_null())
    said, swapped = (sorted(usable[name].unique()) for name in (SAID, SWAPPED))
    if swapped and not set(said) & set(swapped):
        raise UserError(
            f"--swapped {config.swapped}: got {', '.join(swapped[:5])}, but decisions are {', '.join(said[:5])}; "
            "write both in the same words"
        )
    lost, everyone = (int(part[c.RECORDS].sum()) for part in (frame.filter(pl.col(c.REASON).is_not_null()), frame))
    found = [metric(LOST, "all", lost / everyone, wilson(lost, everyone), everyone, "proportion", "lower")]
    found += _measured(config, usable, "all", words)
    for name in config.groups:
        for value in usable[f"g:{name}"].unique().sort():
            own = usable.filter(pl.col(f"g:{name}") == value)
            found += _measured(config, own, f"{name}: {value}", words)
    return found


def _counted(path: Path, config: Config, words: set[str]) -> pl.DataFrame:
    """Records of a file by groups and both answers, with the sums of |f(x) - f(x')| and of its square."""
    source = reading.scan(path, config)
    groups = [plain(pl.col(name), source.kinds[name]).alias(f"g:{name}") for name in config.groups]
    moved = pl.lit(0.0)
    if config.swapped_score is not None:
        moved = (source.number(str(config.score)) - source.number(config.swapped_score)).abs()
    rows = source.frame.filter(reading.reason(source).is_null())
    rows = rows.select([*groups, *_answers(source, words), _reason(source).alias(c.REASON), moved.alias(MOVED)])
    sums = [pl.len().cast(pl.Int64).alias(c.RECORDS), pl.col(MOVED).sum(), (pl.col(MOVED) ** 2).sum().alias(SQUARED)]
    keys = [name for name in rows.collect_schema().names() if name != MOVED]
    found = rows.group_by(keys).agg(sums).collect(engine="streaming")
    return found.with_columns(pl.col(f"g:{name}").replace("", None).fill_null(c.MISSING) for name in config.groups)


def _answers(source: Source, words: set[str]) -> list[pl.Expr]:
    """The decision before and after the swap, in one spelling; equal ones where only scores are compared.

    A decision made by the score is 1 or 0; then so is that after the swap, `words` and 1 being positive.
    """
    config = source.config
    if config.swapped is not None:
        before, after = config.prediction, config.swapped
        if before is not None:
            pair = [_spelled(plain(pl.col(name), source.kinds[name])) for name in (before, after)]
        else:
            said = source.number(str(config.score)) >= config.threshold
            swapped = _spelled(plain(pl.col(after), source.kinds[after])).is_in([*words, "1"])
            pair = [one.cast(pl.Int8).cast(pl.String) for one in (said, swapped)]
    elif config.prediction is None:
        numbers = [source.number(str(name)) for name in (config.score, config.swapped_score)]
        pair = [(number >= config.threshold).cast(pl.Int8).cast(pl.String) for number in numbers]
    else:
        pair = [pl.lit(""), pl.lit("")]
    return [pair[0].alias(SAID), pair[1].alias(SWAPPED)]


def _spelled(text: pl.Expr) -> pl.Expr:
    """Words for true and false as 1 and 0, others as they are."""
    words = {word: str(int(truth)) for word, truth in reading.TRUTHS.items()}
    return pl.coalesce(text.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.String), text)


def _reason(source: Source) -> pl.Expr:
    """Why a record says nothing about the swap; null when it does."""
    config = source.config
    bad = []
    if config.swapped is not None:
        bad.append(plain(pl.col(config.swapped), source.kinds[config.swapped]).fill_null("") == "")
    if config.swapped_score is not None:
        number = source.number(config.swapped_score)
        bad.append(~number.is_between(0, 1).fill_null(False))
    return pl.when(pl.any_horizontal(bad)).then(pl.lit("no answer for the swap"))


def _measured(config: Config, frame: pl.DataFrame, split: str, words: set[str] | None) -> Iterator[Metric]:
    n = int(frame[c.RECORDS].sum())
    enough = n >= config.min_group
    if config.swapped is not None or config.prediction is None:
        yield _share(frame, pl.col(SAID) != pl.col(SWAPPED), FLIPS, split, enough)
        if words is not None:
            own = words if config.prediction is not None else {"1"}
            said, swapped = (pl.col(name).is_in(list(own)) for name in (SAID, SWAPPED))
            yield _share(frame, ~said & swapped, FAVOURED, split, enough)
    if config.swapped_score is not None:
        value, half = _mean(frame, n) if enough else (np.nan, np.nan)
        ends = max(0.0, value - half), min(1.0, value + half)
        yield metric(CHANGES, split, value, ends, n, "", "lower")


def _truth(word: str) -> str:
    truth = reading.TRUTHS.get(word.lower())
    return word if truth is None else str(int(truth))


def _share(frame: pl.DataFrame, which: pl.Expr, name: str, split: str, enough: bool) -> Metric:
    n, hits = (int(part[c.RECORDS].sum()) for part in (frame, frame.filter(which)))
    share = hits / n if enough else np.nan
    better = "lower" if name == FLIPS else "none"
    return metric(name, split, share, wilson(hits, n), n, "proportion", better)  # type: ignore[arg-type]


def _mean(frame: pl.DataFrame, n: int) -> tuple[float, float]:
    """Mean change and half its interval: normal, or by the rule of three where all changes are alike."""
    value = float(frame[MOVED].sum()) / n
    spread = max(float(frame[SQUARED].sum()) / n - value**2, 0.0)
    return value, Z_95 * np.sqrt(spread / (n - 1)) if spread > 1e-15 else 3 / n
