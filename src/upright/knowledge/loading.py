"""Write a knowledge graph to disk: read the files, sort the facts, index the names, store the triples."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyoxigraph as rdf

from upright import __version__
from upright.errors import UserError
from upright.knowledge.files import Spec, sources
from upright.knowledge.mapped import FileIds, map_rows, save_array, save_rows
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.naming import folded_names
from upright.knowledge.reading import Reader, Source
from upright.knowledge.statements import Writer
from upright.knowledge.store import FORMAT, RECORD, is_store
from upright.knowledge.trigrams import Trigrams
from upright.run.files import write_json
from upright.run.lock import FolderLock
from upright.run.progress import progress as show_progress

SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE things (id TEXT PRIMARY KEY, label TEXT NOT NULL, description TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE aliases (id TEXT, place INTEGER, alias TEXT NOT NULL, PRIMARY KEY (id, place)) WITHOUT ROWID;
CREATE TABLE names (folded TEXT NOT NULL, entity INTEGER NOT NULL, degree INTEGER NOT NULL);
CREATE VIRTUAL TABLE words USING fts5 (
    folded, content = 'names', content_rowid = 'rowid', tokenize = "unicode61 remove_diacritics 0 tokenchars '_'"
);
CREATE VIRTUAL TABLE vocabulary USING fts5vocab ('words', 'row');
"""
INDEX = """
CREATE INDEX by_name ON names (folded, degree, entity);
INSERT INTO words (words) VALUES ('rebuild');
INSERT INTO words (words) VALUES ('optimize');
"""


def load(specs: Spec | Sequence[Spec], folder: Path, overwrite: bool, progress: bool) -> None:
    """Write graphs into a folder, as one; see `Store.load`."""
    found = sources(specs)
    with _replacing(folder, overwrite) as part:
        record, blank = _save_graph(part, found, progress)
        _save_vocabulary(part)
        _save_relations(part, found)
        _save_triples(part, found, blank, progress)
        write_json(part / RECORD, record)


@contextmanager
def _replacing(folder: Path, overwrite: bool) -> Iterator[Path]:
    """A folder beside this one that takes its place when the block ends well, and is removed when not."""
    if folder.exists() and not (overwrite and is_store(folder)):
        hint = "give --overwrite to replace it" if is_store(folder) else "give a folder that is not there yet"
        raise UserError(f"--out {folder}: is there already; {hint}")
    part = folder.with_name(f".{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(part)
    lock.take()
    try:
        for left in part.iterdir():  # by a load that was killed
            if left.name != FolderLock.NAME:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield part
        (part / FolderLock.NAME).unlink()
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        lock.release()


def _size(found: Sequence[Source]) -> int:
    return sum(path.stat().st_size for source in found for path in source.facts)


@contextmanager
def _bar(description: str, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    if not shown:
        yield lambda count: None
        return
    with show_progress(description, total) as bar:
        yield bar.advance


def _save_graph(folder: Path, found: Sequence[Source], shown: bool) -> tuple[dict[str, object], set[Path]]:
    """Read everything and write facts and names; what they are, and the files with blank nodes.

    The graph is out of memory again before the triples, which need much, are stored.
    """
    with _bar("reading (bytes)", _size(found), shown) as watch:
        reader = Reader(watch)
        graph = MemoryGraph(reader.read(found), reader.labels, reader.aliases, reader.descriptions)
    if not len(graph):
        raise UserError(f"{', '.join(str(path) for source in found for path in source.facts)}: no facts to load")
    _save_facts(folder, graph)
    _save_names(folder / "names.sqlite", reader, graph)
    return _record(graph, reader, found), reader.blank


def _save_facts(folder: Path, graph: MemoryGraph) -> None:
    FileIds.save(folder / "entities", list(graph.entity_ids))
    FileIds.save(folder / "relations", list(graph.relation_ids))
    for name, rows in graph.rows.items():
        save_rows(folder, name, rows)


def _save_names(path: Path, reader: Reader, graph: MemoryGraph) -> None:
    names = sqlite3.connect(path)
    names.executescript(SCHEMA)
    with names:
        ids = sorted({**reader.labels, **reader.descriptions})
        rows = ((id, reader.labels.get(id, ""), reader.descriptions.get(id, "")) for id in ids)
        names.executemany("INSERT INTO things VALUES (?, ?, ?)", rows)
        also = ((id, place, alias) for id in sorted(reader.aliases) for place, alias in enumerate(reader.aliases[id]))
        names.executemany("INSERT INTO aliases VALUES (?, ?, ?)", also)
        called = sorted(_called(reader, graph))
        names.executemany("INSERT INTO names VALUES (?, ?, ?)", called)
    names.executescript(INDEX)
    names.close()


def _called(reader: Reader, graph: MemoryGraph) -> Iterator[tuple[str, int, int]]:
    """Folded name, number and degree of all entities."""
    for number, entity in enumerate(graph.entity_ids):
        degree = graph.degree(number)
        for name in folded_names(entity, reader.labels.get(entity, entity), reader.aliases.get(entity, ())):
            yield name, number, degree


def _save_vocabulary(folder: Path) -> None:
    names = sqlite3.connect(folder / "names.sqlite")
    words = sorted(term for (term,) in names.execute("SELECT term FROM vocabulary"))
    names.close()
    FileIds.save(folder / "vocabulary", words)
    for part, array in vars(Trigrams.build(words)).items():
        save_array(folder / f"trigrams.{part}.npy", array)


def _save_relations(folder: Path, found: Sequence[Source]) -> None:
    """Keep the words of relations, in the order of precedence."""
    (folder / "words").mkdir()
    for number, path in enumerate(path for source in found for path in source.relation_files):
        shutil.copy(path, folder / "words" / f"{number:04}.toml")


def _save_triples(folder: Path, found: Sequence[Source], blank: set[Path], shown: bool) -> None:
    entities, out = FileIds.map(folder / "entities"), map_rows(folder, "out")

    def is_head(id: str) -> bool:
        number = entities.number(id)
        return number is not None and out.degree(number) > 0

    store = rdf.Store(str(folder / "rdf"))
    with _bar("storing (bytes)", _size(found), shown) as watch:
        Writer(blank, is_head, watch).write(store, found)
    store.flush()


def _record(graph: MemoryGraph, reader: Reader, found: Sequence[Source]) -> dict[str, object]:
    return {
        "format": FORMAT,
        "upright": __version__,
        "facts": len(graph),
        "entities": len(graph.entity_ids),
        "relations": len(graph.relation_ids),
        "labels": len(reader.labels),
        "aliases": sum(map(len, reader.aliases.values())),
        "descriptions": len(reader.descriptions),
        "sources": [str(path.resolve()) for source in found for path in source.facts or (source.folder,)],
    }
