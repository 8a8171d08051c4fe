"""The report of `upright audit exposure`."""

from collections.abc import Sequence

from upright.audit.exposure.config import Config
from upright.audit.exposure.part import Part
from upright.run.plots import forest, lines
from upright.run.report import Report


def report(config: Config, parts: Sequence[Part]) -> Report:
    """The page of a run."""
    page = Report("Exposure", _claim(config, parts), _headline(parts))
    for part in parts:
        page.section(part.title, part.question, f"{part.finding.verdict.capitalize()}. {part.finding.text}")
        if part.drawn:
            names = ", ".join(dict.fromkeys(metric.name for metric in part.drawn))
            page.plot(forest(part.drawn, alt=f"{part.title}: {names}."), "With 95 % intervals.")
        if part.curves:
            page.plot(
                lines(
                    part.curves,
                    x="draws",
                    y="discoverable texts",
                    alt="Share of texts that come out within a number of draws, by side.",
                    unit="proportion",
                    log_x=True,
                ),
                "Share of texts that an attacker discovers with this many draws for each, with 95 % intervals.",
            )
        if part.metrics:
            page.table(part.metrics)
        if part.examples:
            page.examples(part.examples, "Personal data by kind; the values stay out of this page.")
    page.facts({"model": config.model})
    page.limits(dict.fromkeys(limit for part in parts for limit in part.limits))
    return page.limits(
        [
            "These are lower bounds: an attack that finds nothing does not show that nothing can be found.",
            "Non-members must be of the same law as members, split off at random before training; else all "
            "comparisons are void.",
            "The run folder itself holds text of the model and of the inputs: keep it as private as these.",
        ]
    )


def _claim(config: Config, parts: Sequence[Part]) -> str:
    run = [part for part in parts if part.metrics]
    leaks = [part.finding.item.partition(".")[2] for part in run if part.finding.verdict == "concern"]
    if leaks:
        return f"{config.model} gives away training text, as {len(leaks)} of {len(run)} tests show: {', '.join(leaks)}."
    clear = sum(part.finding.verdict == "clear" for part in run)
    return f"{clear} of {len(run)} tests ran with enough data and found nothing beyond chance in {config.model}."


def _headline(parts: Sequence[Part]) -> list[str]:
    """The excess of each test."""
    return [metric.name for part in parts for metric in part.metrics if "above" in metric.name][:4]
