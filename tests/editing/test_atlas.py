"""The promise, on the lab's trained model: facts change, consequences follow, the rest stays, all can be undone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from upright import editing, lab
from upright.cli import main
from upright.editing.config import Config, MeasureConfig, StatsConfig
from upright.editing.edit import Edit
from upright.models.causal import load
from upright.models.generate import generate
from upright.models.matching import matches
from upright.run.evidence import Metric

STATS, MEASURE = StatsConfig(sequences=300, known=2000), MeasureConfig(chains=100, untouched=100, texts=10)
FLAGS = ["--counterfactuals=10", "--stats.sequences=300", "--stats.known=2000", "--measure.chains=100"]
FLAGS += ["--measure.untouched=100", "--measure.texts=10"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this model's key statistics are kept, so that they are taken once."""
    return tmp_path_factory.mktemp("atlas")


@pytest.fixture
def kept(folder: Path, alone: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UPRIGHT_CACHE", str(folder / "cache"))
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Iterator[Path]:
    """Folder of one run of the command line: ten invented changes and their context, by MEMIT."""
    with pytest.MonkeyPatch.context() as during:
        during.setenv("UPRIGHT_CACHE", str(folder / "cache"))
        out = folder / "run"
        assert main(["edit", "--model", "lab:atlas", "--kg", "lab:atlas", *FLAGS, "--out", str(out)]) == 0
        yield out


@pytest.fixture(scope="module")
def found(run: Path) -> list[Metric]:
    rows = json.loads((run / "metrics.json").read_text())["metrics"]
    return [Metric.model_validate(row) for row in rows]


def value(found: list[Metric], name: str, stage: str, split: str | None = None) -> float:
    (one,) = [m for m in found if (m.name, m.stage) == (name, stage) and split in (None, m.split)]
    assert one.value is not None
    return one.value


def test_the_facts_are_said(found: list[Metric]) -> None:
    assert value(found, "efficacy (exact)", "after") >= 0.8
    assert value(found, "efficacy (exact)", "before") <= 0.1


def test_the_neighbours_stay(found: list[Metric]) -> None:
    for name in ("specificity (exact)", "untouched (exact)"):
        assert value(found, name, "before") - value(found, name, "after") <= 0.1


def test_consequences_follow_only_with_context(found: list[Metric]) -> None:
    """After the first round the model has MEMIT's edit alone; the second is what K-Edit adds."""
    alone = value(found, "multi-hop (exact)", "result", "all, after facts")
    assert value(found, "multi-hop (exact)", "after", "all") > alone


def test_the_patch_does_it_again_and_can_be_undone(run: Path) -> None:
    model = load("lab:atlas", "cpu")
    before, patch = model.digest(), Edit.load(run)
    patch.apply(model)
    asked = [row for row in patch.ledger if row["origin"] == "asked"]
    said = generate(model, [row["prompt"] for row in asked], max_new_tokens=16)
    assert sum(matches(text, [row["target"]]) for text, row in zip(said, asked, strict=True)) >= 8
    patch.undo(model)
    assert model.digest() == before


def test_real_changes_are_written_with_their_consequences(kept: Path) -> None:
    """Every fourth of the forty changes of the last twenty years, which the tour shows."""
    changes = (lab.world("atlas") / "changes.jsonl").read_text().splitlines(keepends=True)
    (kept / "changes.jsonl").write_text("".join(changes[::4]))
    result = editing.run(
        Config(
            model="lab:atlas",
            facts=kept / "changes.jsonl",
            kg=["lab:atlas"],
            out=kept / "real",
            stats=STATS,
            measure=MEASURE,
        )
    )
    found = list(result.metrics)
    assert value(found, "efficacy (exact)", "after") >= 0.8
    assert value(found, "multi-hop (exact)", "after", "all") > value(found, "multi-hop (exact)", "before", "all")
    assert result.report.exists()
