"""Facts as RDF for SPARQL, and the terms of answers as ids.

An id with `://` in it stands for itself, as an IRI. Every other id X becomes `<kg:/X>`, with what an IRI cannot
hold and the characters `%:/?#[]@` percent-encoded; as queries have `kg:/` for their base and as the prefix `:`,
it can be written `<X>` or, where SPARQL allows the characters, `:X`. Literals of RDF files stay as they are;
texts of tables become literals where they are a number or a date and never the head of a fact.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, cast
from urllib.parse import unquote

import pyoxigraph as rdf

from upright.errors import UserError
from upright.knowledge.graph import Edge
from upright.knowledge.reading import (
    ALIAS,
    DESCRIPTIONS,
    LABEL,
    RDF_FORMATS,
    SIDE_TABLES,
    Blanks,
    Source,
    Term,
    Watch,
    file_names,
    kind_of,
    open_watched,
    side_table,
    statements,
    table_facts,
)

NAMES = "kg:/"
XSD = "http://www.w3.org/2001/XMLSchema#"
PREFIXES = {
    "": NAMES,
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": LABEL.removesuffix("label"),
    "schema": DESCRIPTIONS[0].removesuffix("description"),
    "skos": ALIAS.removesuffix("altLabel"),
    "xsd": XSD,
}
PREDICATES = {"label": LABEL, "alias": ALIAS, "description": DESCRIPTIONS[0]}
TYPES = {  # what the texts of tables are
    "integer": re.compile(r"[+-]?\d+", re.ASCII),
    "decimal": re.compile(r"[+-]?\d*\.\d+", re.ASCII),
    "double": re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)[eE][+-]?\d+", re.ASCII),
    "date": re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
    "dateTime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.ASCII),
    "gYearMonth": re.compile(r"\d{4}-\d\d", re.ASCII),
}
NOT_IN_NAMES = re.compile(r'[\x00-\x20\x7f-\xa0<>"{}|\\^`%:/?#\[\]@]')


Line = tuple[Edge, tuple[str, str, str]]  # a fact by ids, and its terms


class Table(NamedTuple):
    """The answer to a query; what is not bound is empty."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


# --- terms ---


def node_of(id: str) -> str:
    """The IRI that stands for an id, in angle brackets.

    >>> node_of("http://x.org/a"), node_of("New York")
    ('<http://x.org/a>', '<kg:/New%20York>')
    """
    if "://" in id:
        try:
            return str(rdf.NamedNode(id))
        except ValueError:  # some name with :// in it
            pass
    return f"<{NAMES}{NOT_IN_NAMES.sub(_escaped, id)}>"


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def id_of(term: Term | None) -> str:
    """The id that a term of an answer stands for."""
    if isinstance(term, rdf.NamedNode):
        return unquote(term.value.removeprefix(NAMES)) if term.value.startswith(NAMES) else term.value
    return "" if term is None else term.value if isinstance(term, rdf.Literal) else str(term)


def value_of(text: str) -> str | None:
    """The literal for a text of a table that is a number or a date.

    >>> value_of("12"), value_of("twelve")
    ('"12"^^<http://www.w3.org/2001/XMLSchema#integer>', None)
    """
    kind = next((kind for kind, pattern in TYPES.items() if pattern.fullmatch(text)), None)
    return kind and str(rdf.Literal(text, datatype=rdf.NamedNode(XSD + kind)))


# --- writing ---


