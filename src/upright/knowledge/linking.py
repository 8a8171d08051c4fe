"""From words to entities: what a mention may mean, and which words of a question are names in the graph."""

import re
from collections.abc import Callable, Iterator, Sequence
from math import sqrt
from typing import Literal, NamedTuple

from upright.knowledge.federation import federation_of
from upright.knowledge.graph import KnowledgeGraph, Likeness, Searchable
from upright.knowledge.naming import ARTICLES, fold

How = Literal["label", "alias", "folded", "prefix", "words", "letters"]
"""How a name fits a mention, from best to worst: it is its label, an alias, either but for case, accents and the
like; it begins so, has words in common, has most letters in common."""

RANKS: tuple[How, ...] = ("label", "alias", "folded", "prefix", "words", "letters")
LIKENESSES: tuple[Likeness, ...] = ("prefix", "words", "letters")
WIDTH = 5  # times as many candidates are compared by their vectors as are asked for
LONGEST = 24  # words of a span
LONGEST_REMOTE = 6  # words of a span that a remote graph is asked about
# what questions are made of, and what are names only where somebody writes them so: It, Who, Us
FUNCTION_WORDS = """
    about after all also am and any are as at be been before between both but by can could did do does during each
    every for from give had has have he her his how i if in into is it its list many me more most much my name no not
    of off on one or other our out over same she so some such tell than that their them there these they this those
    through to under up us was we were what when where which while who whom whose why will with would you your
    s"""
PLAIN = ARTICLES.union(FUNCTION_WORDS.split())

Linker = Callable[[str], list[str]]
Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]


class Candidate(NamedTuple):
    """An entity that a mention may mean.

    Attributes:
        score: how near the candidate is to the mention, comparable within one `how` only: BM25 for "words", the
            similarity of letters for "letters", 1 otherwise; with `embed`, the cosine.
    """

    id: str
    label: str
    description: str
    score: float
    how: How


class Span(NamedTuple):
    """A part of a question, `question[start:end]`, that is a name, and what it may mean, the likeliest first."""

    text: str
    start: int
    end: int
    ids: tuple[str, ...]


def candidates(graph: KnowledgeGraph, mention: str, k: int = 10, embed: Embed | None = None) -> list[Candidate]:
    """The entities that a mention may mean, at most `k`, the likeliest first.

    They are ranked by how their name fits (see `How`), within that by score, then by their number of facts. Ways
    that find less likely ones are tried only while there are too few.

    Args:
        embed: vectors of texts, (n, d); with it, those with equal fit are ranked by the cosine between the
            mention and their label with description.
    """
    wanted = k if embed is None else k * WIDTH
    found: dict[str, tuple[How, float]] = {}
    for entity, how, score in _ways(graph, mention, wanted):
        if entity not in found:
            if len(found) >= wanted:
                break
            found[entity] = (how, score)
    labels, descriptions = graph.labels(found), graph.describe(found)
    listed = [Candidate(id, labels[id], descriptions.get(id, ""), score, how) for id, (how, score) in found.items()]
    return (_by_cosine(mention, listed, embed) if embed and listed else listed)[:k]


def _ways(graph: KnowledgeGraph, mention: str, limit: int) -> Iterator[tuple[str, How, float]]:
    """Entities with how they fit, the likeliest first; some several times."""
    if not mention.strip():
        return
    called = graph.link(mention)
    labels = graph.labels(called)
    for entity in called:
        exact: How = "label" if mention == labels[entity] else "alias"
        same = mention in (labels[entity], entity) or mention in graph.aliases(entity)
        yield entity, exact if same else "folded", 1.0
    if isinstance(graph, Searchable):
        for likeness in LIKENESSES:
            for entity, relevance in graph.search(mention, likeness, limit):
                yield entity, likeness, 1.0 if likeness == "prefix" else relevance
    else:
        for name in graph.suggest(mention):
            yield from ((entity, "letters", 1.0) for entity in graph.link(name))


