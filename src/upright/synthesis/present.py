"""The report of a synthesis: what is claimed, what is guaranteed, and what the comparisons found."""

from collections.abc import Mapping, Sequence
from typing import Any

from upright.models.chat import Spent
from upright.run.evidence import Metric, display, interval
from upright.run.report import Report
from upright.synthesis import page as pieces
from upright.synthesis.config import Config
from upright.synthesis.drawings import beside
from upright.synthesis.evaluation.audited import AUDITED
from upright.synthesis.evaluation.canaries import CERTIFIED, TOLD
from upright.synthesis.evaluation.part import ALL, CONTROL, Part
from upright.synthesis.page import MEMBERSHIP, UNENDED, Row, budget, named, tied

WRITTEN = "records wanted that were written"
MANY = 0.05
"""Share of records without an end from which on the page says what to do."""
HIDDEN = (
    "Real records are left out on purpose. With --show-real one that nothing learnt from stands beside each; such a "
    "report must not leave the house."
)
OPEN = "This page shows real records (--show-real): it must not leave the house."


def report(
    config: Config,
    statement: Mapping[str, Any],
    metrics: Sequence[Metric],
    parts: Sequence[Part],
    examples: Sequence[Row],
    limits: Sequence[str],
) -> Report:
    """The page of a run.

    Args:
        statement: of the certificate, see `release.statement`.
        metrics: of the release itself: budget, how many records were written.
        examples: of the records, see `page.examples`.
        limits: what the numbers do not show, besides the limits of the parts.
    """
    found = [*metrics, *(metric for part in parts for metric in part.metrics)]
    page = Report("Synthetic records", claim(config, statement, found), _cards(config, statement, found))
    page.section("What is guaranteed", *_covered(statement, found)).terms(pieces.guarantee(config, statement))
    _beside(page, config, found)
    _some(page, config, metrics, examples)
    for part in parts:
        _part(page, part)
    page.facts({"privacy": budget(statement)})
    page.limits([*_own_limits(config, statement), *limits])
    return page.limits(f"{part.title}: {limit}" for part in parts for limit in part.limits)


def calls(spent: Spent) -> dict[str, str]:
    """What a chat model was asked, for the budget of the page; nothing where there was none."""
    if not spent.calls + spent.cached:
        return {}
    said = f"{spent.calls:,} in {display(spent.seconds, 's')}, waiting times added up"
    stored = f"; {spent.cached:,} more were answered from the cache" if spent.cached else ""
    return {"chat calls": f"{said}{stored}{f'; {spent.failed:,} failed' if spent.failed else ''}"}


# --- the top ---------------------------------------------------------------------------------------------------


def claim(config: Config, statement: Mapping[str, Any], metrics: Sequence[Metric]) -> str:
    """What came out, in one sentence with its numbers."""
    written = next(metric for metric in metrics if metric.name == WRITTEN)
    count = round((written.value or 0.0) * written.n)
    void = "epsilon" in statement and statement["epsilon"] != "inf" and not statement["covers_the_records"]
    head = f"{count:,} of {written.n:,} synthetic records were written with {budget(statement)}"
    told = [said for said in (_use(config, metrics), _canaries(metrics)) if said]
    return f"{head}{', a guarantee that is void here' if void else ''}{': ' if told else ''}{'; '.join(told)}."


def _use(config: Config, metrics: Sequence[Metric]) -> str:
    label = config.labels[0] if config.labels else ""
    own = named(metrics, f"{label}: macro-F1", ALL) or named(metrics, f"{label}: macro-F1")
    if own is None:
        return ""
    reached = f"a classifier of {label} that learns from them has a macro-F1 of {tied(display(own.value, own.unit))}"
    for whose in ("the control's", "the held-out records'"):
        kept = named(metrics, f"{label}: share of {whose} macro-F1 kept")
        if kept is not None:
            return f"{reached}, {tied(f'{100 * (kept.value or 0):.0f} %')} of {whose}"
    return reached


def _canaries(metrics: Sequence[Metric]) -> str:
    shown = _refuted(metrics)
    if shown is not None:
        return f"the canaries refute the certificate, with an ε of {shown:.3g} at least"
    told, control = named(metrics, TOLD), named(metrics, TOLD, CONTROL)
    if told is None:
        return ""
    auc = f"(AUC {tied(display(told.value, ''))}{f', {tied(ends)}' if (ends := interval(told, ' to ')) else ''})"
    if _above(told):
        return f"canaries are told apart above chance {auc}"
    powerless = control is not None and not _above(control)
    return f"canaries are at chance {auc}{', but so they are without privacy' if powerless else ''}"


