import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.audit.exposure.conftest import Memory
from upright.audit import exposure
from upright.audit.exposure.config import ExtractionConfig, Plant
from upright.audit.exposure.extraction import draw_out
from upright.audit.findings import read_findings
from upright.errors import UserError
from upright.run.evidence import Metric

SMALL: dict[str, Any] = {
    "extraction": {"prompt": 8, "target": 6},
    "personal": {"prompt": 4, "tokens": 16, "temperature": 0.3},
    "inference": {"least": 30},
    "canary": {"candidates": 300},
}


def config(memory: Memory, out: Path, model: str = "learned", **more: Any) -> exposure.Config:
    paths = {"canaries": memory.record, "members": memory.members, "nonmembers": memory.nonmembers}
    given = {"model": str(getattr(memory, model)), "out": out, "attribute": "city", **paths, **SMALL, **more}
    return exposure.Config(**given)


def find(metrics: Sequence[Metric], name: str, split: str = "all") -> Metric:
    return next(m for m in metrics if (m.name, m.split) == (name, split))


@pytest.fixture(scope="module")
def learned(memory: Memory, tmp_path_factory: pytest.TempPathFactory) -> exposure.Result:
    return exposure.run(config(memory, tmp_path_factory.mktemp("learned") / "out"))


def test_a_model_that_knows_its_texts_by_heart_is_caught_by_every_test(learned: exposure.Result) -> None:
    assert {f.item: f.verdict for f in read_findings(learned.out)} == {
        "privacy.exposure": "concern",
        "privacy.extraction": "concern",
        "privacy.attribute-inference": "concern",
        "privacy.personal-data": "concern",
    }
    above = find(learned.metrics, "exposure, above controls")
    assert above.ci_low is not None
    assert above.ci_low > 3
    controls = find(learned.metrics, "exposure", "controls")
    assert controls.ci_low is not None
    assert controls.ci_high is not None
    assert controls.ci_low < 1.44 < controls.ci_high  # 1 / ln 2, the mean of chance
    assert (find(learned.metrics, "came out greedily", "members").value or 0) > 0.8
    assert find(learned.metrics, "came out greedily", "non-members").value == 0


def test_a_model_that_learned_nothing_is_at_chance(memory: Memory, tmp_path: Path) -> None:
    found = exposure.run(config(memory, tmp_path / "out", "blank"))
    assert {f.verdict for f in found.findings} == {"clear"}
    above = find(found.metrics, "exposure, above controls")
    assert above.ci_low is not None
    assert above.ci_high is not None
    assert above.ci_low < 0 < above.ci_high
    auc = find(found.metrics, "canaries told from controls (AUC)")
    assert auc.ci_low is not None
    assert auc.ci_high is not None
    assert auc.ci_low < 0.5 < auc.ci_high


def test_the_report_claims_it_and_keeps_the_data_to_itself(memory: Memory, learned: exposure.Result) -> None:
    page = learned.report.read_text()
    assert "gives away training text, as 4 of 4 tests show" in page
    addresses = [json.loads(line)["text"].split()[2] for line in memory.members.read_text().splitlines()]
    assert not any(address in page for address in addresses)


def test_a_stopped_run_goes_on_to_the_same_numbers(
    memory: Memory, learned: exposure.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = draw_out, []

    def stop_once(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*args)

    monkeypatch.setattr("upright.audit.exposure.drawn.draw_out", stop_once)
    with pytest.raises(KeyboardInterrupt):
        exposure.run(config(memory, tmp_path / "out"))
    again = exposure.run(config(memory, tmp_path / "out"))
    assert len(calls) == 3  # members once, non-members twice
    assert again.metrics == learned.metrics


def test_what_was_not_asked_for_is_listed_as_not_run(memory: Memory, tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"members": None, "nonmembers": None, "attribute": None}
    found = exposure.run(config(memory, tmp_path / "out", **nothing))
    assert [f.verdict for f in found.findings] == ["concern", "undecided", "undecided", "undecided"]
    assert all(f.text.startswith("Not run") for f in found.findings[1:])


def test_no_verdict_without_controls(memory: Memory, tmp_path: Path) -> None:
    lines = [line for line in memory.record.read_text().splitlines() if '"repeats":0' not in line]
    (tmp_path / "c.jsonl").write_text("\n".join(lines) + "\n")
    some: dict[str, Any] = {"canaries": tmp_path / "c.jsonl", "nonmembers": None, "attribute": None}
    found = exposure.run(config(memory, tmp_path / "out", **some))
    assert [f.verdict for f in found.findings] == ["void", "void", "undecided", "void"]


def test_short_texts_are_recorded_and_few_decide_nothing(memory: Memory, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text(
        "".join(memory.members.read_text().splitlines(keepends=True)[:5]) + '{"text": "Berlin", "city": "Lyon"}\n'
    )
    found = exposure.run(config(memory, tmp_path / "out", members=few, canaries=None))
    assert {f.verdict for f in found.findings} == {"undecided"}
    rows = [json.loads(line) for line in (found.out / "failures.jsonl").read_text().splitlines()]
    stages = {(row["stage"], row["row"]) for row in rows}
    assert ("extraction", "few.jsonl:6") in stages
    assert ("reading", "nonmembers.jsonl:1") not in stages


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"canaries": None, "members": None, "nonmembers": None, "attribute": None}, "give --canaries"),
        ({"members": None}, "--members is missing"),
        ({"attribute": "town"}, "unknown column in .*: 'town'"),
        ({"members": Path("none.jsonl")}, "none.jsonl: is not there"),
    ],
)
def test_mistakes_are_one_line(memory: Memory, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        exposure.run(config(memory, tmp_path / "out", **change))
    assert "\n" not in str(caught.value)


def test_a_text_is_member_or_non_member(memory: Memory, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no text that does not stand on the other side too"):
        exposure.run(config(memory, tmp_path / "out", nonmembers=memory.members))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "one\n", "plain text has no column"),
        ("a.jsonl", "{\n", "line 1 is no JSON"),
        ("a.jsonl", "\n", "it is empty"),
        ("a.md", "one\n", "got a .md file"),
    ],
)
def test_files_that_hold_no_texts(memory: Memory, tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        exposure.run(config(memory, tmp_path / "out", members=tmp_path / name))


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="must be one or more"):
        Plant(out=tmp_path / "c.jsonl", repeats=[])
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        ExtractionConfig(chance=2)
