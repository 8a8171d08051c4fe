"""A knowledge graph behind a SPARQL 1.1 endpoint.

    with open_endpoint("https://query.wikidata.org/sparql") as graph:
        graph.edges(["wd:Q142"], "wdt:P36")          # [Edge("wd:Q142", "wdt:P36", "wd:Q90")]

Ids are IRIs, shortened where a prefix is known, and the texts of literals. A literal is found again by its
text when it has no language, one of `Access.languages`, or one of the common types (numbers, dates, …), and
unless it reads like an IRI.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from types import TracebackType
from typing import Any, NamedTuple, Self

from upright.knowledge.access import Access
from upright.knowledge.asking import SEPARATOR, Asker, list_query
from upright.knowledge.graph import Derived, Direction, Edge, local_name
from upright.knowledge.reply_cache import ReplyCache, in_chunks
from upright.knowledge.terms import literals, quoted, values
from upright.knowledge.transport import check_url
from upright.knowledge.vocabulary import RANK, flavour_of, prefixes_of, vocabulary_of
from upright.run.cache import cache_folder


class Table(NamedTuple):
    """The answer to a query of one's own; what is not bound is empty."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


class _Near(NamedTuple):
    """What a question is about: terms for a variable, and the ids among them that are texts of literals."""

    variable: str
    terms: list[str]
    texts: Sequence[str] = ()

    @property
    def block(self) -> str:
        """The terms as values of the variable."""
        return values(self.variable, self.terms)

    @property
    def check(self) -> str:
        """What holds back literals that are stored as another text of the same value: 1 as true, 01 as 1."""
        texts = ", ".join(quoted(text) for text in self.texts)
        return f"FILTER(isIRI({self.variable}) || ?t IN ({texts}))" if texts else ""