@dataclass(frozen=True)
class Writer:
    """Writes into an RDF store what a `Reader` has read.

    Args:
        blank: files with blank nodes, as the reader found them.
        is_head: whether an id is the head of some fact.
        watch: is told of the bytes of files that are read again.
    """

    blank: Set[Path]
    is_head: Callable[[str], bool]
    watch: Watch = lambda count: None

    def write(self, store: rdf.Store, sources: Sequence[Source]) -> None:
        """All facts and names of the sources."""
        names = file_names(sources)
        for source in sources:
            if source.is_store:
                _load(store, _Stream(_copied(rdf.Store.read_only(str(source.folder / "rdf")))))
                continue
            mirrored = source.mirrored
            for path in source.facts:
                if kind_of(path) == ".nt" and path not in self.blank and not mirrored:
                    with open_watched(path, self.watch) as file:
                        _load(store, file)
                else:
                    _load(store, _Stream(self._lines(path, Blanks(names[path]), mirrored)))
            _load(store, _Stream(_name_lines(source.folder)))

    def _lines(self, path: Path, blanks: Blanks, mirrored: Set[str]) -> Iterator[str]:
        """The facts of a file as N-Triples."""
        facts = self._rdf_facts(path, blanks) if kind_of(path) in RDF_FORMATS else self._table_facts(path)
        for fact, terms in facts:
            yield f"{' '.join(terms)} .\n"
            if fact.relation in mirrored:
                yield f"{node_of(fact.tail)} {terms[1]} {node_of(fact.head)} .\n"

    def _rdf_facts(self, path: Path, blanks: Blanks) -> Iterator[Line]:
        for head, relation, tail in statements(path, self.watch):
            ids = [blanks[end.value] if isinstance(end, rdf.BlankNode) else id_of(end) for end in (head, tail)]
            nodes = [
                node_of(id) if isinstance(end, rdf.BlankNode) else str(end)
                for id, end in zip(ids, (head, tail), strict=True)
            ]
            yield Edge(ids[0], relation.value, ids[1]), (nodes[0], str(relation), nodes[1])

    def _table_facts(self, path: Path) -> Iterator[Line]:
        for head, relation, tail in table_facts(path, self.watch):
            value = None if self.is_head(tail) else value_of(tail)
            yield Edge(head, relation, tail), (node_of(head), node_of(relation), value or node_of(tail))


def _load(store: rdf.Store, stream: "IO[bytes] | _Stream") -> None:
    store.bulk_load(cast(IO[bytes], stream), rdf.RdfFormat.N_TRIPLES)


def _copied(store: rdf.Store) -> Iterator[str]:
    for quad in store:
        yield f"{quad.subject} {quad.predicate} {quad.object} .\n"


def _name_lines(folder: Path) -> Iterator[str]:
    """The tables of names beside the facts."""
    for what in SIDE_TABLES:
        for name, text in side_table(folder, what):
            yield f"{node_of(name)} <{PREDICATES[what]}> {rdf.Literal(text)} .\n"


class _Stream(io.RawIOBase):
    """Lines as a file to read from."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._rest = lines, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        parts, length = [self._rest], len(self._rest)
        for line in self._lines:
            parts.append(line.encode())
            length += len(parts[-1])
            if 0 <= size <= length:
                break
        found = b"".join(parts)
        cut = len(found) if size < 0 else size
        self._rest = found[cut:]
        return found[:cut]


# --- asking ---


def ask(store: rdf.Store, query: str) -> Table:
    """The answer to a SPARQL query, by ids; a fact is a row of head, relation and tail.

    Raises:
        UserError: for a query that is not right, or asks another service.
    """
    try:
        answer = store.query(query, base_iri=NAMES, prefixes=PREFIXES)
        if isinstance(answer, rdf.QueryBoolean):
            return Table(("answer",), [("true" if answer else "false",)])
        if isinstance(answer, rdf.QueryTriples):
            return Table(("head", "relation", "tail"), [tuple(id_of(part) for part in fact) for fact in answer])
        columns = tuple(variable.value for variable in answer.variables)
        return Table(columns, [tuple(id_of(row[name]) for name in columns) for row in answer])
    except SyntaxError as error:
        raise UserError(_explained(str(error), query)) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"the query cannot be answered: {' '.join(str(error).split())}") from None


def _explained(error: str, query: str) -> str:
    """Where a query goes wrong, on one line, without the character classes of the grammar."""
    match = re.search(r"at (\d+):(\d+): expected (.*)", error, re.DOTALL)
    if match is None:
        return f"the query is not SPARQL 1.1: {' '.join(error.split())}"
    line, column = int(match[1]), int(match[2])
    before = " ".join("\n".join([*query.split("\n")[: line - 1], query.split("\n")[line - 1][: column - 1]]).split())
    place = f"the query is not SPARQL 1.1 at line {line}, column {column}, after {before[-40:]!r}"
    if "IRI parsing" in match[3]:
        return f"{place}; in <…> write %20 for a space"
    tokens = dict.fromkeys(re.findall(r'"[^"]+"', match[3]))
    return f"{place}; there may be {' or '.join(tokens)}" if tokens else f"{place}; mend it there"
