"""Files that are whole or absent, whatever happens while they are written."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well and is removed when not.

    The temporary name is fixed, so what a killed process leaves is overwritten by the next attempt.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; a NaN or an infinity is refused, as no strict reader takes it."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as JSON lines, atomically."""
    with atomic(path) as part, part.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    """Append one JSON line; it is on its way to disk when this returns."""
    with path.open("ab") as stream:
        stream.write((json.dumps(row, ensure_ascii=False, default=str) + "\n").encode())


def mend_jsonl(path: Path) -> None:
    """Cut off a last line that a kill left without its newline, lest the next append run into it."""
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            with path.open("rb+") as stream:
                stream.truncate(content.rfind(b"\n") + 1)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a log that upright wrote; a last line cut by a kill is left out, an absent log is empty."""
    if not path.exists():
        return []
    *whole, _cut = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in whole]


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
