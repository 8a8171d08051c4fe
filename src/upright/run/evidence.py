"""Measured numbers with their uncertainty.

A `Metric` is one line of `metrics.json`. Proportions carry Wilson's 95 % interval (Wilson 1927, eq. 4
without continuity correction), means and ratios a percentile bootstrap over examples (Efron & Tibshirani
1993, ch. 13). Nothing measured is None, never NaN.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt, model_validator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Sample = NDArray[np.float64]

Stage = Literal["before", "after", "result"]
Better = Literal["higher", "lower", "none"]

Z_95 = 1.959963984540054  # 97.5 % quantile of the standard normal
RESAMPLES = 2000
DRAWS_AT_ONCE = 2**22  # bounds the bootstrap's memory to some 100 MB


class Metric(BaseModel):
    """One number as it stands in metrics.json.

    `value` is None when nothing was measured (n = 0); the interval is None when there is none to give (one
    observation, such as a time). Proportions have the unit "proportion" and lie in [0, 1].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    stage: Stage = "result"
    split: str = "all"
    value: FiniteFloat | None
    n: NonNegativeInt
    ci_low: FiniteFloat | None = None
    ci_high: FiniteFloat | None = None
    unit: str = ""
    better: Better = "none"

    @model_validator(mode="after")
    def _both_ends_or_none(self) -> Self:
        if (self.ci_low is None) != (self.ci_high is None):
            raise ValueError(f"{self.name}: an interval needs both ends")
        return self


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval for `hits` successes in `n` > 0 trials.

    >>> tuple(round(end, 4) for end in wilson(8, 10))
    (0.4902, 0.9433)
    """
    share, z2 = hits / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # exact at the ends, where rounding could leave a hair
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == n else centre + half)


def proportion(
    name: str, hits: int, n: int, *, stage: Stage = "result", split: str = "all", better: Better = "higher"
) -> Metric:
    """The share of `hits` among `n`, with Wilson's interval. Raises ValueError unless 0 <= hits <= n."""
    if not 0 <= hits <= n:
        raise ValueError(f"{name}: hits={hits} of n={n}; must be 0 <= hits <= n")
    low, high = wilson(hits, n) if n else (None, None)
    value = hits / n if n else None
    return Metric(
        name=name,
        stage=stage,
        split=split,
        value=value,
        n=n,
        ci_low=low,
        ci_high=high,
        unit="proportion",
        better=better,
    )


def scalar(
    name: str,
    value: float | None,
    *,
    stage: Stage = "result",
    split: str = "all",
    n: int = 1,
    unit: str = "",
    better: Better = "none",
) -> Metric:
    """A single observation without an interval, such as a time, a size or a privacy budget."""
    return Metric(name=name, stage=stage, split=split, value=value, n=n, unit=unit, better=better)


def mean(
    name: str,
    values: "ArrayLike",
    *,
    stage: Stage = "result",
    split: str = "all",
    unit: str = "",
    better: Better = "none",
    seed: int = 0,
) -> Metric:
    """The mean of `values` (n,) with a bootstrap interval; no interval for n < 2.

    Raises ValueError when a value is not finite: such rows are failures to record, not numbers to average.
    """
    sample = _finite(name, values)
    low, high = _bootstrap(sample[None], lambda means: means[0], seed)
    return Metric(
        name=name,
        stage=stage,
        split=split,
        value=float(sample.mean()) if sample.size else None,
        n=sample.size,
        ci_low=low,
        ci_high=high,
        unit=unit,
        better=better,
    )


def ratio(
    name: str,
    numerators: "ArrayLike",
    denominators: "ArrayLike",
    *,
    transform: "Callable[[Sample], Sample] | None" = None,
    stage: Stage = "result",
    split: str = "all",
    unit: str = "",
    better: Better = "none",
    seed: int = 0,
) -> Metric:
    """`transform(sum(numerators) / sum(denominators))`, bootstrapped over the pairs.

    Perplexity of texts, say: negative log-likelihoods over token counts, with `transform=numpy.exp`.
    """
    import numpy as np

    top, bottom = _finite(name, numerators), _finite(name, denominators)
    if top.size != bottom.size or bool((bottom <= 0).any()):
        raise ValueError(f"{name}: needs one denominator > 0 for each of {top.size} numerators, got {bottom.size}")

    def statistic(means: "Sample") -> "Sample":
        quotient = means[0] / means[1]
        return quotient if transform is None else transform(quotient)

    pairs = np.stack([top, bottom])
    low, high = _bootstrap(pairs, statistic, seed)
    value = float(statistic(pairs.mean(1, keepdims=True))[0]) if top.size else None
    return Metric(
        name=name,
        stage=stage,
        split=split,
        value=value,
        n=top.size,
        ci_low=low,
        ci_high=high,
        unit=unit,
        better=better,
    )


def perplexity(
    name: str, nlls: "ArrayLike", tokens: "ArrayLike", *, stage: Stage = "result", split: str = "all"
) -> Metric:
    """Exponential of the mean NLL a token, from each text's NLL sum (nats) and tokens; bootstrapped over texts.

    Texts without a predicted token say nothing and are left out.
    """
    import numpy as np

    counts = np.asarray(tokens)
    some = counts > 0
    return ratio(name, np.asarray(nlls)[some], counts[some], transform=np.exp, stage=stage, split=split, better="lower")