def _refuted(metrics: Sequence[Metric]) -> float | None:
    """The ε that the audit shows where it is above the certified one."""
    audited, certified = named(metrics, AUDITED), named(metrics, CERTIFIED)
    if audited is None or certified is None or (audited.value or 0.0) <= (certified.value or 0.0):
        return None
    return audited.value


def _above(auc: Metric) -> bool:
    return auc.ci_low is not None and auc.ci_low > 0.5


def _cards(config: Config, statement: Mapping[str, Any], metrics: Sequence[Metric]) -> list[str] | None:
    macro = [f"{config.labels[0]}: macro-F1"] if config.labels else []
    budgets = [metric.name for metric in metrics if metric.name == "epsilon" and statement["covers_the_records"]]
    return budgets + [name for name in (AUDITED, *macro, MEMBERSHIP) if named(metrics, name)] or None


# --- sections --------------------------------------------------------------------------------------------------


def _covered(statement: Mapping[str, Any], metrics: Sequence[Metric]) -> list[str]:
    if not statement["covers_the_records"]:
        return [f"No guarantee covers these records: {'; '.join(statement['not_covered_because'])}."]
    covered = f"The guarantee, {budget(statement)}, covers all that is handed over: generator and records."
    broken = "The canaries show more than it allows: it does not hold, and the records must not be released."
    return [covered, *([broken] if _refuted(metrics) is not None else [])]


def _beside(page: Report, config: Config, metrics: Sequence[Metric]) -> None:
    figures = pieces.main_figures(config, metrics)
    if not figures:
        return
    page.section("Beside the two references").plot(
        beside(figures),
        "Real records that nothing learnt from show what perfect synthetic records would reach; the control, the same "
        "generator without privacy, shows what the privacy cost and what it prevented. Bars are 95 % intervals.",
    )


def _some(page: Report, config: Config, metrics: Sequence[Metric], examples: Sequence[Row]) -> None:
    page.section("Some of the records", *_cut_off(config, metrics), OPEN if config.show_real else HIDDEN)
    if examples:
        page.examples(examples, "Drawn by the run's seed, one of a code where there are several.")
    shares = [metric for metric in metrics if metric.unit == "proportion"]
    page.table(metric for metric in shares if metric.split == "all")
    by_code = [metric for metric in shares if metric.split != "all"]
    if by_code:
        page.table(by_code, fold=f"{UNENDED}, by code")


def _cut_off(config: Config, metrics: Sequence[Metric]) -> list[str]:
    """What to do where many records did not come to their end."""
    found = named(metrics, UNENDED, "all")
    if found is None or (found.value or 0.0) <= MANY:
        return []
    learnt = f", and tune.tokens={config.tune.tokens} with it" if config.generator == "tuned" else ""
    return [
        f"{tied(display(found.value, found.unit))} of the records were cut off before their end: raise "
        f"sampling.tokens={config.sampling.tokens}{learnt}."
    ]


def _part(page: Report, part: Part) -> None:
    page.section(part.title, part.text)
    for svg, caption in part.plots:
        page.plot(svg, caption)
    rows = pieces.by_side(part.metrics)
    if rows:
        page.examples(rows, "With 95 % intervals; ↑ more is better, ↓ less is.")
        names = list(dict.fromkeys(metric.name for metric in part.metrics))
        by_name = sorted(part.metrics, key=lambda metric: names.index(metric.name))
        page.table(by_name, fold="all numbers of this section, with how many records (n)")
    elif part.metrics:
        page.table(part.metrics)
    if part.examples:
        page.examples(part.examples, "")


def _own_limits(config: Config, statement: Mapping[str, Any]) -> list[str]:
    may = (
        f"only synthetic.parquet, synthetic.csv, certificate.json{_model(config)} may be handed over"
        if statement["covers_the_records"]
        else "nor does one cover the records here"
    )
    return [
        "This report, metrics.json and all else in the folder look at private records without noise, and no guarantee "
        f"covers them; {may}.",
        *([OPEN] if config.show_real else []),
    ]


def _model(config: Config) -> str:
    return {"lora": " and adapter/", "full": " and model/"}[config.tune.method] if config.generator == "tuned" else ""
