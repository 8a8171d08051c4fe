"""MetaQA as packaged for knowledge-graph models: the film graph by names, and its questions with their golds.

Two entities of one name are one here, as in the questions, where names are the keys. The graph is incomplete, so
not all golds can be reached.
"""

import random
import re
from pathlib import Path

from upright.knowledge.memory import MemoryGraph
from upright.traversal.questions import Question

HOPS = (1, 2, 3)


def read_graph(folder: Path) -> MemoryGraph:
    """All triples, by the names of entities and relations."""
    names, relations = _names(folder / "entity2text.txt"), _names(folder / "relation2text.txt")
    rows = (line.split("\t") for part in ("train", "dev", "test") for line in _lines(folder / f"triples.{part}.tsv"))
    return MemoryGraph((names[int(head)], relations[int(relation)], names[int(tail)]) for head, relation, tail in rows)


def read_questions(folder: Path, hops: int) -> list[Question]:
    """The questions of so many hops; the entity in brackets is where they start."""
    found = []
    for number, line in enumerate(_lines(folder / f"{hops}-hop.dev.txt"), 1):
        text, golds = line.split("\t")
        seed = re.search(r"\[(.*)\]", text)
        assert seed, line
        asked = text.replace(f"[{seed[1]}]", seed[1])
        found.append(Question(id=f"{hops}-{number}", question=asked, answer=tuple(golds.split("|")), seeds=(seed[1],)))
    return found


def halves(questions: list[Question], seed: int = 0) -> tuple[list[Question], list[Question]]:
    """The half to learn from, and the half that is asked."""
    drawn = random.Random(seed).sample(questions, len(questions))
    return drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]


def _names(path: Path) -> list[str]:
    """Names by number. The number is that of the line: one line of the file states another's."""
    return [line.split("\t")[1].strip() for line in _lines(path)]


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