def paired_difference(
    name: str,
    before: "ArrayLike",
    after: "ArrayLike",
    *,
    split: str = "all",
    unit: str = "",
    better: Better = "none",
    seed: int = 0,
) -> Metric:
    """Mean of `after - before` over the same examples, bootstrapped over pairs."""
    first, second = _finite(name, before), _finite(name, after)
    if first.size != second.size:
        raise ValueError(f"{name}: {first.size} values before but {second.size} after; pairs need as many of each")
    return mean(name, second - first, split=split, unit=unit, better=better, seed=seed)


def _finite(name: str, values: "ArrayLike") -> "Sample":
    import numpy as np  # here, so that `Metric` alone costs no import of numpy

    sample = np.asarray(values, dtype=np.float64).reshape(-1)
    bad = np.flatnonzero(~np.isfinite(sample))
    if bad.size:
        raise ValueError(f"{name}: {bad.size} of {sample.size} values are not finite (first: row {bad[0]})")
    return sample


def _bootstrap(
    columns: "Sample", statistic: "Callable[[Sample], Sample]", seed: int
) -> tuple[float, float] | tuple[None, None]:
    """Percentile interval of `statistic`, (k, B) -> (B,), over resampled means of the `columns` (k, n)."""
    import numpy as np

    n = columns.shape[1]
    if n < 2:
        return None, None
    rng = np.random.default_rng(seed)
    size = max(1, DRAWS_AT_ONCE // n)
    found = []
    for start in range(0, RESAMPLES, size):
        rows = rng.integers(0, n, (min(size, RESAMPLES - start), n))
        found.append(statistic(columns[:, rows].mean(2)))
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return float(low), float(high)


# --- reading metrics ---


@dataclass(frozen=True)
class Change:
    """One row for a reader: a number before and after, or a single result."""

    name: str
    split: str
    before: Metric | None
    after: Metric | None
    result: Metric | None

    @property
    def shown(self) -> Metric:
        """The metric that stands for the row: what came out."""
        return next(metric for metric in (self.after, self.result, self.before) if metric is not None)

    @property
    def delta(self) -> float | None:
        """After minus before; None when either is unknown."""
        if self.before is None or self.after is None or self.before.value is None or self.after.value is None:
            return None
        return self.after.value - self.before.value

    @property
    def apart(self) -> bool:
        """Whether the two intervals do not overlap, a cautious sign that the change is no chance."""
        return self.before is not None and self.after is not None and not overlap(self.before, self.after)

    @property
    def verdict(self) -> Literal["better", "worse", "none"]:
        """The direction of the change in the metric's own sense; "none" when it has none or stayed."""
        better = self.shown.better
        if not self.delta or better == "none":
            return "none"
        return "better" if (self.delta > 0) == (better == "higher") else "worse"


def changes(metrics: Iterable[Metric]) -> list[Change]:
    """Metrics paired by name and split, in order of first appearance."""
    rows: dict[tuple[str, str], dict[Stage, Metric]] = {}
    for metric in metrics:
        rows.setdefault((metric.name, metric.split), {})[metric.stage] = metric
    return [
        Change(name, split, stages.get("before"), stages.get("after"), stages.get("result"))
        for (name, split), stages in rows.items()
    ]


def overlap(first: Metric, second: Metric) -> bool:
    """Whether two intervals share a point; a metric without an interval counts as its value alone."""
    ends = [
        (m.value if m.ci_low is None else m.ci_low, m.value if m.ci_high is None else m.ci_high)
        for m in (first, second)
    ]
    if any(end is None for pair in ends for end in pair):
        return True
    (low1, high1), (low2, high2) = ends
    return bool(low1 <= high2 and low2 <= high1)  # type: ignore[operator]


def display(value: float | None, unit: str, signed: bool = False) -> str:
    """A number as people read it: proportions in percent, seconds and bytes in a fitting unit.

    >>> display(0.8, "proportion"), display(7.3e6, "bytes"), display(None, "s"), display(-0.031, "")
    ('80.0 %', '7.3 MB', '–', '−0.031')
    """
    if value is None:
        return "–"
    sign = "−" if value < 0 else "+" if signed else ""
    size = abs(value)
    if unit == "proportion":
        return f"{sign}{100 * size:.1f} {'points' if signed else '%'}"
    if unit == "bytes":
        return sign + _bytes(size)
    if unit == "s":
        return sign + _seconds(size)
    return f"{sign}{_number(size)} {unit}".strip()


def interval(metric: Metric, dash: str = " – ") -> str:
    """The interval as people read it, empty when there is none."""
    if metric.ci_low is None or metric.ci_high is None:
        return ""
    low, high = display(metric.ci_low, metric.unit), display(metric.ci_high, metric.unit)
    unit = low.rpartition(" ")[2] if " " in low else ""
    if unit and high.endswith(f" {unit}"):  # say a common unit once
        low = low.removesuffix(f" {unit}")
    return f"{low}{dash}{high}"


def _number(size: float) -> str:
    if size >= 1000:
        return f"{size:,.0f}"
    if size == int(size):
        return f"{size:.0f}"
    return f"{size:.3g}" if size < 100 else f"{size:.1f}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _seconds(size: float) -> str:
    if size < 120:
        return f"{size:.3g} s"
    hours, minutes = divmod(round(size / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def headline(metrics: Sequence[Metric]) -> Change | None:
    """The row that stands for a whole run: the first that has a before and an after, else the first."""
    rows = changes(metrics)
    return next((row for row in rows if row.delta is not None), rows[0] if rows else None)
