"""Rates of confusion tables by group, and what is made of them: gaps, ratios, odds, disparity, distances of laws.

Tables are arrays (..., G, 2, 2) indexed [group, label, prediction], counts or sums of weights; any axes may stand in
front (bootstrap draws). Rates are arrays (..., R, G), in the order of `RATES`. A rate whose denominator is empty is
NaN, never 0 and never 1, and a gap leaves such a group out.

>>> import numpy as np
>>> tables = count([1, 1, 0, 0, 1, 0], [1, 0, 0, 1, 1, 0], ["a", "a", "a", "a", "b", "b"]).cells
>>> float(difference(rate(tables, "true positive rate")))
0.5
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upright.errors import unknown

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]


class Rate(NamedTuple):
    """One rate: coefficients of (TN, FP, FN, TP) above and below the line."""

    above: tuple[int, int, int, int]
    below: tuple[int, int, int, int]
    parity: str
    """What the field calls equality of this rate."""
    better: Literal["higher", "lower", "none"] = "none"
    proportion: bool = True
    """A share of the records below the line, so that exact intervals of proportions hold."""


RATES: dict[str, Rate] = {
    "selection rate": Rate((0, 1, 0, 1), (1, 1, 1, 1), "statistical parity"),
    "base rate": Rate((0, 0, 1, 1), (1, 1, 1, 1), "equal base rates, of the labels"),
    "true positive rate": Rate((0, 0, 0, 1), (0, 0, 1, 1), "equal opportunity (Hardt et al. 2016)", "higher"),
    "false positive rate": Rate((0, 1, 0, 0), (1, 1, 0, 0), "predictive equality (Chouldechova 2017)", "lower"),
    "false negative rate": Rate((0, 0, 1, 0), (0, 0, 1, 1), "false negative parity", "lower"),
    "true negative rate": Rate((1, 0, 0, 0), (1, 1, 0, 0), "true negative parity", "higher"),
    "positive predictive value": Rate((0, 0, 0, 1), (0, 1, 0, 1), "predictive parity", "higher"),
    "negative predictive value": Rate((1, 0, 0, 0), (1, 0, 1, 0), "negative predictive parity", "higher"),
    "false discovery rate": Rate((0, 1, 0, 0), (0, 1, 0, 1), "false discovery parity", "lower"),
    "false omission rate": Rate((0, 0, 1, 0), (1, 0, 1, 0), "false omission parity", "lower"),
    "accuracy": Rate((1, 0, 0, 1), (1, 1, 1, 1), "accuracy parity", "higher"),
    "error rate": Rate((0, 1, 1, 0), (1, 1, 1, 1), "error parity; bounded group loss", "lower"),
    "F1": Rate((0, 0, 0, 2), (0, 1, 1, 2), "F1 parity", "higher", proportion=False),
    "false negatives per false positive": Rate(
        (0, 0, 1, 0), (0, 1, 0, 0), "treatment equality (Berk et al. 2018)", proportion=False
    ),
}
NAMES = tuple(RATES)
ABOVE = np.array([rate.above for rate in RATES.values()], dtype=float)
BELOW = np.array([rate.below for rate in RATES.values()], dtype=float)
PROPORTIONS = tuple(name for name, rate in RATES.items() if rate.proportion)
BEST_LARGE = np.array([rate.better != "lower" for rate in RATES.values()])


class Counted(NamedTuple):
    """Cells (G, K, K) by group, label and prediction, with the names of both."""

    groups: list[str]
    classes: list[str]
    cells: Floats


def count(
    labels: ArrayLike,
    predictions: ArrayLike,
    groups: ArrayLike,
    weights: ArrayLike | None = None,
    classes: Sequence[object] | None = None,
) -> Counted:
    """Cells of arrays (n,), group names and classes in sorted order; the last of two classes is the positive one.

    Raises:
        ValueError: for arrays of unequal length, values outside `classes`, NaN, or weights that are negative or
            not finite.
    """
    y, d, g = np.asarray(labels), np.asarray(predictions), np.asarray(groups)
    w = np.ones(y.shape[0]) if weights is None else np.asarray(weights, dtype=float)
    if len({len(column) for column in (y, d, g, w)}) != 1:
        raise ValueError(f"got {len(y)} labels, {len(d)} predictions, {len(g)} groups, {len(w)} weights; must be equal")
    if not (np.isfinite(w).all() and (w >= 0).all()):
        raise ValueError("weights: got a negative or non-finite one; must be 0 or more")
    known = np.unique(np.concatenate([y, d])) if classes is None else np.asarray(classes)
    if known.dtype.kind == "f" and np.isnan(known).any():
        raise ValueError("labels or predictions: got NaN; leave such rows out")
    names, at = np.unique(g, return_inverse=True)
    coded = [_codes(column, known) for column in (y, d)]
    k = len(known)
    flat = summed((at * k + coded[0]) * k + coded[1], len(names) * k * k, w)
    return Counted([str(name) for name in names], [str(c) for c in known], flat.reshape(len(names), k, k))


def summed(codes: NDArray[np.int64], size: int, weights: Floats | None = None) -> Floats:
    """Weights (records without) added up by code 0 … size-1."""
    return np.asarray(np.bincount(codes, weights=weights, minlength=size), dtype=float)


def _codes(values: NDArray[np.generic], known: NDArray[np.generic]) -> NDArray[np.int64]:
    order = np.argsort(known)
    at = np.clip(np.searchsorted(known[order], values), 0, len(known) - 1)
    codes = order[at]
    astray = values[known[codes] != values]
    if astray.size:
        raise ValueError(f"got the value {astray[0]}; classes are {', '.join(map(str, known))}")
    return codes.astype(np.int64)


# --- rates -----------------------------------------------------------------------------------------------------


def parts(tables: ArrayLike) -> tuple[Floats, Floats]:
    """What stands above and below the line of every rate: two arrays (..., R, G)."""
    cells = np.asarray(tables, dtype=float)
    flat = np.moveaxis(cells.reshape(*cells.shape[:-2], 4), -2, -1)  # (..., 4, G)
    return ABOVE @ flat, BELOW @ flat


def quotient(above: Floats, below: Floats) -> Floats:
    """The quotient, NaN where `below` is 0."""
    empty = np.full(np.broadcast(above, below).shape, np.nan)
    return np.asarray(np.divide(above, below, out=empty, where=below > 0))


def rates(tables: ArrayLike) -> Floats:
    """All rates of tables (..., G, 2, 2), as (..., R, G)."""
    return quotient(*parts(tables))


def rate(tables: ArrayLike, name: str) -> Floats:
    """One rate of tables (..., G, 2, 2), as (..., G). Raises UserError for a name that is not in `RATES`."""
    if name not in RATES:
        raise unknown("rate", name, RATES)
    return rates(tables)[..., NAMES.index(name), :]


def overall(tables: ArrayLike) -> Floats:
    """All rates of the groups taken together, as (..., R)."""
    return rates(np.asarray(tables, dtype=float).sum(-3, keepdims=True))[..., 0]


# --- what is made of a rate m (..., G) -------------------------------------------------------------------------


def largest(m: ArrayLike) -> Floats:
    """Largest over the last axis; NaN only where all are."""
    return _largest(np.asarray(m, dtype=float))


def smallest(m: ArrayLike) -> Floats:
    """Smallest over the last axis; NaN only where all are."""
    return np.asarray(-_largest(-np.asarray(m, dtype=float)))


def _largest(m: Floats) -> Floats:
    none = np.isnan(m)
    return np.where(none.all(-1), np.nan, np.where(none, -np.inf, m).max(-1))


def difference(m: ArrayLike) -> Floats:
    """max_g m_g - min_g m_g."""
    return np.asarray(largest(m) - smallest(m))


def ratio(m: ArrayLike) -> Floats:
    """min_g m_g / max_g m_g; NaN where the largest is 0, as 0/0 says nothing."""
    return quotient(smallest(m), largest(m))


def deviations(m: ArrayLike, whole: ArrayLike) -> Floats:
    """Σ_g |m_g - m| against the overall rate m (...,): FPED, FNED, TPED, TNED (Dixon et al. 2018)."""
    return np.asarray(np.nansum(np.abs(np.asarray(m, dtype=float) - np.asarray(whole, dtype=float)[..., None]), -1))


def variance(m: ArrayLike) -> Floats:
    """Variance of m_g over the groups, each counting once (divisor G)."""
    values = np.asarray(m, dtype=float)
    there = ~np.isnan(values)
    size = np.maximum(there.sum(-1), 1)
    centre = np.nansum(values, -1) / size
    spread = np.where(there, values - centre[..., None], 0.0)
    return np.where(there.any(-1), (spread**2).sum(-1) / size, np.nan)


def worst(m: ArrayLike, large_is_good: ArrayLike) -> Floats:
    """The worst group's rate: the smallest where large is good, else the largest. Shapes (..., G) and (...,)."""
    return np.where(large_is_good, smallest(m), largest(m))


