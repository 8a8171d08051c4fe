"""Wiring of `upright audit checklist`: read findings and answers, lay them over the questions, report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from upright.audit.checklist import present
from upright.audit.checklist.config import Config
from upright.audit.checklist.ledger import UNTESTED, Given, Line, by_hand, from_run, ledger, standing
from upright.audit.checklist.taxonomy import ByHand, empty_answers, read_answers, taxonomy
from upright.audit.findings import FINDINGS, read_findings, write_findings
from upright.audit.findings import Result as AuditResult
from upright.errors import UserError
from upright.run import manifest
from upright.run.evidence import Metric
from upright.run.files import write_text
from upright.run.folder import RunFolder, open_run
from upright.run.records import status

ANSWERS = "answers.toml"


@dataclass(frozen=True, kw_only=True)
class Result(AuditResult):
    """The checklist: `findings` are the answers that stand, `untested` the ids of questions without any."""

    untested: Sequence[str]
    answers: Path
    """A file with every unanswered question, to fill in and give back with --answers."""

    def summary(self) -> Sequence[Metric]:
        """How many questions ended how."""
        return present.headline(self.metrics)


def run(config: Config) -> Result:
    """Fill the checklist from runs and from answers by hand.

    Raises:
        UserError: for a folder without findings, an unfinished run, or an answer to a question that is none.
    """
    runs = list(dict.fromkeys(config.runs))
    found = [answer for folder in runs for answer in _answers_of(folder)]
    hand = read_answers(config.answers, taxonomy().ids()) if config.answers else {}
    with open_run(config, verb="audit checklist") as folder:
        for path in [*(run / FINDINGS for run in runs), *([config.answers] if config.answers else [])]:
            folder.input(path)
        lines = folder.step("ledger", lambda: _lines(config, folder, found, hand), type=list[Line])
        return _finish(config, folder, lines)


def _answers_of(folder: Path) -> list[Given]:
    """The findings of a finished run."""
    findings = read_findings(folder)
    state = status(folder, manifest.load(folder))
    if state != "finished":
        raise UserError(f"{folder}: got a run that is {state}; must be finished (upright runs resume {folder})")
    return from_run(str(folder), findings)


def _lines(config: Config, folder: RunFolder, found: list[Given], hand: dict[str, ByHand]) -> list[Line]:
    known = set(taxonomy().ids())
    for answer in found:
        if answer.item not in known:
            folder.fail("findings", "the checklist has no such question", answer.model_dump())
    return ledger(taxonomy(), [*found, *by_hand(hand)], config.access)


def _finish(config: Config, folder: RunFolder, lines: list[Line]) -> Result:
    findings, metrics = standing(lines), present.metrics(lines)
    open_items = [line.item for line in lines if not line.given]
    write_findings(folder.path, findings)
    write_text(folder.path / ANSWERS, empty_answers(open_items))
    folder.finish(metrics, present.report(config, lines, metrics))
    return Result(
        out=folder.path,
        metrics=metrics,
        findings=findings,
        untested=[line.item.id for line in lines if line.state == UNTESTED],
        answers=folder.path / ANSWERS,
    )
