"""From attack scores to numbers, tests and findings."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.stats import mannwhitneyu

from upright.audit.findings import Finding
from upright.run.evidence import Metric, display, interval
from upright.run.measures.intervals import clopper_pearson
from upright.run.measures.roc import (
    auc,
    auc_interval,
    delong,
    power_p_value,
    rate_above,
    resolvable,
    threshold_at,
    tpr_at_fpr,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

RATES = (0.01, 0.001)
"""False positive rates at which power is given."""
SIGNIFICANT = 0.05
AUC, BLIND = "attack AUC", "blind AUC"
ITEM, BLIND_ITEM, GRADIENT_ITEM = "privacy.membership", "privacy.membership-blind", "privacy.membership-gradient"
GRADIENT = "gradient"


def power_name(rate: float) -> str:
    """Name of the metric: the share of members found at a false positive rate."""
    return f"TPR at {100 * rate:g} % FPR"


class Sample(NamedTuple):
    """What is known of n records once all attacks are done."""

    ids: list[str]
    member: Bools
    group: list[str | None]
    scores: Mapping[str, Floats]
    """Scores (n,) by attack, larger for a member; NaN where an attack says nothing."""
    blind: Floats
    """Scores (n,) of the classifier that never sees the model."""
    folds: int = 5
    """Folds in which that classifier was judged."""
    suspects: Mapping[str, Floats] = MappingProxyType({})
    """Scores of records of which it is not known whether they were trained on."""
    suspect_ids: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        member: Bools,
        suspect: Bools,
        group: Sequence[str | None],
        scores: Mapping[str, Floats],
        blind: Floats,
        folds: int,
    ) -> Self:
        """From all records (n,), of which the suspects are taken out; `blind` is of the others alone."""
        known, others = np.flatnonzero(~suspect).tolist(), np.flatnonzero(suspect).tolist()
        return cls(
            [ids[i] for i in known],
            member[known],
            [group[i] for i in known],
            {name: values[known] for name, values in scores.items()},
            blind,
            folds,
            {name: values[suspect] for name, values in scores.items()},
            [ids[i] for i in others],
        )

    def frame(self) -> pl.DataFrame:
        """A row a record with its scores; `member` is empty for a suspect."""
        known = {"id": self.ids, "member": self.member.astype(int), "group": self.group}
        rows = pl.DataFrame({**known, **self.scores, "blind": self.blind}, schema_overrides={"group": pl.String})
        others = pl.DataFrame({"id": list(self.suspect_ids), **self.suspects}, schema_overrides={"id": pl.String})
        return pl.concat([rows, others], how="diagonal") if self.suspect_ids else rows

    def sides(self, attack: str, where: Bools | None = None) -> tuple[Floats, Floats]:
        """Finite scores of members and of non-members."""
        values = self.scores[attack]
        some = ~np.isnan(values) if where is None else where & ~np.isnan(values)
        return values[some & self.member], values[some & ~self.member]


class Comparison(NamedTuple):
    """One test of "members and non-members score alike": Holm's adjusted p-value."""

    attack: str
    what: str
    p: float


def holm(p_values: ArrayLike) -> Floats:
    """Adjusted p-values (Holm 1979): those below a level are rejected with that chance of any false one."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def comparisons(sample: Sample) -> list[Comparison]:
    """Each attack's AUC (Mann-Whitney) and power at 1 % FPR (exact), one-sided, adjusted together."""
    rows = []
    for attack in sample.scores:
        pos, neg = sample.sides(attack)
        if pos.size and neg.size:
            rows.append((attack, "AUC", float(mannwhitneyu(pos, neg, alternative="greater").pvalue)))
            if resolvable(RATES[0], neg.size):
                rows.append((attack, power_name(RATES[0]), power_p_value(pos, neg, RATES[0])))
    adjusted = holm([p for _, _, p in rows])
    return [Comparison(attack, what, float(p)) for (attack, what, _), p in zip(rows, adjusted, strict=True)]


# --- metrics ---------------------------------------------------------------------------------------------------


def metrics(sample: Sample, smallest: int) -> list[Metric]:
    """The blind check, then every attack, the strongest first, then risks by group."""
    found = [blind(sample)]
    ranked = sorted((_area(sample, attack, attack) for attack in sample.scores), key=lambda m: -(m.value or 0))
    found += ranked
    for rate in RATES:
        found += [_power(sample, area.split, rate) for area in ranked]
    judged = [area.split for area in ranked[:1]] + [attack for attack in sample.scores if attack == "loss"]
    return found + by_group(sample, judged, smallest)


