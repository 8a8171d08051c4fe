"""Answers kept on disk: one SQLite file that several processes may read and write at once.

It is written ahead of its log (WAL), each answer as it comes, so that a killed process loses only what is in
flight; that needs a local disk. SQLite itself keeps at most 2 MB in memory, whatever the size of the file.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from pydantic import TypeAdapter

from upright.errors import UserError
from upright.models.chat.protocol import Call, Completion

_VERSION = 1  # raise it when the same call would be answered otherwise
_FILE = "chat.sqlite"
_WAIT = 60.0  # seconds until another process must have finished its write
_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    key BLOB, sample INTEGER, answer TEXT NOT NULL, PRIMARY KEY (key, sample))"""
_PUT = """INSERT INTO answers VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET answer = CASE ? WHEN 1 THEN excluded.answer ELSE answer END RETURNING answer"""
_ANSWER = TypeAdapter(Completion)


def key_of(identity: str, call: Call) -> bytes:
    """SHA-256 of all that the answers to `call` depend on, but for the number of the sample."""
    parts = [_VERSION, identity, call.messages, asdict(call.sampling.effective()), call.choices]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


class Cache:
    """Answers by key and number of the sample. Without a folder they are forgotten when it is closed."""

    def __init__(self, folder: Path | None = None) -> None:
        """Open or begin the file in `folder`. Raises `UserError` where it cannot be written or is something else."""
        self._folder = folder
        self._open: sqlite3.Connection | None = None
        self.get(b"", [0])

    def get(self, key: bytes, samples: Sequence[int]) -> dict[int, Completion]:
        """The stored ones of `samples`, marked as cached."""
        query = "SELECT answer FROM answers WHERE key = ? AND sample = ?"
        with self._base() as base:
            rows = {sample: base.execute(query, (key, sample)).fetchone() for sample in samples}
        return {s: replace(_ANSWER.validate_json(row[0]), cached=True) for s, row in rows.items() if row}

    def put(self, key: bytes, sample: int, answer: Completion, overwrite: bool = False) -> Completion:
        """Store an answer; where another process was faster, the answer of that one, unless `overwrite`."""
        text = _ANSWER.dump_json(replace(answer, cached=False)).decode()
        with self._base() as base:
            stored: str = base.execute(_PUT, (key, sample, text, int(overwrite))).fetchall()[0][0]
        return answer if stored == text else _ANSWER.validate_json(stored)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @contextmanager
    def _base(self) -> Iterator[sqlite3.Connection]:
        path = ":memory:" if self._folder is None else str(self._folder / _FILE)
        try:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
            self._open = self._open or _connect(path)
            yield self._open
        except (sqlite3.DatabaseError, OSError) as error:
            raise UserError(
                f"stored answers in {path}: {error}; move that file away or give another folder as cache"
            ) from error


def _connect(path: str) -> sqlite3.Connection:
    # whichever thread runs the event loop uses it; the calls never overlap
    base = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")
        base.execute(_TABLE)
    except sqlite3.Error:
        base.close()
        raise
    return base
