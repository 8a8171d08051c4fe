"""Changed facts: each asked of the graph as it was and with its change on top, one change at a time and all at once.

The lab's own small actor reads the graph, asked in words that it was taught and in words held out from it. It may take
one relation for another, whatever the graph says; so answers that rest on the relation of the change are also counted
by themselves.
"""

import asyncio
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import Bench, Cell, Section, finished, relabelled, table
from upright.knowledge.arrays import ArrayGraph
from upright.knowledge.changes import FactChange, check_changes, counterfactuals, write_changes
from upright.knowledge.federation import readers
from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.overlay import Overlay
from upright.knowledge.relations import SLOT, Relations, Split
from upright.models.chat import Client, open_chat
from upright.models.chat.config import ChatConfig, ChatSpeed
from upright.run.evidence import Metric, proportion
from upright.run.files import read_jsonl
from upright.traversal.config import Config
from upright.traversal.prompts import Compact
from upright.traversal.questions import Question, write_questions
from upright.traversal.search import Literals, Searcher, Settings
from upright.traversal.seeds import seeds_of
from upright.traversal.style import manner_of

WORLD, MODEL = "lab:atlas", "lab:traveller"
COUNT = 100
WORDS: dict[str, Split] = {"taught words": "edit", "held-out words": "measure"}
ALONE, TOGETHER, BEFORE, ELSEWHERE = (
    "its change alone",
    "all changes at once (`--changes`)",
    "the graph as it was",
    "the change of another fact alone",
)
EXPECTED = {ALONE: "new", TOGETHER: "new", BEFORE: "old", ELSEWHERE: "old"}


class Given(NamedTuple):
    """An answer, and the relations of the facts it rests on."""

    labels: tuple[str, ...]
    relations: frozenset[str]


Answers = list[Given]


@dataclass(frozen=True)
class World:
    """A graph, the words of its relations, and changes by ids."""

    graph: ArrayGraph
    relations: Relations
    changes: Sequence[FactChange]

    @classmethod
    def drawn(cls, count: int) -> "World":
        """The lab's world with so many counterfactual changes."""
        graph = open_graph(WORLD)
        relations = open_relations(WORLD, graph)
        changes = counterfactuals(graph, relations, count, seed=0)
        return cls(graph, relations, check_changes(changes, graph, relations).require())

    def questions(self, split: Split) -> list[Question]:
        """The question of each changed fact, in the first words of the split."""
        labels = self.graph.labels(change.subject for change in self.changes)
        forms = [self.relations[change.relation].direct("question", split)[0] for change in self.changes]
        texts = [form.replace(SLOT, labels[change.subject]) for form, change in zip(forms, self.changes, strict=True)]
        return [Question(id=str(number), question=text) for number, text in enumerate(texts)]

    def overlay(self, number: int) -> Overlay:
        """The graph with one change."""
        return Overlay(self.graph, [self.changes[number]], self.relations)

    def labels(self, ids: Iterable[str | None]) -> list[str]:
        """Labels of objects."""
        named = [id or "" for id in ids]
        labels = self.graph.labels(named)
        return [labels[id] for id in named]


def run(bench: Bench) -> Section:
    """Ask every changed fact under all conditions; nothing is read back from earlier, as the lab's model may change."""
    here = bench.out / "changes"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    world = World.drawn(8 if bench.quick else COUNT)
    write_changes(here / "changes.jsonl", world.changes)
    found: dict[tuple[str, str], Answers] = {}
    for words, split in WORDS.items():
        questions = world.questions(split)
        for condition, answers in asyncio.run(_one_at_a_time(world, questions, here / "cache")).items():
            found[condition, words] = answers
        found[TOGETHER, words] = _all_at_once(here, questions, split)
    return _section(world, found)


# --- asking ----------------------------------------------------------------------------------------------------


