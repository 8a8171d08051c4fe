"""Questions about a graph, made from the words of its relations: what a small actor learns from and is asked.

A question walks from one entity along one to three relations, outwards ("the capital of Peru") or inwards ("the country
whose capital is Lima"), and asks for what it reaches, all of it, or how many they are. As everywhere, forms that
measure are never taught (`upright.knowledge.relations`).
"""

import random
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from upright.knowledge.arrays import ArrayGraph
from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.relations import SLOT, Relation, Relations, Split, split_forms
from upright.run.folder import Message
from upright.traversal.config import Lessons
from upright.traversal.paths import Path, reach, take
from upright.traversal.questions import Question, write_questions
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
WHICH = (
    "Which {kind} has {} as its {what}?",
    "What is the {kind} whose {what} is {}?",
    "Name the {kind} whose {what} is {}.",
    "Which {kind} has the {what} {}?",
    "Of which {kind} is {} the {what}?",
    "Which is the {kind} that has {} as its {what}?",
)
ALL = (
    "Which {kinds} have {} as their {what}?",
    "Name all {kinds} whose {what} is {}.",
    "List the {kinds} that have {} as their {what}.",
    "What are the {kinds} whose {what} is {}?",
    "Which are the {kinds} with {} as their {what}?",
    "Tell me all {kinds} that have {} as their {what}.",
)
COUNT = (
    "How many {kinds} have {} as their {what}?",
    "Count the {kinds} whose {what} is {}.",
    "What is the number of {kinds} whose {what} is {}?",
    "How many are the {kinds} with {} as their {what}?",
    "How many {kinds} are there whose {what} is {}?",
    "Tell me how many {kinds} have {} as their {what}.",
)
MOST = 200  # answers of one question


def run(config: Lessons) -> Message:
    """Write the questions to a file.

    Raises:
        UserError: for a graph that cannot be read.
    """
    write_questions(config.file, written(config.kg, open_graph(config.kg), config.split, config.count, config.seed))
    return Message(message=f"{config.count:,} questions: {config.file}")


def written(kg: Sequence[str], graph: ArrayGraph, split: Split, count: int, seed: int) -> list[Question]:
    """So many questions about the graph that was opened from `kg`."""
    drawn = lessons(graph, open_relations(kg, graph), split, random.Random(seed))
    return [lesson.question for lesson in islice(drawn, count)]


class Lesson(NamedTuple):
    """A question, and the way that was meant."""

    question: Question
    path: Path
    counted: bool


def lessons(graph: KnowledgeGraph, relations: Relations, split: Split, rng: random.Random) -> Iterator[Lesson]:
    """Endless questions of one, two and three steps, as many of each; none twice."""
    ends = [end for edge in graph.triples() for end in (edge.head, edge.tail)]  # so the more facts, the more questions
    seen: set[str] = set()
    hops = 1
    while True:
        lesson = _lesson(graph, relations, split, rng.choice(ends), hops, rng)
        if lesson and lesson.question.question not in seen:
            seen.add(lesson.question.question)
            yield lesson
            hops = hops % 3 + 1


def _lesson(
    graph: KnowledgeGraph, relations: Relations, split: Split, seed: str, hops: int, rng: random.Random
) -> Lesson | None:
    path = _walk(graph, relations, seed, hops, rng)
    if path is None:
        return None
    found = reach(graph, frozenset([seed]), path)
    label = graph.labels([seed])[seed]
    many = len(found) > 1
    counted = many and path[-1].direction == "in" and rng.random() < 0.3
    text = _asked(relations, split, path, label, (many, counted), rng)
    if text is None:
        return None
    answer = [str(len(found))] if counted else sorted(graph.labels(found).values())
    question = Question(id=f"{hops}-{seed}-{text}", question=text, answer=tuple(answer), seeds=(seed,))
    return Lesson(question, path, counted)


def _walk(graph: KnowledgeGraph, relations: Relations, seed: str, hops: int, rng: random.Random) -> Path | None:
    """A random way of so many steps; only the last may reach more than one."""
    here, path = frozenset([seed]), list[Step]()
    for hop in range(hops):
        steps = [Step(name, "out") for name in graph.relations(here) if name in relations]
        steps += [Step(name, "in") for name in graph.relations(here, "in") if _inverse(relations, name)]
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


def _inverse(relations: Relations, name: str) -> bool:
    """Whether a relation can be asked for from its object: its subject is of one kind, and a noun names it."""
    return name in relations and " " not in relations[name].subject and bool(_whats(relations[name], "teach"))


def _whats(relation: Relation, split: Split) -> list[str]:
    """Nouns of a relation without what they are of: "capital city"."""
    found = [re.fullmatch(r"the ((?:[\w-]+ ){1,3})of \{\}", noun) for noun in split_forms(relation.nouns, split)]
    return [match[1].strip() for match in found if match and " that " not in match[0]]


def _asked(
    relations: Relations, split: Split, path: Path, label: str, number: tuple[bool, bool], rng: random.Random
) -> str | None:
    """The question in words; None where this split has no noun for a step."""
    phrase: str | None = label
    for step in path[:-1]:
        phrase = phrase and _phrase(relations, split, step, phrase, rng)
    if phrase is None:
        return None
    last = relations[path[-1].relation]
    if path[-1].direction == "in":
        many, counted = number
        forms = COUNT if counted else ALL if many else WHICH
        return _filled(last, split, forms, phrase, rng)
    direct = last.direct("question", split)
    noun = rng.choice(split_forms(last.nouns, split)).replace(SLOT, phrase)
    framed = [frame.replace("{np}", noun) for frame in relations.frames.forms("question", split)]
    text = rng.choice([rng.choice(direct).replace(SLOT, phrase), rng.choice(framed)])
    return text[:1].upper() + text[1:]


def _phrase(relations: Relations, split: Split, step: Step, phrase: str, rng: random.Random) -> str | None:
    relation = relations[step.relation]
    if step.direction == "out":
        return rng.choice(split_forms(relation.nouns, split)).replace(SLOT, phrase)
    return _filled(relation, split, WHO, phrase, rng)


def _filled(relation: Relation, split: Split, forms: Sequence[str], phrase: str, rng: random.Random) -> str | None:
    whats = _whats(relation, split) or _whats(relation, "teach")  # a held-out form with a taught noun is held out
    if not whats:
        return None
    form = rng.choice(split_forms(forms, split))
    kind = relation.subject
    return form.format(phrase, kind=kind, kinds=plural(kind), what=rng.choice(whats))


def plural(kind: str) -> str:
    """Of a regular English noun.

    >>> plural("country"), plural("language")
    ('countries', 'languages')
    """
    return f"{kind[:-1]}ies" if kind.endswith("y") and kind[-2:-1] not in "aeiou" else f"{kind}s"
