"""The manifest: what a reader needs to trust a run and to repeat it."""

import os
import platform
import resource
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from upright import __version__
from upright.errors import UserError
from upright.run.evidence import display
from upright.run.files import read_json, write_json

MANIFEST = "manifest.json"
Status = Literal["running", "interrupted", "failed", "finished"]


class Input(BaseModel):
    """Fingerprint of a file that a run has read."""

    sha256: str
    bytes: int


class Tokens(BaseModel):
    """Tokens sent to and received from chat models."""

    prompt: int = 0
    completion: int = 0


class Manifest(BaseModel):
    """What stands in `manifest.json`. Times are ISO 8601, sizes bytes, durations seconds, cost US dollars."""

    model_config = ConfigDict(extra="allow")

    verb: str
    status: Status
    command: str
    """The shortest command that repeats the run."""
    argv: list[str]
    """The words this process was started with."""
    config_digest: str
    seed: int
    versions: dict[str, str]
    platform: str
    device: str | None = None
    inputs: dict[str, Input] = {}
    models: dict[str, str] = {}
    """Digest of the weights of each model the run loaded."""
    started: str
    ended: str | None = None
    wall_seconds: float = 0.0
    """Time in work, over all attempts; what a kill cut off counts up to the last finished step."""
    attempts: int = 1
    peak_memory: int = 0
    peak_gpu_memory: int | None = None
    tokens: Tokens = Tokens()
    cost: float | None = 0.0
    """None: a price was not known."""
    dropped: int = 0
    """Rows in failures.jsonl."""

    def budget(self) -> dict[str, str]:
        """What the run took, in words."""
        spent = self.tokens.prompt + self.tokens.completion
        gpu = self.peak_gpu_memory
        facts = {
            "time": display(self.wall_seconds, "s") + (f" in {self.attempts} attempts" if self.attempts > 1 else ""),
            "peak memory": display(self.peak_memory, "bytes") + (f", GPU {display(gpu, 'bytes')}" if gpu else ""),
            "machine": self.platform + (f", {self.device}" if self.device else ""),
            "seed": str(self.seed),
        }
        if spent:
            facts["tokens"] = f"{self.tokens.prompt:,} read, {self.tokens.completion:,} written"
            facts["cost"] = "not known" if self.cost is None else f"${self.cost:,.2f}"
        if self.dropped:
            facts["rows dropped"] = f"{self.dropped:,} (failures.jsonl)"
        return facts


def load(folder: Path) -> Manifest:
    """The manifest of a run folder. Raises UserError when `folder` holds no run."""
    try:
        return Manifest.model_validate(read_json(folder / MANIFEST))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{folder} holds no run (no {MANIFEST}); `upright runs list` shows the runs") from error
    except (ValidationError, ValueError) as error:
        raise UserError(f"{folder / MANIFEST} is not a manifest upright wrote: {str(error).splitlines()[0]}") from error


def save(folder: Path, manifest: Manifest) -> None:
    """Write the manifest atomically."""
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def now() -> str:
    """Local time with its offset, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of python, upright and the packages that decide a result, without importing them."""
    found = {"python": platform.python_version(), "upright": __version__}
    for package in ("torch", "transformers", "tokenizers", "numpy", "pydantic"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """Operating system, processor kind and number of CPUs."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_gpu_memory() -> int | None:
    """Largest memory torch has held on the GPUs, in bytes; None when no GPU was used. Never imports torch."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return int(sum(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count())))
