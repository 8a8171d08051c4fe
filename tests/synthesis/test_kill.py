"""SIGKILL of a real process while it learns and again while it writes: the resumed run ends as an unbroken one does."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from tests.synthesis.places import settings
from upright.run.flags import command
from upright.synthesis import run
from upright.synthesis.config import Config

PATIENCE = 120.0
"""Seconds that anything awaited may take on a busy machine; it takes some."""
SHARDS = 4


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads here as in the processes that are killed: sums in another order are other sums."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def small(folder: Path, out: str) -> Config:
    """Some 90 steps, each saved, and four shards of records, each kept."""
    return settings(
        folder,
        out,
        records=128 * SHARDS,
        tune={"epochs": 24, "batch": 10, "rank": 2, "tokens": 48, "chance": "seeded"},
        filters={"repeats": 1000},
        speed={"device": "cpu", "threads": 1, "save_every": 1e-3},
    )


def killed(argv: list[str], ripe: Callable[[], bool]) -> None:
    """Start a process of its own, and SIGKILL it as soon as it is `ripe`."""
    process = subprocess.Popen([sys.executable, "-m", *argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + PATIENCE
        while not ripe():
            assert process.poll() is None, (process.stderr or sys.stderr).read()
            assert time.monotonic() < end, "it did not come so far"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(PATIENCE) == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()


def state(out: Path) -> dict[str, Any]:
    """The training as the last save left it."""
    found: dict[str, Any] = torch.load(out / "work" / "training.pt", weights_only=True)["training"]
    return found


def steps(out: Path) -> set[str]:
    """Finished work."""
    return {path.stem for path in out.glob("steps/written-*.json")}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_run_that_is_killed_while_it_learns_and_while_it_writes_ends_alike(tmp_path: Path, one_thread: None) -> None:
    config = small(tmp_path, "killed")
    assert config.out is not None
    out, saved = config.out, config.out / "work" / "training.pt"
    argv = [*shlex.split(command(config, "synthesize")), "--out", str(out)]
    killed(argv, lambda: saved.exists() and state(out)["steps"] >= 5)
    learnt = state(out)
    assert 5 <= learnt["steps"] < learnt["plan"]["steps"]
    assert not steps(out)

    killed(["upright", "runs", "resume", str(out)], lambda: bool(steps(out)))
    assert state(out)["steps"] == learnt["plan"]["steps"]
    assert 1 <= len(steps(out)) < SHARDS
    assert not (out / "synthetic.parquet").exists()

    resumed, unbroken = run(config), run(small(tmp_path, "unbroken"))
    assert json.loads((out / "manifest.json").read_text())["attempts"] == 3
    ends = [json.loads((found.out / "certificate.json").read_text()) for found in (resumed, unbroken)]
    assert ends[0] == ends[1]
    assert ends[0]["steps"] == ends[0]["planned_steps"] == learnt["plan"]["steps"]
    assert ends[0]["epsilon"] <= config.epsilon
    tables = [found.out / "synthetic.parquet" for found in (resumed, unbroken)]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    assert len(pl.read_parquet(tables[0])) == len(resumed.records) > 0
