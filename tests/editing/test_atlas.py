"""The promise, on the lab's trained model: facts change, consequences follow, the rest stays, all can be undone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from upright.cli import main
from upright.editing.edit import Edit
from upright.lab import tour
from upright.lab.config import TourConfig
from upright.models.causal import load
from upright.models.generate import generate
from upright.models.matching import matches
from upright.run.evidence import Metric

FLAGS = ["--counterfactuals", "10", "--measure.chains", "150", "--measure.untouched", "100", "--measure.texts", "10"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder of one run of the command line: ten invented changes and their context, by MEMIT."""
    out = tmp_path_factory.mktemp("atlas") / "run"
    with pytest.MonkeyPatch.context() as during:
        during.setenv("UPRIGHT_CACHE", str(out.parent / "cache"))
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


def test_the_tour_shows_it(tmp_path: Path) -> None:
    """The forty real changes of the last twenty years."""
    result = tour.run(TourConfig(out=tmp_path / "tour"))
    found = list(result.metrics)
    assert value(found, "efficacy (exact)", "after") >= 0.8
    assert value(found, "multi-hop (exact)", "after") > value(found, "multi-hop (exact)", "before")
    assert result.report.exists()
