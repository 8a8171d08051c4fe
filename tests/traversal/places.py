"""A world of six invented countries with numbers and dates, as files: what a tiny actor learns from."""

import random
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from upright.knowledge.arrays import ArrayGraph
from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.relations import Relations, Split
from upright.traversal.config import LessonKind
from upright.traversal.lessons import lessons
from upright.traversal.questions import Lesson, Question

FACTS = [
    ("Avela", "capital", "Ombra"),
    ("Brisk", "capital", "Pell"),
    ("Corvo", "capital", "Quill"),
    ("Dunmar", "capital", "Rusk"),
    ("Elland", "capital", "Sorn"),
    ("Fairn", "capital", "Tovik"),
    ("Avela", "continent", "Northland"),
    ("Brisk", "continent", "Northland"),
    ("Corvo", "continent", "Northland"),
    ("Dunmar", "continent", "Southland"),
    ("Elland", "continent", "Southland"),
    ("Fairn", "continent", "Southland"),
    ("Avela", "population", "31"),
    ("Brisk", "population", "52"),
    ("Corvo", "population", "7"),
    ("Dunmar", "population", "3"),
    ("Elland", "population", "90"),
    ("Fairn", "population", "18"),
    ("Avela", "opening date", "1821-07-28"),
    ("Brisk", "opening date", "1910"),
    ("Corvo", "opening date", "1848-02"),
    ("Dunmar", "opening date", "1960"),
    ("Elland", "opening date", "1776-07-04"),
    ("Fairn", "opening date", "1990-10-03"),
]
NOUNS = (
    "the {0} of {{}}",
    "the {0} given for {{}}",
    "the {0} that {{}} has",
    "the official {0} of {{}}",
    "the {0} on {{}}",
)
ASKED = ("What is the {0} of {{}}?", "Give the {0} of {{}}.", "Which {0} has {{}}?", "Say the {0} {{}} has.")
STATED = ("The {0} of {{}} is", "As to {{}}, its {0} is", "It is known of {{}} that its {0} is", "The {0} {{}} has is")


def write_places(folder: Path) -> Path:
    """The world: facts.tsv and relations.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "facts.tsv").write_text("".join("\t".join(fact) + "\n" for fact in FACTS))
    rows = []
    for name in ("capital", "continent", "population", "opening date"):
        rows += [f'[relations."{name}"]', 'subject = "country"', f'object = "{name}"']
        for key, forms in (("nouns", NOUNS), ("questions", ASKED), ("statements", STATED)):
            rows.append(f"{key} = {[form.format(name) for form in forms]}")
    (folder / "relations.toml").write_text("\n".join(rows) + "\n")
    return folder


class Places(NamedTuple):
    """The world, opened."""

    graph: ArrayGraph
    relations: Relations

    def lessons(self, split: Split, count: int, kinds: Sequence[LessonKind] = ("sets",), seed: int = 0) -> list[Lesson]:
        """So many questions with what was meant."""
        return list(islice(lessons(self.graph, self.relations, split, random.Random(seed), kinds), count))

    def asked(self, split: Split, count: int, kinds: Sequence[LessonKind] = ("sets",)) -> list[Question]:
        """So many questions."""
        return [lesson.question for lesson in self.lessons(split, count, kinds)]


def places_of(folder: Path) -> Places:
    """The world, written to a folder."""
    spec = [str(write_places(folder))]
    graph = open_graph(spec)
    return Places(graph, open_relations(spec, graph))
