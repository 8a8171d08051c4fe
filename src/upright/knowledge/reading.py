"""Facts and names out of files: tab-separated tables, N-Triples and Turtle, also compressed by gzip.

See `upright.knowledge.files` for what the files look like.
"""

import gzip
import io
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

import pyoxigraph as rdf

from upright.errors import UserError
from upright.knowledge.graph import Edge, local_name
from upright.knowledge.relations import Relations

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Triple = tuple[str, str, str]
Term = rdf.NamedNode | rdf.BlankNode | rdf.Literal | rdf.Triple
Watch = Callable[[int], None]  # is told of bytes as they are read

RDF_FORMATS = {".nt": rdf.RdfFormat.N_TRIPLES, ".ttl": rdf.RdfFormat.TURTLE}
LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
ALIAS = "http://www.w3.org/2004/02/skos/core#altLabel"
DESCRIPTIONS = ("http://schema.org/description", "http://www.w3.org/2000/01/rdf-schema#comment")  # the better first
UNREADABLE = (OSError, EOFError, zlib.error)
FROM_TABLE, ENGLISH, NO_LANGUAGE, OTHER_LANGUAGE, LOCAL_NAME = range(5)  # ranks of texts, the best first


class Source(NamedTuple):
    """Fact files and the folder that holds the tables beside them, or a folder that is a store (without files)."""

    facts: tuple[Path, ...]
    folder: Path

    @property
    def is_store(self) -> bool:
        """Whether this is a graph on disk that `Store.load` made."""
        return not self.facts

    @property
    def relation_files(self) -> list[Path]:
        """The files with the words of its relations."""
        if self.is_store:
            return sorted((self.folder / "words").glob("*.toml"))
        path = self.folder / "relations.toml"
        return [path] if path.exists() else []

    @property
    def mirrored(self) -> set[str]:
        """Symmetric relations: their facts hold in both directions. In a store they stand so already."""
        if self.is_store:
            return set()
        found = [Relations.load(path) for path in self.relation_files]
        return {name for relations in found for name in relations.names if relations[name].symmetric}


class Reader:
    """Reads triples and collects names on the way.

    Args:
        watch: is told how many bytes of files were read.

    Attributes:
        labels: of entities and relations, the best of each.
        aliases: other names, in the order of the files.
        descriptions: the best of each thing.
        blank: files with blank nodes.
    """

    def __init__(self, watch: Watch = lambda count: None) -> None:
        self.labels: dict[str, str] = {}
        self.aliases: dict[str, list[str]] = defaultdict(list)
        self.descriptions: dict[str, str] = {}
        self.blank: set[Path] = set()
        self._ranks: dict[str, int] = {}
        self._description_ranks: dict[str, int] = {}
        self._watch = watch

    def read(self, sources: Sequence[Source]) -> Iterator[Triple]:
        """All facts; the names of things are complete only after the last.

        Raises:
            UserError: naming file and line, for the first line that cannot be read.
        """
        self._file_names = file_names(sources)
        for source in sources:
            if source.is_store:
                yield from self._store(source.folder)
                continue
            self._side_tables(source.folder)
            mirrored = source.mirrored
            for path in source.facts:
                facts = self._rdf(path) if kind_of(path) in RDF_FORMATS else table_facts(path, self._watch)
                for head, relation, tail in facts:
                    yield head, relation, tail
                    if relation in mirrored:
                        yield tail, relation, head

    def _store(self, folder: Path) -> Iterator[Triple]:
        from upright.knowledge.store import Store  # a store is made by a reader

        with Store(folder) as store:
            for name in store.names():
                self._label(name.id, name.label, FROM_TABLE)
                self._describe(name.id, name.description, FROM_TABLE)
                for alias in name.aliases:
                    self._alias(name.id, alias)
            yield from store.triples()

    def _side_tables(self, folder: Path) -> None:
        for name, label in side_table(folder, "label"):
            self._label(name, label, FROM_TABLE)
        for name, alias in side_table(folder, "alias"):
            self._alias(name, alias)
        for name, description in side_table(folder, "description"):
            self._describe(name, description, FROM_TABLE)

    def _label(self, name: str, label: str, rank: int) -> None:
        """Keep the best label of a thing, the first of equals."""
        if label and rank < self._ranks.get(name, LOCAL_NAME + 1):
            self.labels[name], self._ranks[name] = label, rank

    def _describe(self, name: str, description: str, rank: int) -> None:
        """Keep the best description of a thing, the first of equals."""
        if description and rank < self._description_ranks.get(name, rank + 1):
            self.descriptions[name], self._description_ranks[name] = description, rank

    def _alias(self, name: str, alias: str) -> None:
        if alias and alias not in self.aliases[name]:
            self.aliases[name].append(alias)

    def _rdf(self, path: Path) -> Iterator[Triple]:
        blanks = Blanks(self._file_names[path])
        for head, relation, tail in statements(path, self._watch):
            ends = self._id(head, blanks, path), self._id(tail, blanks, path)
            name = relation.value
            if name == LABEL and type(tail) is rdf.Literal:
                self._label(ends[0], tail.value.strip(), _language_rank(tail.language))
            elif name == ALIAS:
                self._alias(*ends)
            elif name in DESCRIPTIONS:
                language = tail.language if type(tail) is rdf.Literal else None
                self._describe(*ends, 8 * DESCRIPTIONS.index(name) + _language_rank(language))
            else:
                self._meet(name)
                yield ends[0], name, ends[1]
        if blanks:
            self.blank.add(path)

    def _meet(self, iri: str) -> None:
        """Without a better label an IRI has its local name."""
        if iri not in self._ranks:
            self._label(iri, local_name(iri).replace("_", " ").strip() or iri, LOCAL_NAME)

    def _id(self, node: Term, blanks: "Blanks", path: Path) -> str:
        if type(node) is rdf.NamedNode:
            self._meet(node.value)
            return node.value
        if type(node) is rdf.Literal:
            return node.value
        if type(node) is rdf.BlankNode:
            return blanks[node.value]
        raise UserError(f"{path}: got a quoted triple, {node}; give plain triples")


