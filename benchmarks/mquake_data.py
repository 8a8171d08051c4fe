"""MQuAKE cases as a graph with words, fact changes and questions.

The graph states the world before the edits: all original triples and the true object of every edited fact.
Conflicts are settled before anything is written, the first claim standing: two edits that would read the same
because their subjects share a label, and facts of homonyms that read the same.
"""

import json
import random
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upright.knowledge.changes import FactChange, write_changes
from upright.knowledge.graph import Edge
from upright.run.files import write_text

INVENTED = "invented"
"""Folder in a world's folder with the facts of subjects that exist nowhere."""
WORDS = Path(__file__).with_name("mquake_relations.toml")


@dataclass(frozen=True)
class Hop:
    """A single edited step of a case: the data set's cloze text and what should follow it after the edits."""

    edge: Edge
    cloze: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """One chain of facts, asked for in three ways."""

    number: int
    head: str
    path: tuple[str, ...]
    questions: tuple[str, ...]
    old: tuple[str, ...]
    """Answer before the edits, with its aliases."""
    new: tuple[str, ...]
    hops: tuple[Hop, ...]


@dataclass(frozen=True)
class MQuake:
    """The benchmark's world and what is asked about it, ids throughout."""

    facts: list[Edge]
    edits: list[Edge]
    cases: list[Case]
    labels: dict[str, str]
    aliases: dict[str, list[str]]
    left_out: dict[str, int] = field(default_factory=dict)
    """Why facts, edits and cases were left out, and how many."""

    @property
    def chains(self) -> list[tuple[str, ...]]:
        """All runs of two and more relations inside the cases' chains: what the model is taught to follow."""
        paths = {case.path for case in self.cases}
        parts = {
            path[start:end] for path in paths for start in range(len(path)) for end in range(start + 2, len(path) + 1)
        }
        return sorted(parts, key=lambda chain: (len(chain), chain))


def read(path: Path, limit: int | None = None) -> MQuake:
    """Read the published file, or its first `limit` cases, and settle their conflicts."""
    rows = json.loads(path.read_text(encoding="utf-8"))[:limit]
    labels, aliases = _names(rows)
    facts, edits = _edges(rows)
    kept_facts = first_of_each(facts, labels)
    heads = {edge.head for edge in kept_facts}
    known = [edge for edge in edits if edge.head in heads]
    kept_edits = first_of_each(known, labels)
    cases = [_case(row) for row in rows]
    kept = [case for case in cases if all(hop.edge in set(kept_edits) for hop in case.hops)]
    left_out = {
        "facts that read like another, of a homonym": len(facts) - len(kept_facts),
        "edits of a subject without any fact left": len(edits) - len(known),
        "edits that contradict an earlier one, of the same subject or a homonym": len(known) - len(kept_edits),
        "cases that need such an edit": len(cases) - len(kept),
    }
    return MQuake(kept_facts, kept_edits, kept, labels, aliases, {why: n for why, n in left_out.items() if n})


def first_of_each(edges: Iterable[Edge], labels: Mapping[str, str]) -> list[Edge]:
    """The edges without those that state another object for a subject (by label) and relation stated before."""
    said: dict[tuple[str, str], Edge] = {}
    kept = []
    for edge in dict.fromkeys(edges):
        first = said.setdefault((labels[edge.head], edge.relation), edge)
        if labels[first.tail] == labels[edge.tail]:
            kept.append(edge)
    return kept


