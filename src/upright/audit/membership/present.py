"""What a person gets to see of a membership audit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from upright.audit.findings import Finding
from upright.audit.membership.evaluate import AUC, BLIND, ITEM, RATES, Sample, is_void, power_name
from upright.audit.membership.share import SHARE
from upright.run.evidence import Metric
from upright.run.measures.roc import roc
from upright.run.plots import Point, forest, lines
from upright.run.report import Report

if TYPE_CHECKING:
    from upright.audit.membership.config import Config

CURVES = 5  # besides the diagonal
POINTS = 150


class Scored(NamedTuple):
    """All attacks' scores, what the blind classifier said, and what a reader must know."""

    sample: Sample
    facts: dict[str, object]
    limits: list[str]
    counts: list[Metric]


def report(config: "Config", scored: Scored, found: Sequence[Metric], concluded: Sequence[Finding]) -> Report:
    """The page of a run: the blind check first, for without it no other number counts."""
    sample = scored.sample
    areas = [m for m in found if m.name == AUC and m.split in sample.scores and m.value is not None]
    wanted = (BLIND, AUC, SHARE, *map(power_name, RATES))
    known = {m.name for m in found if m.value is not None}
    headline = [name for name in wanted if name in known]
    page = Report("Membership audit", _claim(found[0], concluded), headline if areas else [BLIND])
    page.section("Can they be told apart without the model?", _blind(concluded), BLIND_WORDS)
    page.table(found[:1])
    if areas:
        _attacks(page, sample, areas, found)
    _groups(page, sample, found)
    _suspects(page, found, concluded)
    page.facts({"members": f"{int(sample.member.sum()):,}", "non-members": f"{int((~sample.member).sum()):,}"})
    page.facts(scored.facts)
    page.limits([*scored.limits, *_silent(sample), *LIMITS])
    return page


BLIND_WORDS = (
    "The check is a logistic regression on what is known of a record without the model, judged on records it was not "
    "trained on. If it does better than chance, members and non-members differ in law, by date or source perhaps, "
    "and an attack may have found that difference instead of the model's memory."
)
FEW = (
    "A false positive rate of 1 % cannot be shown with fewer than 299 non-members, one of 0.1 % not with fewer than "
    "2,995: the power there is not given."
)
LIMITS = (
    "An audit bounds the risk from below: that these attacks fail does not prove that none succeeds.",
    "Intervals of a TPR are exact for the members at the threshold found; the threshold itself comes from the "
    "non-members of this sample.",
    "The strongest attack is chosen on the same records; the tests behind the finding are corrected for that, "
    "the interval of its AUC is not.",
    "scores.parquet says for each record whether the model gives it away: it is private data itself.",
)


def _claim(check: Metric, concluded: Sequence[Finding]) -> str:
    text = next(f.text for f in concluded if f.item == ITEM)
    return f"Void: {text[0].lower()}{text[1:]}" if is_void(check) else text


def _blind(concluded: Sequence[Finding]) -> str:
    return concluded[0].text


def _attacks(page: Report, sample: Sample, areas: Sequence[Metric], found: Sequence[Metric]) -> None:
    page.section(
        "Attacks",
        "AUC is the chance that a member scores higher than a non-member. What matters more is how many members are "
        "found while hardly any non-member is accused: the left end of the curves.",
    )
    page.plot(forest(areas, alt="AUC of each attack with its 95 % interval."), "AUC of each attack; chance is 0.5.")
    shown = [m.split for m in areas[:CURVES]]
    if "loss" in sample.scores and "loss" not in shown:
        shown = [*shown[: CURVES - 1], "loss"]
    page.plot(
        lines(
            {**{name: curve(sample, name) for name in shown}, "chance": _chance(sample)},
            x="false positive rate",
            y="true positive rate",
            alt="Share of members found against share of non-members accused, both on a logarithmic axis.",
            log_x=True,
            log_y=True,
        ),
        f"ROC of the {len(shown)} attacks with the highest AUC (and of the loss), on logarithmic axes.",
    )
    powers = [m for m in found if m.name in map(power_name, RATES) and m.split in sample.scores]
    known = [m for m in powers if m.value is not None]
    page.table([*areas, *known], "" if len(known) == len(powers) else FEW)


def curve(sample: Sample, attack: str) -> list[Point]:
    """The ROC of an attack from its first true and false positive on, thinned evenly on a logarithmic axis."""
    found = roc(*sample.sides(attack))
    some = (found.fpr > 0) & (found.tpr > 0)
    fpr, tpr = found.fpr[some], found.tpr[some]
    places = np.unique(np.searchsorted(fpr, np.geomspace(fpr[0], 1.0, POINTS)).clip(max=len(fpr) - 1))
    return [Point(float(fpr[i]), float(tpr[i])) for i in places]


def _chance(sample: Sample) -> list[Point]:
    least = 1 / max(int((~sample.member).sum()), 2)
    return [Point(float(rate), float(rate)) for rate in np.geomspace(least, 1.0, 20)]


def _groups(page: Report, sample: Sample, found: Sequence[Metric]) -> None:
    rows = [m for m in found if ", " in m.split or "between groups" in m.name]
    if rows:
        page.section(
            "By group",
            "Attacks at one threshold for all, as an attacker would set it, and at a threshold from the group's own "
            "non-members. A gap is the largest minus the smallest; it grows with the number of groups by chance alone.",
        )
        page.table(rows, "A dash stands where a group has too few members or non-members.")


def _suspects(page: Report, found: Sequence[Metric], concluded: Sequence[Finding]) -> None:
    rows = [m for m in found if m.name == SHARE]
    if rows:
        page.section(
            "What share of the suspects was used",
            concluded[-1].text,
            "An attack and its threshold are chosen on one half of the known records; the other half says how often it "
            "is right, and from this and the suspects it flags follows the share. Suspects must be of the same law.",
        )
        page.table(rows)


def _silent(sample: Sample) -> list[str]:
    """Attacks that say nothing about some records."""
    counts = {name: int(np.isnan(values).sum()) for name, values in sample.scores.items()}
    return [
        f"{name}: says nothing about {count:,} of {len(sample.ids):,} records."
        for name, count in counts.items()
        if count
    ]
