"""How graphs write names and facts in RDF: what an endpoint has to be asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from upright.knowledge.access import Access, Flavour
from upright.knowledge.terms import Prefixes, quoted

RDFS, SKOS = "http://www.w3.org/2000/01/rdf-schema#", "http://www.w3.org/2004/02/skos/core#"
SCHEMA = "http://schema.org/"
WD, WDT = "http://www.wikidata.org/entity/", "http://www.wikidata.org/prop/direct/"
WIKIBASE = "http://wikiba.se/ontology#"
SOME_VALUE = "http://www.wikidata.org/.well-known/genid/"  # somebody or something, but nobody knows which

NEAR = "#near#"
RANK = 3


@dataclass(frozen=True)
class Vocabulary:
    """The names that matter in one flavour of graph.

    Patterns have `NEAR` wherever the values of ?s are to be put: said in one place only, some servers would
    look through all they have before they join.

    Attributes:
        namespaces: of the prefixes that shorten ids.
        only: what makes a statement a fact and not the name of a thing, as SPARQL about {p} and {o}.
        label, alias, descriptions: predicates of names; a thing is described by the first that it has.
    """

    namespaces: Mapping[str, str]
    only: str
    label: str = f"<{RDFS}label>"
    alias: str = f"<{SKOS}altLabel>"
    descriptions: tuple[str, ...] = (f"<{SCHEMA}description>", f"<{RDFS}comment>")

    def fact(self, s: str = "?s", p: str = "?p", o: str = "?o") -> str:
        """The pattern of a fact. Blank nodes are in none, as they have no name to ask for them by."""
        return f"{s} {p} {o} . FILTER(!isBlank({s}) && !isBlank({o}) && {self.only.format(p=p, o=o)})"

    def around(self) -> str:
        """Pattern that binds ?entry to the other end of each fact of ?s, once for each."""
        return f"{{ {NEAR} {self.fact(o='?entry')} }} UNION {{ {NEAR} {self.fact(s='?entry', o='?s')} }}"

    def ranked(self, languages: Sequence[str], predicates: Sequence[str]) -> str:
        """Pattern that binds ?entry to texts of ?s, each after `RANK` digits: the best has the least.

        The order is that of the predicates, then that of the languages (a dialect after its language), then
        texts without a language, then all others.
        """
        best = f"IF(LANG(?text) = {quoted('')}, {quoted('98')}, {quoted('99')})"
        for number, tag in reversed(list(enumerate(languages))):
            same = f"LCASE(LANG(?text)) = {quoted(tag.lower())}"
            dialect = f"LANGMATCHES(LANG(?text), {quoted(tag)})"
            best = f"IF({same}, {quoted(f'{2 * number:02}')}, IF({dialect}, {quoted(f'{2 * number + 1:02}')}, {best}))"
        return " UNION ".join(
            f"{{ {NEAR} ?s {predicate} ?text . FILTER(isLiteral(?text)) "
            f"BIND(CONCAT({quoted(str(number))}, {best}, STR(?text)) AS ?entry) }}"
            for number, predicate in enumerate(predicates)
        )

    def called(self, languages: Sequence[str]) -> str:
        """Pattern that binds ?entry to the aliases of ?s in these languages, and to those without a language."""
        tags = "".join(f" || LANGMATCHES(LANG(?text), {quoted(tag)})" for tag in languages)
        right = f"FILTER(LANG(?text) = {quoted('')}{tags})"
        return f"{NEAR} ?s {self.alias} ?text . {right} BIND(STR(?text) AS ?entry)"


def vocabulary_of(flavour: Flavour) -> Vocabulary:
    """The vocabulary of a flavour."""
    return {"plain": PLAIN, "wikidata": WIKIDATA}[flavour]


def flavour_of(url: str, access: Access) -> Flavour:
    """The flavour that was asked for, or that the URL tells.

    >>> flavour_of("https://query.wikidata.org/sparql", Access()), flavour_of("http://localhost:7001", Access())
    ('wikidata', 'plain')
    """
    if access.flavour != "auto":
        return access.flavour
    parts = urlsplit(url)
    return "wikidata" if "wikidata" in f"{parts.hostname}{parts.path}".lower() else "plain"


def prefixes_of(vocabulary: Vocabulary, access: Access) -> Prefixes:
    """The prefixes of a flavour and those of one's own, which go before."""
    return Prefixes({**vocabulary.namespaces, **access.prefixes})


PLAIN = Vocabulary(
    namespaces={},
    only=f"{{p}} NOT IN (<{SKOS}altLabel>, <{SCHEMA}description>, <{RDFS}comment>)"
    f" && !({{p}} = <{RDFS}label> && isLiteral({{o}}))",
)
WIKIDATA = Vocabulary(
    namespaces={"wd": WD, "wdt": WDT},
    only=f"STRSTARTS(STR({{p}}), {quoted(WDT)}) && !STRSTARTS(STR({{o}}), {quoted(SOME_VALUE)})",
)