def blind(sample: Sample) -> Metric:
    """AUC of the classifier that never sees the model: 1/2 if members and non-members are of one law.

    Scores from cross-validation depend on each other, through the records that several models share: where there is
    nothing to see, their AUC spreads 1.3 to 1.5 times as far as DeLong's error says. So the error is widened as by
    Nadeau & Bengio (2003, section 3): the variance of k folds times 1 + k / (k - 1), which is 1.5 times it for 5.
    """
    pos, neg = sample.blind[sample.member], sample.blind[~sample.member]
    value, error = delong(pos, neg)
    wider = error * (1 + sample.folds / (sample.folds - 1)) ** 0.5
    low, high = auc_interval(value, wider, min(pos.size, neg.size))
    return Metric(name=BLIND, value=value, n=pos.size + neg.size, ci_low=max(low, 0.0), ci_high=min(high, 1.0))


def _area(sample: Sample, attack: str, split: str, where: Bools | None = None) -> Metric:
    pos, neg = sample.sides(attack, where)
    if not pos.size or not neg.size:
        return Metric(name=AUC, split=split, value=None, n=int(pos.size + neg.size), better="lower")
    return auc(pos, neg, name=AUC, split=split)


def _power(sample: Sample, attack: str, rate: float) -> Metric:
    pos, neg = sample.sides(attack)
    if not pos.size or not neg.size:
        return Metric(name=power_name(rate), split=attack, value=None, n=pos.size, unit="proportion")
    return tpr_at_fpr(pos, neg, rate, split=attack)


def by_group(sample: Sample, attacks: Sequence[str], smallest: int) -> list[Metric]:
    """AUC, and TPR at 1 % FPR of all non-members and of the group's own, by group, with gaps.

    Groups with fewer than `smallest` members or non-members have no value and no part in a gap.
    """
    names = sorted({name for name in sample.group if name is not None})
    if not names:
        return []
    groups = {name: np.array([name == own for own in sample.group]) for name in names}
    found: list[Metric] = []
    for attack in dict.fromkeys(attacks):
        enough = {
            name: where for name, where in groups.items() if min(map(len, sample.sides(attack, where))) >= smallest
        }
        for name, where in groups.items():
            found += _of_group(sample, attack, name, where if name in enough else None)
        found += _gaps(sample, attack, list(enough.values()))
    return found


def _of_group(sample: Sample, attack: str, name: str, where: Bools | None) -> list[Metric]:
    split, title = f"{attack}, {name}", power_name(RATES[0])
    units = {AUC: "", title: "proportion", f"{title} of the group": "proportion"}
    if where is None:
        n = sum(own == name for own in sample.group)
        return [Metric(name=what, split=split, value=None, n=n, unit=u, better="lower") for what, u in units.items()]
    pos, neg = sample.sides(attack, where)
    everyone = sample.sides(attack)[1]
    if resolvable(RATES[0], everyone.size):
        at_one_threshold = rate_above(pos, threshold_at(everyone, RATES[0]), name=title, split=split)
    else:
        at_one_threshold = Metric(name=title, split=split, value=None, n=pos.size, unit="proportion", better="lower")
    own = tpr_at_fpr(pos, neg, RATES[0], name=f"{title} of the group", split=split)
    return [_area(sample, attack, split, where), at_one_threshold, own]


def _gaps(sample: Sample, attack: str, groups: Sequence[Bools]) -> list[Metric]:
    """Largest minus smallest over groups, of the AUC and of the TPR at one threshold, with simultaneous intervals.

    Each group's interval is taken at level 1 - 0.05 / groups (Bonferroni), so the ends hold together for any number
    of groups. The range itself grows with the number of groups even where there is no gap.
    """
    if len(groups) < 2:
        return []
    sides = [sample.sides(attack, where) for where in groups]
    areas = [delong(pos, neg) for pos, neg in sides]
    ends = [
        auc_interval(value, error, min(map(len, side)), SIGNIFICANT / len(groups))
        for (value, error), side in zip(areas, sides, strict=True)
    ]
    low, high = (np.array(end) for end in zip(*ends, strict=True))
    n = sum(len(pos) + len(neg) for pos, neg in sides)
    values = [value for value, _ in areas]
    found = [_gap(f"gap of {AUC}", attack, (values, low, high), n, "")]
    everyone = sample.sides(attack)[1]
    if resolvable(RATES[0], everyone.size):
        limit = threshold_at(everyone, RATES[0])
        hits, sizes = np.array([(pos > limit).sum() for pos, _ in sides]), np.array([len(pos) for pos, _ in sides])
        bounds = clopper_pearson(hits, sizes, SIGNIFICANT / len(groups))
        rates = hits / sizes
        name = f"gap of {power_name(RATES[0])}"
        found.append(_gap(name, attack, (rates, bounds.low, bounds.high), int(sizes.sum()), "proportion"))
    return found


