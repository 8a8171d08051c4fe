"""What share of a data set was trained on, where that is not known record by record."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upright.audit.findings import Finding, Verdict
from upright.audit.membership.evaluate import Sample, said
from upright.run.evidence import Metric
from upright.run.measures.intervals import clopper_pearson
from upright.run.measures.roc import roc

ITEM = "privacy.membership-dataset"
SHARE = "share of the suspects trained on"
GRID = 1001  # shares that are tried


class Counts(NamedTuple):
    """Records that score above a threshold, and all: of suspects, of members, of non-members."""

    suspects: tuple[int, int]
    members: tuple[int, int]
    others: tuple[int, int]


class Rule(NamedTuple):
    """A score above the threshold says "trained on"."""

    attack: str
    threshold: float


def used(sample: Sample, smallest: int, rng: np.random.Generator) -> Metric:
    """The share of the suspects that was trained on, by the rule that does best on one half of the known records.

    The other half says how often the rule is right, so the choice costs nothing. No value below `smallest` records.
    """
    first = np.zeros(len(sample.member), dtype=bool)
    for side in (sample.member, ~sample.member):
        own = rng.permutation(np.flatnonzero(side))
        first[own[: len(own) // 2]] = True
    n = len(sample.suspect_ids)
    if min(n, int((~first & sample.member).sum()), int((~first & ~sample.member).sum())) < smallest:
        return Metric(name=SHARE, value=None, n=n, unit="proportion")
    rule = _best(sample, first)
    pos, neg = sample.sides(rule.attack, ~first)
    suspects = sample.suspects[rule.attack]
    return estimate(
        Counts(*(_above(values, rule) for values in (suspects[~np.isnan(suspects)], pos, neg))), rule.attack
    )


def estimate(found: Counts, attack: str = "all") -> Metric:
    """(m - FPR) / (TPR - FPR) (Tong et al. 2025, "How much of my dataset did you use?", DUCI), and its interval.

    Of suspects of which a share p was used, p TPR + (1 - p) FPR are flagged. The interval holds every p for which the
    difference from m, whose ends come from those of the three exact intervals (MOVER, Zou & Donner 2008), may be 0.
    """
    m, tpr, fpr = (hits / n if n else 0.0 for hits, n in found)
    (m_low, m_up), (tpr_low, tpr_up), (fpr_low, fpr_up) = (clopper_pearson(*count) for count in found)
    p = np.linspace(0.0, 1.0, GRID)
    apart = m - p * tpr - (1 - p) * fpr
    below = np.sqrt((m - m_low) ** 2 + (p * (tpr_up - tpr)) ** 2 + ((1 - p) * (fpr_up - fpr)) ** 2)
    above = np.sqrt((m_up - m) ** 2 + (p * (tpr - tpr_low)) ** 2 + ((1 - p) * (fpr - fpr_low)) ** 2)
    allowed = p[(apart - below <= 0) & (apart + above >= 0)]
    value = float(np.clip((m - fpr) / (tpr - fpr), 0.0, 1.0)) if tpr > fpr else None
    ends = (float(allowed.min()), float(allowed.max())) if allowed.size else (None, None)
    return Metric(
        name=SHARE,
        split=attack,
        value=value if allowed.size else None,
        n=found.suspects[1],
        ci_low=ends[0],
        ci_high=ends[1],
        unit="proportion",
    )


def finding(metric: Metric, void: bool) -> Finding:
    """Whether the suspects are shown to have been used."""
    if metric.value is None or metric.ci_low is None:
        text = (
            f"What share of {metric.n:,} suspects was trained on cannot be said: too few records, no attack that "
            "works, or suspects of another law, of which no share explains how many are flagged."
        )
        return Finding(item=ITEM, verdict="undecided", text=text)
    text = f"Of {metric.n:,} suspects {said(metric)} were trained on, by the {metric.split} attack."
    verdict: Verdict = "void" if void else "concern" if metric.ci_low > 0 else "clear"
    return Finding(item=ITEM, verdict=verdict, text=text)


def _best(sample: Sample, where: NDArray[np.bool_]) -> Rule:
    """The attack and threshold with the largest TPR - FPR on the records `where`."""
    found: list[tuple[float, Rule]] = []
    for attack in sample.scores:
        pos, neg = sample.sides(attack, where)
        if len(pos) and len(neg):
            curve = roc(pos, neg)
            place = int(np.argmax(curve.tpr - curve.fpr))
            # roc() calls in what reaches a threshold, a rule what exceeds it
            limit = np.nextafter(curve.threshold[place], -np.inf)
            found.append((float(curve.tpr[place] - curve.fpr[place]), Rule(attack, float(limit))))
    return max(found, key=lambda pair: pair[0])[1]


def _above(scores: NDArray[np.float64], rule: Rule) -> tuple[int, int]:
    return int((scores > rule.threshold).sum()), scores.size
