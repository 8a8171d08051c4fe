"""Membership attacks from a model's outputs and those of reference models: pure functions on arrays.

Every attack gives one score a record; larger speaks for a member. Shapes: n records, Q queries a record, K
classes, M reference models, z population points. `masks` (M, n) is True where a reference model was trained on a
record. A score is NaN where the references cannot say anything (no model that saw the record, or none that did not).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from upright.run.measures.roc import auc

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ENOUGH_MODELS = 64
"""Reference models a query from which on LiRA fits a variance for each record (Carlini et al. 2022, section VI)."""
TIE = 1e-9
"""Log ratios closer than this count as equal: rounding must not break the tie of two equal models."""
TINY = 1e-12
RIDGE = 1e-9
"""Added to variances: models may agree about a record, and queries may be equal to each other."""
GRID = tuple(i / 10 for i in range(11))
"""Constants `a` that are tried."""


# --- what a model says of a record -----------------------------------------------------------------------------


def log_probability(logits: ArrayLike, labels: ArrayLike) -> Floats:
    """Minus the loss, ln p_y (..., n), from logits or log-probabilities (..., n, K) and class numbers (n,)."""
    z = np.asarray(logits, dtype=float)
    return _of_label(z, labels) - _log_sum(z, -1)


def confidence(logits: ArrayLike, labels: ArrayLike) -> Floats:
    """LiRA's scaled confidence phi = ln p_y - ln(sum of the other p) (..., n), from logits (arXiv:2112.03570, eq. 3).

    Both terms stay finite where p_y rounds to 1, which ln(p / (1 - p)) does not.
    """
    z = np.asarray(logits, dtype=float)
    if z.ndim < 2 or z.shape[-1] < 2:
        raise ValueError(f"logits of shape {z.shape}: needs records and at least 2 classes")
    others = np.arange(z.shape[-1]) != np.asarray(labels)[:, None]
    return _of_label(z, labels) - _log_sum(np.where(others, z, -np.inf), -1)


def confidence_of(log_p: ArrayLike) -> Floats:
    """Scaled confidence ln p - ln(1 - p) where only ln p is known; p within rounding of 1 counts as 1 - 1e-12."""
    found = np.minimum(np.asarray(log_p, dtype=float), -TINY)
    return np.asarray(found - np.log(-np.expm1(found)), dtype=float)


def _log_sum(values: Floats, axis: int) -> Floats:
    return np.asarray(logsumexp(values, axis=axis), dtype=float)


def _of_label(z: Floats, labels: ArrayLike) -> Floats:
    index = np.broadcast_to(np.asarray(labels)[:, None], (*z.shape[:-1], 1))
    return np.take_along_axis(z, index, axis=-1)[..., 0]


# --- LiRA ------------------------------------------------------------------------------------------------------


class Fit(NamedTuple):
    """Normal laws over reference models: mean (n, Q) and covariance (n, Q, Q) of each record's Q queries."""

    mean: Floats
    covariance: Floats


def normal_fit(values: ArrayLike, use: ArrayLike, pooled: bool) -> Fit:
    """Fit N(mean, covariance) to `values` (M, n, Q) where `use` (M, n).

    `pooled` takes one covariance for all records, within records: sum of products of deviations over the degrees of
    freedom that all records have together. Raises ValueError if no record has two values.
    """
    x, some = np.asarray(values, dtype=float), np.asarray(use, dtype=bool)
    count = some.sum(axis=0)
    freedom = np.maximum(count - 1, 0)
    if not freedom.any():
        raise ValueError("a variance needs two reference models that agree about a record; none has two")
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(some[..., None], x, 0.0).sum(axis=0) / count[:, None]
        apart = np.where(some[..., None], x - mean, 0.0)
        if pooled:
            spread = np.einsum("mnq,mnr->qr", apart, apart)[None] / freedom.sum()
        else:
            spread = np.einsum("mnq,mnr->nqr", apart, apart) / freedom[:, None, None]
    covariance = np.broadcast_to(spread + RIDGE * np.eye(x.shape[2]), (*mean.shape, x.shape[2]))
    return Fit(mean, covariance)


def lira_online(phi: ArrayLike, references: ArrayLike, masks: ArrayLike, pooled: bool | None = None) -> Floats:
    """LiRA: log density ratio of phi (n,) under models with and without the record (arXiv:2112.03570, algorithm 1).

    `references` (M, n) are the reference models' phi. With several queries a record (altered copies), phi (n, Q) and
    `references` (M, n, Q), the laws are multivariate (section VI-C). `pooled`: one variance for all records on each
    side (default: below 64 models a query). With equal variances the score is linear in phi, so for one query
    monotone for each record.
    """
    value, others, seen = _queries(phi, references, masks)
    one = _few(others) if pooled is None else pooled
    return _log_density(value, normal_fit(others, seen, one)) - _log_density(value, normal_fit(others, ~seen, one))


def lira_offline(phi: ArrayLike, references: ArrayLike, masks: ArrayLike, pooled: bool | None = None) -> Floats:
    """LiRA without models that saw the record: z = (phi - mean_out) / sd_out (arXiv:2112.03570, eq. 4).

    The published score is Phi(z), which rounds to 1 from z = 8.3 on and would tie the strongest members; z ranks
    the records in the same way. Several queries, shapes as for `lira_online`, count by their mean: what members look
    like is not known here, and weights from the covariance would live on differences between like queries.
    """
    value, others, seen = _queries(phi, references, masks)
    value, others = value.mean(axis=1, keepdims=True), others.mean(axis=2, keepdims=True)
    law = normal_fit(others, ~seen, _few(others) if pooled is None else pooled)
    return np.asarray(((value - law.mean) / np.sqrt(law.covariance[..., 0]))[:, 0])


