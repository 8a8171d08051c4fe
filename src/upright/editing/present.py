"""What a person and a later program get to see of an edit: header, headline, report."""

import random
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from upright.editing.measure import examples
from upright.editing.outcome import Outcome, World
from upright.run.evidence import Metric
from upright.run.plots import bars_before_after, forest
from upright.run.report import Report

if TYPE_CHECKING:
    from upright.editing.config import Config

HEADLINE = ("efficacy (exact)", "multi-hop (exact)", "specificity (exact)", "untouched (exact)")


def headline(found: Iterable[Metric]) -> list[Metric]:
    """The four numbers that matter most, before and after, and the time."""
    wanted = {*HEADLINE, "perplexity", "writing time"}
    return [m for m in found if m.name in wanted and (m.stage != "result" or m.name == "writing time") and _whole(m)]


def _whole(metric: Metric) -> bool:
    return metric.name not in ("multi-hop (exact)", "writing time") or metric.split == "all"


def header(config: "Config", world: World, outcome: Outcome) -> dict[str, Any]:
    """What the patch says of how it was made."""
    return {
        "seed": config.seed,
        "target": config.target.model_dump(),
        "context": config.context.model_dump(),
        "recipe": outcome.recipe.model_dump(),
        "statistics": outcome.stats_source,
        "graph": config.kg,
        "overlay": {
            "added": [list(e) for e in world.overlay.added],
            "removed": [list(e) for e in world.overlay.removed],
        },
    }


def report(config: "Config", world: World, outcome: Outcome, found: Sequence[Metric], rng: random.Random) -> Report:
    """The page of a run."""
    value: dict[tuple[str, str], Metric] = {
        (m.name, m.stage): m for m in found if _whole(m) and m.value is not None and "after " not in m.split
    }
    page = Report("Knowledge edit", _claim(world, value), [name for name in HEADLINE if (name, "after") in value])
    page.section("What was written", *_what(config, world, outcome))
    if outcome.probes:
        paired = [m for m in found if m.stage in ("before", "after") and m.unit == "proportion"]
        page.section(
            "Before and after",
            "Every measure asks in words that were neither trained on nor written, except efficacy, which repeats the "
            "written sentence, and specificity, which puts other subjects into it.",
        )
        exact = [m for m in paired if m.name.endswith("(exact)")]
        page.plot(
            bars_before_after(exact, alt="Share of exact answers before and after the edit, by measure."),
            "Greedy exact answers, before and after, with 95 % intervals.",
        )
        page.table([m for m in found if m.stage in ("before", "after")])
        _rounds(page, found)
        page.section("In the model's own words")
        page.examples(examples(outcome.probes, outcome.sheets, rng))
    page.facts(_budget(world, outcome))
    page.limits(_limits(world, outcome))
    return page


def _claim(world: World, value: dict[tuple[str, str], Metric]) -> str:
    facts = f"{len(world.requests):,} fact{'s' if len(world.requests) != 1 else ''} changed"
    after = value.get(("efficacy (exact)", "after"))
    hops = value.get(("multi-hop (exact)", "after"))
    kept = value.get(("untouched (exact)", "after"))
    parts = [facts]
    if after is not None:
        parts.append(f"the model now says the new object in {after.value:.0%} of cases")
    if hops is not None:
        parts.append(f"draws the consequences in {hops.value:.0%} of questions")
    if kept is not None:
        parts.append(f"and still knows {kept.value:.0%} of what was not touched")
    return ", ".join(parts) + "."


def _what(config: "Config", world: World, outcome: Outcome) -> list[str]:
    first = world.requests[0]
    layers = ", ".join(str(layer) for layer in sorted(outcome.edit.updates))
    lines = [
        f"{len(world.requests):,} changed facts, such as “{first.prompt.text} {first.target}” "
        f"(was: {first.old or 'unknown'}), by {config.solver.type} in the MLP of layers {layers}."
    ]
    if config.context.hops > 1:
        lines.append(
            f"{len(world.contexts.requests):,} contextual edits follow from them in the edited graph, over at most "
            f"{config.context.hops} facts, written in rounds: {', '.join(outcome.clock)}."
        )
    return lines


def _rounds(page: Report, found: Sequence[Metric]) -> None:
    """What the facts alone achieved, beside the whole."""
    alone = [m for m in found if m.stage == "result" and "after facts" in m.split and m.name.endswith("(exact)")]
    if alone:
        page.section("The facts alone", "The same questions after the first round, before any contextual edit.")
        page.plot(
            forest(alone, alt="Share of exact answers after the facts alone."),
            "Greedy exact answers after the first round, with 95 % intervals.",
        )


def _budget(world: World, outcome: Outcome) -> dict[str, object]:
    parameters = sum(update.shape[0] * update.shape[1] for update in outcome.edit.updates.values())
    return {
        "key statistics": outcome.stats_source,
        "recipe": outcome.recipe.source,
        "matrices changed": f"{len(outcome.edit.updates)} ({parameters:,} weights)",
        **{f"writing, {name}": f"{seconds:.1f} s" for name, seconds in outcome.clock.items()},
    }


def _limits(world: World, outcome: Outcome) -> list[str]:
    limits = [f"Left out of the context: {count:,} × {why}." for why, count in world.contexts.dropped.most_common()]
    limits += world.warnings[:10]
    if world.relations.is_generic:
        limits.append("The graph came without words for its relations; sentences were made from their names.")
    return limits
