"""From intervals to verdicts: a limit is met or broken only where the whole interval is on one side of it.

Verdicts on gaps of decisions hold together: with V of them, each uses intervals at level 1 - 0.05 / V (Bonferroni),
exact and simultaneous over the groups. Others use their own 95 % interval.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from upright.audit.fairness.classes import class_gaps
from upright.audit.fairness.config import Config
from upright.audit.fairness.counts import Table
from upright.audit.fairness.decisions import Gap, Grouping, simultaneous
from upright.audit.fairness.search import Search
from upright.audit.findings import Finding, Verdict
from upright.run.evidence import Metric

GAPS = {
    "selection rate, ratio": "ratio of selection rates",
    "selection rate, difference": "gap of selection rates",
    "true positive rate, difference": "gap of true positive rates",
    "false positive rate, difference": "gap of false positive rates",
    "equalised odds, larger gap": "larger gap of true and false positive rates",
    "positive predictive value, difference": "gap of positive predictive values",
    "accuracy, difference": "gap of accuracies",
}
LAWS = {
    "parity distance": "distance of decision laws",
    "odds distance": "distance of decision laws within a label",
}
GROUP, CROSSED, SUBGROUPS = "fairness.group", "fairness.intersectional", "fairness.subgroups"
CALIBRATION, INDIVIDUAL, INEQUALITY = "fairness.calibration", "fairness.individual", "fairness.inequality"
COUNTERFACTUAL, PROXY, DATA = "fairness.counterfactual", "fairness.proxy", "fairness.data"
RANKING, REGRESSION = "fairness.ranking", "fairness.regression"
ORDER: tuple[Verdict, ...] = ("concern", "undecided", "void", "clear")
CHANCE = 0.05
TOLD = 5  # answers that a finding spells out


@dataclass(frozen=True)
class Answer:
    """One verdict for one grouping."""

    verdict: Verdict
    text: str


def at_most(low: float | None, high: float | None, limit: float) -> Verdict:
    """Clear when all of the interval is at or below the limit, concern when all is above."""
    if low is None or high is None:
        return "undecided"
    return "clear" if high <= limit else "concern" if low > limit else "undecided"


def at_least(low: float | None, high: float | None, limit: float) -> Verdict:
    """Clear when all of the interval is at or above the limit, concern when all is below."""
    if low is None or high is None:
        return "undecided"
    return "clear" if low >= limit else "concern" if high < limit else "undecided"


def joined(item: str, answers: Sequence[Answer], nothing: str) -> Finding:
    """One finding of several groupings: the gravest verdict, and the numbers of up to TOLD of them."""
    if not answers:
        return Finding(item=item, verdict="undecided", text=nothing)
    ranked = sorted(answers, key=lambda answer: ORDER.index(answer.verdict))
    more = [f"{len(ranked) - TOLD} more stand in the tables."] if len(ranked) > TOLD else []
    text = " ".join([*(answer.text for answer in ranked[:TOLD]), *more])
    return Finding(item=item, verdict=ranked[0].verdict, text=text)


def of_groupings(groupings: Sequence[Grouping], config: Config, extra: int = 0) -> list[Finding]:
    """Findings on gaps: for single columns one for each measure, for crossings one of all.

    `extra` is the number of other verdicts that this audit makes.
    """
    single = [g for g in groupings if len(g.columns) == 1]
    crossed = [g for g in groupings if len(g.columns) > 1]
    made = len(GAPS) * len(groupings) + extra
    gaps = {id(g): simultaneous(g, CHANCE / made) for g in groupings}
    nothing = f"Fewer than two groups have {config.min_group} records and {config.min_events} in the denominator."
    found = []
    for name, words in GAPS.items():
        answers = [_answer(gaps[id(g)].get(name), g.table, words, config, made) for g in single]
        found.append(joined(GROUP, answers, nothing))
    if crossed:
        every = [
            _answer(gaps[id(g)].get(name), g.table, words, config, made)
            for g in crossed
            for name, words in GAPS.items()
        ]
        bad = [one for one in every if one.verdict != "clear"] or every[:1]
        found.append(joined(CROSSED, bad, nothing))
    return found


def of_laws(tables: Sequence[Table], config: Config) -> list[Finding]:
    """Findings on decisions among several classes, one for each measure of all groupings."""
    made = len(LAWS) * len(tables)
    gaps = [class_gaps(table, config, CHANCE / made) for table in tables]
    return [
        joined(
            GROUP,
            [_answer(own.get(name), table, words, config, made) for own, table in zip(gaps, tables, strict=True)],
            "",
        )
        for name, words in LAWS.items()
    ]


def _answer(gap: Gap | None, table: Table, words: str, config: Config, made: int) -> Answer:
    few = f"{config.min_group} records and {config.min_events} below the line"
    if gap is None or np.isnan(gap.value):
        return Answer(
            "undecided", f"{words.capitalize()} by {table.name}: not enough data, needs two groups of at least {few}."
        )
    small = int((table.size < config.min_group).sum())
    aside = f"; {small} with fewer than {config.min_group} records not compared" if small else ""
    ratio = words.startswith("ratio")
    limit = config.ratio_limit if ratio else config.limit
    verdict = (at_least if ratio else at_most)(gap.low, gap.high, limit)
    level = f"{100 * (1 - CHANCE / made):.2f} % interval"
    side = "at least" if ratio else "at most"
    return Answer(
        verdict,
        f"{words.capitalize()} by {table.name}: {gap.value:.3f} ({level} {gap.low:.3f} to {gap.high:.3f}, "
        f"n = {gap.n:,}; limit {side} {limit:g}{aside}).",
    )


def of_metrics(item: str, found: Iterable[Metric], limit: float, least: bool = False) -> Finding:
    """A finding on metrics that should be at most (or at least) `limit`, by their own intervals."""
    answers = []
    for one in found:
        name = f"{one.name[0].upper()}{one.name[1:]} {one.split}".removesuffix(" all")
        if one.value is None or one.ci_low is None:
            answers.append(Answer("undecided", f"{name}: not enough data (n = {one.n:,})."))
            continue
        judge, side = (at_least, "at least") if least else (at_most, "at most")
        text = (
            f"{name}: {one.value:.3f} ({one.ci_low:.3f} to {one.ci_high:.3f}, n = {one.n:,}; limit {side} {limit:g})."
        )
        answers.append(Answer(judge(one.ci_low, one.ci_high, limit), text))
    return joined(item, answers, "Nothing was measured.")


def of_proxies(told: Sequence[Metric], by_chance: Mapping[str, float], config: Config) -> Finding:
    """A finding on what features tell of each group column: a concern where that is over chance by the limit."""
    answers = []
    for one in told:
        if one.value is None or one.ci_low is None or one.ci_high is None:
            answers.append(Answer("undecided", f"{one.split}: fewer than two groups of {config.min_group} records."))
            continue
        chance = by_chance[one.split]
        own = ", which is one of the features," if one.split in config.features else ""
        text = (
            f"{one.split}{own} is told from the features with a balanced accuracy of {one.value:.3f} "
            f"({one.ci_low:.3f} to {one.ci_high:.3f}, n = {one.n:,}; chance {chance:.3f}, limit {config.limit:g} more)."
        )
        answers.append(Answer(at_most(one.ci_low - chance, one.ci_high - chance, config.limit), text))
    return joined(PROXY, answers, "Nothing was measured.")


def of_searches(searches: Sequence[Search]) -> Finding:
    """A finding on the worst subgroup: a concern where it is further off than the limit and the search's own chance
    does not explain it (Holm). Where nothing is found in too few records, that is no all-clear.
    """  # noqa: D205
    ranked = sorted(searches, key=lambda one: one.p)
    answers = []
    still = True
    for i, one in enumerate(ranked):
        still = still and one.p <= CHANCE / (len(ranked) - i)
        verdict: Verdict = "concern" if still and one.beyond else "clear" if one.telling else "undecided"
        answers.append(Answer(verdict, one.text + "."))
    nothing = "Not searched: the data are weighted, have one outcome only, or --rescans is 0."
    return joined(SUBGROUPS, answers, nothing)