# --- odds, disparity, strata -----------------------------------------------------------------------------------


class Odds(NamedTuple):
    """Gaps of equalised odds (Hardt et al. 2016, def. 2.1), each (...,)."""

    larger: Floats
    """max(ΔTPR, ΔFPR), Δ the range over groups."""
    average: Floats
    """½(ΔTPR + ΔFPR)."""
    signed: Floats
    """½((FPR_last - FPR_first) + (TPR_last - TPR_first)): only for two groups, and it can cancel."""


def equalised_odds(tables: ArrayLike) -> Odds:
    """Gaps of the true and the false positive rate together."""
    tpr, fpr = rate(tables, "true positive rate"), rate(tables, "false positive rate")
    gaps = difference(tpr), difference(fpr)
    two = tpr.shape[-1] == 2
    signed = 0.5 * (tpr[..., -1] - tpr[..., 0] + fpr[..., -1] - fpr[..., 0])
    return Odds(np.maximum(*gaps), 0.5 * (gaps[0] + gaps[1]), signed if two else np.full(np.shape(gaps[0]), np.nan))


def demographic_disparity(tables: ArrayLike) -> Floats:
    """Share of g among the rejected less its share among the accepted (Wachter et al. 2021), as (..., G)."""
    cells = np.asarray(tables, dtype=float)
    shares = [quotient(by, by.sum(-1, keepdims=True)) for by in (cells.sum(-2)[..., 0], cells.sum(-2)[..., 1])]
    return np.asarray(shares[0] - shares[1])