def _by_cosine(mention: str, listed: Sequence[Candidate], embed: Embed) -> list[Candidate]:
    texts = [f"{one.label}: {one.description}" if one.description else one.label for one in listed]
    own, *others = embed([mention, *texts])
    scored = [one._replace(score=_cosine(own, other)) for one, other in zip(listed, others, strict=True)]
    return sorted(scored, key=lambda one: (RANKS.index(one.how), -one.score))


def _cosine(left: Sequence[float], right: Sequence[float]) -> float:
    norms = sqrt(sum(x * x for x in left) * sum(x * x for x in right))
    return float(sum(x * y for x, y in zip(left, right, strict=True)) / norms) if norms else 0.0


def mentions(graph: KnowledgeGraph, question: str) -> list[str]:
    """The likeliest entity of each name in a question, each once, in the order of the question; see `spans`.

    Of several graphs it is the likeliest of each.
    """
    return list(dict.fromkeys(entity for span in spans(graph, question) for entity in likeliest(graph, span.ids)))


def meant(graph: KnowledgeGraph, name: str) -> list[str]:
    """What an id or a name means: the id as the graph writes it, else the likeliest thing, or that of each graph."""
    if name in graph:
        several = federation_of(graph)
        return [several.members(name)[0] if several else name]
    return likeliest(graph, graph.link(name))


def likeliest(graph: KnowledgeGraph, ids: Sequence[str]) -> list[str]:
    """Of what a name may mean the first, or the first of each graph of a federation."""
    several = federation_of(graph)
    return several.likeliest(ids) if several else list(ids[:1])


def spans(graph: KnowledgeGraph, question: str) -> list[Span]:
    """The parts of a question, of 24 words at most, that are names in the graph; the longer of two that overlap.

    Names are compared as `link` does, so case and accents do not matter. Words such as "what" and "it" alone are
    names only when written exactly so, with a capital, and not at the beginning. An article belongs to a name
    only when the name has it too. A remote graph is asked only about parts that begin and end with a capital
    letter or a number, do not begin with the first word where that is one of these, and have six words at most; of
    a federation, the graphs at hand are asked about the other parts, too.
    """
    words = list(re.finditer(r"\w+", question))
    near = _near(graph)
    found: list[Span] = []
    for first, last in _windows(len(words)):
        start, end = words[first].start(), words[last].end()
        link = graph.link if _telling(words, first, last) else near
        if link and all(end <= span.start or span.end <= start for span in found):
            ids = _named(graph, link, question[start:end], first == 0)
            if ids:
                found.append(Span(question[start:end], start, end, ids))
    return sorted(found, key=lambda span: span.start)


def _near(graph: KnowledgeGraph) -> Linker | None:
    """How things are found by name without a request; None where all graphs are far away."""
    if not getattr(graph, "remote", False):
        return graph.link
    several = federation_of(graph)
    if several is None or several.is_far:
        return None
    return lambda text: [entity for entity in several.link_near(text) if entity in graph]


def _windows(words: int) -> Iterator[tuple[int, int]]:
    """First and last word of every part that may be a name, the longest first, then from left to right."""
    for length in range(min(words, LONGEST), 0, -1):
        yield from ((first, first + length - 1) for first in range(words - length + 1))


def _telling(words: Sequence[re.Match[str]], first: int, last: int) -> bool:
    """Whether a part looks so much like a name that it is worth a request."""
    marked = all(words[place][0][0].isupper() or words[place][0][0].isdigit() for place in (first, last))
    return marked and last - first < LONGEST_REMOTE and not (first == 0 and words[0][0].lower() in PLAIN)


def _named(graph: KnowledgeGraph, link: Linker, text: str, at_start: bool) -> tuple[str, ...]:
    """Ids of what this part of a question names."""
    words = text.lower().split()
    plain = all(word in PLAIN for word in fold(text).split())
    if plain and (at_start or not text[0].isupper()):
        return ()
    found = link(text)
    if plain or words[0] in ARTICLES:
        labels = graph.labels(found)
        found = [entity for entity in found if text in (labels[entity], entity, *graph.aliases(entity))]
    return tuple(found)
