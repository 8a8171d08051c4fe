"""What a person gets to see of a comparison: metrics, frontier, report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upright.audit.findings import Finding, Verdict
from upright.audit.mitigate.config import METHODS, NONE, Config
from upright.audit.mitigate.points import Estimate
from upright.audit.mitigate.recourse import CHOICE, COST, WAY
from upright.run.evidence import Better, Metric, display, interval, proportion
from upright.run.plots import Point, forest, scatter
from upright.run.report import Report

if TYPE_CHECKING:
    from upright.audit.people import People

ITEM, RECOURSE = "mitigation.frontier", "fairness.recourse"
TITLES = {
    "accuracy": "accuracy",
    "balanced accuracy": "balanced accuracy",
    "parity": "demographic-parity difference",
    "odds": "equalised-odds difference",
}
ATTACK = "membership attack (AUC)"
STAGES = {"pre": "on the data", "in": "in training", "post": "on the scores"}
NAMED = 3


@dataclass(frozen=True)
class Sheet:
    """All numbers of a run."""

    names: list[str]
    metrics: list[Metric]
    estimates: dict[str, Estimate]
    """By measure; each holds a number for every one of `names`."""
    strict: Estimate
    """The gap of the verdict, with intervals that hold for all methods together."""
    frontier: dict[str, list[str]]
    """By gap, the methods that no other beats."""
    stability: dict[str, dict[str, float]]
    """By gap and method, the share of resamples in which it is on the frontier."""


def metrics(
    names: Sequence[str],
    estimates: Mapping[str, Estimate],
    changes: Mapping[str, Estimate],
    rows: int,
    draws: int,
    stability: Mapping[str, Mapping[str, float]],
) -> list[Metric]:
    """Every measure of every method, its change against the plain model, and how firmly it is on the frontier."""
    found = [
        _metric(TITLES[measure], name, estimate, i, rows, _better(measure))
        for i, name in enumerate(names)
        for measure, estimate in estimates.items()
    ]
    found += [
        _metric(f"change of {TITLES[measure]}", name, change, i, rows, _better(measure))
        for i, name in enumerate(names)
        if name != NONE
        for measure, change in changes.items()
    ]
    for gap, shares in stability.items():
        title = f"resamples on the frontier, {TITLES[gap]}"
        found += [proportion(title, round(share * draws), draws, split=name) for name, share in shares.items()]
    return found


def _metric(name: str, split: str, estimate: Estimate, place: int, rows: int, better: Better) -> Metric:
    value, low, high = (float(part[place]) for part in estimate)
    return Metric(
        name=name, split=split, value=value, n=rows, ci_low=low, ci_high=high, unit="proportion", better=better
    )


def _better(measure: str) -> Better:
    return "lower" if measure in ("parity", "odds") else "higher"


def headline(found: Sequence[Metric]) -> list[Metric]:
    """Utility and gaps of every method."""
    return [metric for metric in found if metric.name in TITLES.values()]


def finding(config: Config, sheet: Sheet) -> Finding:
    """Whether some method brings the gap under the limit, with intervals that hold for all methods at once."""
    high, low = sheet.strict.high, sheet.strict.low
    best = int(high.argmin())
    name = "the plain model" if sheet.names[best] == NONE else sheet.names[best]
    if high[best] <= config.limit:
        verdict, claim = "clear", f"{name} keeps it"
    elif low.min() > config.limit:
        verdict, claim = "concern", "no method keeps it"
    else:
        verdict, claim = "undecided", "the rows are too few to say that a method keeps it"
    at = sheet.strict.value[best]
    text = (
        f"{TITLES[config.gap]} within {config.limit:.0%}: {claim}; the best, {name}, has {at:.1%} "
        f"({low[best]:.1%} to {high[best]:.1%}, simultaneous over {len(sheet.names)} methods; "
        f"{_of(sheet, TITLES[config.gap], NONE).n:,} held-out rows); not dominated in {config.utility}: "
        f"{', '.join('the plain model' if one == NONE else one for one in sheet.frontier[config.gap])}."
    )
    return Finding.model_validate({"item": ITEM, "verdict": verdict, "text": text})


def recourse_finding(config: Config, sheet: Sheet) -> list[Finding]:
    """Whether the plain model leaves groups alike in how many of their refused have a way out; none without actions."""
    found = [m for m in sheet.metrics if (m.name, m.split) == (f"{WAY}, difference", NONE)]
    return [_recourse_verdict(config, metric) for metric in found]


def _recourse_verdict(config: Config, gap: Metric) -> Finding:
    if gap.value is None or gap.ci_low is None or gap.ci_high is None:
        few = f"Too few refused: needs two groups of {config.min_group}."
        return Finding(item=RECOURSE, verdict="undecided", text=few)
    verdict: Verdict = (
        "clear" if gap.ci_high <= config.limit else "concern" if gap.ci_low > config.limit else "undecided"
    )
    text = (
        f"Under the plain model the share of the refused with a way out differs between groups by {_shown(gap)}, exact "
        f"and simultaneous; {gap.n:,} refused; limit {config.limit:.0%}."
    )
    return Finding(item=RECOURSE, verdict=verdict, text=text)


def report(config: Config, table: "People", sheet: Sheet, findings: Sequence[Finding]) -> Report:
    """The page of a run."""
    page = Report("Mitigation", _claim(config, sheet), (TITLES[config.utility], TITLES["odds"], TITLES["parity"]))
    page.section("Verdict", *(f"{found.verdict}: {found.text}" for found in findings))
    for gap in (config.gap, "parity" if config.gap == "odds" else "odds"):
        _frontier(page, config, sheet, gap)
    page.section(
        "What each method does",
        "A method that reads the group needs it whenever a decision is made, which can be unlawful.",
    )
    page.examples([_method_row(name) for name in sheet.names], "From fairlearn, or written in upright.")
    page.section("Utility and gaps")
    page.table(headline(sheet.metrics))
    page.section(
        "What it does to privacy",
        "How well the loss tells rows a model learned from from held-out ones; one half is chance. n is the folds.",
    )
    page.plot(forest(_attacks(sheet), alt="AUC of a membership attack, by method."), "With 95 % intervals over folds.")
    page.table(_attacks(sheet))
    _recourse(page, sheet)
    page.section("Against the plain model", "Differences on the same rows, resampled together.")
    page.table([metric for metric in sheet.metrics if metric.name.startswith("change of ")])
    page.facts({"rows": f"{len(table.label):,}", "groups": ", ".join(table.names), "model": config.model})
    return page.limits(_limits(config))


def _recourse(page: Report, sheet: Sheet) -> None:
    own = [metric for metric in sheet.metrics if metric.name.startswith((WAY, CHOICE, COST))]
    if own:
        page.section(
            "What the refused can do",
            "Each action of --actions was tried on everyone refused, in the first cut into folds. n is the refused, of "
            "costs those who have a way out.",
        )
        page.table(own)


def _attacks(sheet: Sheet) -> list[Metric]:
    return [metric for metric in sheet.metrics if metric.name == ATTACK]


def _claim(config: Config, sheet: Sheet) -> str:
    title = TITLES[config.gap]
    plain = _of(sheet, title, NONE)
    ahead = [name for name in sheet.frontier[config.gap] if name != NONE]
    if not ahead:
        return f"No method beats the plain model, whose {title} is {_shown(plain)}."
    best = min((_of(sheet, title, name) for name in ahead), key=lambda metric: metric.value or 0.0)
    cost = _of(sheet, f"change of {TITLES[config.utility]}", best.split)
    return (
        f"{best.split} brings the {title} from {_shown(plain)} to {_shown(best)} on held-out rows; "
        f"{config.utility} changes by {_points(cost)}."
    )


def _shown(metric: Metric) -> str:
    return f"{display(metric.value, metric.unit)} ({interval(metric)})"


def _points(metric: Metric) -> str:
    ends = [display(end, metric.unit, signed=True) for end in (metric.ci_low, metric.ci_high)]
    return f"{display(metric.value, metric.unit, signed=True)} ({ends[0]} to {ends[1]})"


def _of(sheet: Sheet, name: str, split: str) -> Metric:
    return next(metric for metric in sheet.metrics if (metric.name, metric.split) == (name, split))


def _frontier(page: Report, config: Config, sheet: Sheet, gap: str) -> None:
    ahead = sheet.frontier[gap]
    firm = sheet.stability[gap]
    page.section(f"The frontier: {config.utility} against {TITLES[gap]}")
    page.plot(
        scatter(
            _series(config, sheet, gap),
            x=TITLES[gap],
            y=config.utility,
            alt=f"{config.utility.capitalize()} of each method against its {TITLES[gap]}, on held-out rows.",
            x_unit="proportion",
            y_unit="proportion",
        ),
        "Up and to the left is better; bars are 95 % intervals of the utility. Not dominated: "
        + ", ".join(f"{name}{_mark(name)} (in {firm[name]:.0%} of resamples)" for name in ahead)
        + ". * reads the group when it decides.",
    )


def _mark(name: str) -> str:
    return "*" if name != NONE and METHODS[name].reads_group else ""


def _series(config: Config, sheet: Sheet, gap: str) -> dict[str, list[Point]]:
    """Frontier methods by name, those with the smallest gap first, as far as a legend goes; then the rest."""
    utility, at = sheet.estimates[config.utility], dict(zip(sheet.names, sheet.estimates[gap].value, strict=True))
    others = sorted((name for name in sheet.frontier[gap] if name != NONE), key=lambda name: at[name])
    titles = {name: f"{name}{_mark(name)}" if i < NAMED else "also not dominated" for i, name in enumerate(others)}
    titles[NONE] = "plain model"
    series: dict[str, list[Point]] = {}
    for i, name in enumerate(sheet.names):
        point = Point(float(at[name]), *(float(part[i]) for part in utility))
        series.setdefault(titles.get(name, "dominated"), []).append(point)
    return series


def _method_row(name: str) -> dict[str, str]:
    if name == NONE:
        return {"method": name, "acts": "–", "reads the group": "no", "from": "scikit-learn", "rule": "the plain model"}
    method = METHODS[name]
    reads = "yes" if method.reads_group else "no"
    return {
        "method": name,
        "acts": STAGES[method.stage],
        "reads the group": reads,
        "from": method.source,
        "rule": method.rule,
    }


def _limits(config: Config) -> list[str]:
    return [
        "Intervals speak of the rows, not of training again: "
        + ("one cut into folds was tried." if config.seeds == 1 else f"{config.seeds} cuts into folds were averaged."),
        "Intervals of gaps hold for all pairs of groups together (Bonferroni), so they are rather too wide.",
        "Labels are taken as true; where they carry an earlier bias, equal error rates keep it.",
        "Equal rates in these groups say nothing about crossings of attributes that were not given.",
    ]
