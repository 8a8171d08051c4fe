"""Equal numbers of records on every side, and how far a distance between two samples may be off."""

from collections.abc import Callable, Mapping
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t

from upright.run.evidence import Better, Metric
from upright.synthesis.corpus import Corpus

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def equal_rows(sizes: Mapping[str, int], seed: int) -> dict[str, Ints]:
    """Rows of each side, in order: as many as the smallest side has, drawn without replacement."""
    least = min(sizes.values(), default=0)
    return {name: _draw(size, least, (seed, crc32(name.encode()))) for name, size in sizes.items()}


def _draw(size: int, wanted: int, seed: tuple[int, int]) -> Ints:
    if size == wanted:
        return np.arange(size)
    return np.sort(np.random.default_rng(seed).choice(size, wanted, replace=False))


def equal(sides: Mapping[str, Corpus], seed: int) -> dict[str, Corpus]:
    """The sides, cut to the size of the smallest by `equal_rows`."""
    rows = equal_rows({name: len(corpus) for name, corpus in sides.items()}, seed)
    return {name: corpus.take(rows[name].tolist()) for name, corpus in sides.items()}


def halves(statistic: Callable[[Ints, Ints], float], n: int, draws: int, seed: int) -> Floats:
    """`statistic` of rows of both sides, for `draws` random halves of each side's n records: (draws,)."""
    rng = np.random.default_rng(seed)
    half = max(1, n // 2)
    return np.array([statistic(rng.permutation(n)[:half], rng.permutation(n)[:half]) for _ in range(draws)])


def half_width(values: ArrayLike) -> float:
    """Half a 95 % interval around the statistic of all n records, from its values on random halves.

    Halves drawn without replacement differ from each other as much as samples of n do from the truth: the delete-half
    jackknife (Shao & Wu 1989, "A general theory for jackknife variance estimation"). Unlike the bootstrap they never
    hold a record twice, which measures of overlap and diversity could not bear.
    """
    sample = np.asarray(values, dtype=float)
    return float(t.ppf(0.975, sample.size - 1) * sample.std(ddof=1))


def estimate(
    name: str,
    value: float,
    spread: ArrayLike,
    n: int,
    *,
    split: str,
    unit: str = "",
    better: Better = "none",
    within: tuple[float, float] = (0.0, float("inf")),
) -> Metric:
    """A metric whose interval comes from `spread`, its values on random halves; ends are kept `within` its range."""
    half = half_width(spread)
    low, high = (float(np.clip(end, *within)) for end in (value - half, value + half))
    return Metric(name=name, split=split, value=value, n=n, ci_low=low, ci_high=high, unit=unit, better=better)
