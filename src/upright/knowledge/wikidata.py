"""Wikidata behind a SPARQL endpoint: its truthy statements, with units, precisions and qualifiers.

The facts are those of `wdt:`, the best-ranked statements, each once. Properties that lead out of the graph are
left out by their type (identifiers, media) or class (categories). Dates are cut to the precision they were
stated with (1952, 1952-03, 1952-03-11, 1950s, 20th century) and quantities carry their unit (8849 metre), so
neither can be asked for by its text; strings can. Two values of one fact that read alike then are one, though
`counts` counts both. Years are those of RDF: year -43 is 44 BCE.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from upright.knowledge.asking import SEPARATOR, list_query
from upright.knowledge.graph import Edge, Likeness, Match
from upright.knowledge.naming import fold
from upright.knowledge.sparql import Endpoint
from upright.knowledge.terms import quoted, values
from upright.knowledge.vocabulary import NEAR, SOME_VALUE, WD, WDT, WIKIBASE

PROP = "http://www.wikidata.org/prop/"
LEFT_OUT = {"ExternalId", "CommonsMedia", "GeoShape", "TabularData", "MusicalNotation"}  # types of properties
CATEGORIES = f"<{WD}Q18667213>"  # the class of the properties about categories of Wikipedia
ONE = "Q199"  # the unit of plain numbers
YEAR, MONTH, DECADE, CENTURY, MILLENNIUM = 9, 10, 8, 7, 6  # precisions of dates; a day is 11
HITS = 50
FIELD = "\x1e"
SITELINKS = f"{NEAR} ?s <{WIKIBASE}sitelinks> ?entry ."
KIND = (
    f"{NEAR} ?property <{WIKIBASE}directClaim> ?s ; <{WIKIBASE}propertyType> ?type . "
    f"OPTIONAL {{ ?property <{WDT}P31> ?class . FILTER(?class = {CATEGORIES}) }} "
    f'BIND(IF(BOUND(?class), "", STRAFTER(STR(?type), {quoted(WIKIBASE)})) AS ?entry)'
)
AMOUNTS = {"Time": ("timeValue", "timePrecision"), "Quantity": ("quantityAmount", "quantityUnit")}


class _Hit(NamedTuple):
    """A thing that the search by name found: its id, its label and the name that was like the text."""

    id: str
    label: str
    name: str


class Wikidata(Endpoint):
    """Wikidata, or a Wikibase that writes RDF under Wikidata's IRIs; see `Endpoint`."""

    def link(self, text: str) -> list[str]:
        if not self._access.api:
            return [id for id in super().link(text) if id.startswith("wd:Q")]
        wanted = fold(text)
        called = [hit.id for hit in self._hits(text) if fold(hit.name) == wanted]
        return list(dict.fromkeys(called + ([text] if text.startswith("wd:Q") and text in self else [])))

    def suggest(self, text: str) -> list[str]:
        if not self._access.api:
            return []
        return list(dict.fromkeys(hit.label for hit in self._hits(text) if fold(hit.label) != fold(text)))[:3]

    def search(self, text: str, likeness: Likeness, limit: int) -> list[Match]:
        """Things that Wikidata's own search finds, the likeliest first; see `Searchable`.

        "prefix" looks for the beginning of a name, "words" through all that is written about a thing, "letters"
        finds nothing.
        """
        if not self._access.api or likeness == "letters" or not text.strip():
            return []
        if likeness == "prefix":
            ids = [hit.id for hit in self._hits(text)]
        else:
            form = {"action": "query", "list": "search", "srsearch": text, "srlimit": str(HITS), "format": "json"}
            ids = self._asker.fetch(self._access.api, form, _titles)
        return [Match(id, 1 / rank) for rank, id in enumerate(dict.fromkeys(ids), 1)][:limit]

    def _hits(self, text: str) -> list[_Hit]:
        """Things with a name that begins so, the likeliest first."""
        if not text.strip():
            return []
        language = next((tag for tag in self._access.languages if tag != "mul"), "en")
        form = {"action": "wbsearchentities", "search": text, "type": "item", "format": "json"}
        form |= {"language": language, "uselang": language, "limit": str(HITS)}
        return [_Hit(*row) for row in self._asker.fetch(self._access.api, form, _found)]

    def qualifiers(self, edge: Edge) -> tuple[tuple[str, str], ...]:
        number = _number(edge.relation)
        iri = self._prefixes.iri(edge.head)
        if number is None or iri is None:
            return ()
        entries = self._asker.listed(list_query(f"{{ {self._qualified(iri, number)} }}"))
        rows = [entry.split(FIELD) for entry in entries]
        tails = {tail: self._spelt([Edge(edge.head, edge.relation, tail)])[0].tail for tail, *_ in rows}
        found = [row[1:] for row in rows if tails[row[0]] == edge.tail]
        relations = self._kept(f"wdt:{name}" for name, *_ in found)
        return tuple(sorted((f"wdt:{name}", self._say(*rest)) for name, *rest in found if f"wdt:{name}" in relations))

    def _qualified(self, head: str, number: str) -> str:
        """Distinct ?entry: the tail, the qualifier's number, its value, then the value's precision and unit."""
        details = (
            f"OPTIONAL {{ ?node <{WIKIBASE}timeValue> ?v ; <{WIKIBASE}timePrecision> ?precision }} "
            f"OPTIONAL {{ ?node <{WIKIBASE}quantityAmount> ?v ; <{WIKIBASE}quantityUnit> ?unit }}"
        )
        parts = (
            self._prefixes.of("?o"),
            f"STRAFTER(STR(?property), {quoted(WD)})",
            self._prefixes.of("?v"),
            'COALESCE(STR(?precision), "")',
            'COALESCE(STR(?unit), "")',
        )
        return (
            f"SELECT DISTINCT ?entry WHERE {{ {values('?s', [head])} ?s <{PROP}{number}> ?statement . "
            f"?statement a <{WIKIBASE}BestRank> ; <{PROP}statement/{number}> ?o ; ?pq ?v . "
            f"?property <{WIKIBASE}qualifier> ?pq . FILTER(!isBlank(?v) && !STRSTARTS(STR(?v), {quoted(SOME_VALUE)})) "
            f"OPTIONAL {{ ?property <{WIKIBASE}qualifierValue> ?pqv . ?statement ?pqv ?node . {details} }} "
            f"BIND(CONCAT({f', {quoted(FIELD)}, '.join(parts)}) AS ?entry) }}"
        )

    def _say(self, value: str, precision: str, unit: str) -> str:
        if precision:
            return date(value, int(precision))
        return self._measured(value, unit) if unit else value

    def _named(self, id: str) -> str:
        number = _number(id)
        return f"wd:{number}" if number else id

    def _fame(self, ids: set[str]) -> dict[str, int]:
        """By the number of Wikipedias that have a page."""
        iris = self._prefixes.iris(ids)
        found = self._asker.each(iris.values(), "MAX(?entry)", SITELINKS)
        return {id: int(found.get(iri, 0)) for id, iri in iris.items()}

    def _kept(self, relations: Iterable[str]) -> set[str]:
        return {relation for relation, kind in self._kinds(relations).items() if kind not in LEFT_OUT}

    def _kinds(self, relations: Iterable[str]) -> dict[str, str]:
        """The type of each property; those about categories have none."""
        iris = self._prefixes.iris(relation for relation in relations if _number(relation))
        found = self._asker.each(iris.values(), "MIN(?entry)", KIND)
        return {relation: found[iri] for relation, iri in iris.items() if iri in found}

    def _spelt(self, edges: list[Edge]) -> list[Edge]:
        kinds = self._kinds({edge.relation for edge in edges})
        found = {edge for edge in edges if kinds.get(edge.relation) not in AMOUNTS}
        for relation, kind in kinds.items():
            if kind in AMOUNTS:
                some = [edge for edge in edges if edge.relation == relation]
                texts = self._stated({edge.head for edge in some}, relation, kind)
                found.update(edge._replace(tail=texts.get(edge[::2], _bare(edge.tail))) for edge in some)
        return sorted(found)

    def _stated(self, heads: set[str], relation: str, kind: str) -> dict[tuple[str, ...], str]:
        """How (head, plain value) is written with its precision or unit; where it is stated twice, both ways."""
        number, (value, detail) = _number(relation), AMOUNTS[kind]
        pattern = (
            f"{NEAR} ?s <{PROP}{number}> ?statement . ?statement a <{WIKIBASE}BestRank> ; "
            f"<{PROP}statement/value/{number}> ?node . "
            f"?node <{WIKIBASE}{value}> ?value ; <{WIKIBASE}{detail}> ?detail . "
            f"BIND(CONCAT(STR(?value), {quoted(FIELD)}, STR(?detail)) AS ?entry)"
        )
        aggregate = f"GROUP_CONCAT(DISTINCT ?entry; SEPARATOR={quoted(SEPARATOR)})"
        iris = self._prefixes.iris(heads)
        found = self._asker.each(iris.values(), aggregate, pattern)
        say: Callable[[str, str], str] = (lambda v, d: date(v, int(d))) if kind == "Time" else self._measured
        ways: dict[tuple[str, ...], set[str]] = {}
        for head in heads & {id for id, iri in iris.items() if iri in found}:
            for entry in found[iris[head]].split(SEPARATOR):
                text, more = entry.split(FIELD)
                ways.setdefault((head, text), set()).add(say(text, more))
        return {key: " or ".join(sorted(texts)) for key, texts in ways.items()}

    def _measured(self, amount: str, unit: str) -> str:
        id = self._prefixes.short(unit)
        number = amount.removeprefix("+")
        return number if id == f"wd:{ONE}" else f"{number} {self.labels([id])[id]}"


