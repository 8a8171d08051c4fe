"""The report of a synthesis."""

from collections.abc import Mapping, Sequence
from typing import Any

from upright.run.evidence import Metric
from upright.run.report import Report
from upright.synthesis.config import Config
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.part import Part

SHOWN = 8


def report(
    config: Config,
    statement: Mapping[str, Any],
    metrics: Sequence[Metric],
    parts: Sequence[Part],
    examples: Corpus,
    limits: Sequence[str],
) -> Report:
    """The page of a run.

    Args:
        statement: of the certificate, see `release.statement`.
        metrics: of the release itself: budget, how many records were written.
        examples: some of the synthetic records.
        limits: what the numbers do not show, besides the limits of the parts.
    """
    page = Report("Synthetic records", _claim(config, statement, len(parts)), headline=None)
    page.section("The release", _covered(statement)).table(metrics)
    rows = [
        {**dict(zip(examples.columns, code, strict=True)), "text": text}
        for code, text in zip(examples.codes, examples.texts, strict=True)
    ]
    if rows:
        page.examples(rows[:SHOWN])
    for part in parts:
        page.section(part.title, part.text)
        if part.metrics:
            page.table(part.metrics)
        for svg, caption in part.plots:
            page.plot(svg, caption)
        if part.examples:
            page.examples(part.examples)
        page.limits(part.limits)
    page.facts({"privacy": _budget(statement)})
    return page.limits(limits)


def _claim(config: Config, statement: Mapping[str, Any], parts: int) -> str:
    return f"{config.records:,} records were asked for with {_budget(statement)}; {parts} comparisons judge them."


def _budget(statement: Mapping[str, Any]) -> str:
    if "epsilon" not in statement:
        return "no formal guarantee"
    epsilon = statement["epsilon"]
    shown = epsilon if isinstance(epsilon, str) else f"{epsilon:.3g}"
    return f"ε = {shown} at δ = {statement['delta']:.2g}, for each {statement['unit']}"


def _covered(statement: Mapping[str, Any]) -> str:
    if statement["covers_the_records"]:
        return f"The guarantee, {_budget(statement)}, covers all that is handed over: generator and records."
    return f"No guarantee covers these records: {'; '.join(statement['not_covered_because'])}."