class Endpoint(Derived):
    """The graph of an endpoint; see `KnowledgeGraph` for what its methods answer.

    Each method raises `GraphError` where the endpoint fails. What it answers stays in the cache, so that a
    second run asks nothing. Safe for threads. Use it in a `with` block, or `close` it.

    Facts are sorted by the endpoint, by code point as SPARQL prescribes for plain strings; one that sorts
    otherwise gives another choice of the first `limit`, though the same one each time.

    Args:
        url: of the endpoint, http or https.
        access: how to read it.
        cache: of replies; by default the file that `access` names.
    """

    remote = True  # each call may take seconds: call it from a thread

    def __init__(self, url: str, access: Access | None = None, cache: ReplyCache | None = None) -> None:
        self.url = check_url(url)
        self._access = access = access or Access()
        self._words = vocabulary_of(flavour_of(url, access))
        self._prefixes = prefixes_of(self._words, access)
        self._asker = Asker(url, access, cache or open_cache(access))

    @property
    def requests(self) -> int:
        """Requests sent so far, further tries included."""
        return self._asker.transport.requests

    def close(self) -> None:
        """Close the connections to the endpoint."""
        self._asker.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    # --- facts ---

    def __contains__(self, entity: object) -> bool:
        return isinstance(entity, str) and bool(self.counts([entity], "out") or self.counts([entity], "in"))

    def counts(self, entities: Iterable[str], direction: Direction = "out") -> dict[str, int]:
        found: Counter[str] = Counter()
        for near in self._near(entities, direction):
            found.update(self._counted(self._asker.listed(self._counts_query(near, direction))))
        kept = self._kept(found)
        return {relation: found[relation] for relation in sorted(found) if relation in kept}

    def relations(self, entities: Iterable[str], direction: Direction = "out") -> list[str]:
        return list(self.counts(entities, direction))

    def edges(
        self, entities: Iterable[str], relation: str, direction: Direction = "out", limit: int | None = None
    ) -> list[Edge]:
        return self.statements(entities, relation, direction, limit) if self._kept([relation]) else []

    def statements(
        self, entities: Iterable[str], relation: str, direction: Direction = "out", limit: int | None = None
    ) -> list[Edge]:
        """`edges`, also of a relation that leads out of the graph and is left out there, such as an identifier."""
        iri = self._prefixes.iri(relation)
        if iri is None:
            return []
        parts = [self._edges(near, iri, direction, limit) for near in self._near(entities, direction)]
        rows = islice(merge(*(sorted(part) for part in parts)), limit)
        return self._spelt([Edge(head, self.short(relation), tail) for head, tail in rows])

    def triples(self, relation: str | None = None) -> Iterator[Edge]:
        iri = "?p" if relation is None else self._prefixes.iri(relation)
        if iri is None or (relation is not None and not self._kept([relation])):
            return
        name = f"BIND({self._prefixes.of('?p')} AS ?r)" if relation is None else values("?r", [quoted(relation)])
        columns, pattern = ("?h", "?r", "?t"), f"{self._pattern(iri)} {name}"
        for page in in_chunks(self._pages(columns, pattern), self._access.page_rows):
            kept = self._kept({row[1] for row in page})
            yield from self._spelt([Edge(head, self.short(name), tail) for head, name, tail in page if name in kept])

    def qualifiers(self, edge: Edge) -> tuple[tuple[str, str], ...]:
        """What restricts a fact: (relation, value), sorted. Plain RDF has none."""
        return ()

    # --- names ---

    def labels(self, ids: Iterable[str]) -> dict[str, str]:
        asked = list(dict.fromkeys(ids))
        found = self._texts({id: self._named(id) for id in asked}, (self._words.label,))
        return {id: found.get(id) or self._nameless(id) for id in asked}

    def address(self, id: str) -> str | None:
        """The IRI of a thing, which leads to its page in linked data; see `upright.knowledge.graph.address`."""
        return self._prefixes.full(id)

    def describe(self, ids: Iterable[str]) -> dict[str, str]:
        return self._texts({id: self._named(id) for id in ids}, self._words.descriptions)

    def aliases(self, entity: str) -> tuple[str, ...]:
        iris = self._prefixes.iris([self._named(entity)])
        aggregate = f"GROUP_CONCAT(DISTINCT ?entry; SEPARATOR={quoted(SEPARATOR)})"
        found = self._asker.each(iris.values(), aggregate, self._words.called(self._access.languages))
        names = {name for texts in found.values() for name in texts.split(SEPARATOR)}
        return tuple(sorted(names - {self.labels([entity])[entity]}))

    def link(self, text: str) -> list[str]:
        """Ids of all things called `text`, by id, label or alias, the likeliest first.

        A name is found as it stands, in small or capital letters, or with capitals as in a title.
        """
        named = self._namesakes(text)
        if text in self:
            named.add((text, "label" if self.labels([text])[text] == text else "id", text))
        fame = self._fame({id for id, *_ in named})

        def mismatch(id: str) -> tuple[bool, bool]:
            return (id, "label", text) not in named, (id, "alias", text) not in named

        return sorted(fame, key=lambda id: (*mismatch(id), -fame[id], id))

    def suggest(self, text: str) -> list[str]:
        """Names that look like `text`: none, as SPARQL has no search by likeness."""
        return []

    def query(self, text: str) -> Table:
        """The answer to a SPARQL query of one's own, SELECT or ASK, as the endpoint gives it."""

        def read(reply: Any) -> Any:
            if "boolean" in reply:
                return [["answer"], [[str(bool(reply["boolean"])).lower()]]]
            columns, rows = reply["head"]["vars"], reply["results"]["bindings"]
            return [columns, [[row[name]["value"] if name in row else "" for name in columns] for row in rows]]

        columns, rows = self._asker.fetch(self.url, {"query": text}, read)
        return Table(tuple(columns), [tuple(row) for row in rows])

    def short(self, id: str) -> str:
        """An IRI, or an id, as this graph writes it."""
        return self._prefixes.short(self._prefixes.full(id))

    def full(self, id: str) -> str:
        """The id with its prefix spelt out; one without a known prefix stays as it is."""
        return self._prefixes.full(id)

    # --- what flavours differ in ---

    def _kept(self, relations: Iterable[str]) -> set[str]:
        """Those of some predicates that count as relations."""
        return set(relations)

    def _spelt(self, edges: list[Edge]) -> list[Edge]:
        """The facts with their values as people write them."""
        return edges

    def _named(self, id: str) -> str:
        """The id under which a thing has its label."""
        return id

    # --- questions ---

    def _near(self, entities: Iterable[str], direction: Direction) -> Iterator[_Near]:
        """The entities in batches, those that may be there."""
        for some in in_chunks(sorted(set(entities)), self._access.batch_ids):
            if direction == "out":
                near = _Near("?s", list(self._prefixes.iris(some).values()))
            else:
                terms = {id: list(self._prefixes.terms(id, self._access.languages)) for id in some}
                texts = [id for id in some if any(term.startswith('"') for term in terms[id])]
                near = _Near("?o", [term for id in some for term in terms[id]], texts)
            if near.terms:
                yield near

    def _pattern(self, relation: str, near: _Near | None = None) -> str:
        ends = f"BIND({self._prefixes.of('?s')} AS ?h) BIND({self._prefixes.of('?o')} AS ?t)"
        fact = f"{self._words.fact(p=relation)} {ends}"
        return f"{near.block} {fact} {near.check}" if near else fact

    def _counts_query(self, near: _Near, direction: Direction) -> str:
        """Facts of each relation. Literals of one text are one thing, so they are told apart by their texts."""
        if direction == "in" and not near.texts:  # IRIs alone: no need to compare what may be millions of facts
            facts = f"{near.block} {self._words.fact()}"
        else:
            facts = f"{{ SELECT DISTINCT ?h ?p ?t WHERE {{ {self._pattern('?p', near)} }} }}"
        groups = f"{{ SELECT ?p (COUNT(*) AS ?n) WHERE {{ {facts} }} GROUP BY ?p }}"
        return list_query(f'{groups} BIND(CONCAT(STR(?n), " ", STR(?p)) AS ?entry)')

    def _counted(self, entries: Iterable[str]) -> dict[str, int]:
        pairs = (entry.split(" ", 1) for entry in entries)
        return {self._prefixes.short(iri): int(number) for number, iri in pairs}

    def _edges(self, near: _Near, relation: str, direction: Direction, limit: int | None) -> Iterator[tuple[str, ...]]:
        columns, pattern = ("?h", "?t"), self._pattern(relation, near)

        def total() -> int:
            query = self._counts_query(near, direction)
            if self._asker.known(query):
                return self._counted(self._asker.listed(query)).get(self.short(relation[1:-1]), 0)
            return self._asker.count(columns, pattern)

        return self._asker.pages(columns, pattern, limit, total)

    def _pages(self, columns: tuple[str, ...], pattern: str) -> Iterator[tuple[str, ...]]:
        return self._asker.pages(columns, pattern, None, lambda: self._asker.count(columns, pattern))

    def _texts(self, names: dict[str, str], predicates: tuple[str, ...]) -> dict[str, str]:
        """The best text for each id, looked up under another id, where there is one."""
        iris = self._prefixes.iris(names.values())
        pattern = self._words.ranked(self._access.languages, predicates)
        found = self._asker.each(iris.values(), "MIN(?entry)", pattern)
        return {id: found[iris[name]][RANK:] for id, name in names.items() if iris.get(name) in found}

    def _nameless(self, id: str) -> str:
        """What a thing without a label is called."""
        if self._prefixes.iri(id) is None:
            return id
        return local_name(self._prefixes.full(id)).replace("_", " ").strip() or id

    def _namesakes(self, text: str) -> set[tuple[str, str, str]]:
        """(id, "label" or "alias", name) of all things whose name differs from the text in capitals at most."""
        spellings = sorted({text, text.lower(), text.upper(), text.title(), text[:1].upper() + text[1:]} - {""})
        terms = [term for name in spellings for term in literals(name, self._access.languages)]
        ways = " UNION ".join(
            f"{{ {values('?name', terms)} ?s {predicate} ?name . BIND({quoted(how)} AS ?how) }}"
            for how, predicate in (("label", self._words.label), ("alias", self._words.alias))
        )
        inner = f"SELECT DISTINCT ?s ?how (STR(?name) AS ?text) WHERE {{ {ways} FILTER(isIRI(?s)) }}"
        entry = f"BIND(CONCAT(STR(?s), {quoted(chr(10))}, ?how, {quoted(chr(10))}, ?text) AS ?entry)"
        entries = self._asker.listed(list_query(f"{{ {inner} }} {entry}"))
        split = (entry.split("\n", 2) for entry in entries)
        return {(self._prefixes.short(iri), how, name) for iri, how, name in split}

    def _fame(self, ids: set[str]) -> dict[str, int]:
        """How well known each thing is, by its number of facts; those without facts are left out."""
        iris = self._prefixes.iris(ids)
        found = self._asker.each(iris.values(), "COUNT(?entry)", self._words.around())
        fame = {id: int(found.get(iri, 0)) for id, iri in iris.items()}
        fame |= {id: self.in_degree(id) for id in ids if not fame.get(id)}
        return {id: facts for id, facts in fame.items() if facts}


def open_endpoint(url: str, access: Access | None = None, cache: ReplyCache | None = None) -> Endpoint:
    """The graph of an endpoint, in the flavour that `access` asks for or that the URL tells.

    Raises:
        UserError: if the URL is none, or the file of the cache is something else.
    """
    if flavour_of(check_url(url), access or Access()) == "wikidata":
        from upright.knowledge.wikidata import Wikidata

        return Wikidata(url, access, cache)
    return Endpoint(url, access, cache)


def open_cache(access: Access) -> ReplyCache:
    """The cache of replies on disk that `access` describes."""
    path = access.cache or cache_folder("sparql") / "replies.sqlite"
    return ReplyCache(path, 3600 * access.cache_hours, access.refresh)
