"""Questions about a graph, made from the words of its relations: what a small actor learns from and is asked.

A question walks from one entity along one to three relations, outwards ("the capital of Peru") or inwards ("the country
whose capital is Lima"), and asks for what it reaches, all of it, or how many they are. Others are answered by yes or
no, or by comparing (`upright.traversal.judgements`). As everywhere, forms that measure are never taught
(`upright.knowledge.relations`).
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from upright.errors import UserError
from upright.knowledge.arrays import ArrayGraph
from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.relations import SLOT, Relation, Relations, Split, split_forms
from upright.run.folder import Message
from upright.traversal.asking import filled, phrased, several, walk
from upright.traversal.config import LessonKind, Lessons
from upright.traversal.judgements import Judgements
from upright.traversal.paths import Path, reach
from upright.traversal.questions import Lesson, Question, write_questions

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
SEVERAL = (
    "What are the {}?",
    "Name all {}.",
    "List the {}.",
    "Which are the {}?",
    "Tell me all {}.",
    "Give the names of the {}.",
)
HOPS: dict[LessonKind, tuple[int, ...]] = {"sets": (1, 2, 3), "yes-no": (1, 2), "superlatives": (0, 1, 2)}
TRIES = 2000  # draws without a new question after which there are none left


def run(config: Lessons) -> Message:
    """Write the questions to a file.

    Raises:
        UserError: for a graph that cannot be read, or that has not so many questions.
    """
    graph = open_graph(config.kg)
    write_questions(config.file, written(config.kg, graph, config.split, config.count, config.seed, config.kinds))
    return Message(message=f"{config.count:,} questions: {config.file}")


def written(
    kg: Sequence[str], graph: ArrayGraph, split: Split, count: int, seed: int, kinds: Sequence[LessonKind] = tuple(HOPS)
) -> list[Question]:
    """So many questions about the graph that was opened from `kg`. Raises `UserError` where it has not so many."""
    drawn = lessons(graph, open_relations(kg, graph), split, random.Random(seed), kinds)
    found = [lesson.question for lesson in islice(drawn, count)]
    if len(found) < count:
        raise UserError(
            f"{', '.join(kg)}: only {len(found):,} different questions ({', '.join(kinds)}) were found, not {count:,}; "
            "ask for fewer, or for other kinds"
        )
    return found


def lessons(
    graph: KnowledgeGraph,
    relations: Relations,
    split: Split,
    rng: random.Random,
    kinds: Sequence[LessonKind] = ("sets",),
) -> Iterator[Lesson]:
    """Questions of each kind and number of steps in turn, as long as there are new ones; none twice."""
    ends = [end for edge in graph.triples() for end in (edge.head, edge.tail)]  # so the more facts, the more questions
    judgements = Judgements(graph, relations, split)
    seen: set[str] = set()
    turns = [(kind, hops) for kind in kinds for hops in HOPS[kind]] if ends else []
    tries = dict.fromkeys(turns, 0)
    while turns:
        kind, hops = turns[0]
        seed = rng.choice(ends)
        made = (
            _lesson(graph, relations, split, seed, hops, rng)
            if kind == "sets"
            else judgements.of(kind, seed, hops, rng)
        )
        if made and made.question.question not in seen:
            seen.add(made.question.question)
            yield made
            tries[turns[0]] = 0
            turns.append(turns.pop(0))
        elif tries[turns[0]] == TRIES:
            turns.pop(0)
        else:
            tries[turns[0]] += 1


def _lesson(
    graph: KnowledgeGraph, relations: Relations, split: Split, seed: str, hops: int, rng: random.Random
) -> Lesson | None:
    path = walk(graph, relations, seed, hops, rng)
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
    return Lesson(question, path, f"count #{len(path) + 1}" if counted else "")


def _asked(
    relations: Relations, split: Split, path: Path, label: str, number: tuple[bool, bool], rng: random.Random
) -> str | None:
    """The question in words; None where this split has no noun for a step."""
    inner = phrased(relations, split, path[:-1], label, rng)
    if inner is None:
        return None
    last = relations[path[-1].relation]
    if path[-1].direction == "in":
        many, counted = number
        forms = COUNT if counted else ALL if many else WHICH
        return filled(last, split, forms, inner, rng)
    if number[0] and rng.random() < 0.5 and (text := _several(last, split, rng)):
        return text.replace(SLOT, inner)
    direct = last.direct("question", split)
    noun = rng.choice(split_forms(last.nouns, split)).replace(SLOT, inner)
    framed = [frame.replace("{np}", noun) for frame in relations.frames.forms("question", split)]
    text = rng.choice([rng.choice(direct).replace(SLOT, inner), rng.choice(framed)])
    return text[:1].upper() + text[1:]


def _several(relation: Relation, split: Split, rng: random.Random) -> str | None:
    """A question for all that a relation leads to; None where it has no noun for several things."""
    nouns = [text for noun in split_forms(relation.nouns, split) if (text := several(noun))]
    if not nouns:
        return None
    noun = rng.choice(nouns)
    plain = f"Which {noun.replace(' that ', ' ', 1)}?" if " that " in noun else None
    framed = [form.format(noun) for form in split_forms(SEVERAL, split)]  # the slot of the noun stays
    return rng.choice([*framed, *([plain] * (len(framed) // 2) if plain else [])])
