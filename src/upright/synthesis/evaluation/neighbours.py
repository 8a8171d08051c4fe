"""Whether synthetic records lie nearer to training records than to real ones that nothing was trained on."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upright.run.evidence import Metric
from upright.run.measures.intervals import percentile, wilson
from upright.run.measures.nearest import nearest
from upright.run.plots import lines
from upright.synthesis.evaluation.part import CONTROL, HELDOUT, SYNTHETIC, TEST, TRAIN, Arms, Part
from upright.synthesis.evaluation.sides import matched, said, units

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

TITLE = "Nearest neighbours"
CLOSER = "nearer to a train than to a held-out record"
QUANTILE = 0.05
SAME = 1e-9
"""Distance up to which two vectors are of the same text."""
SHOWN = 5
GRID = 60  # points of a drawn distribution


class Pair(NamedTuple):
    """Distances (n,) of an arm's records to the nearest train and held-out record, and the unit of the nearer one."""

    train: Floats
    heldout: Floats
    unit: Whole

    @property
    def closer(self) -> Floats:
        """1 where train is nearer, 1/2 where both are equally near (n,)."""
        return np.asarray((self.train < self.heldout) + 0.5 * (self.train == self.heldout))


def neighbours_part(arms: Arms, vectors: Mapping[str, ArrayLike], *, resamples: int = 200) -> Part:
    """Distances of records to the nearest train and to the nearest held-out record, as many of each.

    Args:
        vectors: (n, d) of the records "train", "held-out", "synthetic" and, where there are any, "control" and "test",
            in their order; test records show what real ones give.
        resamples: bootstrap samples of the ratio of quantiles.

    Raises:
        ValueError: if vectors are missing, or not one for each record.
    """
    arrays = {name: _checked(arms, name, vectors) for name in (TRAIN, HELDOUT, SYNTHETIC)}
    arrays |= {name: _checked(arms, name, vectors) for name in (CONTROL, TEST) if name in vectors}
    train, heldout = matched(arms)
    owner = np.concatenate([units(arms.train)[train], -1 - units(arms.heldout)[heldout]])
    pairs = {
        name: _pair(arrays[name], arrays[TRAIN][train], arrays[HELDOUT][heldout], owner)
        for name in (SYNTHETIC, CONTROL, TEST)
        if name in arrays and len(arrays[name])
    }
    metrics = [metric for name, pair in pairs.items() for metric in _metrics(name, pair, resamples, arms.seed)]
    return _part(arms, pairs, metrics, len(train))


def _checked(arms: Arms, name: str, vectors: Mapping[str, ArrayLike]) -> Floats:
    corpus = {TRAIN: arms.train, TEST: arms.test, **arms.compared}.get(name)
    if name not in vectors or corpus is None:
        raise ValueError(f"{name}: got vectors of {', '.join(vectors)}; needs both records and vectors of that name")
    found = np.asarray(vectors[name], dtype=float)
    if found.ndim != 2 or len(found) != len(corpus):
        raise ValueError(f"{name}: got vectors of shape {found.shape} for {len(corpus)} records; needs one for each")
    return found


def _pair(own: Floats, train: Floats, heldout: Floats, owner: Whole) -> Pair:
    to_train, to_heldout = nearest(own, train), nearest(own, heldout)
    nearer = np.where(to_train.distance <= to_heldout.distance, to_train.row, len(train) + to_heldout.row)
    return Pair(to_train.distance, to_heldout.distance, owner[nearer])


def _metrics(split: str, pair: Pair, resamples: int, seed: int) -> list[Metric]:
    n, share = pair.train.size, share_interval(pair.closer, pair.unit)
    closer = Metric(
        name=CLOSER,
        split=split,
        value=float(pair.closer.mean()),
        n=n,
        ci_low=share[0],
        ci_high=share[1],
        unit="proportion",
        better="lower",
    )
    title, ratio = f"{100 * QUANTILE:g} % quantile of distances, train / held-out", _ratio(pair, resamples, seed)
    if ratio is None:
        return [closer, Metric(name=title, split=split, value=None, n=n, better="higher")]
    value, low, high = ratio
    return [closer, Metric(name=title, split=split, value=value, n=n, ci_low=low, ci_high=high, better="higher")]