def _gap(name: str, attack: str, rates: tuple[ArrayLike, Floats, Floats], n: int, unit: str) -> Metric:
    values, low, high = rates
    return Metric(
        name=f"{name} between groups",
        split=attack,
        value=float(np.ptp(np.asarray(values))),
        n=n,
        ci_low=max(0.0, float(low.max() - high.min())),
        ci_high=float(min(high.max(), 1.0) - max(low.min(), 0.0)),
        unit=unit,
        better="lower",
    )


# --- findings --------------------------------------------------------------------------------------------------


def findings(sample: Sample, found: Sequence[Metric], smallest: int) -> list[Finding]:
    """What the numbers allow to say: of the blind check, and of the attacks."""
    check = found[0]
    items = [BLIND_ITEM, ITEM, *([GRADIENT_ITEM] if GRADIENT in sample.scores else [])]
    counts = f"{int(sample.member.sum()):,} members and {int((~sample.member).sum()):,} non-members"
    if min(sample.member.sum(), (~sample.member).sum()) < smallest:
        text = f"Not enough data: {counts}; at least {smallest} of each are needed."
        return [Finding(item=item, verdict="undecided", text=text) for item in items]
    told = (
        f"A classifier that never sees the model tells members from non-members with AUC {said(check)} (n {check.n:,})"
    )
    if is_void(check):
        text = f"{told}: the two differ in law, and no attack on the model proves anything."
        return [Finding(item=item, verdict="void", text=text) for item in items]
    clear = Finding(item=BLIND_ITEM, verdict="clear", text=f"{told}: no sign that the two differ in law.")
    done = comparisons(sample)
    return [clear, _finding(sample, done, found, counts), *(_gradient(done, found, counts) for _ in items[2:])]


def is_void(check: Metric) -> bool:
    """Whether the blind check found that members and non-members differ in law."""
    return check.ci_low is not None and check.ci_low > 0.5


def _gradient(done: Sequence[Comparison], found: Sequence[Metric], counts: str) -> Finding:
    """The answer of the one attack that needs the weights, corrected for all."""
    area = next(m for m in found if (m.name, m.split) == (AUC, GRADIENT))
    hit = any(test.attack == GRADIENT and test.p <= SIGNIFICANT for test in done)
    tells = "tell members from non-members" if hit else "are not shown to tell members from non-members"
    text = f"Norms of gradients {tells}: AUC {said(area)} ({counts})."
    return Finding(item=GRADIENT_ITEM, verdict="concern" if hit else "clear", text=text)


def _finding(sample: Sample, done: Sequence[Comparison], found: Sequence[Metric], counts: str) -> Finding:
    areas = [m for m in found if m.name == AUC and m.split in sample.scores and m.value is not None]
    if not done or not areas:
        return Finding(item=ITEM, verdict="undecided", text=f"No attack gave scores on both sides ({counts}).")
    best, hits = areas[0], [test for test in done if test.p <= SIGNIFICANT]
    area = f"the strongest, {best.split}, has AUC {said(best)}"
    if not hits:
        text = f"None of {len(done)} tests of {len(areas)} attacks tells members from non-members; {area} ({counts})."
        return Finding(item=ITEM, verdict="clear", text=text)
    power = next((m for m in found if m.name == power_name(RATES[0]) and m.split == best.split), None)
    low = f" and finds {said(power)} of the members at 1 % false alarms" if power and power.value is not None else ""
    text = (
        f"{len(hits)} of {len(done)} tests of {len(areas)} attacks tell members from non-members after Holm's "
        f"correction; {area}{low} ({counts})."
    )
    return Finding(item=ITEM, verdict="concern", text=text)


def said(metric: Metric) -> str:
    """A number with its interval, for running text."""
    around = interval(metric, "–")
    return display(metric.value, metric.unit) + (f" (95 % interval {around})" if around else "")
