"""Privacy against fairness on real decisions: who pays for privacy, whom attacks find, what a constraint gives away.

Two tables: Adult (income, by sex) and German credit (by age up to and over 25, the split of Kamiran & Calders 2009).
The engine is timed beside plain training of the same network.
"""

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Generator
from torch.optim import Adam

from benchmarks.harness import Bench, Run, Section, finished, relabelled, table
from upright.audit.findings import read_findings
from upright.audit.interplay.config import Config
from upright.audit.interplay.learner import Classifier, Levers
from upright.run.evidence import Metric, mean
from upright.training.private import Plan, PrivateTraining, Seeded, Tensors

MEASURES = (
    "accuracy",
    "selection rate gap",
    "narrowing lost to privacy",
    "disparity of accuracy lost to privacy",
    "RMIA attack AUC gap",
)
VERB = "audit interplay"
REPEATS = 8


def run(bench: Bench) -> Section:
    """Both tables, and the price of the engine."""
    section = Section("Privacy × fairness")
    for name, config in _configs(bench).items():
        done = finished(config, VERB)
        section.tables.append(f"**{name}**\n\n{_grid(config, done)}")
        section.notes += [f"{name}: {finding.text}" for finding in read_findings(done.path)]
        section.notes.append(f"{name}: {done.manifest.wall_seconds:.0f} s, {done.peak_memory()}.")
        section.metrics += [named for metric in done.metrics for named in relabelled(metric, name)]
    rows, metrics = _speed(50 if bench.quick else 300)
    section.tables.append(table(rows, ["a step"]))
    section.metrics += metrics
    return section


def _configs(bench: Bench) -> dict[str, Config]:
    small: dict[str, Any] = (
        {"epsilons": [math.inf, 1.0], "seeds": 2, "references": 2, "rows": 1000} if bench.quick else {}
    )
    adult = {"label": "income-per-year", "positive": ">50K", "groups": ["sex"], "rows": 8000}
    german = {"label": "credit", "positive": "1", "groups": ["young"]}
    return {
        "adult": Config.model_validate(
            {"table": bench.read("fairness/adult.csv"), "out": bench.out / "interplay-adult"} | adult | small
        ),
        "german": Config.model_validate(
            {"table": _german(bench), "out": bench.out / "interplay-german"} | german | small
        ),
    }


def _german(bench: Bench) -> Path:
    """German credit with age as a group and not as a feature."""
    path = bench.out / "german-young.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pl.read_csv(bench.read("fairness/german.csv"))
    frame.with_columns(young=(pl.col("age") <= 25).cast(pl.Int64)).drop("age").write_csv(path)
    return path


def _grid(config: Config, done: Run) -> str:
    rows: dict[str, list[Metric | str | None]] = {}
    for constraint in config.constraints:
        for epsilon in config.epsilons:
            cell = f"ε {'∞' if math.isinf(epsilon) else f'{epsilon:g}'}, {constraint}"
            rows[cell] = [done.find(name, "result", cell) for name in MEASURES]
    return table(rows, list(MEASURES))


# --- speed -----------------------------------------------------------------------------------------------------


def _speed(steps: int) -> tuple[dict[str, list[Metric | str | None]], list[Metric]]:
    """Seconds a step of a network of 100-64-1 on batches of 256: plain Adam and ours, with one loss."""
    generator = Generator().manual_seed(0)
    x, group = torch.randn(4096, 100, generator=generator), torch.zeros(4096, dtype=torch.long)
    y = (x[:, 0] > 0).float()
    records, levers = Tensors(x, y, group), Levers.neutral(1)

    def private() -> None:
        plan = Plan(4096, 256, steps, 1.0, 1.0, 1e-5)
        model = Classifier(100, 64, Generator().manual_seed(1))
        chance = Seeded(Generator().manual_seed(2))
        PrivateTraining(plan, model, levers.loss, records, partial(Adam, lr=0.01), chance).run()

    def plain() -> None:
        model = Classifier(100, 64, Generator().manual_seed(1))
        optimiser, chance = Adam(model.parameters(), lr=0.01), Seeded(Generator().manual_seed(2))
        for _ in range(steps):
            losses = levers.loss(model, next(iter(records.parts(chance.chosen(4096, 256 / 4096)))))
            optimiser.zero_grad()
            losses.mean().backward()
            optimiser.step()

    ways = {"plain Adam, Poisson batches": plain, "DP-SGD": private}
    clock: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(1 + REPEATS):
        for name, train in ways.items():  # in turns, so that a busy machine is busy for both
            begin = time.perf_counter()
            train()
            if repeat:  # the first fills the caches
                clock[name].append(1e3 * (time.perf_counter() - begin) / steps)
    metrics = [mean("time a step", seconds, split=name, unit="ms", better="lower") for name, seconds in clock.items()]
    ratios = [ours / theirs for ours, theirs in zip(clock["DP-SGD"], clock["plain Adam, Poisson batches"], strict=True)]
    metrics.append(mean("time against plain training", ratios, split="DP-SGD", better="lower"))
    return {metric.split if metric.unit else metric.name: [metric] for metric in metrics}, metrics
