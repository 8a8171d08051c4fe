"""The run folder: one place for everything a run reads, does and finds, written so that a kill costs little.

    with open_run(config, verb="edit") as run:
        run.input(config.facts)
        keys = run.step("keys", lambda: collect_keys(model))     # computed once, even over kills
        order = run.rng("examples").sample(range(100), 5)        # own stream of randomness for each name
        run.finish(metrics, report)

A folder belongs to one configuration. Opened again with the same one after a kill, a Ctrl-C or a failure,
it goes on: steps that finished are read back, whatever else the block does is done again. Each name has its
own generator, so skipping a step shifts no other step's randomness.
"""

import hashlib
import random
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from upright.errors import UserError
from upright.run import files, manifest
from upright.run.config import RunConfig, digest, speeds
from upright.run.evidence import Metric
from upright.run.flags import command
from upright.run.lock import FolderLock
from upright.run.manifest import Manifest, Status
from upright.run.memory import keep_freed_memory
from upright.run.steps import MISSING, StepStore

if TYPE_CHECKING:
    from torch import Generator

    from upright.models.causal import CausalModel
    from upright.run.report import Report

T = TypeVar("T")
CONFIG, METRICS, REPORT, EVENTS, FAILURES = (
    "config.json",
    "metrics.json",
    "report.html",
    "events.jsonl",
    "failures.jsonl",
)


class Outcome(Protocol):
    """What the command line shows of any verb's result."""

    @property
    def message(self) -> str:
        """The last line: where to look further."""

    @property
    def exit_code(self) -> int:
        """0, or what tells a script that the answer is no."""

    def summary(self) -> Sequence[Metric]:
        """The numbers worth a look right after the run; may be none."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """The outcome of a verb that measured nothing: a line or more for the terminal."""

    message: str
    exit_code: int = 0

    def summary(self) -> Sequence[Metric]:
        """Nothing was measured."""
        return ()


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What the `Result` of every verb that writes a run folder has: its folder and its numbers."""

    out: Path
    metrics: Sequence[Metric]

    @property
    def report(self) -> Path:
        """The report of the run."""
        return self.out / REPORT

    @property
    def message(self) -> str:
        """The last line on the terminal."""
        return f"report: {self.report}"

    @property
    def exit_code(self) -> int:
        """A run that ended well exits with 0, unless its verb says otherwise."""
        return 0

    def summary(self) -> Sequence[Metric]:
        """The numbers worth a look right after the run: all, unless a verb chooses."""
        return self.metrics


def open_run(config: RunConfig, verb: str) -> "RunFolder":
    """The folder for a run of `verb`, to be used in a `with` block.

    Raises UserError when `config.out` holds another run, a finished run, a run in progress or foreign files;
    `config.overwrite` replaces a run, never foreign files.
    """
    return RunFolder(_fresh_folder(verb) if config.out is None else config.out, config, verb)


def _fresh_folder(verb: str) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{verb.replace(' ', '-')}-{stamp}-{secrets.token_hex(2)}"


