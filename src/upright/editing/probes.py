"""What is asked of a model before and after an edit: built once, in words held out for measuring."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from upright.editing.config import MeasureConfig
from upright.knowledge.changes import FactChange
from upright.knowledge.graph import KnowledgeGraph, follow
from upright.knowledge.overlay import Overlay
from upright.knowledge.relations import Prompt, Relations


@dataclass(frozen=True)
class Probe:
    """One question with its answer after the edit."""

    measure: str
    """efficacy, paraphrase, specificity, untouched or multi-hop."""
    split: str
    prompt: str
    answer: str
    """What should be said after the edit, by label."""
    aliases: tuple[str, ...]
    rival: str | None
    """What must be less likely than the answer: the old object, or for bystanders the new one."""
    before: str | None = None
    """What should have been said before the edit, where that differs."""
    written: bool = False
    """Whether the chain of a multi-hop question is itself written as a contextual edit."""


class ProbeMaker:
    """Draws probes for some changes; each measure from its own stream of randomness."""

    def __init__(
        self,
        graph: KnowledgeGraph,
        overlay: Overlay,
        relations: Relations,
        changes: Sequence[FactChange],
        config: MeasureConfig,
        written: Set[tuple[str, tuple[str, ...]]] = frozenset(),
    ) -> None:
        self.graph, self.overlay, self.relations = graph, overlay, relations
        self.config, self.written = config, written
        self.changes = list(changes)
        self.touched = {edge[:2] for edge in (*overlay.added, *overlay.removed)}

    def all(self, rng: random.Random) -> list[Probe]:
        """Every measure's probes."""
        chosen = rng.sample(self.changes, min(self.config.facts, len(self.changes)))
        return [
            *self.efficacy(chosen),
            *self.paraphrase(chosen, rng),
            *self.specificity(chosen, rng),
            *self.untouched(rng),
            *self.multi_hop(rng),
        ]

    def efficacy(self, changes: Sequence[FactChange]) -> Iterator[Probe]:
        """The very sentence that was written, as in CounterFact."""
        for change in changes:
            prompt = edit_prompt(self.relations, change, self._label(change.subject))
            yield self._edited("efficacy", "rewrite", change, prompt.text)

    def paraphrase(self, changes: Sequence[FactChange], rng: random.Random) -> Iterator[Probe]:
        """The same fact in a statement and a question that were never taught or written."""
        for change in changes:
            for kind in ("statement", "question"):
                prompts = self.relations.fact_prompts(change.relation, self._label(change.subject), "measure", kind)
                yield self._edited("paraphrase", kind, change, rng.choice(prompts).text)

    def specificity(self, changes: Sequence[FactChange], rng: random.Random) -> Iterator[Probe]:
        """Same sentence, other subjects: those that share the old object first (CounterFact's neighbourhood)."""
        by_object: dict[tuple[str, str], list[str]] = defaultdict(list)
        by_relation: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for relation in {change.relation for change in changes}:
            for head, _, tail in self.graph.triples(relation):
                if self._settled(head, relation):
                    by_object[relation, tail].append(head)
                    by_relation[relation].append((head, tail))
        for change in changes:
            old = self.graph.objects(change.subject, change.relation)
            near = [(head, old[0]) for head in by_object[change.relation, old[0]]] if old else []
            rng.shuffle(near)
            others = by_relation[change.relation]
            near += rng.sample(others, min(self.config.neighbours + len(near), len(others)))
            for head, tail in list(dict.fromkeys(near))[: self.config.neighbours]:
                label = self._label(head)
                probe = self._probe(
                    "specificity", "neighbourhood", self.relations.edit_prompt([change.relation], label), tail
                )
                rival = self._label(change.object)
                yield Probe(**{**vars(probe), "rival": rival if tail != change.object else None})

    def untouched(self, rng: random.Random) -> Iterator[Probe]:
        """Facts that no change touches, over all relations, in held-out questions."""
        facts = [
            edge
            for relation in self.relations.names
            if self.relations[relation].functional
            for edge in self.graph.triples(relation)
            if self._settled(edge.head, relation)
        ]
        for head, relation, tail in rng.sample(facts, min(self.config.untouched, len(facts))):
            prompts = self.relations.fact_prompts(relation, self._label(head), "measure", "question")
            yield self._probe("untouched", "facts", rng.choice(prompts), tail)

    def multi_hop(self, rng: random.Random) -> Iterator[Probe]:
        """Questions whose chain passes through a change and whose answer is new, in held-out words."""
        found: dict[tuple[str, tuple[str, ...]], str] = {}
        chains = self._chains()
        for change in self.changes:
            for chain in chains:
                for place, relation in enumerate(chain):
                    if relation == change.relation:
                        side = "forward" if place == 0 else "backward" if place == len(chain) - 1 else "middle"
                        for head in self._heads(change.subject, chain[:place]):
                            found.setdefault((head, chain), side)
        usable = [(key, side) for key, side in found.items() if self._new_answer(*key)]
        chosen = rng.sample(usable, min(self.config.chains, len(usable)))
        for (head, chain), side in chosen:
            prompt = self.relations.draw(chain, self._label(head), "measure", "question", rng)
            old, new = follow(self.graph, head, chain), follow(self.overlay, head, chain)
            assert new is not None
            before = self._label(old[-1]) if old else None
            probe = self._probe("multi-hop", f"{len(chain)}-hop {side}", prompt, new[-1])
            yield Probe(**{**vars(probe), "rival": before, "before": before, "written": (head, chain) in self.written})

    def _chains(self) -> list[tuple[str, ...]]:
        """The chains worth asking about: those of the relation file, else all pairs the graph supports."""
        if self.relations.chains:
            return [chain for chain in self.relations.chains if len(chain) <= self.config.hops]
        pairs = set()
        for relation in self.relations.names:
            tails = {edge.tail for edge in self.graph.triples(relation)}
            pairs |= {(relation, then) for then in self.graph.relations(tails)}
        return sorted(
            pair for pair in pairs if all(name in self.relations and self.relations[name].functional for name in pair)
        )

    def _heads(self, node: str, before: Sequence[str]) -> list[str]:
        """Entities from which the relations `before` lead to a node in the edited graph."""
        nodes = {node}
        for relation in reversed(before):
            nodes = {head for tail in nodes for head in self.overlay.subjects(relation, tail)}
        return sorted(nodes)

    def _new_answer(self, head: str, chain: tuple[str, ...]) -> bool:
        old, new = follow(self.graph, head, chain), follow(self.overlay, head, chain)
        return new is not None and old is not None and new[-1] != old[-1] and new[-1] != head

    def _settled(self, head: str, relation: str) -> bool:
        """Whether a fact has one object and is the same before and after."""
        return (head, relation) not in self.touched and len(self.graph.objects(head, relation)) == 1

    def _edited(self, measure: str, split: str, change: FactChange, prompt: str) -> Probe:
        old = self.graph.objects(change.subject, change.relation)
        before = self._label(old[0]) if len(old) == 1 else change.was
        label, aliases = self._label(change.object), self.overlay.aliases(change.object)
        return Probe(measure, split, prompt, label, aliases, before, before)

    def _probe(self, measure: str, split: str, prompt: Prompt, answer: str) -> Probe:
        return Probe(measure, split, prompt.text, self._label(answer), self.overlay.aliases(answer), None)

    def _label(self, entity: str) -> str:
        return self.overlay.labels([entity])[entity]


def edit_prompt(relations: Relations, change: FactChange, label: str) -> Prompt:
    """The sentence a change is written in: its own `prompt` with one {} for the subject, or the relation's first."""
    own = change.meta.get("prompt")
    if isinstance(own, str) and own.count("{}") == 1:
        start = own.index("{}")
        return Prompt(own.replace("{}", label), (start, start + len(label)))
    return relations.edit_prompt([change.relation], label)
