"""A graph as sentences: every fact and chain in changing words."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from upright.knowledge.graph import KnowledgeGraph, follow
from upright.knowledge.relations import Kind, Prompt, Relations

KINDS: tuple[Kind, ...] = ("statement", "question")


class Fact(NamedTuple):
    """A chain of relations from a head to the one answer at its end, by labels; one relation is a plain fact."""

    chain: tuple[str, ...]
    head: str
    answer: str


def facts(graph: KnowledgeGraph, chains: Sequence[tuple[str, ...]], unlike: KnowledgeGraph | None = None) -> list[Fact]:
    """Every fact of these chains whose answer is unique at each step and not the head itself.

    Args:
        unlike: leave out what has another answer in this graph.
    """
    found = []
    for chain in chains:
        for head in sorted({edge.head for edge in graph.triples(chain[0])}):
            met = follow(graph, head, chain)
            if met is None or met[-1] == head or (unlike is not None and follow(unlike, head, chain) != met):
                continue
            labels = graph.labels([head, met[-1]])
            found.append(Fact(chain, labels[head], labels[met[-1]]))
    return found


def taught(graph: KnowledgeGraph, relations: Relations, unlike: KnowledgeGraph | None = None) -> list[Fact]:
    """All single facts of functional relations and all chains the relation file asks for."""
    single = [(name,) for name in relations.names if relations[name].functional]
    return facts(graph, [*single, *relations.chains], unlike)


def sentence(fact: Fact, relations: Relations, rng: random.Random) -> tuple[Prompt, str]:
    """One wording of a fact, drawn from the taught forms: the prompt and the answer that follows it."""
    kind = rng.choice(KINDS)
    if len(fact.chain) == 1 and rng.random() < 0.5:
        prompt = rng.choice(relations.fact_prompts(fact.chain[0], fact.head, "teach", kind))
    else:
        prompt = relations.draw(fact.chain, fact.head, "teach", kind, rng)
    return prompt, fact.answer