def conditional(strata: ArrayLike) -> tuple[Floats, Floats]:
    """Selection rate and demographic disparity within strata, each (..., G), of tables (..., S, G, 2, 2).

    Both weigh stratum l by its share n_l / n of all records (Kamiran et al. 2013; Wachter et al. 2021). A group that
    a stratum lacks has no rate there; its rate is NaN then, as it cannot be compared on equal terms.
    """
    cells = np.asarray(strata, dtype=float)
    size = cells.sum((-3, -2, -1))
    share = quotient(size, size.sum(-1, keepdims=True))[..., None]
    used = np.where(share > 0, share, 0.0)
    selected = np.where(used > 0, rates(cells)[..., 0, :], 0.0)
    disparity = demographic_disparity(cells)
    known = np.where((used > 0) & ~np.isnan(disparity), disparity, 0.0)
    return (used * selected).sum(-2), (used * known).sum(-2)


def impossibility(tables: ArrayLike) -> Floats:
    """FPR - p/(1-p) · (1-PPV)/PPV · TPR, (..., G): 0 in every table (Chouldechova 2017, eq. 2.6), NaN if undefined."""
    m = rates(tables)
    p, tpr, fpr, ppv = (
        m[..., NAMES.index(name), :]
        for name in ("base rate", "true positive rate", "false positive rate", "positive predictive value")
    )
    return fpr - quotient(p, 1 - p) * quotient(1 - ppv, ppv) * tpr


# --- several classes -------------------------------------------------------------------------------------------


def one_against_rest(tables: ArrayLike) -> Floats:
    """Tables (..., K, G, 2, 2), one for each class against all others, of tables (..., G, K, K)."""
    cells = np.asarray(tables, dtype=float)
    k = cells.shape[-1]
    tp = np.moveaxis(cells[..., np.arange(k), np.arange(k)], -1, -2)  # (..., K, G)
    label, said = np.moveaxis(cells.sum(-1), -1, -2), np.moveaxis(cells.sum(-2), -1, -2)
    everyone = cells.sum((-2, -1))[..., None, :]
    fn, fp = label - tp, said - tp
    flat = np.stack([everyone - label - fp, fp, fn, tp], -1)
    return flat.reshape(*flat.shape[:-1], 2, 2)


def furthest(laws: ArrayLike) -> Floats:
    """max_{g,h} ½ Σ_c |P(c|g) - P(c|h)| over laws (..., G, K), groups with NaN left out."""
    p = np.asarray(laws, dtype=float)
    most = np.full(p.shape[:-2], np.nan)
    for g in range(p.shape[-2] - 1):
        apart = 0.5 * np.abs(p[..., g + 1 :, :] - p[..., g : g + 1, :]).sum(-1)
        most = np.fmax(most, largest(apart))
    return most


def parity_distance(tables: ArrayLike) -> Floats:
    """Largest total variation between two groups' laws of the prediction; two classes: the parity difference."""
    said = np.asarray(tables, dtype=float).sum(-2)
    return furthest(quotient(said, said.sum(-1, keepdims=True)))


def odds_distance(tables: ArrayLike) -> Floats:
    """The same within each label, the largest; two classes: `Odds.larger`."""
    cells = np.moveaxis(np.asarray(tables, dtype=float), -2, -3)  # (..., label, G, prediction)
    return largest(furthest(quotient(cells, cells.sum(-1, keepdims=True))))