def share_interval(hits: Floats, cluster: Whole) -> tuple[float, float]:
    """Wilson's 95 % interval of a mean of hits (n,) that are alike within clusters (n,).

    If train and held-out units are exchangeable, which of them a real unit is is a fair coin, the same for all records
    next to it. The mean over clusters of sizes c then has the variance of n = (Σ c)² / Σ c² coins (Kish 1965).
    """
    _, sizes = np.unique(cluster, return_counts=True)
    effective = sizes.sum() ** 2 / (sizes.astype(float) ** 2).sum()
    low, high = wilson(hits.mean() * effective, effective)
    return float(low), float(high)


def _ratio(pair: Pair, resamples: int, seed: int) -> tuple[float, float, float] | None:
    """Ratio of the quantiles with its bootstrap interval over records; None where there are too few to have one.

    Records that stand in both collections, such as "none", are left out: they are no one's secret.
    """
    both = np.stack([pair.train, pair.heldout])
    both = both[:, (both > SAME).any(0)]
    rng, n = np.random.default_rng([seed, 2]), both.shape[1]
    if n < 1 / QUANTILE:
        return None

    def quotient(rows: Whole) -> float:
        top, bottom = np.quantile(both[:, rows], QUANTILE, axis=1)
        return float(top / bottom) if bottom > SAME else float("nan")

    value = quotient(np.arange(n))
    drawn = np.array([quotient(np.asarray(rng.integers(0, n, n))) for _ in range(resamples)])
    if np.isnan(value) or np.isnan(drawn).any():
        return None
    low, high = percentile(drawn)
    return value, float(low), float(high)


def _part(arms: Arms, pairs: Mapping[str, Pair], metrics: list[Metric], size: int) -> Part:
    own = next((m for m in metrics if m.split == SYNTHETIC and m.name == CLOSER), None)
    if own is None:
        return Part(TITLE, "There are no synthetic records to compare.")
    above = own.ci_low is not None and own.ci_low > 0.5
    series = {
        f"{name} to {side}": _curve(getattr(pair, field))
        for name, pair in pairs.items()
        if name != TEST
        for side, field in ((TRAIN, "train"), (HELDOUT, "heldout"))
    }
    plot = lines(
        series,
        x="cosine distance to the nearest real record",
        y="records at most so far away",
        unit="proportion",
        alt="Distribution of the distances to the nearest train and held-out record.",
    )
    return Part(
        TITLE,
        f"Each record's nearest of {size:,} train records is compared with its nearest of as many held-out ones, by "
        f"the cosine distance of their vectors. If nothing was memorised, half lie nearer to train: here {said(own)}, "
        f"{'above' if above else 'at'} chance. The ratio of small distances falls below 1 if some records are copies.",
        metrics,
        [(plot, "Distances to the nearest real record; a curve to train above that to held-out means memorising.")],
        _examples(arms, pairs[SYNTHETIC]),
        [
            "A distance of vectors is no test of secrecy: near records may share no personal data, and far ones may.",
            "Intervals of shares count the real units that are nearest to any record, not the records.",
            "The ratio leaves out records that stand in both collections, such as very short ones; it has no "
            "value where that share of the others is the same as a held-out record.",
        ],
    )


def _curve(distances: Floats) -> list[tuple[float, float]]:
    ordered = np.sort(distances)
    rows = np.unique(np.linspace(0, ordered.size - 1, GRID).astype(int))
    return [(float(ordered[i]), (i + 1) / ordered.size) for i in rows]


def _examples(arms: Arms, pair: Pair) -> list[dict[str, object]]:
    """The synthetic records nearest to a training record; of the real one only its distance is said."""
    first = {text: i for i, text in reversed(list(enumerate(arms.synthetic.texts)))}
    return [
        {
            "synthetic record": arms.synthetic.texts[i],
            "distance to train": round(float(pair.train[i]), 4),
            "distance to held-out": round(float(pair.heldout[i]), 4),
        }
        for i in sorted(first.values(), key=lambda i: float(pair.train[i]))[:SHOWN]
    ]