class Blanks(dict[str, str]):
    """Ids of the blank nodes of one file, in the order in which they come: `_:FILE/1`, `_:FILE/2` and so on."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file

    def __missing__(self, node: str) -> str:
        self[node] = id = f"_:{self._file}/{len(self) + 1}"
        return id


def file_names(sources: Sequence[Source]) -> dict[Path, str]:
    """A name for each fact file; of two files called alike in different folders the second is `NAME~2`."""
    names: dict[Path, str] = {}
    for path in dict.fromkeys(path for source in sources for path in source.facts):
        name, number = path.name, 2
        while name in names.values():
            name, number = f"{path.name}~{number}", number + 1
        names[path] = name
    return names


def kind_of(path: Path) -> str:
    """The suffix that tells how a file is written, without `.gz`."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _language_rank(language: str | None) -> int:
    if language is None:
        return NO_LANGUAGE
    return ENGLISH if language.split("-")[0] == "en" else OTHER_LANGUAGE


# --- RDF ---


def statements(path: Path, watch: Watch) -> Iterator[tuple[Term, rdf.NamedNode, Term]]:
    """Subjects, predicates and objects of an N-Triples or Turtle file."""
    try:
        with open_watched(path, watch) as file:
            for quad in rdf.parse(file, format=RDF_FORMATS[kind_of(path)]):
                yield quad.subject, quad.predicate, quad.object
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno}: {error.msg}; mend the line") from None
    except UNREADABLE as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


# --- tables ---

SIDE_TABLES = {"label": "labels.tsv", "alias": "aliases.tsv", "description": "descriptions.tsv"}


def side_table(folder: Path, what: str) -> Iterator[tuple[str, ...]]:
    """Rows (id, text) of the table of labels, aliases or descriptions in a folder, if there is one."""
    if (folder / SIDE_TABLES[what]).exists():
        yield from _table(folder / SIDE_TABLES[what], ("id", what), lambda count: None)


def table_facts(path: Path, watch: Watch) -> Iterator[Triple]:
    """Facts of a tab-separated file; a first row of the names of its columns is none."""
    columns = Edge._fields
    for row in _table(path, columns, watch):
        if row != columns:
            yield row[0], row[1], row[2]


def _table(path: Path, columns: tuple[str, ...], watch: Watch) -> Iterator[tuple[str, ...]]:
    """Rows of a tab-separated file without quoting; empty lines are allowed."""
    try:
        with open_watched(path, watch) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _row(line, columns, f"{path}:{number}")
    except UNREADABLE as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def _row(line: bytes, columns: tuple[str, ...], where: str) -> tuple[str, ...]:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{where}: is not UTF-8; save the file as UTF-8") from None
    fields = tuple(field.strip() for field in text.split("\t"))
    if len(fields) != len(columns) or not all(fields):
        raise UserError(f"{where}: got {text.rstrip()[:80]!r}; give {'<TAB>'.join(columns)}, none empty")
    return fields


# --- bytes ---


class _Unzipped(gzip.GzipFile):
    """Closes the file below, too."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file)
        self._below = file

    def close(self) -> None:
        super().close()
        self._below.close()


class _Watched(io.FileIO):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, watch: Watch) -> None:
        super().__init__(path)
        self._watch = watch

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        count = super().readinto(buffer)
        self._watch(count or 0)
        return count


def open_watched(path: Path, watch: Watch) -> BinaryIO:
    """A file, decompressed, that tells how many bytes were read from disk."""
    file = io.BufferedReader(_Watched(path, watch), 2**18)
    return cast(BinaryIO, _Unzipped(file)) if path.suffix == ".gz" else file
