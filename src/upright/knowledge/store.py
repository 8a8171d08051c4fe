"""A knowledge graph on disk, for graphs that are too large to be read each time.

    Store.load(["facts.nt.gz", "more/"], "graphs/films")
    with Store("graphs/films") as graph:
        graph.edges(["http://x.org/Q1"], "http://x.org/P2")

The folder holds the graph three times, each for what it is good at: as mapped integer arrays for the steps of a
traversal, as names in SQLite with a full-text index, and as RDF in an Oxigraph store for SPARQL. It is written
once and then only read; a changed graph is loaded anew.
"""

import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import quote

import pyoxigraph as rdf

from upright.errors import UserError
from upright.knowledge.arrays import ArrayGraph
from upright.knowledge.mapped import FileIds, map_array, map_rows
from upright.knowledge.naming import SPELLINGS, Name, NameIndex
from upright.knowledge.statements import Table, ask
from upright.knowledge.trigrams import Trigrams
from upright.run.files import read_json

FORMAT = 1  # of the folder
RECORD = "store.json"  # what the folder is; written last
HIGHEST = chr(0x10FFFF)  # sorts after whatever goes on from a text


def is_store(folder: Path) -> bool:
    """Whether a folder holds a store, of whatever version."""
    return (folder / RECORD).is_file()


class Named(NamedTuple):
    """What a thing is called; empty where it has no label or description."""

    id: str
    label: str
    description: str
    aliases: tuple[str, ...]


class Store(ArrayGraph):
    """A graph in a folder that `load` made; see `KnowledgeGraph` for what its methods answer.

    It only reads, so several processes may use one folder. Use it in a `with` block, or `close()` it;
    it also closes when nobody holds it any more.

    Raises:
        UserError: if the folder is no store, or one of another version.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = folder = Path(folder)
        if not is_store(folder):
            raise UserError(f"{folder}: is no stored graph; make one with: upright kg load FILES --out {folder}")
        record = read_json(folder / RECORD)
        if record.get("format") != FORMAT:
            raise UserError(
                f"{folder}: was stored in format {record.get('format')}, this version reads {FORMAT}; load it anew"
            )
        entities, relations = FileIds.map(folder / "entities"), FileIds.map(folder / "relations")
        super().__init__(entities, relations, map_rows(folder, "out"), map_rows(folder, "in"))
        address = f"file:{quote(str((folder / 'names.sqlite').resolve()))}?mode=ro&immutable=1"
        self._names = sqlite3.connect(address, uri=True, check_same_thread=False)
        self.close = weakref.finalize(self, self._names.close)

    @staticmethod
    def load(
        specs: str | Path | Sequence[str | Path], folder: Path | str, overwrite: bool = False, progress: bool = True
    ) -> "Store":
        """Write graphs into a folder, as one; see `upright.knowledge.files` for what they may be.

        The folder appears when everything is done; until then nothing is there that could be opened.

        Args:
            overwrite: put it in the place of a stored graph, which stays until the new one is complete.
            progress: show bars with the time left, to a person at a terminal.

        Raises:
            UserError: if a file cannot be read (the first bad line is named), or the folder is in use.
        """
        from upright.knowledge.loading import load  # which needs this module

        load(specs, Path(folder), overwrite, progress)
        return Store(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    # --- names ---

    def labels(self, ids: Iterable[str]) -> dict[str, str]:
        return {id: self._text("label", id) or id for id in ids}

    def describe(self, ids: Iterable[str]) -> dict[str, str]:
        return {id: text for id in ids if (text := self._text("description", id))}

    def aliases(self, entity: str) -> tuple[str, ...]:
        rows = self._names.execute("SELECT alias FROM aliases WHERE id = ? ORDER BY place", (_sayable(entity),))
        return tuple(alias for (alias,) in rows)

    def _text(self, column: str, id: str) -> str:
        row = self._names.execute(f"SELECT {column} FROM things WHERE id = ?", (_sayable(id),)).fetchone()
        return row[0] if row else ""

    def names(self) -> Iterator[Named]:
        """All things that have a label, a description or aliases, by id."""
        rows = self._names.execute(
            """SELECT id, coalesce(label, ''), coalesce(description, ''), alias FROM
               (SELECT id FROM things UNION SELECT id FROM aliases)
               LEFT JOIN things USING (id) LEFT JOIN aliases USING (id) ORDER BY id, place"""
        )
        for (id, label, description), group in groupby(rows, key=lambda row: row[:3]):
            yield Named(id, label, description, tuple(row[3] for row in group if row[3] is not None))

    def _called(self, folded: str) -> list[int]:
        rows = self._names.execute("SELECT entity FROM names WHERE folded = ?", (_sayable(folded),))
        return [entity for (entity,) in rows]

    @cached_property
    def _index(self) -> NameIndex:
        return _StoredIndex(self._names, self.folder)

    # --- SPARQL ---

    def query(self, text: str) -> Table:
        """The answer to a SPARQL query, by ids; see `upright.knowledge.statements` for how ids are written.

        Raises:
            UserError: for a query that is not right.
        """
        return ask(self._rdf, text)

    @cached_property
    def _rdf(self) -> rdf.Store:
        return rdf.Store.read_only(str(self.folder / "rdf"))


def _sayable(text: str) -> str:
    """A text that SQLite takes; half a surrogate pair is in no name."""
    return text.encode("utf-8", "replace").decode()


class _StoredIndex:
    """A `NameIndex` in SQLite. Rows of names are sorted by name and entity."""

    def __init__(self, names: sqlite3.Connection, folder: Path) -> None:
        self._names, self._folder = names, folder

    def beginning(self, start: str, limit: int) -> list[Name]:
        start = _sayable(start)
        rows = self._names.execute(
            """SELECT folded, entity FROM names WHERE folded >= ? AND folded < ?
               ORDER BY degree DESC, folded, entity LIMIT ?""",
            (start, start + HIGHEST, limit),
        )
        return [Name(folded, entity) for folded, entity in rows]

    def frequency(self, word: str) -> int:
        row = self._names.execute("SELECT doc FROM vocabulary WHERE term = ?", (_sayable(word),)).fetchone()
        return int(row[0]) if row else 0

    def containing(self, groups: Sequence[Sequence[str]], limit: int) -> list[Name]:
        match = " AND ".join(f"({' OR '.join(map(_quoted, group))})" for group in groups)
        rows = self._names.execute(
            """SELECT folded, entity, relevance FROM
               (SELECT rowid AS place, round(-bm25(words), 9) AS relevance FROM words WHERE words MATCH ?
                ORDER BY relevance DESC, place LIMIT ?)
               JOIN names ON names.rowid = place ORDER BY relevance DESC, place""",
            (match, limit),
        )
        return [Name(folded, entity, relevance) for folded, entity, relevance in rows]

    @cached_property
    def _spelling(self) -> tuple[FileIds, Trigrams]:
        parts = ("pieces", "starts", "words", "sizes")
        arrays = (map_array(self._folder / f"trigrams.{part}.npy") for part in parts)
        return FileIds.map(self._folder / "vocabulary"), Trigrams(*arrays)

    def spellings(self, word: str) -> list[str]:
        words, trigrams = self._spelling
        return [words[place] for place in trigrams.alike(word, SPELLINGS)]


def _quoted(word: str) -> str:
    return '"' + _sayable(word).replace('"', '""') + '"'