async def _one_at_a_time(world: World, questions: Sequence[Question], cache: Path) -> dict[str, Answers]:
    """Each question without a change, with its own, and with that of the question before it; the model loaded once."""
    chat = ChatConfig(model=MODEL, raw=True, speed=ChatSpeed(cache=cache))
    found: dict[str, Answers] = {BEFORE: [], ALONE: [], ELSEWHERE: []}
    async with open_chat(chat) as client:
        for number, question in enumerate(questions):
            found[BEFORE].append(await _answer(world.graph, client, question))
            found[ALONE].append(await _answer(world.overlay(number), client, question))
            found[ELSEWHERE].append(await _answer(world.overlay(number - 1), client, question))
    return found


async def _answer(graph: KnowledgeGraph, client: Client, question: Question) -> Given:
    manner = manner_of(ChatConfig(model=MODEL))
    assert manner is not None
    settings = Settings(depth=manner.depth, omit=manner.omit)
    searcher = Searcher(graph, client, Compact(), Literals(*readers(graph)), settings)
    outcome = await searcher.answer(question.question, seeds_of(graph, question))
    return _given(outcome.labels, outcome.answer.evidence if outcome.answer else ())


def _given(labels: Iterable[str], evidence: Iterable[Sequence[str]]) -> Given:
    return Given(tuple(labels), frozenset(relation for _, relation, _ in evidence))


def _all_at_once(here: Path, questions: Sequence[Question], split: Split) -> Answers:
    """The answers of `upright ask --changes`."""
    file = here / f"questions-{split}.jsonl"
    write_questions(file, questions)
    config = Config(
        questions=file,
        kg=[WORLD],
        changes=here / "changes.jsonl",
        chat=ChatConfig(model=MODEL),
        out=here / f"together-{split}",
    )
    rows = read_jsonl(finished(config, "ask").path / "answers.jsonl")
    return [_given(row["answer"], row["evidence"]) for row in rows]


# --- numbers ---------------------------------------------------------------------------------------------------


def _section(world: World, found: Mapping[tuple[str, str], Answers]) -> Section:
    section = Section(f"Changes: {len(world.changes)} facts of {WORLD}, read by {MODEL}")
    wanted = {
        "new": world.labels(change.object for change in world.changes),
        "old": world.labels(change.was for change in world.changes),
    }
    rows: dict[str, list[Cell]] = {}
    for (condition, expected), words in product(EXPECTED.items(), WORDS):
        answers = found[condition, words]
        shares = [_share(f"the {side} answer", answers, wanted[side]) for side in ("new", "old")]
        shares.append(_of_relation(world, answers, wanted[expected]))
        rows[f"{condition}, {words}"] = [*shares, f"always the {expected}"]
        section.metrics += [one for share in shares for one in relabelled(share, f"{condition}, {words}")]
    columns = ["the new answer", "the old answer", "as asked for, of those that rest on the relation", "asked for"]
    section.tables.append(table(rows, columns))
    section.notes += [
        "Changes: counterfactuals, drawn by seed evenly over the functional relations, each asked by its own question; "
        "the question's entities are found by their names.",
        "Taught words: the first question of a relation; held-out words: one that the actor never saw.",
        "An answer counts if it is the one object and nothing else.",
        *_others(world, found[ALONE, "taught words"], wanted["new"]),
    ]
    return section


def _share(name: str, answers: Answers, wanted: Sequence[str]) -> Metric:
    right = sum(answer.labels == (one,) for answer, one in zip(answers, wanted, strict=True))
    return proportion(name, right, len(wanted))


def _of_relation(world: World, answers: Answers, wanted: Sequence[str]) -> Metric:
    """Share as asked for, among the answers with facts of the changed relation in their evidence."""
    rows = zip(world.changes, answers, wanted, strict=True)
    some = [(answer, one) for change, answer, one in rows if change.relation in answer.relations]
    return _share("as asked for, by the relation", [answer for answer, _ in some], [one for _, one in some])


def _others(world: World, answers: Answers, wanted: Sequence[str]) -> list[str]:
    """Answers under the change alone that are not the new one, each in a line."""
    return [
        f"Asked {change.relation} of {change.subject}, should be {one}: got {'; '.join(answer.labels) or 'nothing'} "
        f"by {', '.join(sorted(answer.relations)) or 'no fact'}."
        for change, answer, one in zip(world.changes, answers, wanted, strict=True)
        if answer.labels != (one,)
    ]
