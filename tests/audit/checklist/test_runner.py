"""Whole checklists: from findings of runs and answers by hand to a page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from upright.audit import checklist
from upright.audit.checklist import ledger, present
from upright.audit.checklist.config import Config
from upright.audit.checklist.taxonomy import taxonomy
from upright.audit.findings import Finding, Verdict, read_findings, write_findings
from upright.errors import UserError
from upright.run.config import RunConfig
from upright.run.folder import open_run
from upright.run.report import Report

Audit = Callable[..., Path]
ALL = len(taxonomy().item)


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """A finished run folder with findings, as any audit leaves it."""

    def build(name: str, **verdicts: Verdict) -> Path:
        with open_run(RunConfig(out=tmp_path / name), verb=f"audit {name}") as folder:
            rows = [(item.replace("__", ".").replace("_", "-"), verdict) for item, verdict in verdicts.items()]
            findings = [Finding(item=item, verdict=verdict, text=f"{item}: {name}.") for item, verdict in rows]
            write_findings(folder.path, findings)
            folder.finish([], Report("Audit", "Done."))
        return tmp_path / name

    return build


def make(tmp_path: Path, **more: Any) -> Config:
    return Config.model_validate({"out": tmp_path / "checklist", **more})


def states(result: checklist.Result, split: str = "all") -> dict[str, float | None]:
    return {m.name: m.value for m in result.metrics if m.split == split}


def test_the_worst_answer_stands_and_everything_is_counted(audit: Audit, tmp_path: Path) -> None:
    """Three runs answer four questions: one is clear and of concern, so of concern."""
    runs = [
        audit("one", privacy__membership="clear", privacy__epsilon="clear"),
        audit("two", privacy__membership="concern", fairness__group="undecided"),
        audit("three", fairness__individual="void"),
    ]
    result = checklist.run(make(tmp_path, runs=runs))
    found = states(result)
    assert {name: found[name] for name in ("concern", "void", "undecided", "clear")} == dict.fromkeys(
        ("concern", "void", "undecided", "clear"), 1
    )
    assert (found["questions"], found["answered"], found["not tested"]) == (ALL, 4, ALL - 4)
    assert sum(found[state] or 0 for state in ledger.STATES) == ALL
    assert states(result, "Fairness: who is treated worse")["answered"] == 2
    stand = {f.item: (f.verdict, f.text) for f in read_findings(result.out)}
    assert stand["privacy.membership"] == ("concern", "privacy.membership: two.")
    assert len(result.untested) == ALL - 4


def test_the_page_shows_every_question_with_its_answer_and_what_would_test_it(audit: Audit, tmp_path: Path) -> None:
    runs = [audit("one", privacy__membership="concern"), audit("two", privacy__membership="clear")]
    result = checklist.run(make(tmp_path, runs=runs, access="label"))
    page = result.report.read_text(encoding="utf-8")
    for item in taxonomy().item:
        assert item.question.replace("'", "&#39;") in page
    assert "privacy.membership: one. (and 1 more answer)" in page
    assert "upright audit fairness TABLE --groups COLUMNS --label COLUMN --prediction COLUMN" in page
    assert "upright audit interplay" not in page  # needs training, which is out of reach
    assert "These need more access than “label”" in page
    assert f"Of {ALL} questions, 1 is answered: 1 of concern" in page


def test_out_of_reach_is_what_needs_more(tmp_path: Path) -> None:
    result = checklist.run(make(tmp_path, access="documents"))
    within = [item.id for item in taxonomy().item if item.access == "documents"]
    assert list(result.untested) == within
    assert states(result)["out of reach"] == ALL - len(within)


def test_answers_by_hand_count_but_take_no_concern_away(audit: Audit, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        '[privacy.epsilon]\nverdict = "clear"\ntext = "Looked fine."\nby = "A"\n'
        '[defence.scrubbing]\nverdict = "clear"\ntext = "Read 500 rows."\nby = "A"\n'
        '[fairness.clustering]\nverdict = "not-applicable"\ntext = "No clusters."\n',
        encoding="utf-8",
    )
    result = checklist.run(make(tmp_path, runs=[audit("one", privacy__epsilon="concern")], answers=tmp_path / "a.toml"))
    stand = {f.item: (f.verdict, f.text) for f in result.findings}
    assert stand == {
        "privacy.epsilon": ("concern", "privacy.epsilon: one."),
        "defence.scrubbing": ("clear", "Read 500 rows. (by hand, A)"),
    }
    assert states(result)["not-applicable"] == 1
    assert "fairness.clustering" not in result.untested


def test_the_empty_checklist_writes_answers_to_fill_in(tmp_path: Path) -> None:
    first = checklist.run(make(tmp_path))
    assert states(first)["answered"] == 0
    text = first.answers.read_text(encoding="utf-8")
    block = '# [both.budget]\n# verdict = ""\n# text = ""\n'
    assert block in text
    first.answers.write_text(
        text.replace(block, '[both.budget]\nverdict = "concern"\ntext = "Raw counts."\n'), encoding="utf-8"
    )
    second = checklist.run(make(tmp_path, answers=first.answers, out=tmp_path / "second"))
    assert [(f.item, f.verdict) for f in second.findings] == [("both.budget", "concern")]
    assert "both.budget" not in second.answers.read_text(encoding="utf-8")


def test_checklists_can_be_put_together(audit: Audit, tmp_path: Path) -> None:
    one = checklist.run(make(tmp_path, runs=[audit("a", privacy__epsilon="clear")], out=tmp_path / "one"))
    two = checklist.run(make(tmp_path, runs=[audit("b", fairness__group="concern")], out=tmp_path / "two"))
    both = checklist.run(make(tmp_path, runs=[one.out, two.out]))
    assert {f.item: f.verdict for f in both.findings} == {"privacy.epsilon": "clear", "fairness.group": "concern"}


def test_a_finding_the_checklist_does_not_know_is_listed_as_dropped(audit: Audit, tmp_path: Path) -> None:
    result = checklist.run(make(tmp_path, runs=[audit("new", privacy__telepathy="concern")]))
    (row,) = [json.loads(line) for line in (result.out / "failures.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (row["row"]["item"], row["reason"]) == ("privacy.telepathy", "the checklist has no such question")
    assert states(result)["concern"] == 0
    assert "1 row dropped" in result.report.read_text(encoding="utf-8")


def test_a_stopped_run_goes_on_and_ends_the_same(audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [audit("one", privacy__epsilon="clear")]
    whole = checklist.run(make(tmp_path, runs=runs))
    with monkeypatch.context() as broken:
        broken.setattr(present, "report", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            checklist.run(make(tmp_path, runs=runs, out=tmp_path / "again"))
    again = checklist.run(make(tmp_path, runs=runs, out=tmp_path / "again"))
    for name in ("metrics.json", "findings.json", "answers.toml"):
        assert (again.out / name).read_bytes() == (whole.out / name).read_bytes()


def test_folders_that_are_no_finished_audits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no findings\.json; give the folder of a finished"):
        checklist.run(make(tmp_path, runs=[tmp_path]))
    with pytest.raises(RuntimeError, match=r"ended without run\.finish"):
        stop_early(tmp_path / "half")
    with pytest.raises(UserError, match=r"got a run that is killed; must be finished .upright runs resume"):
        checklist.run(make(tmp_path, runs=[tmp_path / "half"]))
    assert not (tmp_path / "checklist").exists()


def stop_early(out: Path) -> None:
    """An audit that wrote its findings and no report."""
    with open_run(RunConfig(out=out), verb="audit fairness") as folder:
        write_findings(folder.path, [])


def test_runs_named_twice_count_once(audit: Audit, tmp_path: Path) -> None:
    run = audit("one", privacy__epsilon="clear")
    result = checklist.run(make(tmp_path, runs=[run, run]))
    assert "more answer" not in result.report.read_text(encoding="utf-8")