def _queries(phi: ArrayLike, references: ArrayLike, masks: ArrayLike) -> tuple[Floats, Floats, Bools]:
    """The same with an axis for the queries, of which there may be one."""
    value, others = np.asarray(phi, dtype=float), np.asarray(references, dtype=float)
    return value.reshape(len(value), -1), others.reshape(*others.shape[:2], -1), np.asarray(masks, dtype=bool)


def _few(references: Floats) -> bool:
    """Whether the models are too few for a covariance of each record's own."""
    models, _, queries = references.shape
    return bool(models < ENOUGH_MODELS * queries)


def _log_density(x: Floats, law: Fit) -> Floats:
    apart = x - law.mean
    with np.errstate(invalid="ignore"):  # NaN for a record whose law is not known
        distance = (apart * np.linalg.solve(law.covariance, apart[..., None])[..., 0]).sum(axis=1)
        return np.asarray(-0.5 * (distance + np.linalg.slogdet(law.covariance)[1]), dtype=float)


# --- RMIA ------------------------------------------------------------------------------------------------------


def log_mean(log_p: ArrayLike, use: ArrayLike) -> Floats:
    """Log of the mean of exp(log_p) (M, n) over the models in `use` (M, n); NaN where there is none."""
    some = np.asarray(use, dtype=bool)
    count = some.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = _log_sum(np.where(some, np.asarray(log_p, dtype=float), -np.inf), 0)
        return np.where(count > 0, total - np.log(count), np.nan)


def prior_online(log_p: ArrayLike, masks: ArrayLike) -> Floats:
    """RMIA's ln p(x), online: half the mean over models with the record, half without (arXiv:2312.03262, sec. 3)."""
    seen = np.asarray(masks, dtype=bool)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.logaddexp(log_mean(log_p, seen), log_mean(log_p, ~seen)) - np.log(2))


def prior_offline(log_p: ArrayLike, masks: ArrayLike, a: float) -> Floats:
    """RMIA's ln p(x), offline: p = ((1 + a) p_out + (1 - a)) / 2, as if models with the record gave a p_out + 1 - a."""
    if not 0 <= a <= 1:
        raise ValueError(f"a={a}: must be in [0, 1]")
    outside = log_mean(log_p, ~np.asarray(masks, dtype=bool))
    with np.errstate(divide="ignore", invalid="ignore"):  # a = 1 leaves p_out alone
        return np.asarray(np.logaddexp(outside + np.log1p(a), np.log1p(-a)) - np.log(2))


def rmia(ratios: ArrayLike, population: ArrayLike, gamma: float = 1.0) -> Floats:
    """RMIA: the share of population points z that x beats by more than gamma, ties half (arXiv:2312.03262, eq. 2).

    `ratios` (n,) and `population` (z,) are ln p(.|model) - ln p(.). The population is sorted once and searched, so
    the cost is (n + z) log z instead of n z. As z is the same for all x, the share rises with x's own ratio: a
    ROC over the shares is that over the ratios, but for the ties of those beyond all z.
    """
    if gamma <= 0:
        raise ValueError(f"gamma={gamma}: must be > 0")
    x, z = np.asarray(ratios, dtype=float) - np.log(gamma), np.sort(np.asarray(population, dtype=float))
    if not z.size or np.isnan(z).any():
        raise ValueError(f"population: {np.isnan(z).sum()} of {z.size} ratios are NaN; needs some, all numbers")
    below, to = np.searchsorted(z, x - TIE, side="left"), np.searchsorted(z, x + TIE, side="right")
    return np.where(np.isnan(x), np.nan, (below + to) / (2 * z.size))


def tuned_a(log_p: ArrayLike, masks: ArrayLike, grid: Sequence[float] = GRID) -> float:
    """The `a` with the highest AUC when one reference model is attacked with another; the audited model plays no part.

    `log_p`, `masks` (M, n). The first model is the one under attack, the second the only reference, on the records
    that it did not see. Raises ValueError if these hold no members or no non-members of the first.
    """
    p, seen = np.asarray(log_p, dtype=float), np.asarray(masks, dtype=bool)
    if len(p) < 2:
        raise ValueError(f"tuning a needs 2 reference models, got {len(p)}")
    fresh = ~seen[1]
    inside = seen[0][fresh]
    if inside.all() or not inside.any():
        raise ValueError("tuning a needs records in and records out of the first model that the second did not see")
    found = []
    for a in grid:
        ratio = (p[0] - prior_offline(p[1:2], seen[1:2], a))[fresh]
        found.append(auc(ratio[inside], ratio[~inside]).value or 0.0)
    return grid[int(np.argmax(found))]


def mean_outside(log_p: ArrayLike, masks: ArrayLike) -> Floats:
    """Mean of ln p (M, n) over the models without the record; NaN where there is none."""
    values, outside = np.asarray(log_p, dtype=float), ~np.asarray(masks, dtype=bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(outside, values, 0.0).sum(axis=0) / outside.sum(axis=0))
