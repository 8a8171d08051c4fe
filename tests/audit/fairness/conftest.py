"""Small tables with a gap put in, and what is asked of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from upright.audit.fairness import present, verdict
from upright.audit.fairness.config import Config
from upright.audit.findings import Finding
from upright.run.evidence import Metric

QUICK = {"draws": 200, "permutations": 199, "rescans": 39}


def write(path: Path, n: int = 3000, gap: float = 0.25, seed: int = 0, **columns: Any) -> Path:
    """Decisions that favour men by `gap` and no race; a score that promises too much to z."""
    rng = np.random.default_rng(seed)
    sex, race = rng.choice(["f", "m"], n), rng.choice(["x", "y", "z"], n)
    y = (rng.random(n) < 0.4).astype(int)
    p = np.clip(0.2 + 0.4 * y + gap * (sex == "m"), 0, 1)
    score = np.clip(0.25 + 0.3 * y + 0.2 * (race == "z") + rng.normal(0, 0.1, n), 0, 1)
    frame = {"sex": sex, "race": race, "y": y, "said": (rng.random(n) < p).astype(int), "score": score, **columns}
    pl.DataFrame(frame).write_csv(path)
    return path


def config(path: Path, out: str = "run", **more: Any) -> Config:
    fields = {"groups": ["sex", "race"], "label": "y", "prediction": "said", **QUICK, **more}
    return Config(table=path, out=path.parent / out, **fields)


def find(metrics: Any, name: str, split: str) -> Metric:
    (found,) = [m for m in metrics if (m.name, m.split) == (name, split)]
    assert isinstance(found, Metric)
    return found


def verdicts(findings: Any) -> dict[str, Finding]:
    """By item; several findings on groups or numbers by their measure."""
    several = (verdict.GROUP, verdict.REGRESSION)
    return {f.text.partition(" by ")[0] if f.item in several else f.item: f for f in findings}


@pytest.fixture(autouse=True)
def _without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes ten times as long as the audit of a small table; the run of `result` is drawn."""
    for name in ("bars_before_after", "forest", "heatmap", "lines"):
        monkeypatch.setattr(present, name, lambda *_, **__: "<svg></svg>")