def _names(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    labels: dict[str, str] = {}
    aliases: dict[str, list[str]] = {}
    for row in rows:
        orig = row["orig"]
        for kind, hops in (("triples", row["single_hops"]), ("new_triples", row["new_single_hops"])):
            for (head, _, tail), (head_label, _, tail_label), hop in zip(
                orig[kind], orig[f"{kind}_labeled"], hops, strict=True
            ):
                labels.setdefault(head, head_label)
                labels.setdefault(tail, tail_label)
                aliases.setdefault(tail, [name for name in hop["answer_alias"] if name.strip()])
        for edit in row["requested_rewrite"]:
            labels.setdefault(edit["target_true"]["id"], edit["target_true"]["str"])
    return labels, aliases


def _edges(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Edge], list[Edge]]:
    """Facts before, and edits, in the order of the file."""
    facts, edits = [], []
    for row in rows:
        facts += [Edge(*triple) for triple in row["orig"]["triples"]]
        for edit, triple in zip(row["requested_rewrite"], row["orig"]["edit_triples"], strict=True):
            facts.append(Edge(triple[0], triple[1], edit["target_true"]["id"]))
            edits.append(Edge(*triple))
    return list(dict.fromkeys(facts)), list(dict.fromkeys(edits))


def _case(row: Mapping[str, Any]) -> Case:
    orig = row["orig"]
    return Case(
        number=row["case_id"],
        head=orig["triples"][0][0],
        path=tuple(triple[1] for triple in orig["triples"]),
        questions=tuple(row["questions"]),
        old=(row["answer"], *row["answer_alias"]),
        new=(row["new_answer"], *row["new_answer_alias"]),
        hops=tuple(
            Hop(Edge(*triple), hop["cloze"], (hop["answer"], *hop["answer_alias"]))
            for triple, hop in zip(orig["new_triples"], row["new_single_hops"], strict=True)
        ),
    )


# --- invented subjects -----------------------------------------------------------------------------------------

LEAST = 30
"""Invented facts of a relation, at the least."""
# fmt: off
_SYLLABLES = (
    "ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va", "we",
    "xi", "yo", "zu", "bran", "clar", "dren", "fles", "grim", "plon", "stav", "trel",
)
# fmt: on


def invented(data: MQuake, seed: int = 0) -> tuple[list[Edge], dict[str, str]]:
    """Facts of subjects that exist nowhere, and their labels: every object of a relation, old and new, answers one.

    A large model has read every object as an answer of its relation somewhere. A small one that is taught the facts
    before the edits alone has not: three quarters of the edits would write a word that never answered that question.
    """
    rng = random.Random(seed)
    objects: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for edge in (*data.facts, *data.edits):
        objects[edge.relation][edge.tail] = None
    facts: list[Edge] = []
    labels: dict[str, str] = {}
    for relation, tails in objects.items():
        least = -(-LEAST // len(tails))
        for tail in [*tails] * least:
            subject = f"invented-{len(labels)}"
            labels[subject] = _new_name(rng, {*data.labels.values(), *labels.values()})
            facts.append(Edge(subject, relation, tail))
    return facts, labels


def _new_name(rng: random.Random, taken: set[str]) -> str:
    while True:
        words = ("".join(rng.choices(_SYLLABLES, k=size)).capitalize() for size in (2, 3))
        if (name := " ".join(words)) not in taken:
            return name


# --- files -----------------------------------------------------------------------------------------------------


def write_world(data: MQuake, folder: Path) -> Path:
    """Write graphs, names, words and changes as upright reads them; the file of the changes."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / INVENTED).mkdir(parents=True)
    facts, labels = invented(data)
    write_text(folder / INVENTED / "facts.tsv", _tsv(facts))
    write_text(folder / INVENTED / "labels.tsv", _tsv(labels.items()))
    write_text(folder / "facts.tsv", _tsv(sorted(data.facts)))
    write_text(folder / "labels.tsv", _tsv(sorted(data.labels.items())))
    write_text(folder / "aliases.tsv", _tsv((key, name) for key in sorted(data.aliases) for name in data.aliases[key]))
    chains = "".join(f"  {json.dumps(chain)},\n" for chain in data.chains)
    write_text(folder / "relations.toml", f"chains = [\n{chains}]\n\n{WORDS.read_text(encoding='utf-8')}")
    changes = folder / "changes.jsonl"
    write_changes(changes, [FactChange(subject=e.head, relation=e.relation, object=e.tail) for e in data.edits])
    return changes


def _tsv(rows: Iterable[Sequence[str]]) -> str:
    return "".join("\t".join(" ".join(name.split()) for name in row) + "\n" for row in rows)
