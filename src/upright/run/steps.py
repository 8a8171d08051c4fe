"""Finished steps of a run, kept on disk so that a resumed run does not repeat them.

A step's value is JSON-able, a dictionary of tensors, or anything pydantic can take apart and put together
again when its `type` is given. What is handed out is always what was read back, so that a first and a
resumed run see the same value: tuples come back as lists, tensors on the CPU.
"""

import errno
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from upright.run.files import atomic, write_text

if TYPE_CHECKING:
    from torch import Tensor

MISSING = object()


class StepStore:
    """The folder `steps/` of a run; every file in it names the configuration it belongs to."""

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder = folder
        self._digest = digest

    def names(self) -> set[str]:
        """Names of the stored steps, of whatever configuration."""
        return {path.stem for path in self._folder.glob("[!.]*")}

    def load(self, name: str, type: Any = None) -> Any:
        """The stored value, or MISSING."""
        text, tensors = self._paths(name)
        if text.exists():
            stored = json.loads(text.read_text(encoding="utf-8"))
            return _from_json(stored["value"], type) if stored["digest"] == self._digest else MISSING
        return self._load_tensors(tensors) if tensors.exists() else MISSING

    def save(self, name: str, value: Any, type: Any = None) -> None:
        """Store a value atomically. Raises TypeError when it has no faithful form on disk."""
        self._folder.mkdir(exist_ok=True)
        text, tensors = self._paths(name)
        if _is_tensors(value):
            self._save_tensors(tensors, value)
        else:
            write_text(text, json.dumps({"digest": self._digest, "value": _to_json(name, value, type)}))

    def _paths(self, name: str) -> tuple[Path, Path]:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise ValueError(f"step name {name!r}: must be letters, digits, - and _")
        return self._folder / f"{name}.json", self._folder / f"{name}.safetensors"

    def _load_tensors(self, path: Path) -> Any:
        from safetensors import safe_open

        with safe_open(path, framework="pt") as stored:
            if (stored.metadata() or {}).get("digest") != self._digest:
                return MISSING
            return {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 - not a dict

    def _save_tensors(self, path: Path, value: "dict[str, Tensor]") -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        # own, dense copies: safetensors refuses tensors that share memory
        copies = {key: tensor.detach().to("cpu", copy=True).contiguous() for key, tensor in value.items()}
        with atomic(path) as part:
            try:
                save_file(copies, part, metadata={"digest": self._digest})
            except SafetensorError as error:
                if "StorageFull" in str(error) or "No space left" in str(error):
                    raise OSError(errno.ENOSPC, "No space left on device", str(path)) from error
                raise


def _is_tensors(value: Any) -> "TypeGuard[dict[str, Tensor]]":
    torch: Any = sys.modules.get("torch")  # whoever holds a tensor has imported torch
    if torch is None or not isinstance(value, dict) or not value:
        return False
    return all(isinstance(item, torch.Tensor) for item in value.values())


def _to_json(name: str, value: Any, type: Any) -> Any:
    if type is not None:
        from pydantic import TypeAdapter

        return TypeAdapter[Any](type).dump_python(value, mode="json", by_alias=True)
    if isinstance(value, dict) and any(not isinstance(key, str) for key in value):
        raise TypeError(f"step {name!r}: keys must be strings, as JSON would turn them into strings; give `type=`")
    return value


def _from_json(value: Any, type: Any) -> Any:
    if type is None:
        return value
    from pydantic import TypeAdapter

    return TypeAdapter[Any](type).validate_json(json.dumps(value))
