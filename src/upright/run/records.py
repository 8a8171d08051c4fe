"""The shelf of finished and unfinished runs: list them, look into one, compare several."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationError

from upright.errors import UserError
from upright.run import manifest
from upright.run.config import Config, Positional
from upright.run.evidence import Metric, display, headline, interval, overlap
from upright.run.files import read_json
from upright.run.folder import METRICS, REPORT
from upright.run.lock import FolderLock
from upright.run.manifest import Manifest


class List(Config):
    """Which runs to list."""

    root: Path = Path("runs")
    """Folder whose runs are listed, at any depth."""

    json_: bool = False
    """Print JSON instead of a table."""


class Show(Config):
    """Which run to show."""

    dir: Annotated[Path, Positional]
    """Folder of the run."""

    json_: bool = False
    """Print JSON instead of tables."""


class Compare(Config):
    """Which runs to compare."""

    dirs: Annotated[list[Path], Positional]
    """Folders of two or more runs; the first is the one the others are held against."""

    json_: bool = False
    """Print JSON instead of a table."""


class Resume(Config):
    """Which run to go on with."""

    dir: Annotated[Path, Positional]
    """Folder of the run."""


def read_metrics(folder: Path) -> list[Metric]:
    """The metrics of a run, none when it has not got so far. Raises UserError when the file is damaged."""
    path = folder / METRICS
    if not path.exists():
        return []
    try:
        return [Metric.model_validate(row) for row in read_json(path)["metrics"]]
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a metrics file upright wrote: {str(error).splitlines()[0]}") from error


def status(folder: Path, record: Manifest) -> str:
    """The run's status; "killed" for one that says it is running though no process writes it."""
    if record.status == "running" and not FolderLock(folder).held():
        return "killed"
    return record.status


# --- list ---


def list_runs(config: List) -> None:
    """Print the runs below a root folder, the newest first."""
    if not config.root.is_dir():
        raise UserError(f"--root {config.root}: no such folder; give the folder that holds the runs")
    folders = [path.parent for path in config.root.rglob(manifest.MANIFEST)]
    rows = sorted((_row(folder) for folder in folders), key=lambda row: row["started"], reverse=True)
    if config.json_:
        print(json.dumps({"runs": rows}, indent=2, ensure_ascii=False))
    elif not rows:
        print(f"no runs in {config.root}")
    else:
        _print_rows(rows)


def _row(folder: Path) -> dict[str, Any]:
    record = manifest.load(folder)
    top = headline(read_metrics(folder))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        "dir": str(folder),
        "verb": record.verb,
        "started": record.started,
        "status": status(folder, record),
        "metric": top.shown.model_dump(mode="json") if top else None,
        "bytes": size,
    }


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from upright.run.terminal import console, table

    grid = table("run", "verb", "started", "status", "headline", "size", numbers_from=5)
    for row in rows:
        metric = Metric.model_validate(row["metric"]) if row["metric"] else None
        words = f"{metric.name} {display(metric.value, metric.unit)}" if metric else ""
        started = datetime.fromisoformat(row["started"]).strftime("%Y-%m-%d %H:%M")
        grid.add_row(row["dir"], row["verb"], started, row["status"], words, display(row["bytes"], "bytes"))
    console().print(grid)


# --- show ---


def show(config: Show) -> None:
    """Print what a run did, what it cost and what it found."""
    record, metrics = manifest.load(config.dir), read_metrics(config.dir)
    state = status(config.dir, record)
    if config.json_:
        found = [metric.model_dump(mode="json") for metric in metrics]
        facts = {**record.model_dump(mode="json"), "status": state}
        print(json.dumps({"manifest": facts, "metrics": found}, indent=2, ensure_ascii=False))
        return
    from rich.text import Text

    from upright.run.terminal import console, metric_table, table

    grid = table("", "", numbers_from=2)
    grid.show_header = False
    for name, value in _facts(config.dir, record, state).items():
        grid.add_row(Text(name, style="dim"), Text(value))
    console().print(grid)
    if metrics:
        console().print(metric_table(metrics))


def _facts(folder: Path, record: Manifest, state: str) -> dict[str, str]:
    going_on = f"  (go on: upright runs resume {folder})" if state in ("killed", "interrupted", "failed") else ""
    facts = {
        "run": f"{folder}  ({record.verb})",
        "status": state + going_on,
        "command": record.command,
        "started": record.started,
        **record.budget(),
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
    }
    if (folder / REPORT).exists():
        facts["report"] = str(folder / REPORT)
    return facts


# --- compare ---


def compare(config: Compare) -> None:
    """Print the metrics of several runs side by side, each against the first run."""
    if len(config.dirs) < 2:
        raise UserError(f"got {len(config.dirs)} run to compare; give two folders or more")
    for folder in config.dirs:
        manifest.load(folder)
    rows = compared([read_metrics(folder) for folder in config.dirs])
    if config.json_:
        print(json.dumps({"dirs": [str(d) for d in config.dirs], "rows": rows}, indent=2, ensure_ascii=False))
    else:
        _print_compared(config.dirs, rows)


def compared(runs: list[list[Metric]]) -> list[dict[str, Any]]:
    """One row for each metric that any run has.

    `values` holds the metric of each run (None where absent), `differences` the distance of each other run to
    the first, `overlap` whether their intervals share a point.
    """
    by_key = [{(m.name, m.split, m.stage): m for m in metrics} for metrics in runs]
    rows = []
    for name, split, stage in dict.fromkeys(key for run in by_key for key in run):
        found = [run.get((name, split, stage)) for run in by_key]
        first, *others = found
        row = {
            "name": name,
            "split": split,
            "stage": stage,
            "values": [metric.model_dump(mode="json") if metric else None for metric in found],
            "differences": [_difference(first, other) for other in others],
            "overlap": [overlap(first, other) if first and other else None for other in others],
        }
        rows.append(row)
    return rows


def _difference(first: Metric | None, other: Metric | None) -> float | None:
    if first is None or other is None or first.value is None or other.value is None:
        return None
    return other.value - first.value


def _print_compared(folders: list[Path], rows: list[dict[str, Any]]) -> None:
    from upright.run.terminal import console, table

    grid = table("", *(str(folder) for folder in folders), "difference", "intervals")
    for row in rows:
        metrics = [Metric.model_validate(value) if value else None for value in row["values"]]
        unit = next(metric.unit for metric in metrics if metric)
        cells = [f"{display(m.value, m.unit)}\n{interval(m)}" if m else "–" for m in metrics]
        differences = "\n".join(display(value, unit, signed=True) for value in row["differences"])
        words = {True: "overlap", False: "apart", None: "–"}
        which = ", ".join(word for word in (row["split"], row["stage"]) if word not in ("all", "result"))
        name = f"{row['name']} ({which})" if which else row["name"]
        grid.add_row(name, *cells, differences, "\n".join(words[x] for x in row["overlap"]))
    console().print(grid)
