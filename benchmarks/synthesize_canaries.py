"""Canaries among the lab's clinic notes: exposure and audited ε of a run at ε = 8, and of one without noise."""

import math

from benchmarks.harness import Bench, Cell, Section, finished, relabelled, table
from upright.lab import table as lab_table
from upright.synthesis import Config
from upright.synthesis.config import EvaluationConfig, TuneConfig

CANARIES, REPEATS = 400, 4
SHOWN = {
    "exposure, in above out": "exposure, in above out",
    "canaries in told from out, AUC": "AUC",
    "exposure of canaries in": "exposure, in",
    "exposure of canaries out": "exposure, out",
    "epsilon, audited lower bound": "audited ε, lower bound",
}


def run(bench: Bench) -> Section:
    """Tune with and without noise on the same records and canaries."""
    section = Section("Canaries")
    rows: dict[str, list[Cell]] = {}
    for epsilon in (8.0, math.inf):
        one = finished(_config(bench, epsilon), "synthesize")
        found = [one.find(name, "result", "synthetic") for name in SHOWN]
        rows[f"ε = {epsilon:g}"] = [*found]
        section.metrics += [m for metric in found for m in relabelled(metric, f"epsilon {epsilon:g}")]
    section.tables.append(table(rows, list(SHOWN.values())))
    section.notes.append(
        f"lab:clinic by patient, lab:atlas, {CANARIES} canaries, each in by a coin as a unit of {REPEATS} records."
    )
    return section


def _config(bench: Bench, epsilon: float) -> Config:
    return Config(
        data=lab_table("clinic"),
        labels=["section"],
        unit="patient",
        epsilon=epsilon,
        records=50,
        control="none",
        tune=TuneConfig(epochs=1 if bench.quick else 30, batch=256, method="full", learning_rate=2e-3, tokens=64),
        evaluation=EvaluationConfig(
            utility=False, coreference=False, closeness=False, leakage=False, canaries=CANARIES, repeats=REPEATS
        ),
        out=bench.out / f"canaries-{epsilon:g}",
    )