def date(time: str, precision: int) -> str:
    """A point in time of RDF at the precision that it was stated with: Wikidata's numbers, 11 for a day.

    >>> date("1952-03-11T00:00:00Z", 11), date("1952-01-01T00:00:00Z", 9), date("1952-01-01T00:00:00Z", 7)
    ('1952-03-11', '1952', '20th century')
    >>> date("-0043-03-15T00:00:00Z", 11), date("1999-12-31T23:59:00Z", 13)
    ('-0043-03-15', '1999-12-31T23:59')
    """
    parts = re.fullmatch(r"([+-]?\d+)-(\d\d)-(\d\d)T(.*)", time)
    if parts is None:
        return time
    year, month, day, clock = parts.groups()
    year = year.removeprefix("+")
    if precision > MONTH:
        hours = clock[: 2 + 3 * (precision - 12)] if precision > 11 else ""
        return f"{year}-{month}-{day}T{hours}" if hours else f"{year}-{month}-{day}"
    if precision == MONTH:
        return f"{year}-{month}"
    if precision == YEAR or precision < MILLENNIUM or year.startswith("-"):
        return year
    if precision == DECADE:
        return f"{int(year) // 10 * 10}s"
    span, name = (100, "century") if precision == CENTURY else (1000, "millennium")
    return f"{_ordinal(-(-int(year) // span))} {name}"


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


def _bare(value: str) -> str:
    return value.removesuffix("T00:00:00Z").removeprefix("+")


def _number(relation: str) -> str | None:
    """The number of a property, P31 of wdt:P31."""
    found = re.fullmatch(rf"(?:wdt:|{re.escape(WDT)})(P\d+)", relation)
    return found[1] if found else None


def _found(reply: Any) -> list[Any]:
    """Rows of `_Hit` from the JSON of wbsearchentities."""
    return [
        [f"wd:{found['id']}", found.get("label", found["id"]), found.get("match", {}).get("text", "")]
        for found in reply["search"]
    ]


def _titles(reply: Any) -> list[str]:
    """Ids from the JSON of a full-text search; the pages of things are titled by their numbers."""
    return [f"wd:{found['title']}" for found in reply["query"]["search"]]
