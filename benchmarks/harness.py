"""What benchmarks of several verbs share: settings, runs in processes of their own, Markdown tables, plots as files.

A benchmark is cut into parts. A part gives `Section`s; each is printed, written to `PART.md` and its numbers to
`PART.json`. A run folder that is finished is read and not repeated, so a stopped benchmark goes on.
"""

import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from upright import __version__
from upright.errors import UserError
from upright.lab import CHECKPOINTS
from upright.run import manifest
from upright.run.config import RunConfig, digest
from upright.run.evidence import Metric, display, interval
from upright.run.files import read_json, write_json, write_text
from upright.run.flags import command

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"


@dataclass(frozen=True)
class Bench:
    """What a part is told: where data lie, where to write, and whether to try things out on the smallest settings."""

    data: Path
    out: Path
    model: str = "lab:atlas"
    quick: bool = False

    def read(self, name: str) -> Path:
        """A file of the data folder. Raises `Absent` if it is not there."""
        path = self.data / name
        if not path.exists():
            raise Absent(f"needs the data set {name}, which --data does not hold")
        return path


class Absent(Exception):
    """Data or a device that a part needs is not here; the part is skipped with one line."""


# --- runs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A finished run folder."""

    path: Path
    manifest: manifest.Manifest
    metrics: list[Metric]

    @classmethod
    def load(cls, path: Path) -> "Run":
        """Read a finished run."""
        rows = read_json(path / "metrics.json")["metrics"]
        return cls(path, manifest.load(path), [Metric.model_validate(row) for row in rows])

    def find(self, name: str, stage: str, split: str | None = None) -> Metric | None:
        """The first metric of that name, stage and, if given, split."""
        return next((m for m in self.metrics if (m.name, m.stage) == (name, stage) and split in (None, m.split)), None)

    def peak_memory(self) -> str:
        """Largest memory of the process, and of the GPU if it had one."""
        gpu = self.manifest.peak_gpu_memory
        return display(self.manifest.peak_memory, "bytes") + (f", GPU {display(gpu, 'bytes')}" if gpu else "")


def finished(config: RunConfig, verb: str) -> Run:
    """The run of `config`: read if its folder is finished, else done or gone on with in a process of its own.

    Its own process, so that peak memory is the run's alone.

    Raises:
        UserError: if the folder holds a run with other settings.
        RuntimeError: if the run fails; its messages are on the terminal.
    """
    if config.out is None:
        raise ValueError("a benchmark's run needs a folder")
    if (config.out / manifest.MANIFEST).exists():
        earlier = manifest.load(config.out)
        if earlier.config_digest != digest(config, verb):
            raise UserError(f"{config.out}: holds a run with other settings; remove it or give another --out")
        if earlier.status == "finished":
            return Run.load(config.out)
    words = [*shlex.split(command(config, verb))[1:], "--out", str(config.out)]
    print(f"upright {shlex.join(words)}", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "upright", *words], stdout=sys.stderr, check=False)
    if done.returncode:
        raise RuntimeError(f"upright {verb} ended with exit code {done.returncode} (folder {config.out})")
    return Run.load(config.out)


def lab_recipe() -> Path | None:
    """The editing recipe of the lab's atlas, for models of the same shape that a benchmark builds."""
    path = CHECKPOINTS / "atlas" / "editing.json"
    return path if path.exists() else None


# --- tables ----------------------------------------------------------------------------------------------------

Cell = Metric | str | None


def table(rows: Mapping[str, Sequence[Cell]], columns: Sequence[str]) -> str:
    """Markdown with a row for each name; a first row gives n where it is the same in the whole column.

    >>> from upright.run.evidence import proportion
    >>> print(table({"a": [proportion("x", 5, 10)], "b": [proportion("x", 10, 10)]}, ["exact"]))
    |  | exact |
    |---|---|
    | *n* | 10 |
    | a | 50.0 % (23.7–76.3) |
    | b | 100.0 % (72.2–100.0) |
    """
    shared = [_shared_n([row[i] for row in rows.values()]) for i in range(len(columns))]
    lines = [_line(["", *columns]), "|---" * (len(columns) + 1) + "|"]
    if any(shared):
        lines.append(_line(["*n*", *(f"{n:,}" if n else "" for n in shared)]))
    for name, row in rows.items():
        lines.append(_line([name, *(cell(value, with_n=n is None) for value, n in zip(row, shared, strict=True))]))
    return "\n".join(lines)


def cell(value: Cell, with_n: bool = True) -> str:
    """A number with its interval and, if asked, its n: "50.0 % (23.7–76.3; n 10)"."""
    if not isinstance(value, Metric):
        return value or "–"
    inner = [interval(value, "–").removesuffix(" %"), f"n {value.n:,}" if with_n and value.n > 1 else ""]
    around = "; ".join(part for part in inner if part)
    return display(value.value, value.unit) + (f" ({around})" if around else "")


def _shared_n(column: Sequence[Cell]) -> int | None:
    counts = {value.n for value in column if isinstance(value, Metric)}
    return counts.pop() if len(counts) == 1 and max(counts) > 1 else None


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", r"\|") for text in cells) + " |"


# --- sections --------------------------------------------------------------------------------------------------


@dataclass
class Section:
    """What a part found, ready to be put on a page."""

    title: str
    tables: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)

    def markdown(self) -> str:
        """The section with what a reader needs to repeat it."""
        made = f"{date.today().isoformat()}, upright {__version__}, {machine()}; `{asked()}`."
        notes = "\n".join(f"- {note}" for note in self.notes if note)
        return "\n\n".join(part for part in (f"### {self.title}", made, *self.tables, notes) if part) + "\n"

    def publish(self, out: Path, name: str) -> None:
        """Print the page and write it, with the numbers beside it."""
        out.mkdir(parents=True, exist_ok=True)
        page = self.markdown()
        write_text(out / f"{name}.md", page)
        write_json(out / f"{name}.json", {"metrics": [metric.model_dump(mode="json") for metric in self.metrics]})
        print(page, flush=True)


def relabelled(metric: Metric | None, label: str) -> list[Metric]:
    """The metric with a method's name before its split, so that several methods fit in one file; nothing for None."""
    if metric is None:
        return []
    split = label if metric.split == "all" else f"{label}: {metric.split}"
    return [metric.model_copy(update={"split": split, "stage": "result"})]


def asked() -> str:
    """The command line of this benchmark, without folders."""
    words = sys.argv[1:]
    kept = [word for i, word in enumerate(words) if not {"--data", "--out"} & {word, words[i - 1] if i else ""}]
    return shlex.join(["python", "-m", "benchmarks", *kept])


def machine() -> str:
    """The processor, or the GPU where there is one, and the threads in use."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()} ({manifest.machine()})"
    return f"{manifest.machine()}, {_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", info.read_text(encoding="utf-8")) if info.exists() else []
    return names[0].strip() if names else platform.processor() or platform.machine()


# --- plots -----------------------------------------------------------------------------------------------------


def write_figure(name: str, plot: str, folder: Path = FIGURES) -> Path:
    """The wide drawing of a plot as an SVG file that stands alone, on white paper."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.svg"
    write_text(path, standalone(plot) + "\n")
    return path


def standalone(plot: str) -> str:
    """The first `<svg>` of a plot's HTML, with what a file of its own needs."""
    found = re.search(r"<svg\b.*?</svg>", plot, flags=re.DOTALL)
    if found is None:
        raise ValueError("the plot holds no <svg>")
    opening, body = found[0].removeprefix("<svg").split(">", 1)
    paper = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg"{opening}>{paper}{body}'
