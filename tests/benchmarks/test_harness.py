import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as command
from benchmarks import harness
from benchmarks.harness import Absent, Bench, Section, cell, finished, relabelled, standalone, table
from upright.editing import Config
from upright.errors import UserError
from upright.run.config import digest
from upright.run.evidence import proportion, scalar
from upright.run.files import read_json, write_json
from upright.run.plots import lines


def test_n_stands_once_where_a_column_shares_it_and_in_the_cell_where_not() -> None:
    shared = [proportion("x", 5, 10)]
    assert "| *n* | 10 |" in table({"a": shared, "b": shared}, ["exact"])
    mixed = table({"a": shared, "b": [proportion("x", 5, 20)]}, ["exact"])
    assert "*n*" not in mixed
    assert "n 10" in mixed
    assert "n 20" in mixed


def test_cells_give_value_interval_and_n() -> None:
    assert cell(proportion("x", 8, 10)) == "80.0 % (49.0–94.3; n 10)"  # Wilson by hand: see upright.run.evidence
    assert cell(scalar("t", 3.0, unit="s")) == "3 s"
    assert cell(proportion("x", 0, 0)) == "–"
    assert cell(None) == "–"


def test_a_pipe_in_a_name_does_not_break_the_table() -> None:
    assert r"a\|b" in table({"a|b": ["c"]}, ["d"])


def test_relabelled_metrics_of_two_methods_can_be_told_apart() -> None:
    metric = proportion("efficacy", 1, 2, stage="after", split="rewrite")
    (named,) = relabelled(metric, "memit")
    assert (named.name, named.split, named.stage, named.value) == ("efficacy", "memit: rewrite", "result", 0.5)
    assert relabelled(None, "memit") == []


def test_a_section_is_printed_and_written_with_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "edit", "speed", "--out", str(tmp_path), "--quick"])
    metric = proportion("efficacy", 1, 2)
    section = Section("Title", [table({"memit": [metric]}, ["efficacy"])], ["A note."], [metric])
    section.publish(tmp_path / "out", "part")
    page = (tmp_path / "out" / "part.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() == page.strip()
    assert "`python -m benchmarks edit speed --quick`" in page  # no folder of this machine
    assert str(tmp_path) not in page
    assert read_json(tmp_path / "out" / "part.json")["metrics"] == [metric.model_dump(mode="json")]


def test_a_figure_is_well_formed_without_a_page_around_it() -> None:
    plot = lines({"a": [(1, 0.5), (2, 0.7)]}, x="edits", y="share", alt="A line.", unit="proportion")
    root = ElementTree.fromstring(standalone(plot))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root[0].tag.endswith("rect")
    with pytest.raises(ValueError, match="no <svg>"):
        standalone("<p>words</p>")


def _manifest(folder: Path, config: Config, status: str) -> None:
    folder.mkdir()
    write_json(
        folder / "manifest.json",
        {
            "verb": "edit",
            "status": status,
            "command": "upright edit",
            "argv": [],
            "config_digest": digest(config, "edit"),
            "seed": 0,
            "versions": {},
            "platform": "here",
            "started": "2026-01-01T00:00:00+00:00",
        },
    )


def test_a_finished_run_is_read_and_another_run_in_its_folder_refused(tmp_path: Path) -> None:
    config = Config(model="no-such-model", kg=["lab:atlas"], counterfactuals=1, out=tmp_path / "run")
    _manifest(tmp_path / "run", config, "finished")
    write_json(tmp_path / "run" / "metrics.json", {"metrics": [proportion("x", 1, 2, stage="after").model_dump()]})
    found = finished(config, "edit").find("x", "after")  # a new process would fail: there is no such model
    assert found is not None
    assert found.value == 0.5
    with pytest.raises(UserError, match="other settings"):
        finished(config.model_copy(update={"seed": 1}), "edit")


def test_a_run_that_fails_stops_the_benchmark(tmp_path: Path) -> None:
    config = Config(model=str(tmp_path / "none"), kg=["lab:atlas"], counterfactuals=1, out=tmp_path / "run")
    with pytest.raises(RuntimeError, match="exit code 2"):
        finished(config, "edit")


def test_absent_data_skip_a_part_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Absent, match="some/file"):
        Bench(tmp_path, tmp_path).read("some/file")
    monkeypatch.setattr(
        sys, "argv", ["benchmarks", "edit", "mquake", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    )
    assert command.main() == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.startswith("mquake: skipped")
    assert not (tmp_path / "out").exists()


def test_an_unknown_part_lists_the_choices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "edit", "tabels", "--out", str(tmp_path)])
    assert command.main() == 2
    assert "unknown part 'tabels' (allowed: tables, mquake, counterfact, speed)" in capsys.readouterr().err


def test_every_part_has_a_module() -> None:
    for verb, parts in command.PARTS.items():
        for part in parts:
            assert (harness.ROOT / "benchmarks" / f"{verb}_{part}.py").exists()
