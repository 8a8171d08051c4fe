"""The graph of a run: opened with its changes, asked for labels at the end, and what of it was missing or guessed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from upright.knowledge.changes import check_changes, read_changes
from upright.knowledge.failures import GraphError, noting
from upright.knowledge.federation import federation_of
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.links import Found
from upright.knowledge.opening import opened, words_of
from upright.knowledge.overlay import Overlay
from upright.run.evidence import Metric, scalar
from upright.run.folder import RunFolder
from upright.traversal.config import Config
from upright.traversal.record import Outcome
from upright.traversal.replies import Searched


@contextmanager
def graph_of(config: Config) -> Iterator[KnowledgeGraph]:
    """The graph that is asked, with the changes that hold from now on.

    Raises:
        UserError: for graphs, links or changes that cannot be used, and for a graph that does not answer.
    """
    with opened(config.kg, config.access, config.links, config.link_by) as graph:
        if config.changes is None:
            yield graph
            return
        changes = read_changes(config.changes)
        words = words_of(config.kg, graph, changes)
        yield Overlay(graph, check_changes(changes, graph, words).require(), words)


def labels_of(graph: KnowledgeGraph, ids: Iterable[str], folder: RunFolder) -> dict[str, str]:
    """Labels; of what a graph does not tell any more the id, and a line in failures.jsonl."""
    asked, found = sorted(set(ids)), dict[str, str]()
    with noting() as heard:
        try:
            found = graph.labels(asked)
        except GraphError as error:
            heard.append(str(error))
    for text in heard:
        folder.fail("labels", text, {"ids": len(asked)})
    return {id: found.get(id, id) for id in asked}


# --- links -----------------------------------------------------------------------------------------------------


def notes_on(graph: KnowledgeGraph, outcome: Outcome) -> list[str]:
    """For a reader: the links that an answer rests on and that nobody declared."""
    several, answer = federation_of(graph), outcome.answer
    if several is None or answer is None:
        return []
    by_how: dict[str, list[Found]] = defaultdict(list)
    for one in several.found({end for edge in answer.evidence for end in (edge.head, edge.tail)}):
        by_how[one.how].append(one)
    return [
        f"rests on {len(links)} link{'s' * (len(links) > 1)} by {how}, such as {' = '.join(links[0].pair)}"
        for how, links in sorted(by_how.items())
    ]


def link_metrics(graph: KnowledgeGraph, searched: Sequence[Searched]) -> list[Metric]:
    """How many links were declared, and how many found for what the searches read."""
    several = federation_of(graph)
    if several is None:
        return []
    counts = Counter(one.how for one in several.found(set(_read(searched))))
    return [
        scalar("links declared", len(several.declared)),
        *(scalar("links found", counts[how], split=how) for how in several.ways),
    ]


def _read(searched: Sequence[Searched]) -> Iterator[str]:
    """All things that searches met, by their records."""
    for row in (row for one in searched for row in one.rows if "set" in row):
        yield from row["set"]["ids"]
        yield from (end for edge in row["set"]["edges"] for end in (edge[0], edge[2]))
