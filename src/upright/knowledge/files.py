"""Open knowledge graphs and the words of their relations from files.

A graph is a fact file, a folder of fact files, or ``lab:NAME``; several are merged. Fact files, also ``.gz``:

- ``.tsv`` (``.txt`` when given by name): ``head<TAB>relation<TAB>tail``; the names, stripped, are the ids;
- ``.nt``, ``.ttl``: RDF. IRIs are the ids and the texts of literals are theirs. ``rdfs:label`` gives labels
  (English, then without a language, then others), else the local name does; ``skos:altLabel`` gives aliases.

Beside the facts may lie ``labels.tsv`` (``id<TAB>label``), ``aliases.tsv`` (``id<TAB>alias``) and
``relations.toml`` (see `upright.knowledge.relations`), whose symmetric relations are mirrored.
"""

import gzip
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyoxigraph as rdf

from upright.errors import UserError
from upright.knowledge.graph import Edge, local_name
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.relations import Relations

Spec = str | Path
Triple = tuple[str, str, str]

ALLOWED = "give a folder, a .tsv, .nt or .ttl file (also with .gz), or lab:NAME"
RDF_FORMATS = {".nt": rdf.RdfFormat.N_TRIPLES, ".ttl": rdf.RdfFormat.TURTLE}
SIDE_TABLES = {"labels.tsv", "aliases.tsv"}
LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
ALIAS = "http://www.w3.org/2004/02/skos/core#altLabel"
UNREADABLE = (OSError, EOFError, zlib.error)
FROM_TABLE, ENGLISH, NO_LANGUAGE, OTHER_LANGUAGE, LOCAL_NAME = range(5)  # ranks of labels, the best first


class _Source(NamedTuple):
    """Fact files and the folder that holds the tables beside them."""

    facts: list[Path]
    folder: Path

    @property
    def relations(self) -> Relations | None:
        path = self.folder / "relations.toml"
        return Relations.load(path) if path.exists() else None


def open_graph(spec: Spec | Sequence[Spec]) -> MemoryGraph:
    """Read one graph, or the union of several, into memory.

    Raises:
        UserError: if something is not there or not readable; a bad line is named by file and line number.
    """
    reader = _Reader()
    return MemoryGraph(reader.read(_sources(spec)), reader.labels, reader.aliases)


def open_relations(spec: Spec | Sequence[Spec], graph: MemoryGraph) -> Relations:
    """Words for every relation of the graph that `open_graph` read from the same spec.

    They come from the relation files, the first spec having precedence; a relation without words gets plain
    ones from its label, and `is_generic` says if all are such.
    """
    found = [relations for source in _sources(spec) if (relations := source.relations)]
    words = {name: words for relations in reversed(found) for name, words in relations.relations.items()}
    bare = [name for name in graph.relation_ids if name not in words]
    generic = Relations.generic(bare, graph.labels(bare))
    if not found:
        return generic
    words = {**generic.relations, **words}
    chains = dict.fromkeys(chain for relations in found for chain in relations.chains)
    return found[0].model_copy(update={"relations": words, "chains": tuple(chains)})


def _sources(spec: Spec | Sequence[Spec]) -> list[_Source]:
    specs = [spec] if isinstance(spec, str | Path) else list(spec)
    if not specs:
        raise UserError(f"no knowledge graph was given; {ALLOWED}")
    return [_source(one) for one in specs]


def _source(spec: Spec) -> _Source:
    if str(spec).startswith("sparql:"):
        raise UserError(f"{spec}: SPARQL endpoints cannot be read into memory; {ALLOWED}")
    path = Path(spec)
    if str(spec).startswith("lab:"):
        from upright.lab import world  # the lab's resources are opened by name

        path = world(str(spec).removeprefix("lab:"))
    if path.is_dir():
        facts = sorted(file for file in path.iterdir() if _kind(file) in {".tsv", *RDF_FORMATS})
        facts = [file for file in facts if file.name not in SIDE_TABLES]
        if not facts:
            raise UserError(f"{path}: the folder holds no facts; put a .tsv, .nt or .ttl file (also with .gz) in it")
        return _Source(facts, path)
    if not path.exists():
        raise UserError(f"{spec}: there is no such file or folder; {ALLOWED}")
    if _kind(path) not in {".tsv", ".txt", *RDF_FORMATS}:
        raise UserError(f"{spec}: the kind of file is not known; {ALLOWED}")
    return _Source([path], path.parent)


