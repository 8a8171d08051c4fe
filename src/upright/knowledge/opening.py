"""Open knowledge graphs of every kind: read from files, stored, behind an endpoint, or several of them side by side.

One graph is given as in `upright.knowledge.files`, or as ``sparql:URL``. Several files without names are merged into
one graph. With names, ``NAME=GRAPH``, graphs of any kind stay apart, as a `Federation`, and what is the same in them
is told by links:

- a table of pairs, ``GRAPH:ID<TAB>GRAPH:ID``;
- ``GRAPH:RELATION=GRAPH``: the tails of this relation are ids of the other graph; ``…=GRAPH:http://x.org/{}`` if they
  become so by a form;
- ``names``: what has its name, type and at least half of its neighbours in common.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from upright.errors import UserError
from upright.knowledge.access import Access
from upright.knowledge.arrays import ArrayGraph
from upright.knowledge.changes import FactChange
from upright.knowledge.failures import GraphError
from upright.knowledge.federation import Federation
from upright.knowledge.files import open_graph, open_relations, sources
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.links import Alike, Rule, Stated
from upright.knowledge.relations import Relation, Relations
from upright.knowledge.same_as import read_links
from upright.knowledge.store import Store

SCHEME, NAMES = "sparql:", "names"
DEFAULT = Access()
EARLY = 100_000  # things whose links are looked for before the first question, where all graphs are at hand
LINK_BY = "give names, GRAPH:RELATION=GRAPH or GRAPH:RELATION=GRAPH:FORM with {} for what the relation leads to"


class Part(NamedTuple):
    """A graph as it was asked for; without a name it is "" here."""

    name: str
    spec: str


@contextmanager
def opened(
    specs: str | Sequence[str], access: Access = DEFAULT, links: Path | None = None, link_by: Sequence[str] = ()
) -> Iterator[KnowledgeGraph]:
    """A graph, the union of several, or a federation; closed after the block.

    A graph that does not answer (`GraphError`) and that nobody in the block could do without becomes a `UserError`.

    Args:
        specs: what to open; see above.
        access: how endpoints are spoken to.
        links: table of pairs of one meaning.
        link_by: how further links are found.

    Raises:
        UserError: for graphs that are not there or cannot be opened together, and for links of other graphs.
    """
    parts = parts_of([specs] if isinstance(specs, str) else specs)
    with _in_one_line(), ExitStack() as stack:
        if parts and parts[0].name:
            graphs = {name: stack.enter_context(_one(spec, access)) for name, spec in parts}
            yield _joined(graphs, links, link_by)
            return
        if links is not None or link_by:
            raise UserError("links join graphs with names; give these, as in: --kg films=films.tsv --kg music=graphs/m")
        if len(parts) == 1:
            yield stack.enter_context(_one(parts[0].spec, access))
        else:
            yield open_graph([spec for _, spec in parts])


@contextmanager
def _in_one_line() -> Iterator[None]:
    """A graph that nobody can do without is one line for the person who named it."""
    try:
        yield
    except GraphError as error:
        told = UserError(str(error))
        for text in getattr(error, "__notes__", ()):
            told.add_note(text)
        raise told from error


def parts_of(specs: Sequence[str]) -> list[Part]:
    """What each text asks for. A path that exists is no name, whatever signs are in it.

    >>> parts_of(["films=films.tsv", "wiki=sparql:http://x.org/?a=b"])
    [Part(name='films', spec='films.tsv'), Part(name='wiki', spec='sparql:http://x.org/?a=b')]

    Raises:
        UserError: if some graphs have names and others not, two have one name, or graphs that cannot be merged
            have none.
    """
    parts = [_part(spec) for spec in specs]
    bare = [spec for name, spec in parts if not name]
    if bare and len(bare) < len(parts):
        raise UserError(f"{bare[0]}: has no name, others have; name all graphs, as in: --kg NAME={bare[0]}")
    seen: set[str] = set()
    for name, spec in parts:
        if name and name in seen:
            raise UserError(f"{name}={spec}: two graphs are named {name}; give each its own name")
        seen.add(name)
    if len(bare) > 1:
        _check_mergeable(bare)
    return parts


def _part(spec: str) -> Part:
    found = re.fullmatch(r"([A-Za-z_][\w-]*)=(.+)", spec)
    return Part("", spec) if found is None or Path(spec).exists() else Part(found[1], found[2])


def _check_mergeable(specs: Sequence[str]) -> None:
    for spec in specs:
        if is_remote(spec) or sources(spec)[0].is_store:
            named = " ".join(f"--kg {name}={spec}" for name, spec in zip("abcdefgh", specs, strict=False))
            raise UserError(f"{spec}: only files are read into one graph; keep graphs apart by names: {named}")


def is_remote(spec: str) -> bool:
    """Whether it asks for an endpoint."""
    return spec.startswith(SCHEME)


@contextmanager
def _one(spec: str, access: Access) -> Iterator[KnowledgeGraph]:
    if is_remote(spec):
        from upright.knowledge.sparql import open_endpoint  # brings a client for the web

        with open_endpoint(spec.removeprefix(SCHEME), access) as endpoint:
            yield endpoint
        return
    graph = open_graph(spec)
    if isinstance(graph, Store):
        with graph:
            yield graph
    else:
        yield graph


# --- links ---


def _joined(graphs: Mapping[str, KnowledgeGraph], links: Path | None, link_by: Sequence[str]) -> Federation:
    rules = [rule for text in link_by for rule in _rules(text, graphs)]
    joined = Federation(graphs, read_links(links, graphs) if links else (), rules)
    for rule in rules:
        here = [(name, graph) for name in rule.graphs if isinstance(graph := graphs[name], ArrayGraph)]
        if len(here) == len(rule.graphs):
            name, graph = min(here, key=lambda one: len(one[1].entity_ids))
            if len(graph.entity_ids) <= EARLY:
                joined.meet(f"{name}:{id}" for id in graph.entity_ids)
    return joined


def _rules(text: str, graphs: Mapping[str, KnowledgeGraph]) -> Iterator[Rule]:
    if text == NAMES:
        yield from (Alike(graphs, left, right) for left, right in combinations(graphs, 2))
        return
    # an id may have signs of its own, so the name of the target is what tells where it ends
    targets = "|".join(map(re.escape, graphs))
    found = re.fullmatch(rf"([^:=]+:.+)=({targets})(?::(.+))?", text)
    if found is None:
        raise UserError(f"--link-by {text}: graphs are {', '.join(graphs)}; {LINK_BY}")
    form = found[3] or "{}"
    if form.count("{}") != 1:
        raise UserError(f"--link-by {text}: the form {form!r} has {form.count('{}')} places {{}}; {LINK_BY}")
    yield Stated(graphs, found[1], found[2], form)


# --- words ---


def words_of(specs: Sequence[str], graph: KnowledgeGraph, changes: Iterable[FactChange]) -> Relations:
    """Words for the relations of an opened graph, so that facts in it can be changed.

    Those of files come from beside them. Of an endpoint only the relations that the changed things have are known,
    and count as functional.
    """
    if isinstance(graph, ArrayGraph):
        return open_relations(specs, graph)
    subjects = {id for change in changes for id in graph.link(change.subject)}
    near = graph.relations(subjects)
    words = dict(Relations.generic(near, graph.labels(near)).relations)
    if isinstance(graph, Federation):
        for name, spec in parts_of(specs):
            own = graph.graphs[name]
            if isinstance(own, ArrayGraph):
                words |= _renamed(open_relations(spec, own), name)
    return Relations(relations=words)


def _renamed(words: Relations, graph: str) -> dict[str, Relation]:
    """The relations of a graph under the ids that they have in a federation."""
    return {
        f"{graph}:{name}": relation.model_copy(
            update={"name": f"{graph}:{name}", "inverse": relation.inverse and f"{graph}:{relation.inverse}"}
        )
        for name, relation in words.relations.items()
    }
