"""Fact changes: read them, check them against a graph, draw counterfactual ones.

A file of changes is JSONL, one ``{"subject", "relation", "object"}`` a line, with an optional ``"was"`` (the
object so far) and any further fields, which are kept in `FactChange.meta`.
"""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from upright.errors import UserError, unknown
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.relations import Relations

Name = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1)]


class FactChange(BaseModel):
    """From now on, (subject, relation) has this object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Name
    relation: Name
    object: Name
    was: Name | None = None  # the object so far
    meta: dict[str, Any] = Field(default_factory=dict)  # further fields of the row, as they came
    where: str = Field(default="", exclude=True)  # file and line it was read from

    def row(self) -> dict[str, Any]:
        """The change as a row of a JSONL file."""
        was = {} if self.was is None else {"was": self.was}
        return {"subject": self.subject, "relation": self.relation, "object": self.object, **was, **self.meta}

    def __str__(self) -> str:
        text = f"{self.relation} of {self.subject} = {self.object}"
        return f"{self.where}: {text}" if self.where else text


def read_changes(path: Path | str) -> list[FactChange]:
    """Read a JSONL file of changes; empty lines are allowed.

    Raises:
        UserError: naming file, line, field, what was found and what is allowed, for the first bad row.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a JSONL file of fact changes") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: is not UTF-8; save the file as UTF-8") from None
    changes = [_read_row(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not changes:
        raise UserError(f"{path}: holds no changes; give one {_SHAPE} a line")
    return changes


_SHAPE = '{"subject", "relation", "object"}'


def _read_row(line: str, where: str) -> FactChange:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: is not JSON ({error.msg} at column {error.colno}); give {_SHAPE}") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: got a {type(row).__name__}; give an object {_SHAPE}")
    fields = {key: row.pop(key) for key in ("subject", "relation", "object", "was") if key in row}
    try:
        return FactChange(**fields, meta=row, where=where)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "missing":
            found = ", ".join([*fields, *row]) or "nothing"
            raise UserError(f"{where}: {first['loc'][0]!r} is missing, got {found}; give {_SHAPE}") from None
        raise UserError(f"{where}: {first['loc'][0]}: got {first['input']!r}; give a non-empty text") from None


def write_changes(path: Path | str, changes: Iterable[FactChange]) -> None:
    """Write changes as JSONL; `read_changes` gives them back."""
    rows = (json.dumps(change.row(), ensure_ascii=False) for change in changes)
    Path(path).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


class Problem(NamedTuple):
    """A finding about one change: an error keeps it from being applied, a warning does not."""

    severity: Literal["error", "warning"]
    change: FactChange
    message: str

    def __str__(self) -> str:
        return f"{self.change}: {self.message}"


class CheckReport(NamedTuple):
    """The changes that can be applied together, by ids of the graph, and what was found on the way."""

    accepted: tuple[FactChange, ...]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Why changes were not accepted."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is odd about changes that were accepted, or dropped as repeated."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    def require(self) -> tuple[FactChange, ...]:
        """The accepted changes.

        Raises:
            UserError: with the first error and the number of others, if there is any.
        """
        if not self.errors:
            return self.accepted
        others = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
        raise UserError(f"{self.errors[0]}{others}")


def check_changes(changes: Iterable[FactChange], graph: KnowledgeGraph, relations: Relations) -> CheckReport:
    """Check changes against a graph and each other; names become ids where the graph knows them.

    Errors (the change is not accepted): unknown relation; unknown or ambiguous subject; ambiguous object; two
    different objects for one subject and functional relation (neither is accepted).
    Warnings: a repeated change (accepted once); `was` is not what the graph says; the graph holds the fact
    already; several objects would be replaced; an object is new to the graph, so no chain goes on from it.
    """
    problems: list[Problem] = []
    linked = [found for change in changes if (found := _linked(change, graph, relations, problems))]
    accepted = _compatible(linked, relations, problems)
    for change in accepted:
        notes = _odd(change, graph, relations)
        problems += (Problem("warning", change, note) for note in notes)
    return CheckReport(tuple(accepted), tuple(problems))


def _linked(
    change: FactChange, graph: KnowledgeGraph, relations: Relations, problems: list[Problem]
) -> FactChange | None:
    """The change by ids, or None after noting why not."""
    relation = _relation_id(change.relation, graph, relations)
    if relation is None:
        problems.append(Problem("error", change, str(unknown("relation", change.relation, relations.names))))
        return None
    ids = {"subject": _ids(change.subject, graph, lambda entity: bool(graph.relations([entity])))}
    if not relations[relation].literal:
        ids["object"] = _ids(change.object, graph, lambda entity: bool(graph.subjects(relation, entity)))
    if not ids["subject"]:
        near = " or ".join(map(repr, graph.suggest(change.subject)))
        hint = f"; did you mean {near}?" if near else ""
        problems.append(Problem("error", change, f"unknown subject {change.subject!r}{hint}"))
        return None
    for field, found in ids.items():
        if len(found) > 1:
            message = f"the {field} may be {', '.join(found[:5])}; give one of these ids"
            problems.append(Problem("error", change, message))
            return None
    known = {field: found[0] for field, found in ids.items() if found}
    return change.model_copy(update={"relation": relation, **known})


def _relation_id(name: str, graph: KnowledgeGraph, relations: Relations) -> str | None:
    """The relation with this id, or else the one with this label."""
    if name in relations:
        return name
    labelled = [relation for relation, label in graph.labels(relations.names).items() if label == name]
    return labelled[0] if len(labelled) == 1 else None


def _ids(name: str, graph: KnowledgeGraph, usual: Callable[[str], bool]) -> list[str]:
    """Ids of what a name means here: of homonyms, those in a usual role, then the one called exactly so."""
    found = graph.link(name)
    found = [entity for entity in found if usual(entity)] or found
    labels = graph.labels(found)
    exact = [name] if name in found else [entity for entity in found if labels[entity] == name]
    return exact or found


def _compatible(changes: list[FactChange], relations: Relations, problems: list[Problem]) -> list[FactChange]:
    """The changes without repetitions and without those that contradict each other."""
    groups: dict[tuple[str, ...], list[FactChange]] = defaultdict(list)
    for change in changes:
        functional = relations[change.relation].functional
        groups[(change.subject, change.relation, *([] if functional else [change.object]))].append(change)
    accepted = []
    for first, *others in groups.values():
        rivals = [other for other in others if other.object != first.object]
        if rivals:
            problems.append(Problem("error", first, f"contradicts {rivals[0]}; keep one of the two"))
            continue
        problems += (Problem("warning", other, f"repeats {first}; applied once") for other in others)
        accepted.append(first)
    return accepted


def _odd(change: FactChange, graph: KnowledgeGraph, relations: Relations) -> Iterator[str]:
    """What is worth a warning about an acceptable change."""
    relation = relations[change.relation]
    objects = graph.objects(change.subject, change.relation)
    names = set(graph.labels(objects).values()) | set(objects)
    if change.object in objects:
        yield "the graph holds this fact already"
    if change.was is not None and names.isdisjoint({change.was, *graph.link(change.was)}):
        yield f"was {change.was!r}, but the graph says {', '.join(sorted(names)) or 'nothing'}"
    if relation.functional and len(objects) > 1:
        yield f"replaces {len(objects)} objects: {', '.join(objects[:5])}"
    if not relation.literal and change.object not in graph:
        yield f"object {change.object!r} is new to the graph; no chain goes on from it"


def counterfactuals(
    graph: KnowledgeGraph, relations: Relations, n: int, seed: int, only: Collection[str] = ()
) -> list[FactChange]:
    """Draw n changes that are false in the graph but of the right kind, evenly over the functional relations.

    Each takes a fact whose (subject, relation) has one object and puts another object of the same relation in
    its place, drawn uniformly among the distinct ones. Relations take turns until they are exhausted. The
    same graph and seed give the same changes, a smaller n the first of them.

    Args:
        only: names of the relations to use; all functional ones if empty.

    Raises:
        UserError: for an unknown or many-valued relation in `only`, or if the graph offers fewer than n.
    """
    names = sorted(set(only)) or [name for name in relations.names if relations[name].functional]
    for name in names:
        if not relations[name].functional:
            raise UserError(f"relation {name!r} may have many objects; counterfactuals need a functional relation")
    columns = (_replacements(graph, name, random.Random(f"{seed}/{name}")) for name in names)
    turns = (change for turn in zip_longest(*columns) for change in turn if change is not None)
    drawn = list(islice(turns, max(n, 0)))
    if n < 1 or len(drawn) < n:
        offered = f"the graph offers {len(drawn)}" if n > 0 else "ask for 1 or more"
        raise UserError(f"got n = {n} counterfactual changes; {offered}")
    return drawn


def _replacements(graph: KnowledgeGraph, relation: str, rng: random.Random) -> Iterator[FactChange]:
    """A wrong object for every single-valued fact of one relation, in random order."""
    facts = list(graph.triples(relation))
    count = Counter(fact.head for fact in facts)
    known = {fact.tail for fact in facts}
    tails = sorted(known)
    single = [fact for fact in facts if count[fact.head] == 1 and len(known) > len(known & {fact.head, fact.tail})]
    rng.shuffle(single)
    for head, _, tail in single:
        yield FactChange(subject=head, relation=relation, object=_another(tails, {head, tail}, rng), was=tail)


def _another(choices: Sequence[str], not_these: Collection[str], rng: random.Random) -> str:
    """A uniform choice outside `not_these`, of which there is at least one."""
    while (choice := rng.choice(choices)) in not_these:
        pass
    return choice
