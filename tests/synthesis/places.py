"""A small table and a small model to run on."""

import random
from pathlib import Path
from typing import Any

import polars as pl

from tests.tiny import write_model
from upright.synthesis.config import Config

LAND = {"money": ("currency", "franc"), "town": ("capital", "Paris")}


def write_table(path: Path, people: int = 60) -> Path:
    """Two notes of each person, whose words follow their kind."""
    rng, rows = random.Random(0), []
    for i in range(2 * people):
        kind = rng.choice(sorted(LAND))
        what, word = LAND[kind]
        land = rng.choice(("France", "Spain", "Germany"))
        rows.append({"text": f"The {what} of {land} is {word} {i}.", "kind": kind, "who": f"p{i // 2}"})
    pl.DataFrame(rows).write_csv(path)
    return path


def settings(folder: Path, out: str = "run", **more: Any) -> Config:
    """A run of some seconds on that table, without comparisons."""
    data = folder / "notes.csv"
    if not data.exists():
        write_table(data)
        write_model(folder / "model")
    given = {
        "data": data,
        "labels": ["kind"],
        "unit": "who",
        "model": str(folder / "model"),
        "out": folder / out,
        "records": 12,
        "epsilon": 4.0,
        "control": "none",
        "tune": {"epochs": 3, "batch": 10, "rank": 2, "tokens": 48, "chance": "seeded"},
        "sampling": {"tokens": 16},
        "speed": {"device": "cpu"},
        "evaluation": {"canaries": 0, "utility": False, "coreference": False, "closeness": False, "leakage": False},
    }
    return Config(**{**given, **more})
