"""The tour, over a tiny world that goes by the name of the lab's."""

import json
import shutil
from pathlib import Path

import pytest

from tests.tiny import write_model, write_world
from upright import lab
from upright.cli import main
from upright.errors import UserError
from upright.lab import clinic, loans
from upright.models.causal import load


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab of twelve facts, an untrained model, the trained actor and some hundred loans."""
    shutil.copytree(lab.CHECKPOINTS / "traveller", tmp_path / "checkpoints" / "traveller")
    monkeypatch.setenv("UPRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lab, "WORLDS", tmp_path / "worlds")
    monkeypatch.setattr(lab, "CHECKPOINTS", tmp_path / "checkpoints")
    write_world(tmp_path / "worlds" / "atlas")
    write_model(tmp_path / "checkpoints" / "atlas")
    loans.write(tmp_path / "worlds" / "loans" / "loans.csv", rows=400)
    (tmp_path / "worlds" / "clinic").mkdir()
    clinic.write(tmp_path / "worlds" / "clinic" / "clinic.csv", rows=300)
    return tmp_path


def test_the_tour_runs_every_verb_and_writes_one_page(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = small / "tour"
    assert main(["tour", "--out", str(out)]) == 0
    assert f"report: {out / 'report.html'}" in capsys.readouterr().out
    told = json.loads((out / "metrics.json").read_text())["metrics"]
    edit = json.loads((out / "edit" / "metrics.json").read_text())["metrics"]
    assert {m["name"] for m in told} >= {"efficacy (exact)", "multi-hop (exact)", "untouched (exact)", "writing time"}
    audit = json.loads((out / "audit-fairness" / "metrics.json").read_text())["metrics"]
    ask = json.loads((out / "ask" / "metrics.json").read_text())["metrics"]
    made = json.loads((out / "synthesize" / "metrics.json").read_text())["metrics"]
    assert all(metric in edit + audit + ask + made for metric in told)
    assert (out / "synthesize" / "synthetic.parquet").exists()
    assert next(m["value"] for m in ask if m["name"] == "answers grounded in the graph") > 0.5
    page = (out / "report.html").read_text()
    assert all(
        f"{name}/report.html" in page for name in ("edit", "audit-fairness", "audit-checklist", "ask", "synthesize")
    )
    assert "fairness." in page
    assert "The code of the currency of France is" in page  # something that was written because of something else
    assert (out / "edit" / "patch.safetensors").exists()
    assert main(["tour", "--out", str(out)]) == 2
    assert "this run is finished; add --overwrite" in capsys.readouterr().err


def test_the_lab_is_opened_by_name(small: Path) -> None:
    assert lab.world("atlas") == small / "worlds" / "atlas"
    assert load("lab:atlas", "cpu").digest() == load(str(small / "checkpoints" / "atlas"), "cpu").digest()
    with pytest.raises(UserError, match=r"unknown lab model 'altas' .allowed: atlas, traveller.; did you mean 'atlas'"):
        lab.checkpoint("altas")


def test_a_folder_without_weights_is_no_lab_model(small: Path) -> None:
    (small / "checkpoints" / "half").mkdir()
    with pytest.raises(UserError, match=r"unknown lab model 'half' .allowed: atlas, traveller"):
        lab.checkpoint("half")
