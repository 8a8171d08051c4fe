"""Recourse: what could the refused change, and does that help one group less, or cost it more?

After FACTS (Kavouras et al. 2023, arXiv:2306.14978): actions are tried on everyone who is refused, and a group is
treated worse where fewer of its members have an action that turns the decision (effectiveness), have fewer such actions
(choice), or pay more for the cheapest (cost). Pure functions, on a `predict` that decides about a table.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from upright.errors import UserError, unknown
from upright.run.evidence import Z_95, Metric
from upright.run.measures.intervals import Interval, range_of_means, simultaneous_range, wilson
from upright.run.tables import check_table, scan_table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Predict = Callable[[pl.DataFrame], Ints]
NOTHING = Interval(np.array(np.nan), np.array(np.nan))
WAY, CHOICE, COST = "refused with a way out", "ways out of a refusal", "cost of the cheapest way out"


class Action(NamedTuple):
    """One change of one column, which is allowed to everyone."""

    feature: str
    change: str
    """"+2" and "-2" move a number; anything else is the new value, "=+2" that of a number or word "+2"."""
    cost: float

    @property
    def shift(self) -> float | None:
        """How far the action moves a number; None where it sets a value."""
        return float(self.change) if self.change[:1] in ("+", "-") else None

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The table after everyone has done so. Raises UserError where the change does not fit the column."""
        column, kind = pl.col(self.feature), frame.schema[self.feature]
        try:
            if self.shift is not None:
                if not kind.is_numeric():
                    raise ValueError("the column holds no numbers")
                return frame.with_columns((column.cast(pl.Float64) + self.shift).alias(self.feature))
            value = pl.Series([self.change.removeprefix("=")]).cast(pl.Float64 if kind.is_numeric() else kind)
            return frame.with_columns(pl.lit(value[0]).alias(self.feature))
        except (ValueError, pl.exceptions.PolarsError) as error:
            said = str(error).splitlines()[0]
            raise UserError(f"--actions: {self.feature} cannot be changed by {self.change!r}: {said}") from error


def read_actions(path: Path, features: pl.DataFrame) -> list[Action]:
    """Actions from a table with the columns feature, change and cost.

    Raises:
        UserError: for a feature that the model does not use, a change that does not fit it, or a negative cost.
    """
    names = ["feature", "change", "cost"]
    check_table(path, names)
    words = scan_table(path).select(pl.col(names).cast(pl.String).str.strip_chars())  # in CSV "+2" stays as written
    found = []
    for name, change, cost in words.with_columns(pl.col("cost").cast(pl.Float64, strict=False)).collect().iter_rows():
        if name not in features.columns:
            raise unknown("feature in --actions", name, features.columns)
        if cost is None or not 0 <= cost < np.inf or not change:
            raise UserError(
                f"--actions {path}: got {name} {change} at cost {cost}; needs a change and a cost from 0 on"
            )
        action = Action(name, change, cost)
        action(features.head(1))
        found.append(action)
    if not found:
        raise UserError(f"--actions {path}: holds no rows; give feature, change and cost of one action or more")
    return found


def flips(predict: Predict, frame: pl.DataFrame, actions: Sequence[Action]) -> tuple[Bools, Bools]:
    """Who of n rows is refused, and (n, A) whose refusal each action turns."""
    refused = predict(frame) == 0
    turned = [refused & (predict(action(frame)) == 1) for action in actions]
    return refused, np.column_stack(turned) if turned else np.zeros((len(refused), 0), dtype=bool)


class Recourse(NamedTuple):
    """What the refused of each group (G,) can do."""

    refused: Ints
    able: Ints
    """How many have an action that turns the decision."""
    choice: Floats
    """Mean number of such actions, with its standard error (2, G)."""
    cost: Floats
    """Mean cost of the cheapest, over those who have one, with its standard error (2, G)."""


def recourse(refused: Bools, turned: Bools, cost: Floats, group: Ints, groups: int) -> Recourse:
    """Effectiveness, choice and cost by group, of rows (n,), their flips (n, A) and the actions' costs (A,)."""
    able = turned.any(1)
    cheapest = np.where(turned, cost, np.inf).min(1, initial=np.inf)
    inside = [group == g for g in range(groups)]
    return Recourse(
        np.array([(refused & own).sum() for own in inside]),
        np.array([(able & own).sum() for own in inside]),
        np.array([_mean(turned.sum(1)[refused & own], len(cost)) for own in inside]).T,
        np.array([_mean(cheapest[able & own], np.ptp(cost)) for own in inside]).T,
    )


def _mean(values: NDArray[np.generic], span: float) -> tuple[float, float]:
    """Mean and standard error; where all of n values are alike, 3/n of their span stands in for half the interval."""
    sample = np.asarray(values, dtype=float)
    n = len(sample)
    if n < 2:
        return np.nan, np.nan
    spread = sample.std(ddof=1)
    return float(sample.mean()), float(spread / np.sqrt(n) if spread > 0 else 3 * span / (n * Z_95))


# --- metrics ---------------------------------------------------------------------------------------------------


def metrics(method: str, names: Sequence[str], found: Recourse, min_group: int) -> Iterator[Metric]:
    """Each measure by group, and its largest difference; groups with too few to judge have no value."""
    enough = found.refused >= min_group
    low, high = wilson(found.able, found.refused)
    share = found.able / np.maximum(found.refused, 1)
    for i, name in enumerate(names):
        yield _metric(WAY, f"{method}: {name}", share[i], (low[i], high[i]), found.refused[i], enough[i])
    ends = simultaneous_range(found.able[enough], found.refused[enough]) if enough.sum() > 1 else NOTHING
    gap = float(np.ptp(share[enough])) if enough.any() else 0.0
    yield _metric(f"{WAY}, difference", method, gap, ends, found.refused[enough].sum(), enough.sum() > 1)
    for title, (value, error), n in ((CHOICE, found.choice, found.refused), (COST, found.cost, found.able)):
        fine = n >= min_group
        for i, name in enumerate(names):
            half = Z_95 * error[i]
            yield _metric(title, f"{method}: {name}", value[i], (value[i] - half, value[i] + half), n[i], fine[i])
        ends = range_of_means(value[fine], error[fine]) if fine.sum() > 1 else NOTHING
        gap = float(np.ptp(value[fine])) if fine.any() else 0.0
        yield _metric(f"{title}, difference", method, gap, ends, n[fine].sum(), fine.sum() > 1)


def _metric(name: str, split: str, value: float, ends: tuple[Floats, Floats], n: int, known: bool) -> Metric:
    low, high = (float(end) if known else None for end in ends)
    return Metric(
        name=name,
        split=split,
        value=float(value) if known else None,
        n=int(n),
        ci_low=low,
        ci_high=high,
        unit="proportion" if name.startswith(WAY) else "",
        better="lower" if name.endswith("difference") or name == COST else "higher",
    )