def _kind(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


class _Reader:
    """Reads triples and collects labels and aliases on the way."""

    def __init__(self) -> None:
        self.labels: dict[str, str] = {}
        self.aliases: dict[str, list[str]] = defaultdict(list)
        self._ranks: dict[str, int] = {}

    def read(self, sources: Iterable[_Source]) -> Iterator[Triple]:
        for source in sources:
            self._side_tables(source.folder)
            relations = source.relations
            mirrored = {name for name in relations.names if relations[name].symmetric} if relations else set[str]()
            for path in source.facts:
                for head, relation, tail in self._facts(path):
                    yield head, relation, tail
                    if relation in mirrored:
                        yield tail, relation, head

    def _side_tables(self, folder: Path) -> None:
        if (folder / "labels.tsv").exists():
            for name, label in _table(folder / "labels.tsv", ("id", "label")):
                self._label(name, label, FROM_TABLE)
        if (folder / "aliases.tsv").exists():
            for name, alias in _table(folder / "aliases.tsv", ("id", "alias")):
                self._alias(name, alias)

    def _label(self, name: str, label: str, rank: int) -> None:
        """Keep the best label of a thing, the first of equals."""
        if label and rank < self._ranks.get(name, LOCAL_NAME + 1):
            self.labels[name], self._ranks[name] = label, rank

    def _alias(self, name: str, alias: str) -> None:
        if alias not in self.aliases[name]:
            self.aliases[name].append(alias)

    def _facts(self, path: Path) -> Iterator[Triple]:
        if _kind(path) in RDF_FORMATS:
            yield from self._rdf(path)
        else:
            columns = Edge._fields
            for row in _table(path, columns):
                if row != columns:  # a header
                    yield row[0], row[1], row[2]

    def _rdf(self, path: Path) -> Iterator[Triple]:
        blanks: dict[str, str] = {}
        for head, relation, tail in _statements(path):
            ends = self._id(head, blanks, path), self._id(tail, blanks, path)
            if relation.value == LABEL and isinstance(tail, rdf.Literal):
                self._label(ends[0], tail.value.strip(), _language_rank(tail.language))
            elif relation.value == ALIAS:
                self._alias(*ends)
            else:
                self._label(relation.value, _words(relation.value), LOCAL_NAME)
                yield ends[0], relation.value, ends[1]

    def _id(self, node: object, blanks: dict[str, str], path: Path) -> str:
        match node:
            case rdf.NamedNode():
                self._label(node.value, _words(node.value), LOCAL_NAME)
                return node.value
            case rdf.BlankNode():
                return blanks.setdefault(node.value, f"_:{path.name}/{len(blanks) + 1}")
            case rdf.Literal():
                return node.value
            case _:
                raise UserError(f"{path}: got a quoted triple, {node}; give plain triples")


def _words(iri: str) -> str:
    return local_name(iri).replace("_", " ").strip() or iri


def _language_rank(language: str | None) -> int:
    if language is None:
        return NO_LANGUAGE
    return ENGLISH if language.split("-")[0] == "en" else OTHER_LANGUAGE


def _open(path: Path) -> BinaryIO:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _statements(path: Path) -> Iterator[tuple[object, rdf.NamedNode, object]]:
    try:
        with _open(path) as file:
            for quad in rdf.parse(file, format=RDF_FORMATS[_kind(path)]):
                yield quad.subject, quad.predicate, quad.object
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno}: {error.msg}; mend the line") from None
    except UNREADABLE as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def _table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Rows of a tab-separated file without quoting; empty lines are allowed."""
    try:
        with _open(path) as file:
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
