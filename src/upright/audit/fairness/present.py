"""What a person gets to see of a fairness audit: the claim, plots by group, tables, limits."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from upright.audit.fairness.config import Config
from upright.audit.fairness.decisions import CORE, SIMULTANEOUS, Grouping
from upright.audit.fairness.labels import LAWS, SHARE
from upright.audit.fairness.scores import Calibration
from upright.audit.fairness.swaps import CHANGES, FAVOURED, FLIPS
from upright.audit.fairness.verdict import GROUP, REGRESSION
from upright.audit.findings import Finding
from upright.run.evidence import Metric
from upright.run.measures.rates import rates as rates_of
from upright.run.plots import Point, bars_before_after, forest, heatmap, lines
from upright.run.report import Report

SHOWN = 12  # groups in one plot; a table holds all
LINES = 6
ALIKE = ("consistency", "pairs treated more unlike than they are")
ELSEWHERE = "Deviations, variances, worst groups, exact intervals, p-values and single groups stand at the end."
MARKS = {"concern": "✗ concern", "clear": "✓ clear", "undecided": "? undecided", "void": "– void"}


@dataclass
class Outcome:
    """All that a run found, for the report."""

    metrics: list[Metric] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    groupings: list[Grouping] = field(default_factory=list)
    calibrations: dict[str, dict[str, Calibration]] = field(default_factory=dict)
    subgroups: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    records: int = 0


def report(config: Config, outcome: Outcome) -> Report:
    """The page of a run."""
    page = Report("Fairness audit", claim(config, outcome), _headline(outcome))
    page.section("Verdicts", "A verdict is given only where the whole interval lies on one side of the limit.")
    page.examples([_row(finding) for finding in outcome.findings], _together(outcome))
    for g in outcome.groupings:
        (_single if len(g.columns) == 1 else _crossing)(page, g, outcome)
    for name, groups in outcome.calibrations.items():
        _calibration(page, name, groups)
    _people(page, outcome)
    if outcome.subgroups:
        page.section("Worst subgroups", *[f"{text}." for text in outcome.subgroups])
    _data(page, outcome)
    if not outcome.groupings:
        _plain(page, config, outcome)
    page.limits(_limits(config, outcome))
    return page


def claim(config: Config, outcome: Outcome) -> str:
    """What came out, in one sentence."""
    by = {kind: [f for f in outcome.findings if f.verdict == kind] for kind in MARKS}
    groups = ", ".join(config.groups)
    parts = [f"{outcome.records:,} records compared by {groups}:"]
    counts = [
        f"{len(by[kind])} {word}"
        for kind, word in (("concern", "concerns"), ("clear", "questions clear"), ("undecided", "undecided"))
        if by[kind]
    ]
    parts.append(", ".join(counts) or "nothing could be tested")
    first = f"; first of them {_question(by['concern'][0])}" if by["concern"] else ""
    return " ".join(parts) + first + "."


def _question(finding: Finding) -> str:
    """What was asked, in a few words: of several findings on groups, the measure."""
    if finding.item in (GROUP, REGRESSION):
        return finding.text.partition(" by ")[0].lower()
    return finding.item.rpartition(".")[2]


def _row(finding: Finding) -> dict[str, object]:
    return {"question": _question(finding), "verdict": MARKS[finding.verdict], "why": finding.text}


def _together(outcome: Outcome) -> str:
    return (
        f"{len(outcome.findings)} questions; the intervals of all verdicts on gaps of decisions hold together with "
        "95 % (Bonferroni), and each holds for all groups at once. Other verdicts use 95 % intervals, each by itself."
    )


def headline(metrics: Sequence[Metric]) -> list[Metric]:
    """The numbers worth a look right after the run: one of each name."""
    wanted = (
        "selection rate, ratio",
        "selection rate, difference",
        "equalised odds, larger gap",
        "AUC, difference",
        "calibration error, difference",
        "parity distance",
        "odds distance",
        "mean absolute error, difference",
        "NDKL",
    )
    return [m for m in metrics if m.name in wanted and m.value is not None and "×" not in m.split]


def _headline(outcome: Outcome) -> list[str]:
    return list(dict.fromkeys(m.name for m in headline(outcome.metrics)))[:4]


# --- one column ------------------------------------------------------------------------------------------------


def _named(outcome: Outcome, g: Grouping, name: str) -> list[Metric]:
    """The metrics of one measure, a group each, with the group alone as its name."""
    start = f"{g.table.name}: "
    return [
        m.model_copy(update={"name": m.split.removeprefix(start), "split": "all"})
        for m in outcome.metrics
        if m.name == name and m.split.startswith(start) and m.value is not None
    ]


def _single(page: Report, g: Grouping, outcome: Outcome) -> None:
    page.section(f"By {g.table.name}", *_sizes(g))
    for name in CORE[:4]:
        rows = sorted(_named(outcome, g, name), key=lambda m: -m.n)[:SHOWN]
        if len(rows) > 1:
            draw = bars_before_after if name == CORE[0] else forest
            page.plot(draw(rows, alt=f"{name} by {g.table.name}"), f"{name.capitalize()}, with 95 % intervals.")
    page.table(_main(outcome, g), ELSEWHERE)


def _main(outcome: Outcome, g: Grouping) -> list[Metric]:
    """Measures that join groups, less those that are read beside them."""
    aside = ("sum of deviations", "variance between groups", "worst group", "p of no gap", SIMULTANEOUS)
    return [m for m in outcome.metrics if m.split == g.by and not m.name.endswith(aside)]


def _sizes(g: Grouping) -> list[str]:
    few = [
        f"{name} ({size:,.0f})"
        for name, size in zip(g.table.groups, g.table.size, strict=True)
        if size < g.config.min_group
    ]
    text = [f"{len(g.table.groups)} groups of {g.table.size.sum():,.0f} records."]
    if few:
        more = f" and {len(few) - 20} more" if len(few) > 20 else ""
        text.append(f"Not enough data, fewer than {g.config.min_group} records: {', '.join(few[:20])}{more}.")
    return text


# --- crossings -------------------------------------------------------------------------------------------------


def _crossing(page: Report, g: Grouping, outcome: Outcome) -> None:
    page.section(f"By {g.table.name}", *_sizes(g))
    if len(g.columns) == 2:
        _heat(page, g)
    page.table(_main(outcome, g), ELSEWHERE)


def _heat(page: Report, g: Grouping) -> None:
    rows, columns = (sorted({value[j] for value in g.table.values}) for j in (0, 1))
    if len(rows) > 25 or len(columns) > SHOWN:
        rows, columns = columns, rows
    if len(rows) > 25 or len(columns) > SHOWN:
        return
    swapped = rows != sorted({value[0] for value in g.table.values})
    m = rates_of(g.cells)[0]
    place = {(value[::-1] if swapped else value): i for i, value in enumerate(g.table.values)}
    field_ = [
        [
            float(m[place[row, column]]) if (row, column) in place and g.enough[0, place[row, column]] else None
            for column in columns
        ]
        for row in rows
    ]
    page.plot(
        heatmap(field_, rows=rows, columns=columns, alt=f"Selection rate by {g.table.name}", unit="proportion"),
        f"Selection rate by {g.table.name}. Empty fields hold fewer than {g.config.min_group} records.",
    )


# --- scores, numbers, orders -----------------------------------------------------------------------------------


def _calibration(page: Report, name: str, groups: dict[str, Calibration]) -> None:
    largest = sorted(groups, key=lambda group: -float(groups[group].weight.sum()))[:LINES]
    series = {
        group: [Point(float(x), float(y)) for x, y in zip(groups[group].score, groups[group].positives, strict=True)]
        for group in sorted(largest)
    }
    page.section(f"Calibration by {name}")
    page.plot(
        lines(series, x="mean score of a bin", y="share of positives", alt=f"Calibration by {name}", unit="proportion"),
        "Where the score promises what happens, lines run along the diagonal. Bins of equal mass; "
        f"the {len(series)} largest groups.",
    )


def _people(page: Report, outcome: Outcome) -> None:
    """Alike people, what features tell of groups, and swaps: of all and of the largest groups."""
    told = [m for m in outcome.metrics if m.name in ALIKE or m.name.startswith("told ")]
    if told:
        page.section("Alike people", "What the features tell of a group, a model that reads them can act on.")
        page.table(told)
    moved = [m for m in outcome.metrics if m.name in (FLIPS, CHANGES, FAVOURED)]
    if moved:
        page.section("The same person in another group", "The model's answers to a record and to its swap.")
        shown = [m.model_copy(update={"name": m.split, "split": "all"}) for m in moved if m.name == moved[0].name]
        page.plot(
            forest(shown[: SHOWN + 1], alt=moved[0].name.capitalize()), f"{moved[0].name.capitalize()}, by group."
        )
        page.table(moved)


def _data(page: Report, outcome: Outcome) -> None:
    """Sizes and label laws of the groups."""
    names = ("class imbalance", *LAWS, SHARE)
    own = [m for m in outcome.metrics if m.name.startswith(names)]
    if own:
        page.section("The data", "How many records each group has, and whether its labels follow another law.")
        page.table(own)


def _plain(page: Report, config: Config, outcome: Outcome) -> None:
    """Regression and rankings: a section for each grouping."""
    for column in config.groups:
        own = [m for m in outcome.metrics if m.split.startswith((f"{column}: ", f"by {column}"))]
        own = [m for m in own if "×" not in m.split]
        errors = [m for m in own if m.name == "mean absolute error" and m.value is not None][:SHOWN]
        page.section(f"By {column}")
        if len(errors) > 1:
            shown = [m.model_copy(update={"name": m.split, "split": "all"}) for m in errors]
            page.plot(forest(shown, alt=f"Mean absolute error by {column}"), "Mean absolute error by group.")
        page.table(own)


def _limits(config: Config, outcome: Outcome) -> list[str]:
    limits = [
        *outcome.warnings,
        "An audit sees the groups it is given; a gap is no proof of its cause, and no gap is no proof of fairness.",
        "Ranges over groups grow with the number of groups even where there is no bias: read them beside the p-values.",
        "Where base rates differ, equal error rates and equal predictive values cannot hold together.",
        "Counts by group are personal data where groups are small: handle counts.parquet as the table itself.",
    ]
    if config.features:
        limits.append("Consistency counts neighbours as independent and records once, whatever their weight.")
    if config.swapped is not None or config.swapped_score is not None:
        limits.append("A swap tells of the group only if nothing else in the record was changed; weights do not count.")
    if config.score is not None and config.prediction is None and config.task == "decisions":
        limits.append(f"Decisions are scores of at least {config.threshold:g}.")
    return limits
