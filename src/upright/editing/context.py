"""K-Edit: the further facts that must change so that the consequences of an edit hold (Anonymous KG reading).

Everything is read from the edited graph, in which all changes hold at once, so a chain through several edits comes
out right. A chain is a head and the relations to follow from it; it is written as one sentence about the head ("The
currency code of the currency of Croatia is") and only if its answer is unique and differs from before.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from upright.editing.config import ContextConfig
from upright.editing.requests import Request
from upright.knowledge.changes import FactChange
from upright.knowledge.graph import Edge, KnowledgeGraph, follow
from upright.knowledge.overlay import Overlay
from upright.knowledge.relations import Relations


@dataclass(frozen=True)
class Chain:
    """A head and the relations to follow, innermost first, through the edge number `source`."""

    head: str
    path: tuple[str, ...]
    source: int


@dataclass(frozen=True)
class Contexts:
    """Contextual edits, in the order they are written, and why other chains were left out."""

    requests: list[Request]
    dropped: Counter[str]


class Expansion:
    """Finds the chains through edited facts in the edited graph."""

    def __init__(self, graph: KnowledgeGraph, overlay: Overlay, relations: Relations, config: ContextConfig) -> None:
        self.graph, self.overlay, self.relations, self.config = graph, overlay, relations, config
        self.dropped: Counter[str] = Counter()

    def contexts(self, changes: Sequence[FactChange], asked_for: Mapping[str, str] | None = None) -> Contexts:
        """Implied facts first, then chains by length; each sentence once.

        Args:
            asked_for: sentences that are written anyway, each with its object.
        """
        asked = [Edge(change.subject, change.relation, change.object) for change in changes]
        implied = [edge for edge in self.overlay.added if edge not in set(asked)]
        found = [Chain(edge.head, (edge.relation,), -1) for edge in implied if self._usable(edge.relation)]
        if self.config.hops > 1:
            for source, edge in enumerate(asked + implied):
                source = source if source < len(asked) else -1
                found += self._capped(self._forward(edge, source))
                found += self._capped(self._backward(edge, source))
        written: set[tuple[str, tuple[str, ...]]] = {(edge.head, (edge.relation,)) for edge in asked}
        requests: list[Request] = []
        said = dict(asked_for or {})
        for chain in sorted(found, key=lambda chain: (len(chain.path), chain.path, chain.head)):
            if (chain.head, chain.path) in written:
                continue
            written.add((chain.head, chain.path))
            request = self._request(chain)
            if request is None:
                continue
            if request.prompt.text not in said:
                said[request.prompt.text] = request.target
                requests.append(request)
            elif said[request.prompt.text] != request.target:
                self.dropped["two answers to one sentence"] += 1
        return Contexts(requests, self.dropped)

    def _forward(self, edge: Edge, source: int) -> Iterator[Chain]:
        """(s, r, o), (o, r2, o2), … up to `hops` facts."""
        for path in self._onward(edge.tail, edge.relation, self.config.hops - 1, {edge.head, edge.tail}):
            yield Chain(edge.head, (edge.relation, *path), source)

    def _onward(self, node: str, last: str, hops: int, seen: set[str]) -> Iterator[tuple[str, ...]]:
        """Paths of 1 to `hops` relations from a node."""
        if hops < 1:
            return
        if self.relations[last].literal:
            self.dropped["ends in a plain value"] += 1
            return
        for relation in self.overlay.relations([node]):
            if not self._usable(relation):
                continue
            objects = self.overlay.objects(node, relation)
            if len(objects) != 1:
                self.dropped["several answers"] += 1
            elif objects[0] in seen:
                self.dropped["comes back to itself"] += 1
            else:
                yield (relation,)
                for rest in self._onward(objects[0], relation, hops - 1, seen | {objects[0]}):
                    yield (relation, *rest)

    def _backward(self, edge: Edge, source: int) -> Iterator[Chain]:
        """(s0, r0, s), (s, r, o) and on, up to `hops` facts in all; s0 may be several steps back."""
        for head, before in self._toward(edge.head, self.config.hops - 1, {edge.head, edge.tail}):
            yield Chain(head, (*before, edge.relation), source)
            room = self.config.hops - 1 - len(before)
            for rest in self._onward(edge.tail, edge.relation, room, {head, edge.head, edge.tail}):
                yield Chain(head, (*before, edge.relation, *rest), source)

    def _toward(self, node: str, hops: int, seen: set[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Heads from which 1 to `hops` relations lead to a node, with the relations."""
        if hops < 1:
            return
        if self.overlay.in_degree(node) > self.config.hub:
            self.dropped["passes a hub"] += 1
            return
        for relation in self.overlay.relations([node], "in"):
            if not self._usable(relation) or self.relations[relation].literal:
                continue
            for head in self.overlay.subjects(relation, node):
                if head in seen:
                    self.dropped["comes back to itself"] += 1
                elif len(self.overlay.objects(head, relation)) != 1:
                    self.dropped["several answers"] += 1
                else:
                    yield head, (relation,)
                    for further, before in self._toward(head, hops - 1, seen | {head}):
                        yield further, (*before, relation)

    def _usable(self, relation: str) -> bool:
        if relation not in self.relations or relation in self.config.deny:
            self.dropped["relation without words or denied"] += 1
            return False
        if not self.relations[relation].functional:
            self.dropped["relation with many objects"] += 1
            return False
        return True

    def _capped(self, chains: Iterator[Chain]) -> list[Chain]:
        """The shortest `cap` chains, by name among equals; only chains whose answer is new count."""
        new = [chain for chain in chains if self._changes(chain)]
        new.sort(key=lambda chain: (len(chain.path), chain.path, chain.head))
        self.dropped["over the cap"] += max(0, len(new) - self.config.cap)
        return new[: self.config.cap]

    def _changes(self, chain: Chain) -> bool:
        before = follow(self.graph, chain.head, chain.path)
        after = follow(self.overlay, chain.head, chain.path)
        new = (after and after[-1]) != (before and before[-1])
        if not new:
            self.dropped["answer does not change"] += 1
        return new

    def _request(self, chain: Chain) -> Request | None:
        ids = follow(self.overlay, chain.head, chain.path)
        before = follow(self.graph, chain.head, chain.path)
        if ids is None:
            self.dropped["several answers"] += 1
            return None
        end, old = ids[-1], before[-1] if before else None
        labels = self.overlay.labels([chain.head, end, *([old] if old else [])])
        if end == chain.head:
            self.dropped["comes back to itself"] += 1
            return None
        return Request(
            prompt=self.relations.edit_prompt(chain.path, labels[chain.head]),
            target=labels[end],
            subject=chain.head,
            path=chain.path,
            old=labels[old] if old else None,
            origin="contextual",
            source=chain.source,
        )
