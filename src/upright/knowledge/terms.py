"""RDF terms as ids and back: short IRIs by prefixes, literals by their texts, both safe inside a query."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pyoxigraph as rdf

XSD = "http://www.w3.org/2001/XMLSchema#"
YEAR, ZONE = r"-?\d{4,}", r"(Z|[+-]\d\d:\d\d)?"
LEXICAL = {  # what a literal of each type looks like
    r"[+-]?\d+": ("integer", "nonNegativeInteger", "positiveInteger", "int", "long"),
    r"[+-]?(\d+(\.\d*)?|\.\d+)": ("decimal",),
    r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|-?INF|NaN": ("double", "float"),
    r"true|false|0|1": ("boolean",),
    rf"{YEAR}{ZONE}": ("gYear",),
    rf"{YEAR}-\d\d{ZONE}": ("gYearMonth",),
    rf"{YEAR}-\d\d-\d\d{ZONE}": ("date",),
    rf"{YEAR}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?{ZONE}": ("dateTime",),
    r"[A-Za-z][A-Za-z0-9+.-]*:.+": ("anyURI",),
}


class Prefixes:
    """Short names of IRIs: `wd:Q42` for http://www.wikidata.org/entity/Q42. The longest namespace wins.

    >>> known = Prefixes({"wd": "http://www.wikidata.org/entity/"})
    >>> known.short("http://www.wikidata.org/entity/Q42"), known.iri("wd:Q42")
    ('wd:Q42', '<http://www.wikidata.org/entity/Q42>')
    """

    def __init__(self, namespaces: Mapping[str, str]) -> None:
        self._namespaces = dict(sorted(namespaces.items(), key=lambda item: (-len(item[1]), item)))

    def short(self, iri: str) -> str:
        """The id of an IRI: short where a prefix is known, else the IRI itself."""
        for name, namespace in self._namespaces.items():
            if iri.startswith(namespace):
                return f"{name}:{iri.removeprefix(namespace)}"
        return iri

    def full(self, id: str) -> str:
        """The id with its prefix spelt out; an id without a known prefix stays as it is."""
        name, colon, rest = id.partition(":")
        return self._namespaces[name] + rest if colon and name in self._namespaces else id

    def iri(self, id: str) -> str | None:
        """The id as an IRI in angle brackets, or None when it cannot be one."""
        return _term(lambda: rdf.NamedNode(self.full(id)))

    def iris(self, ids: Iterable[str]) -> dict[str, str]:
        """Those ids that can be IRIs, each with it, sorted by id."""
        return {id: iri for id in sorted(set(ids)) if (iri := self.iri(id))}

    def of(self, variable: str) -> str:
        """A SPARQL expression for the id of the term in a variable; what `short` does, done by the endpoint."""
        expression = text = f"STR({variable})"
        for name, namespace in reversed(self._namespaces.items()):
            start = quoted(namespace)
            short = f"CONCAT({quoted(name + ':')}, STRAFTER({text}, {start}))"
            expression = f"IF(isIRI({variable}) && STRSTARTS({text}, {start}), {short}, {expression})"
        return expression

    def terms(self, id: str, languages: Sequence[str]) -> Iterator[str]:
        """All terms an id may stand for: an IRI, or literals of that text, in these languages or a common type.

        What reads like an IRI of the web or a shortened one is taken for nothing else: asking for literals, too,
        makes servers slow where an IRI has millions of facts.
        """
        iri = self.iri(id)
        if iri:
            yield iri
        if not iri or "://" not in self.full(id):
            yield from literals(id, languages)


def literals(text: str, languages: Sequence[str]) -> Iterator[str]:
    """Literals of a text: without a type, in each language, and of each common type it is a value of."""
    makers: list[Callable[[], rdf.Literal]] = [lambda: rdf.Literal(text)]
    makers += [lambda tag=tag: rdf.Literal(text, language=tag) for tag in languages]  # type: ignore[misc]
    for pattern, types in LEXICAL.items():
        if re.fullmatch(pattern, text):
            makers += [lambda t=t: rdf.Literal(text, datatype=rdf.NamedNode(XSD + t)) for t in types]  # type: ignore[misc]
    yield from (term for make in makers if (term := _term(make)))


def quoted(text: str) -> str:
    r"""A text as a SPARQL string, whatever is in it.

    >>> print(quoted('say "} DROP ALL'))
    "say \"} DROP ALL"
    """
    return str(rdf.Literal(text))


def values(variable: str, terms: Iterable[str]) -> str:
    """A SPARQL VALUES block for one variable."""
    return f"VALUES {variable} {{ {' '.join(terms)} }}"


def _term(make: Callable[[], rdf.NamedNode | rdf.Literal]) -> str | None:
    try:
        return str(make())
    except ValueError:  # no such term: a space in an IRI, half a surrogate pair
        return None
