"""Ids and facts in files that are mapped into memory: opened at once, shared by processes, read as needed."""

import mmap
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upright.knowledge.arrays import Rows


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as `.npy`."""
    np.save(path, array, allow_pickle=False)


def map_array(path: Path) -> NDArray[Any]:
    """An array of a `.npy` file, read only."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    return array


def save_rows(folder: Path, name: str, rows: Rows) -> None:
    """Write the facts by one end."""
    for part, array in rows._asdict().items():
        save_array(folder / f"{name}.{part}.npy", array)


def map_rows(folder: Path, name: str) -> Rows:
    """The facts by one end, as `save_rows` wrote them."""
    return Rows(*(map_array(folder / f"{name}.{part}.npy") for part in Rows._fields))


@dataclass(frozen=True)
class FileIds:
    """Sorted ids in a file: their UTF-8 texts one after the other, and beside them where each starts.

    Code points and UTF-8 bytes sort alike, so an id is found by bisection over bytes.
    """

    texts: mmap.mmap | bytes
    starts: memoryview

    @classmethod
    def save(cls, stem: Path, ids: Collection[str]) -> None:
        """Write `STEM.txt` and `STEM.starts.npy`."""
        starts = np.zeros(len(ids) + 1, dtype=np.int64)
        with stem.with_suffix(".txt").open("wb") as file:
            for number, id in enumerate(ids):
                starts[number + 1] = starts[number] + file.write(id.encode())
        save_array(stem.with_suffix(".starts.npy"), starts)

    @classmethod
    def map(cls, stem: Path) -> "FileIds":
        """The ids that `save` wrote."""
        with stem.with_suffix(".txt").open("rb") as file:
            empty = not file.seek(0, os.SEEK_END)  # which cannot be mapped
            texts = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return cls(texts, map_array(stem.with_suffix(".starts.npy")).data)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def _bytes(self, number: int) -> bytes:
        return self.texts[self.starts[number] : self.starts[number + 1]]

    def __getitem__(self, number: int, /) -> str:
        return self._bytes(number).decode()

    def __iter__(self) -> Iterator[str]:
        return (self[number] for number in range(len(self)))

    def number(self, name: object) -> int | None:
        """The number of an id, None for one that is not there."""
        if not isinstance(name, str):
            return None
        wanted = name.encode("utf-8", "surrogatepass")
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._bytes(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._bytes(low) == wanted else None
