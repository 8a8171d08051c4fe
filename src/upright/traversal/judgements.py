"""Questions that are answered by yes or no, and by comparing: "Is Lima the capital of Peru?", "Which is the larger?".

Numbers and dates are compared where all entities of a set have them (`Machine.superlatives`).
"""

import random
from collections.abc import Sequence
from typing import Literal

from upright.knowledge.federation import readers
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.relations import Relations, Split, split_forms
from upright.traversal.answers import Extreme, Members, Superlative
from upright.traversal.asking import filled, phrased, walk, whats
from upright.traversal.machine import Machine, Rules
from upright.traversal.paths import Path, reach
from upright.traversal.questions import Lesson, Question

JUDGE = (
    "Is {one} {what}?",
    "Is it true that {one} is {what}?",
    "Can you confirm that {one} is {what}?",
    "Would you say that {one} is {what}?",
    "Is {what} really {one}?",
    "Do you agree that {one} is {what}?",
)
COMPARE = (
    "Which has the {most} {measure}, {all}?",
    "Of {all}, which has the {most} {measure}?",
    "Compare {all}: which has the {most} {measure}?",
    "Among {all}, which one has the {most} {measure}?",
    "Tell me which has the {most} {measure}: {all}.",
)
EXTREME = (
    "Which {kind} with {} as its {what} has the {most} {measure}?",
    "Of the {kinds} whose {what} is {}, which has the {most} {measure}?",
    "Name the {kind} with the {most} {measure} whose {what} is {}.",
    "Which of the {kinds} that have {} as their {what} has the {most} {measure}?",
    "Among the {kinds} with {} as their {what}, which one has the {most} {measure}?",
)
MOST: dict[Superlative, str] = {"largest": "largest", "smallest": "smallest", "first": "earliest", "last": "latest"}
COMPARED = 3  # entities, at most, in a question that names them all


class Judgements:
    """Makes such questions about one graph."""

    def __init__(self, graph: KnowledgeGraph, relations: Relations, split: Split) -> None:
        self.graph, self.relations, self.split = graph, relations, split
        self.machine = Machine(graph, Rules(), *readers(graph))

    def of(self, kind: Literal["yes-no", "superlatives"], seed: str, hops: int, rng: random.Random) -> Lesson | None:
        """A question that starts from an entity; None where chance led to none."""
        if kind == "yes-no":
            return self._verdict(seed, hops, rng)
        return self._extreme(seed, hops, rng) if hops else self._comparison(seed, rng)

    # --- yes or no ---

    def _verdict(self, seed: str, hops: int, rng: random.Random) -> Lesson | None:
        """Of the one thing that a path leads to, or of another thing of its kind: both as often."""
        path = walk(self.graph, self.relations, seed, hops, rng)
        found = sorted(reach(self.graph, frozenset([seed]), path)) if path else []
        if path is None or len(found) != 1:
            return None
        yes = rng.random() < 0.5
        others = sorted(self._alike(path) - {seed, *found})
        what = phrased(self.relations, self.split, path, self._label(seed), rng)
        if what is None or not (yes or others):
            return None
        one = found[0] if yes else rng.choice(others)
        text = rng.choice(split_forms(JUDGE, self.split)).format(one=self._label(one), what=what)
        question = self._question(text, "yes-no", hops, ["yes" if yes else "no"], [seed, one])
        return Lesson(question, path, f"is #1 in #{hops + 1}", seed)

    def _alike(self, path: Path) -> set[str]:
        """All that the last step leads to from anywhere."""
        relation, direction = path[-1]
        return {edge.tail if direction == "out" else edge.head for edge in self.graph.triples(relation)}

    # --- comparing ---

    def _extreme(self, seed: str, hops: int, rng: random.Random) -> Lesson | None:
        """Of all that has some relation to something, the one with the largest or smallest, first or last."""
        path = walk(self.graph, self.relations, seed, hops, rng)
        if path is None or path[-1].direction == "out":
            return None
        picked = self._picked(reach(self.graph, frozenset([seed]), path), hops + 1, rng)
        inner = phrased(self.relations, self.split, path[:-1], self._label(seed), rng)
        if picked is None or inner is None:
            return None
        form, measure, answer = picked
        forms = [one.replace("{most}", MOST[form.which]).replace("{measure}", measure) for one in EXTREME]
        text = filled(self.relations[path[-1].relation], self.split, forms, inner, rng)
        if text is None:
            return None
        return Lesson(self._question(text, "superlative", hops, answer, [seed]), path, str(form))

    def _comparison(self, seed: str, rng: random.Random) -> Lesson | None:
        """Of two or three entities that have the same relation to something."""
        path = walk(self.graph, self.relations, seed, 1, rng)
        found = sorted(reach(self.graph, frozenset([seed]), path)) if path and path[-1].direction == "in" else []
        if len(found) < 2:
            return None
        named = rng.sample(found, min(len(found), rng.randint(2, COMPARED)))
        picked = self._picked(frozenset(named), 1, rng)
        if picked is None:
            return None
        form, measure, answer = picked
        *firsts, last = map(self._label, named)
        words = {"most": MOST[form.which], "measure": measure, "all": f"{', '.join(firsts)} or {last}"}
        text = rng.choice(split_forms(COMPARE, self.split)).format(**words)
        return Lesson(self._question(text, "superlative", 0, answer, named), (), str(form))

    def _picked(
        self, entities: frozenset[str], number: int, rng: random.Random
    ) -> tuple[Extreme, str, list[str]] | None:
        """A superlative that tells some of a set apart from the others, its measure in words, and whom it picks."""
        ids = tuple(sorted(entities))
        if len(ids) < 2:
            return None
        options = [
            (which, relation)
            for relation in self.machine.counts(ids, "out")
            for which, label in self.machine.superlatives(ids)
            if label == self.machine.names.shown(relation) and relation in self.relations
        ]
        if not options:
            return None
        which, relation = rng.choice(options)
        nouns = whats(self.relations[relation], self.split) or whats(self.relations[relation], "teach")
        form = Extreme(which, Members(1), self.machine.names.shown(relation))
        answer = form.answer(self.machine.reading(self.machine.start("", ids)))
        if not nouns or answer.notes or len(answer.ids) == len(ids):
            return None  # what has no value, or all the same, is no question
        return Extreme(which, Members(number), form.relation), rng.choice(nouns), sorted(answer.labels)

    # --- both ---

    def _label(self, entity: str) -> str:
        return self.graph.labels([entity])[entity]

    @staticmethod
    def _question(text: str, kind: str, hops: int, answer: Sequence[str], seeds: Sequence[str]) -> Question:
        text = text[:1].upper() + text[1:]
        return Question(id=f"{kind}-{hops}-{seeds[0]}-{text}", question=text, answer=tuple(answer), seeds=tuple(seeds))
