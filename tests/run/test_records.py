import json
from pathlib import Path
from typing import Any

import pytest

from upright.cli import main
from upright.errors import UserError
from upright.run import files, records
from upright.run.evidence import proportion, scalar
from upright.run.folder import open_run
from upright.run.records import Compare, List, Show, compare, compared, list_runs, read_metrics, show
from upright.run.report import Report


@pytest.fixture
def two_runs(probe: Any, tmp_path: Path) -> list[Path]:
    return [
        probe.run(probe.Config(out=tmp_path / "runs" / name, log=tmp_path / "log", points=points)).out
        for name, points in (("first", 50), ("second", 500))
    ]


def out(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_list_shows_runs_newest_first(two_runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = two_runs[1] / "manifest.json"
    files.write_json(path, {**files.read_json(path), "started": "2099-01-01T00:00:00+00:00"})
    list_runs(List(root=tmp_path, json_=True))
    rows = json.loads(out(capsys))["runs"]
    assert [row["dir"] for row in rows] == [str(two_runs[1]), str(two_runs[0])]
    assert {row["status"] for row in rows} == {"finished"}
    assert rows[1]["metric"]["name"] == "inside"
    assert rows[1]["bytes"] > 1000
    list_runs(List(root=tmp_path))
    table = out(capsys)
    assert "2099-01-01 00:00" in table
    assert "finished" in table


def test_list_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list_runs(List(root=tmp_path))
    assert out(capsys) == f"no runs in {tmp_path}\n"
    with pytest.raises(UserError, match="no such folder"):
        list_runs(List(root=tmp_path / "absent"))


def test_show(two_runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    show(Show(dir=two_runs[0], json_=True))
    shown = json.loads(out(capsys))
    assert shown["manifest"]["verb"] == "probe"
    assert shown["metrics"] == [metric.model_dump() for metric in read_metrics(two_runs[0])]
    show(Show(dir=two_runs[0]))
    text = out(capsys)
    assert "rows dropped" in text
    assert "inside" in text
    assert "report.html" in text


def test_a_run_nobody_writes_any_more_was_killed(two_runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = two_runs[0] / "manifest.json"
    files.write_json(path, {**files.read_json(path), "status": "running"})
    show(Show(dir=two_runs[0]))
    text = " ".join(out(capsys).split())
    assert "status killed (go on: upright runs resume" in text


def test_a_run_at_work_is_running(probe: Any, tmp_path: Path) -> None:
    config = probe.Config(out=tmp_path / "run", log=tmp_path / "log")
    with open_run(config, "probe") as run:
        assert records.status(run.path, run.manifest) == "running"
        run.finish([], Report("x", "y"))


def test_compared_by_hand() -> None:
    first = [proportion("acc", 10, 100), scalar("time", 2.0, unit="s")]
    second = [proportion("acc", 90, 100), scalar("size", 1.0)]
    acc, time, size = compared([first, second])
    assert (acc["name"], acc["overlap"]) == ("acc", [False])
    assert acc["differences"] == [pytest.approx(0.8)]
    assert (time["differences"], time["overlap"], time["values"][1]) == ([None], [None], None)
    assert (size["differences"], size["values"][0]) == ([None], None)


def test_compare(two_runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    compare(Compare(dirs=two_runs, json_=True))
    (row,) = json.loads(out(capsys))["rows"]
    values = [value["value"] for value in row["values"]]
    assert row["differences"] == [pytest.approx(values[1] - values[0])]
    assert row["overlap"] == [True]
    compare(Compare(dirs=two_runs))
    assert "overlap" in out(capsys)
    with pytest.raises(UserError, match="got 1 run to compare"):
        compare(Compare(dirs=two_runs[:1]))


def test_a_finished_run_needs_no_resuming(two_runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "resume", str(two_runs[0])]) == 0
    assert "is finished; see it with: upright runs show" in out(capsys)


@pytest.mark.parametrize("verb", ["show", "resume"])
def test_a_folder_without_a_run(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", verb, str(tmp_path)]) == 2
    assert "holds no run (no manifest.json)" in capsys.readouterr().err


def test_damaged_files_are_named(two_runs: list[Path]) -> None:
    (two_runs[0] / "metrics.json").write_text('{"metrics": [{"name": "x"}]}')
    with pytest.raises(UserError, match=r"metrics\.json is not a metrics file upright wrote"):
        read_metrics(two_runs[0])
    (two_runs[0] / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json is not a manifest upright wrote"):
        show(Show(dir=two_runs[0]))