class RunFolder:
    """An open run. Attributes: `path` of the folder, its `manifest`, `resumed` (earlier work was found)."""

    def __init__(self, path: Path, config: RunConfig, verb: str) -> None:
        self.path = path
        self.resumed = False
        self._config = config
        self._verb = verb
        self._digest = digest(config, verb)
        self._lock = FolderLock(path)
        self._steps = StepStore(path / "steps", self._digest)
        self._seen: set[str] = set()
        self._open_steps: list[str] = []

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        try:
            self._admit()
            keep_freed_memory()
            for speed in speeds(self._config):
                _set_threads(speed.threads)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if error is None and self.manifest.status != "finished":
                raise RuntimeError(f"the run in {self.path} ended without run.finish(metrics, report)")
            if isinstance(error, UserError) and self._is_bare():
                shutil.rmtree(self.path)
            elif error is not None:
                self._note_failure(error)
        finally:
            self._lock.release()

    def _is_bare(self) -> bool:
        """Whether nothing was done yet: a mistake found then leaves no folder that blocks the next try."""
        return {entry.name for entry in self.path.iterdir()} <= {FolderLock.NAME, CONFIG, manifest.MANIFEST, EVENTS}

    # --- admission ---

    def _admit(self) -> None:
        """Begin, go on, replace, or refuse."""
        found = {entry.name for entry in self.path.iterdir()} - {FolderLock.NAME, CONFIG, f".{CONFIG}.part"}
        if manifest.MANIFEST in found:
            earlier = manifest.load(self.path)
            if not self._config.overwrite:
                return self._go_on(earlier)
            self._clear()
        elif found:
            raise UserError(f"--out {self.path}: holds files that are no run ({min(found)}, …); choose another folder")
        self._begin()

    def _begin(self) -> None:
        self._clock = time.monotonic()
        self.manifest = Manifest(
            verb=self._verb,
            status="running",
            command=command(self._config, self._verb),
            argv=sys.argv,
            config_digest=self._digest,
            seed=self._config.seed,
            versions=manifest.versions(),
            platform=manifest.machine(),
            started=manifest.now(),
        )
        resolved = self._config.model_copy(update={"out": self.path}).model_dump(mode="json", by_alias=True)
        files.write_json(self.path / CONFIG, resolved)
        self._save()
        self.event("started")

    def _go_on(self, earlier: Manifest) -> None:
        if earlier.config_digest != self._digest:
            raise UserError(
                f"--out {self.path}: holds another run ({earlier.verb}, {earlier.status}, "
                f"started {earlier.started}); choose another folder or add --overwrite"
            )
        if earlier.status == "finished":
            raise UserError(f"--out {self.path}: this run is finished; add --overwrite to do it again")
        self._clock = time.monotonic() - earlier.wall_seconds
        self.resumed = True
        changes = {"status": "running", "argv": sys.argv, "ended": None, "attempts": earlier.attempts + 1}
        self.manifest = earlier.model_copy(update=changes)
        for log in (EVENTS, FAILURES):
            files.mend_jsonl(self.path / log)
        self._forget_unfinished_failures()
        self._save()
        self.event("resumed", versions=manifest.versions(), steps=sorted(self._steps.names()))

    def _clear(self) -> None:
        """Remove an earlier run's files, but not the lock that is held."""
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != FolderLock.NAME:
                entry.unlink()

    def _forget_unfinished_failures(self) -> None:
        """Drop the failure rows of work that will be done again, so that none is counted twice."""
        rows = files.read_jsonl(self.path / FAILURES)
        kept = [row for row in rows if row["step"] in self._steps.names()]
        if len(kept) < len(rows):
            (self.path / FAILURES).unlink()
            for row in kept:
                files.append_jsonl(self.path / FAILURES, row)
        self.manifest.dropped = len(kept)

    # --- work ---

    def step(self, name: str, compute: Callable[[], T], type: Any = None) -> T:
        """The value of `compute()`, done once: a resumed run reads it back.

        Args:
            name: unique in the run; letters, digits, - and _.
            compute: gives JSON-able values, a dictionary of tensors (read back on the CPU) or a `type`.
            type: a pydantic model or an annotation pydantic knows (`list[Score]`), for what JSON would lose.
        """
        if name in self._seen:
            raise ValueError(f"step {name!r} is used twice in one run")
        self._seen.add(name)
        begin = time.monotonic()
        value: T = self._steps.load(name, type)
        reused = value is not MISSING
        if not reused:
            self._open_steps.append(name)
            try:
                self._steps.save(name, compute(), type)
            finally:
                self._open_steps.pop()
            value = self._steps.load(name, type)
        self._save()
        self.event("step", name=name, seconds=round(time.monotonic() - begin, 3), reused=reused)
        return value

    def done(self) -> frozenset[str]:
        """Names of the steps that are done."""
        return frozenset(self._steps.names())

    def seed_for(self, name: str) -> int:
        """The seed of the stream `name`, below 2**63; it depends on the run's seed and the name alone."""
        text = f"{self._config.seed}:{name}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def rng(self, name: str) -> random.Random:
        """A fresh `random.Random` for the stream `name`."""
        return random.Random(self.seed_for(name))

    def generator(self, name: str, device: str = "cpu") -> "Generator":
        """A fresh `torch.Generator` for the stream `name`."""
        import torch

        return torch.Generator(device).manual_seed(self.seed_for(name))

    # --- records ---

    def input(self, path: Path) -> Path:
        """Record a file the run reads. Raises UserError when it is absent or changed since the run began."""
        try:
            found = manifest.Input(sha256=files.sha256(path), bytes=path.stat().st_size)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        known = self.manifest.inputs.get(str(path))
        if known is not None and known != found:
            raise UserError(f"{path}: has changed since this run was started; begin anew with another --out")
        self.manifest.inputs[str(path)] = found
        return path

    def model(self, model: "CausalModel") -> None:
        """Record a model the run works with. Raises UserError when its weights changed since the run began."""
        found = model.digest()
        if self.manifest.models.setdefault(model.name, found) != found:
            raise UserError(f"{model.name}: has changed since this run was started; begin anew with another --out")
        self.record(device=str(model.device))

    def event(self, kind: str, **fields: Any) -> None:
        """Append a line to events.jsonl."""
        files.append_jsonl(self.path / EVENTS, {"time": manifest.now(), "kind": kind, **fields})

    def fail(self, stage: str, reason: str, row: Any) -> None:
        """Record a row that was dropped, with the stage and the reason; the report counts them."""
        step = self._open_steps[-1] if self._open_steps else None
        files.append_jsonl(self.path / FAILURES, {"stage": stage, "reason": reason, "row": row, "step": step})
        self.manifest.dropped += 1

    def spend(self, prompt: int = 0, completion: int = 0, cost: float | None = 0.0) -> None:
        """Add tokens and US dollars to the bill; `cost=None` says that the price is not known."""
        tokens = self.manifest.tokens
        self.manifest.tokens = manifest.Tokens(prompt=tokens.prompt + prompt, completion=tokens.completion + completion)
        bill = self.manifest.cost
        self.manifest.cost = None if cost is None or bill is None else bill + cost

    def record(self, **facts: Any) -> None:
        """Set facts of the manifest, such as `device="cuda:0"` or a model's digest."""
        for name, value in facts.items():
            setattr(self.manifest, name, value)
        self._save()

    # --- the end ---

    def finish(self, metrics: Iterable[Metric], report: "Report") -> None:
        """Write metrics.json and report.html (with the budget added) and mark the run finished."""
        metrics = list(metrics)
        files.write_json(self.path / METRICS, {"metrics": [metric.model_dump(mode="json") for metric in metrics]})
        self._measure()
        report.budget(self.manifest, files.read_jsonl(self.path / FAILURES))
        report.write(self.path / REPORT, self.manifest.command, metrics)
        self._close("finished")

    def _note_failure(self, error: BaseException) -> None:
        interrupted = isinstance(error, KeyboardInterrupt)
        error.add_note(f"upright runs resume {self.path}")
        with suppress(OSError):  # a full disk: the error on its way says so already
            self.event("stopped", error=f"{type(error).__name__}: {error}")
            self._close("interrupted" if interrupted else "failed")

    def _close(self, status: Status) -> None:
        self.manifest.status = status
        self.manifest.ended = manifest.now()
        self._save()

    def _save(self) -> None:
        self._measure()
        manifest.save(self.path, self.manifest)

    def _measure(self) -> None:
        record = self.manifest
        record.wall_seconds = round(time.monotonic() - self._clock, 3)
        record.peak_memory = max(record.peak_memory, manifest.peak_memory())
        gpu = manifest.peak_gpu_memory()
        if gpu is not None:
            record.peak_gpu_memory = max(gpu, record.peak_gpu_memory or 0)


def _set_threads(count: int) -> None:
    if count:
        import torch

        torch.set_num_threads(count)
