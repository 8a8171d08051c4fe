"""`upright tour`: every verb once on the lab, and one page that shows what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from upright import editing, lab
from upright.lab.config import TourConfig
from upright.run.evidence import Metric
from upright.run.folder import RunResult, open_run
from upright.run.report import Report


@dataclass(frozen=True, kw_only=True)
class Result(RunResult):
    """The tour's page and the run of every verb."""

    stops: Sequence[Path]


def run(config: TourConfig) -> Result:
    """Run the tour; each verb has its own run folder below the tour's."""
    with open_run(config, verb="tour") as folder:
        edit = editing.run(_edit(config, folder.path / "edit"))
        found = list(edit.summary())
        folder.finish(found, _report(edit, found))
        return Result(out=folder.path, metrics=found, stops=[edit.out])


def _edit(config: TourConfig, out: Path) -> editing.Config:
    """The real changes of recent years, with their consequences."""
    return editing.Config(
        model="lab:atlas",
        facts=lab.world("atlas") / "changes.jsonl",
        kg=["lab:atlas"],
        out=out,
        overwrite=True,
        seed=config.seed,
        speed=config.speed,
    )


def _report(edit: editing.Result, found: Sequence[Metric]) -> Report:
    page = Report("Tour", "Every verb ran once on a model small enough for a laptop; these are its numbers.")
    page.section(
        "edit: change what a model knows",
        "Forty changes of the last twenty years, such as countries that took the euro or moved their capital, were "
        "written into a model that knew the world before them, together with what follows from them.",
        f"Its own report: {edit.report.relative_to(edit.out.parent)}",
    )
    page.table(found)
    said = {row["prompt"]: row["target"] for row in edit.edit.ledger if row["origin"] == "contextual"}
    shown = list(said.items())[:: max(1, len(said) // 6)][:6]
    return page.examples(
        [{"written because of another change": prompt, "object": target} for prompt, target in shown],
        "Every so many sentences of the ledger.",
    )
