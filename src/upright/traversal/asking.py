"""Ways through a graph in words: noun phrases for where they lead, and nouns for what relations are.

As everywhere, forms that measure are never taught (`upright.knowledge.relations`).
"""

import random
import re
from collections.abc import Sequence

from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.relations import SLOT, Relation, Relations, Split, split_forms
from upright.traversal.paths import Path, take
from upright.traversal.state import Step

WHO = (
    "the {kind} whose {what} is {}",
    "the {kind} that has {} as its {what}",
    "the {kind} with {} as its {what}",
    "the {kind} for which {} is the {what}",
    "the {kind} that has the {what} {}",
    "the {kind} of which the {what} is {}",
    "the {kind} which has {} as {what}",
)
MOST = 200  # entities at the end of a way


def walk(graph: KnowledgeGraph, relations: Relations, seed: str, hops: int, rng: random.Random) -> Path | None:
    """A random way of so many steps; only the last may reach more than one."""
    here, path = frozenset([seed]), list[Step]()
    for hop in range(hops):
        steps = [Step(name, "out") for name in graph.relations(here) if name in relations]
        steps += [Step(name, "in") for name in graph.relations(here, "in") if inverse(relations, name)]
        fitting = [step for step in steps if not path or step.relation != path[-1].relation]
        rng.shuffle(fitting)
        for step in fitting:
            there = take(graph, here, step) - {seed}
            if 0 < len(there) <= (MOST if hop == hops - 1 else 1):
                break
        else:
            return None
        here = there
        path.append(step)
    return tuple(path)


def phrased(relations: Relations, split: Split, path: Path, label: str, rng: random.Random) -> str | None:
    """A noun phrase for where a path leads from what is called `label`; None where a step has no noun in this split."""
    inner: str | None = label
    for step in path:
        inner = inner and phrase(relations, split, step, inner, rng)
    return inner


def inverse(relations: Relations, name: str) -> bool:
    """Whether a relation can be asked for from its object: its subject is of one kind, and a noun names it."""
    return name in relations and " " not in relations[name].subject and bool(whats(relations[name], "teach"))


def whats(relation: Relation, split: Split) -> list[str]:
    """Nouns of a relation without what they are of: "capital city"."""
    found = [re.fullmatch(r"the ((?:[\w-]+ ){1,3})of \{\}", noun) for noun in split_forms(relation.nouns, split)]
    return [match[1].strip() for match in found if match and " that " not in match[0]]


def phrase(relations: Relations, split: Split, step: Step, inner: str, rng: random.Random) -> str | None:
    """What a step leads to from `inner`: "the capital of Peru", "the country whose capital is Lima"."""
    relation = relations[step.relation]
    if step.direction == "out":
        return rng.choice(split_forms(relation.nouns, split)).replace(SLOT, inner)
    return filled(relation, split, WHO, inner, rng)


def filled(relation: Relation, split: Split, forms: Sequence[str], inner: str, rng: random.Random) -> str | None:
    """A form about what has the relation to `inner`; None where no noun names the relation."""
    nouns = whats(relation, split) or whats(relation, "teach")  # a held-out form with a taught noun is held out
    if not nouns:
        return None
    form = rng.choice(split_forms(forms, split))
    kind = relation.subject
    return form.format(inner, kind=kind, kinds=plural(kind), what=rng.choice(nouns))


def plural(kind: str) -> str:
    """Of a regular English noun.

    >>> plural("country"), plural("language")
    ('countries', 'languages')
    """
    return f"{kind[:-1]}ies" if kind.endswith("y") and kind[-2:-1] not in "aeiou" else f"{kind}s"


def several(noun: str) -> str | None:
    """A noun with "a" for several things: what it is of stays; None for other nouns.

    >>> several("a country that borders {}"), several("a neighbouring country of {}")
    ('countries that border {}', 'neighbouring countries of {}')
    >>> several("a country that is a neighbour of {}"), several("the capital of {}")
    ('countries that are neighbours of {}', None)
    """
    clause = r"(?: that (?:is an? (?P<is_>[\w-]+)|(?P<does>[\w-]+)s))?"
    rest = r"(?P<rest> (?:of|next|with|in|to|for|on|\{\}).*)"
    found = re.fullmatch(rf"an? (?P<kind>(?:[\w-]+ )*?)(?P<noun>[\w-]+){clause}{rest}", noun)
    if found is None:
        return None
    said = f" that are {plural(found['is_'])}" if found["is_"] else f" that {found['does']}" if found["does"] else ""
    return f"{found['kind']}{plural(found['noun'])}{said}{found['rest']}"
