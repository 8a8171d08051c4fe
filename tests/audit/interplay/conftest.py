"""A small invented table in which a small group is harder to learn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from upright.audit.interplay.config import Config
from upright.audit.interplay.runner import Result, run

Make = Callable[..., Config]


def _people(n: int = 700) -> pl.DataFrame:
    rng = np.random.default_rng(5)
    small = rng.random(n) < 0.3
    age, pay = rng.normal(40, 10, n), rng.normal(0, 1, n) + 0.5 * ~small
    town = rng.choice(["north", "south", "west"], n)
    bends = np.where(small, -1.0, 1.0)  # what speaks for one group speaks against the other
    hired = pay + bends * (town == "north") + 0.3 * rng.normal(size=n) > 0.3
    return pl.DataFrame(
        {"age": age, "pay": pay, "town": town, "sex": np.where(small, "f", "m"), "hired": hired.astype(int)}
    )


@pytest.fixture
def people() -> Callable[..., pl.DataFrame]:
    """The invented table, of any length."""
    return _people


def settings_for(table: Path, out: Path) -> dict[str, Any]:
    """Small enough for a test."""
    return {
        "table": table,
        "label": "hired",
        "groups": ["sex"],
        "epsilons": [float("inf"), 2.0],
        "seeds": 2,
        "references": 2,
        "draws": 200,
        "training": {"steps": 30, "batch": 64, "hidden": 8, "learning_rate": 0.05},
        "fair": {"rounds": 3},
        "out": out,
    }


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Result]:
    """A run over the invented table, unbroken, and what was asked."""
    folder = tmp_path_factory.mktemp("interplay")
    _people().write_csv(folder / "people.csv")
    config = Config.model_validate(settings_for(folder / "people.csv", folder / "run"))
    return config, run(config)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A configuration over the invented table, or `frame`."""

    def build(frame: pl.DataFrame | None = None, **changes: Any) -> Config:
        table = tmp_path / "people.csv"
        (_people() if frame is None else frame).write_csv(table)
        return Config.model_validate(settings_for(table, tmp_path / "run") | changes)

    return build
