"""`upright tour`: every verb once on the lab, and one page that shows what came of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from upright import audit, editing, lab, synthesis, traversal
from upright.knowledge.files import open_graph
from upright.lab.config import TourConfig
from upright.run.folder import RunResult, open_run
from upright.run.report import Report
from upright.synthesis.config import SamplingConfig, TuneConfig
from upright.traversal.lessons import written
from upright.traversal.present import facts_of
from upright.traversal.questions import write_questions


@dataclass(frozen=True, kw_only=True)
class Result(RunResult):
    """The tour's page and the run of every verb."""

    stops: Sequence[Path]


@dataclass(frozen=True)
class Chapter:
    """What one verb did."""

    title: str
    text: str
    """What was asked, in a sentence or two."""
    result: RunResult
    examples: Sequence[Mapping[str, object]]
    caption: str


def run(config: TourConfig) -> Result:
    """Run the tour; each verb has its own run folder below the tour's."""
    with open_run(config, verb="tour") as folder:
        chapters = [make(config, folder.path) for make in CHAPTERS]
        found = [metric for chapter in chapters for metric in chapter.result.summary()]
        folder.finish(found, _report(folder.path, chapters))
        return Result(out=folder.path, metrics=found, stops=[chapter.result.out for chapter in chapters])


def _report(folder: Path, chapters: Sequence[Chapter]) -> Report:
    page = Report("Tour", "Every verb ran once on a model small enough for a laptop; these are its numbers.")
    for chapter in chapters:
        page.section(chapter.title, chapter.text, f"Its own report: {chapter.result.report.relative_to(folder)}")
        page.table(chapter.result.summary())
        page.examples(chapter.examples, chapter.caption)
    return page


def _edit(config: TourConfig, out: Path) -> Chapter:
    """The real changes of recent years, with their consequences."""
    result = editing.run(
        editing.Config(
            model="lab:atlas",
            facts=lab.world("atlas") / "changes.jsonl",
            kg=["lab:atlas"],
            out=out / "edit",
            overwrite=True,
            seed=config.seed,
            speed=config.speed,
        )
    )
    said = {row["prompt"]: row["target"] for row in result.edit.ledger if row["origin"] == "contextual"}
    shown = list(said.items())[:: max(1, len(said) // 6)][:6]
    return Chapter(
        "edit: change what a model knows",
        "Forty changes of the last twenty years, such as countries that took the euro or moved their capital, were "
        "written into a model that knew the world before them, together with what follows from them.",
        result,
        [{"written because of another change": prompt, "object": target} for prompt, target in shown],
        "Every so many sentences of the ledger.",
    )


def _audit(config: TourConfig, out: Path) -> Chapter:
    """The decisions of a lender who is biased by design, and what was not tested of him."""
    fairness = audit.fairness.run(
        audit.fairness.Config(
            table=lab.table("loans"),
            groups=["sex", "region"],
            label="repaid",
            prediction="granted",
            score="score",
            out=out / "audit-fairness",
            overwrite=True,
            seed=config.seed,
        )
    )
    checklist = audit.checklist.run(
        audit.checklist.Config(runs=[fairness.out], out=out / "audit-checklist", overwrite=True, seed=config.seed)
    )
    return Chapter(
        "audit: privacy and fairness, and what each does to the other",
        "Six thousand invented people asked for a loan. The lender takes something off for women and more for the "
        "south; the audit is told only what was decided and who would have repaid. What it did not look into stands in "
        f"the checklist: {checklist.report.relative_to(out)}",
        fairness,
        [{"question": f.item, "verdict": f.verdict, "why": f.text} for f in fairness.findings],
        "All conclusions of the audit.",
    )


def _ask(config: TourConfig, out: Path) -> Chapter:
    """Questions in words that the small actor never read, answered from the graph that the edit was made in."""
    questions = out / "questions.jsonl"
    write_questions(questions, written(["lab:atlas"], open_graph("lab:atlas"), "measure", 30, config.seed))
    result = traversal.run(
        traversal.Config(
            questions=questions,
            kg=["lab:atlas"],
            out=out / "ask",
            overwrite=True,
            seed=config.seed,
        )
    )
    return Chapter(
        "ask: answers from a knowledge graph, with the facts they rest on",
        "A model of a million parameters, trained on questions and answers alone, searches the graph for the answers "
        "to thirty questions in words that it never read. Every answer comes with the facts that lead to it.",
        result,
        [
            {
                "question": reply.question,
                "answer": "; ".join(reply.answer),
                "rests on": "; ".join(facts_of(reply.evidence[:3], result.labels)),
            }
            for reply in result.answers[:6]
        ],
        "The first six, with at most three of their facts.",
    )


def _synthesize(config: TourConfig, out: Path) -> Chapter:
    """Notes of invented patients, and how far synthetic ones can stand in for them."""
    result = synthesis.run(
        synthesis.Config(
            data=lab.table("clinic"),
            labels=["section"],
            groups=["sex"],
            unit="patient",
            records=160,
            tune=TuneConfig(epochs=2, batch=320, tokens=64),
            sampling=SamplingConfig(tokens=48),
            out=out / "synthesize",
            overwrite=True,
            seed=config.seed,
        )
    )
    return Chapter(
        "synthesize: records that may leave the house, in place of those that may not",
        "A model was tuned on notes of invented patients with differential privacy, each patient being a unit, for two "
        "passes: enough to see every part at work, too few for notes that anybody could use. The report holds them "
        "against real notes and against those of the same model tuned without privacy.",
        result,
        [
            {"section": code[0], "sex": code[1], "text": text}
            for code, text in list(zip(result.records.codes, result.records.texts, strict=True))[
                :: len(result.records) // 5 or 1
            ][:5]
        ],
        "Every so many of the synthetic records.",
    )


CHAPTERS: tuple[Callable[[TourConfig, Path], Chapter], ...] = (_edit, _audit, _ask, _synthesize)
