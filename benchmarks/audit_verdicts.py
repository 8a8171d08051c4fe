"""How often the fairness audit raises a concern about tables in which no group is treated differently."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from benchmarks.harness import Bench, Section, relabelled, table
from upright.audit import fairness
from upright.run.evidence import Metric, proportion

TABLES = 100
SIZES = ((2, 40), (5, 100), (10, 40), (20, 40))
"""Groups, and records of each."""
KINDS: dict[str, dict[str, Any]] = {
    "decisions and scores": {"score": "score"},
    "four classes": {},
    "numbers": {"task": "regression"},
}


def run(bench: Bench) -> Section:
    """Every kind of audit on fair tables of every size."""
    section = Section("False alarms on fair tables")
    for kind, options in KINDS.items():
        rows: dict[str, list[Metric | str | None]] = {}
        items: dict[str, None] = {}
        for groups, size in SIZES:
            name = f"{groups} groups of {size}"
            found = dict(_alarms(kind, options, groups, size, 4 if bench.quick else TABLES))
            items |= dict.fromkeys(found)
            rows[name] = [found.get(item) for item in items]
            section.metrics += [m for metric in found.values() for m in relabelled(metric, f"{kind}, {name}")]
        section.tables += [f"**{kind}**", table(rows, list(items))]
    section.notes = [
        "Labels, decisions and scores are drawn alike for all groups, scores calibrated; a *concern* is a false alarm. "
        "Limits as they come (gaps of 0.1, ratios of 0.8), 200 bootstrap tables, 199 permutations.",
        "Verdicts of one table hold together at 95 %, so that up to 5 % of tables may show one.",
    ]
    return section


def _alarms(kind: str, options: dict[str, Any], groups: int, size: int, tables: int) -> Iterator[tuple[str, Metric]]:
    """For each question of the checklist that is judged: the share of tables that are called a concern."""
    rng = np.random.default_rng([groups, size])
    judged, alarmed = Counter[str](), Counter[str]()
    with TemporaryDirectory() as folder:
        for number in range(tables):
            path = Path(folder) / f"{number}.parquet"
            _fair(kind, groups, size, rng).write_parquet(path)
            result = fairness.run(
                fairness.Config(
                    table=path,
                    groups=["group"],
                    label="label",
                    prediction="said",
                    draws=200,
                    permutations=199,
                    seed=number,
                    out=Path(folder) / str(number),
                    **options,
                )
            )
            verdicts = {(finding.item, finding.verdict == "concern") for finding in result.findings}
            judged.update({item for item, _ in verdicts})
            alarmed.update({item for item, alarm in verdicts if alarm})
    for item in sorted(judged):
        yield item, proportion(f"{item}, concern", alarmed[item], judged[item])


def _fair(kind: str, groups: int, size: int, rng: np.random.Generator) -> pl.DataFrame:
    n = groups * size
    group = [f"g{i % groups}" for i in range(n)]
    if kind == "numbers":
        true = rng.normal(size=n)
        return pl.DataFrame({"group": group, "label": true, "said": true + rng.normal(size=n)})
    if kind == "four classes":
        label = rng.integers(4, size=n)
        said = np.where(rng.random(n) < 0.7, label, rng.integers(4, size=n))
        return pl.DataFrame({"group": group, "label": label.astype(str), "said": said.astype(str)})
    score = rng.random(n)
    return pl.DataFrame(
        {
            "group": group,
            "label": (rng.random(n) < score).astype(int),
            "said": (score > 0.5).astype(int),
            "score": score,
        }
    )
