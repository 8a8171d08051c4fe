"""A small verb for tests of the spine: it estimates pi in three steps and can be stopped inside any of them.

The environment variable PROBE_STOP="STEP=SIGNAL" makes the process send itself that signal inside the step.
Each computed step is noted in the file `log`, so that a test can count what was repeated.
"""

import os
import random
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from upright.cli import COMMANDS, Command, main
from upright.run.config import RunConfig, SpeedConfig
from upright.run.evidence import proportion
from upright.run.folder import RunFolder, RunResult, open_run
from upright.run.report import Report

COMMAND = Command("probe_verb:Config", "probe_verb:run", "Estimate pi by throwing points at a square.")


class Config(RunConfig):
    """How pi is estimated."""

    log: Path
    """File that notes each computed step."""

    points: int = 200
    """Points of each step."""

    fail: bool = False
    """Raise an error in the last step."""

    speed: SpeedConfig = SpeedConfig()


@dataclass(frozen=True, kw_only=True)
class Result(RunResult):
    """The outcome of a probe."""

    hits: tuple[int, ...]


def run(config: Config) -> Result:
    """Throw the points, three steps of them."""
    with open_run(config, "probe") as folder:
        folder.input(Path(__file__))
        hits = tuple(_step(folder, config, name) for name in ("a", "b", "c"))
        metrics = [proportion("inside", sum(hits), 3 * config.points)]
        folder.finish(metrics, Report("Probe", "A quarter of pi of all points fall inside."))
    return Result(out=folder.path, metrics=metrics, hits=hits)


def _step(folder: RunFolder, config: Config, name: str) -> int:
    return folder.step(name, lambda: _throw(folder, config, name))


def _throw(folder: RunFolder, config: Config, name: str) -> int:
    with config.log.open("a") as log:
        log.write(name)
    folder.fail("throw", "fell off the table", {"step": name})
    step, _, stop = os.environ.get("PROBE_STOP", "").partition("=")
    if step == name:
        signal.raise_signal(signal.Signals[stop])
    if config.fail and name == "c":
        raise RuntimeError("the table broke")
    rng: random.Random = folder.rng(name)
    return sum(rng.random() ** 2 + rng.random() ** 2 < 1 for _ in range(config.points))


if __name__ == "__main__":
    COMMANDS["probe"] = COMMAND
    sys.exit(main())
