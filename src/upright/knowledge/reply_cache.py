"""Replies of endpoints on disk: one SQLite file, safe for several threads and processes."""

import hashlib
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TypeVar

from upright.errors import UserError

T = TypeVar("T")
KEYS_AT_ONCE = 500
TABLE = (
    "CREATE TABLE IF NOT EXISTS replies (key BLOB PRIMARY KEY, time REAL NOT NULL, text TEXT NOT NULL) WITHOUT ROWID"
)


class ReplyCache:
    """Texts by key, each with the time it was stored.

    Args:
        path: the file, made when it is not there; `":memory:"` for one that ends with the process.
        seconds: how long a text holds; older ones are deleted when the cache is opened.
        refresh: only what was stored since the cache was opened holds.
        clock: seconds since the epoch.
    """

    def __init__(
        self, path: Path | str, seconds: float, refresh: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self._seconds, self._clock = seconds, clock
        self._opened = clock() if refresh else 0.0
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            weakref.finalize(self, self._database.close)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(TABLE)
            self._database.execute("DELETE FROM replies WHERE time < ?", (clock() - seconds,))
        except sqlite3.DatabaseError as error:
            raise UserError(f"{path}: is no cache of replies ({error}); delete it or name another file") from None

    def get(self, keys: Iterable[str]) -> dict[str, str]:
        """The texts that are known and hold, by key."""
        since = max(self._clock() - self._seconds, self._opened)
        digests = {_digest(key): key for key in keys}
        found: dict[str, str] = {}
        for some in in_chunks(digests, KEYS_AT_ONCE):
            marks = ",".join("?" * len(some))
            query = f"SELECT key, text FROM replies WHERE key IN ({marks}) AND time >= ?"
            with self._lock:
                rows = self._database.execute(query, (*some, since)).fetchall()
            found.update((digests[key], text) for key, text in rows)
        return found

    def put(self, texts: Mapping[str, str]) -> None:
        """Store texts under their keys, all of them or none."""
        now = self._clock()
        rows = [(_digest(key), now, text) for key, text in texts.items()]
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", rows)
            finally:
                self._database.execute("COMMIT")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def in_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one as long as it comes."""
    left = iter(items)
    while some := list(islice(left, size)):
        yield some
