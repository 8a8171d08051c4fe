"""Wiring of `upright audit epsilon`: read, guess, bound, hold against the claim, report."""

from collections.abc import Sequence
from dataclasses import dataclass

from upright.audit.epsilon import bounds, present
from upright.audit.epsilon.bounds import Sheet
from upright.audit.epsilon.config import Config
from upright.audit.epsilon.scores import Scores, read_scores
from upright.audit.findings import Result as AuditResult
from upright.audit.findings import write_findings
from upright.run.evidence import Metric
from upright.run.folder import RunFolder, open_run
from upright.run.tables import table_file

REFUTED = 3
"""Exit code of the command when the claim is refuted."""


@dataclass(frozen=True, kw_only=True)
class Result(AuditResult):
    """A lower bound on ε: `epsilon` holds with the confidence that was asked for; `refuted`: it is above the claim."""

    epsilon: float
    claimed: float | None
    refuted: bool

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 3 when the claim is refuted, so that a pipeline stops."""
        return REFUTED if self.refuted else 0

    def summary(self) -> Sequence[Metric]:
        """The bound, what it could have been, and the claim."""
        return present.headline(self.metrics)


def run(config: Config) -> Result:
    """Bound ε from below by the scores of canaries, and hold the bound against the claim.

    Raises:
        UserError: before any work, for scores that cannot be used as asked.
    """
    scores = read_scores(config.file, config.columns, config.method == "many-runs")
    bounds.check(config, scores)
    with open_run(config, verb="audit epsilon") as folder:
        folder.input(table_file(config.file))
        sheet = folder.step("bounds", lambda: _sheet(config, folder, scores), type=Sheet)
        metrics = present.metrics(config, scores, sheet)
        finding = present.finding(config, sheet)
        write_findings(folder.path, [finding])
        folder.finish(metrics, present.report(config, scores, sheet, metrics, finding))
    return Result(
        out=folder.path,
        metrics=metrics,
        findings=[finding],
        epsilon=sheet.epsilon,
        claimed=config.claimed,
        refuted=sheet.refutes(config.claimed),
    )


def _sheet(config: Config, folder: RunFolder, scores: Scores) -> Sheet:
    for row in scores.unscored:
        folder.fail("scores", "no score: still counted, never guessed in", {"row": int(row) + 1})
    return bounds.sheet(config, scores, folder.seed_for("ties"))
