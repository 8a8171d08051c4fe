"""What is made of canaries' likelihoods: of several formats in one record, and beyond all candidates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny import world_model
from upright.audit.exposure import canaries, plant
from upright.audit.exposure.config import CanaryConfig, Config, Plant
from upright.run.evidence import Metric
from upright.run.folder import open_run
from upright.run.report import Report

LIKELY, UNLIKELY = "The code is {digits:5}.", "The capital is {letters:5}."


def nlls(model: Any, texts: Sequence[str], rows: int) -> Tensor:
    """The first six texts, which are canaries, are the likeliest of their format or the least likely."""
    own = 1.0 if texts[0].startswith("The code") else 999.0
    return torch.cat([torch.full((6,), own), torch.linspace(50, 100, len(texts) - 6)])


def first(record: Path, out: Path) -> dict[str, Metric]:
    """The share of canaries that are likelier than all candidates, by split."""
    config = Config(model="tiny", out=out, canaries=record)
    with open_run(config, "audit exposure") as folder:
        part = canaries.canary_part(CanaryConfig(candidates=100), folder, world_model(), plant.read_record(record), 32)
        folder.finish(part.metrics, Report("x", "x"))
    return {m.split: m for m in part.metrics if m.name == canaries.FIRST}


def test_two_records_in_one_file_are_all_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both were written by `plant`, so both begin with canary-0; of all twelve, the six of one format come first."""
    monkeypatch.setattr(canaries, "nlls", nlls)
    both = tmp_path / "both.jsonl"
    for i, format in enumerate((LIKELY, UNLIKELY)):
        config = Plant(out=tmp_path / f"{i}.jsonl", count=4, controls=2, format=format)
        with both.open("a") as file:
            file.write(plant.run(config).record.read_text())
    found = first(both, tmp_path / "run")
    assert {split: (m.value, m.n) for split, m in found.items()} == {"planted 1 ×": (0.5, 8), "controls": (0.5, 4)}
