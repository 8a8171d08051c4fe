"""Wiring of `upright audit fairness`: count, measure, judge, report."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np

from upright.audit import findings
from upright.audit.fairness import alike, decisions, labels, present, reading, rows, scored, search, swaps, verdict
from upright.audit.fairness import counts as c
from upright.audit.fairness.classes import class_metrics
from upright.audit.fairness.config import Config
from upright.audit.fairness.counts import Counts, Table
from upright.audit.fairness.decisions import Grouping
from upright.audit.fairness.present import Outcome
from upright.audit.fairness.resample import effective
from upright.audit.fairness.scored import Scored
from upright.audit.findings import Finding, write_findings
from upright.errors import UserError, unknown
from upright.run.evidence import Metric, scalar
from upright.run.folder import RunFolder, open_run
from upright.run.progress import track
from upright.run.tables import table_file

if TYPE_CHECKING:
    from collections.abc import Sequence

VERB = "audit fairness"
COUNTS, SCORES = "counts.parquet", "scores.parquet"
Shares = dict[str, dict[str, float]]  # of a population, by column and group
Tables = dict[tuple[str, ...], Table]  # by the group columns that are crossed


@dataclass(frozen=True, kw_only=True)
class Result(findings.Result):
    """Numbers and conclusions; `counts` are what they were made from (None for regression and rankings)."""

    counts: Counts | None

    def summary(self) -> "Sequence[Metric]":
        """The headline numbers."""
        return present.headline(self.metrics)


def run(config: Config) -> Result:
    """Audit a table.

    Raises:
        UserError: for a table or a column that cannot be used as it is named.
    """
    files = reading.files(config.table)
    for path in files:
        reading.scan(path, config)
    shares = {} if config.population is None else labels.read_population(config.population, config.groups)
    with open_run(config, verb=VERB) as folder:
        for path in [*files, *([] if config.population is None else [table_file(config.population)])]:
            folder.input(path)
        counts = None
        if config.task == "decisions":
            counts = _counted(config, folder)
            outcome = _decisions(config, folder, counts, shares)
        else:
            outcome = _records(config, folder)
        write_findings(folder.path, outcome.findings)
        folder.finish(outcome.metrics, present.report(config, outcome))
    return Result(out=folder.path, metrics=outcome.metrics, findings=outcome.findings, counts=counts)


def _rng(folder: RunFolder, name: str) -> np.random.Generator:
    return np.random.default_rng(folder.seed_for(name))


def _metrics(folder: RunFolder, name: str, make: Callable[[np.random.Generator], list[Metric]]) -> list[Metric]:
    """A step that gives metrics, with its own stream of randomness."""
    return folder.step(name, lambda: make(_rng(folder, name)), list[Metric])


# --- decisions and scores --------------------------------------------------------------------------------------


def _counted(config: Config, folder: RunFolder) -> Counts:
    """Counts of the whole table, kept in the folder; unusable rows are listed."""
    paths = folder.path / COUNTS, folder.path / SCORES

    def count() -> list[str]:
        files = reading.files(config.table)
        whole = reduce(add, (reading.count(path, config) for path in track(files, "counting")))
        reading.check(whole, config)
        whole.save(*paths)
        for path in files if whole.dropped else []:
            for row in reading.unusable(path, config):
                folder.fail("read", row.pop(c.REASON), {"file": str(path), **row})
        return [path.name for path in paths]

    folder.step("counts", count)
    return Counts.load(*paths)


def _decisions(config: Config, folder: RunFolder, counts: Counts, shares: Shares) -> Outcome:
    classes = reading.classes_of(counts, config)
    positive = reading.positive_words(classes, config)
    if config.score is not None and positive is None:
        raise UserError(f"--score: got {len(classes)} classes; name the --positive one that it is the probability of")
    if config.features and positive is None:
        raise UserError(f"--features: got {len(classes)} classes; name the --positive one for individual fairness")
    known = counts if positive is None else counts.binary(positive, None if config.prediction else ["true"])
    names = list(classes) if positive is None else ["0", "1"]
    tables = {columns: c.table(known, columns, names) for columns in rows.crossings(config.groups)}
    _check_references(config, tables)
    outcome = Outcome(records=int(known.usable[c.RECORDS].sum()), warnings=_warnings(config, counts))
    outcome.metrics.append(scalar("rows that cannot be used", sum(counts.dropped.values()), n=outcome.records))
    if positive is None:
        _several_classes(config, folder, outcome, tables)
    else:
        _two_classes(config, folder, outcome, tables)
        if config.score is not None:
            _scores(config, folder, outcome, known)
        _searches(config, folder, outcome, known)
    _labels(config, folder, outcome, tables, shares)
    if config.features and positive is not None:
        _alike(config, folder, outcome, positive)
    if config.swapped is not None or config.swapped_score is not None:
        _swaps(config, folder, outcome, positive)
    return outcome


def _labels(config: Config, folder: RunFolder, outcome: Outcome, tables: Tables, shares: Shares) -> None:
    """How many records and which labels each group has, also against a population."""
    answers = []
    for i, name in enumerate(config.groups):
        table = tables[name,]
        own = [g.reference for g in outcome.groupings if g.columns == (name,)]
        reference = own[0] if own and own[0] is not None else int(table.size.argmax())
        measure = partial(labels.label_metrics, table, reference, config)
        outcome.metrics += _metrics(folder, f"labels-{i}", measure)
        if name in shares:
            outcome.metrics += labels.population_metrics(table, shares[name])
            tests = sum(map(len, shares.values()))
            answers += [
                m
                for m in labels.population_metrics(table, shares[name], verdict.CHANCE / tests)
                if m.name == labels.OVER
            ]
    if shares:
        outcome.findings.append(verdict.of_metrics(verdict.DATA, answers, config.ratio_limit, least=True))


def _alike(config: Config, folder: RunFolder, outcome: Outcome, positive: tuple[str, ...]) -> None:
    found = _metrics(folder, "individual", partial(alike.individual_metrics, config, positive))
    outcome.metrics += found
    outcome.findings.append(verdict.of_metrics(verdict.INDIVIDUAL, found[:1], 1 - config.limit, least=True))
    chance = {m.split: float(m.value or 0) for m in found if m.name == alike.CHANCE}
    outcome.findings.append(verdict.of_proxies([m for m in found if m.name == alike.PROXY], chance, config))


def _swaps(config: Config, folder: RunFolder, outcome: Outcome, positive: tuple[str, ...] | None) -> None:
    found = folder.step("swaps", lambda: swaps.swap_metrics(config, positive), list[Metric])
    outcome.metrics += found
    judged = [m for m in found if m.name in (swaps.FLIPS, swaps.CHANGES) and m.split == "all"]
    outcome.findings.append(verdict.of_metrics(verdict.COUNTERFACTUAL, judged, config.limit))


def _check_references(config: Config, tables: Tables) -> None:
    for column, value in config.reference.items():
        groups = tables[column,].groups
        if value not in groups:
            raise unknown(f"--reference {column} group", value, groups)


def _several_classes(config: Config, folder: RunFolder, outcome: Outcome, tables: Tables) -> None:
    for i, table in enumerate(tables.values()):
        outcome.metrics += _metrics(folder, f"classes-{i}", partial(class_metrics, table, config))
    outcome.findings += verdict.of_laws(list(tables.values()), config)


def _two_classes(config: Config, folder: RunFolder, outcome: Outcome, tables: Tables) -> None:
    outcome.groupings = [Grouping(table, config, columns) for columns, table in tables.items()]
    for i, g in enumerate(outcome.groupings):
        outcome.metrics += _metrics(folder, f"decisions-{i}", partial(decisions.decision_metrics, g))
    extra = len(config.groups) * (1 + (config.score is not None))
    outcome.findings += verdict.of_groupings(outcome.groupings, config, extra)
    single = {g.by for g in outcome.groupings if len(g.columns) == 1}
    even = [m for m in outcome.metrics if m.name == "mean benefit, ratio" and m.split in single]
    outcome.findings.append(verdict.of_metrics(verdict.INEQUALITY, even, config.ratio_limit, least=True))


def _scores(config: Config, folder: RunFolder, outcome: Outcome, counts: Counts) -> None:
    if not c.exact(counts):
        outcome.warnings.append(f"Scores were counted in {reading.BINS:,} bins; two in one bin count as tied.")
    law = counts.scores
    if law is not None and law[c.LOW].min() == law[c.HIGH].max():
        outcome.warnings.append("All scores are equal: separation and calibration slope say nothing.")
    for i, g in enumerate(outcome.groupings):
        if g.big.sum() < 2:
            continue
        s = _scored(config, counts, g)
        outcome.metrics += _metrics(folder, f"scores-{i}", partial(scored.score_metrics, s))
        if len(g.columns) == 1:
            own = dict(zip(s.table.groups, scored.calibrations(s), strict=True))
            outcome.calibrations[g.table.name] = own
    single = {g.by for g in outcome.groupings if len(g.columns) == 1}
    own_metrics = [m for m in outcome.metrics if m.name == "calibration error, difference" and m.split in single]
    outcome.findings.append(verdict.of_metrics(verdict.CALIBRATION, own_metrics, config.limit))


def _scored(config: Config, counts: Counts, g: Grouping) -> Scored:
    table = g.table.pick(g.big)
    cells, at = c.score_table(counts, g.columns, table.values)
    scaled = effective(cells, table.squares).sum((1, 2))
    weight = cells.sum((1, 2))
    return Scored(table, cells, at, np.where(weight > 0, scaled / np.maximum(weight, 1e-300), 1.0), config)


def _searches(config: Config, folder: RunFolder, outcome: Outcome, counts: Counts) -> None:
    g = outcome.groupings[-1]
    law = c.score_table(counts, g.columns, g.table.values) if config.score is not None else None

    def look() -> list[search.Search]:
        gaps = search.worst_gaps(g, _rng(folder, "gaps"))
        regressed = search.rich_gaps(g, _rng(folder, "rich"))
        return [*gaps, *regressed, *search.bias_scans(g, law, _rng(folder, "scans"))]

    found = folder.step("subgroups", look, list[search.Search])
    outcome.metrics += [m for one in found for m in one.metrics]
    outcome.subgroups = [one.text for one in found]
    outcome.findings.append(verdict.of_searches(found))


def _warnings(config: Config, counts: Counts) -> list[str]:
    found = []
    lost = sum(counts.dropped.values())
    if lost:
        why = ", ".join(f"{count:,} × {reason}" for reason, count in counts.dropped.items())
        found.append(f"{lost:,} rows could not be used ({why}{_more(config, lost)}).")
    if counts.weighted:
        found.append(
            "Records are weighted: intervals use effective sizes; permutation tests and searches are left out."
        )
    missing = [name for name in counts.columns if (counts.usable[f"g:{name}"] == c.MISSING).any()]
    if missing:
        found.append(f"Records without a value of {', '.join(missing)} form a group of their own, {c.MISSING}.")
    return found


# --- numbers and orders ----------------------------------------------------------------------------------------


def _records(config: Config, folder: RunFolder) -> Outcome:
    regression = config.task == "regression"
    numbers = [config.label, str(config.prediction if regression else config.score)]
    found = rows.records(config, numbers)
    measure = rows.regression_metrics if regression else rows.ranking_metrics
    for column in config.groups:
        if found.frame[f"g:{column}"].n_unique() < 2:
            raise UserError(f"--groups {column}: got one group only; needs two")

    def work() -> list[Metric]:
        for row in found.listed:
            folder.fail(
                "read", f"{' or '.join([*numbers, *filter(None, [config.query])])} is missing or no number", row
            )
        return measure(config, found.frame, _rng(folder, config.task))

    outcome = Outcome(records=len(found.frame))
    outcome.metrics = [
        scalar("rows that cannot be used", found.dropped, n=len(found.frame)),
        *folder.step(config.task, work, list[Metric]),
    ]
    if found.dropped:
        outcome.warnings.append(f"{found.dropped:,} rows could not be used{_more(config, found.dropped)}.")
    outcome.findings = _judged(config, outcome.metrics)
    return outcome


def _more(config: Config, lost: int) -> str:
    listed = len(reading.files(config.table)) * reading.LISTED
    return f"; failures.jsonl names the first {reading.LISTED:,} of a file" if lost > listed else ""


def _judged(config: Config, found: list[Metric]) -> list[Finding]:
    if config.task == "regression":
        names = (
            "mean absolute error, difference over the overall error",
            f"Kolmogorov-Smirnov distance of predictions {decisions.SIMULTANEOUS}",
        )
        return [
            verdict.of_metrics(verdict.REGRESSION, [m for m in found if m.name == name], config.limit) for name in names
        ]
    tests = [m for m in found if m.name == "NDKL, p of a random order"]
    answers = [
        verdict.Answer(
            "undecided" if m.value is None or m.n < 40 else "concern" if m.value <= 0.05 / len(tests) else "clear",
            f"Order {m.split}: "
            + ("not enough data." if m.value is None else f"p = {m.value:.4f} of {m.n:,} random orders."),
        )
        for m in tests
    ]
    return [verdict.joined(verdict.RANKING, answers, "Nothing was ranked.")]
