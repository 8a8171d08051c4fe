"""What an audit concludes: one `Finding` for each question of the checklist that it answers, beside its metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from upright.errors import UserError
from upright.run.files import read_json, write_json
from upright.run.folder import RunResult

FINDINGS = "findings.json"
Verdict = Literal["clear", "concern", "void", "undecided"]
"""Nothing found beyond chance or limit; something found; the test cannot tell (why is in the text); too few data."""


class Finding(BaseModel):
    """One answer to one question of the checklist."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    item: str
    """Id of the question, `area.name`, as in the checklist."""
    verdict: Verdict
    text: str
    """One sentence with the number, its interval and n."""


@dataclass(frozen=True, kw_only=True)
class Result(RunResult):
    """Numbers and conclusions of an audit."""

    findings: Sequence[Finding]


def write_findings(folder: Path, findings: Sequence[Finding]) -> None:
    """Write findings.json into a run folder."""
    write_json(folder / FINDINGS, {"findings": [finding.model_dump() for finding in findings]})


def read_findings(folder: Path) -> list[Finding]:
    """The findings of a run. Raises UserError if the folder holds none."""
    path = folder / FINDINGS
    if not path.is_file():
        raise UserError(f"{folder}: holds no {FINDINGS}; give the folder of a finished `upright audit` run")
    try:
        return [Finding.model_validate(row) for row in read_json(path)["findings"]]
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a findings file upright wrote: {str(error).splitlines()[0]}") from error
