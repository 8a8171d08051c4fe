"""Fairness after training: decisions from scores and groups. Pure functions on arrays; scores lie in [0, 1]."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upright.audit.mitigate.config import Cost

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class RejectOption(NamedTuple):
    """Close decisions go in favour of the disadvantaged (Kamiran, Karim & Zhang 2012, section III-A).

    A score within `margin` of 1/2 gives the favourable outcome to members of `disadvantaged` groups and the
    unfavourable one to all others; other scores are cut at 1/2.
    """

    margin: float
    disadvantaged: NDArray[np.bool_]
    """By group (G,)."""

    def __call__(self, score: Floats, group: Ints) -> Ints:
        """Decisions (n,)."""
        close = np.abs(score - 0.5) <= self.margin
        return np.where(close, self.disadvantaged[group], score >= 0.5).astype(np.int64)


def reject_option(score: Floats, group: Ints, margin: float | None, steps: int = 101) -> RejectOption:
    """The rule for these scores (n,): disadvantaged are groups selected less often than all rows together.

    Without a given margin, of `steps` margins from 0 to 1/2 the one whose selection rates differ least is taken, the
    smallest such. A margin of 0 reassigns only scores of exactly 1/2.
    """
    plain = score >= 0.5
    rates = np.bincount(group, plain) / np.bincount(group)
    disadvantaged = rates < plain.mean()
    if margin is not None:
        return RejectOption(margin, disadvantaged)
    rules = [RejectOption(float(value), disadvantaged) for value in np.linspace(0, 0.5, steps)]
    gaps = [np.ptp(np.bincount(group, rule(score, group)) / np.bincount(group)) for rule in rules]
    return rules[int(np.argmin(np.round(gaps, 12)))]


class CalibratedOdds(NamedTuple):
    """Calibrated equalised odds (Pleiss et al. 2017, arXiv:1709.02012, section 4).

    With probability `share[g]` a score gives way to the base rate of its group, which costs the favoured groups
    accuracy until all have the same generalised error, and leaves calibrated scores calibrated.
    """

    share: Floats
    """By group (G,)."""
    base_rate: Floats
    """By group (G,)."""

    def __call__(self, score: Floats, group: Ints, rng: np.random.Generator) -> Floats:
        """Scores (n,)."""
        return np.where(rng.random(len(score)) < self.share[group], self.base_rate[group], score)


def calibrated_odds(score: Floats, group: Ints, label: Ints, cost: Cost) -> CalibratedOdds:
    """The rule for these scores (n,).

    The generalised error of a group is E[r | y = 0] (fpr), E[1 - r | y = 1] (fnr) or their sum. Mixing with the base
    rate b, whose errors are b and 1 - b, raises it linearly: share = (c_max - c_g) / (c_base - c_g).
    """
    n = np.bincount(group).astype(float)
    positives = np.bincount(group, label)
    base_rate = positives / n
    fpr = np.bincount(group, score * (1 - label)) / (n - positives)
    fnr = np.bincount(group, (1 - score) * label) / positives
    own = {"fpr": fpr, "fnr": fnr, "both": fpr + fnr}[cost]
    trivial = {"fpr": base_rate, "fnr": 1 - base_rate, "both": np.ones_like(base_rate)}[cost]
    room = trivial - own
    share = np.divide(own.max() - own, room, out=np.zeros_like(own), where=room > 0)
    return CalibratedOdds(np.clip(share, 0.0, 1.0), base_rate)
