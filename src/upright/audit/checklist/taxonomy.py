"""The questions, and the answers that are given by hand."""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from upright.audit.checklist.config import Access
from upright.audit.findings import Verdict
from upright.errors import UserError, unknown

TAXONOMY = Path(__file__).with_name("taxonomy.toml")
LEVELS: tuple[str, ...] = get_args(Access)
Answer = Verdict | Literal["not-applicable"]


class Area(BaseModel):
    """A part of the checklist."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str


class Item(BaseModel):
    """One question: `command` tests it ("" if a person must answer), with the access it needs at least."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    question: str
    command: str = ""
    access: Access

    @property
    def area(self) -> str:
        """Id of its area."""
        return self.id.partition(".")[0]

    def within(self, access: str) -> bool:
        """Whether that much access is enough to test it."""
        return LEVELS.index(self.access) <= LEVELS.index(access)


class Taxonomy(BaseModel):
    """All areas and their questions, in the order in which they are shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    area: list[Area]
    item: list[Item]

    def ids(self) -> list[str]:
        """Ids of all questions."""
        return [item.id for item in self.item]

    def of(self, area: str) -> list[Item]:
        """The questions of an area."""
        return [item for item in self.item if item.area == area]


@cache
def taxonomy() -> Taxonomy:
    """The checklist that comes with upright."""
    return Taxonomy.model_validate(tomllib.loads(TAXONOMY.read_text(encoding="utf-8")))


class ByHand(BaseModel):
    """An answer that a person gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Answer
    text: str
    by: str = ""


def read_answers(path: Path, known: list[str]) -> dict[str, ByHand]:
    """Answers by id. Raises UserError for a file, a question or an answer that cannot be read."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--answers {path}: cannot be read ({error.strerror}); give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--answers {path}: not valid TOML: {error}") from error
    found = {}
    for name, table in _tables(tree, path):
        if name not in known:
            raise unknown(f"question in {path}:", name, known)
        found[name] = _answer(path, name, table)
    return found


def _tables(tree: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The tables of `[area.name]`, and of `["area.name"]`, by that name."""
    for area, names in tree.items():
        if not isinstance(names, dict):
            raise UserError(f"{path}, {area}: got {names!r}; must be a table [area.name] with verdict and text")
        if "." in area or {"verdict", "text"} & set(names):
            yield area, names
            continue
        for name, table in names.items():
            if not isinstance(table, dict):
                raise UserError(f"{path}, {area}.{name}: got {table!r}; must be a table with verdict and text")
            yield f"{area}.{name}", table


def _answer(path: Path, name: str, table: Mapping[str, Any]) -> ByHand:
    try:
        answer = ByHand.model_validate(table)
    except ValidationError as error:
        problem = error.errors()[0]
        field = str(problem["loc"][0]) if problem["loc"] else ""
        if field == "verdict" and "verdict" in table:
            raise unknown(f"verdict in {path}, {name}:", table["verdict"], verdicts()) from error
        raise UserError(f"{path}, {name}, {field}: {problem['msg']}; needs verdict and text, may have by") from error
    if not answer.text.strip():
        raise UserError(f"{path}, {name}, text: got nothing; must say in a sentence how this is known")
    return answer


def verdicts() -> list[str]:
    """All verdicts a person may give."""
    return [*get_args(Verdict), "not-applicable"]


def empty_answers(items: list[Item]) -> str:
    """A file of answers to fill in: every question as a comment, so that the file is valid as it stands."""
    head = f"# Take away the first # of a line to answer. verdict is one of: {', '.join(verdicts())}.\n"
    rows = [f'# # {item.question}\n# [{item.id}]\n# verdict = ""\n# text = ""\n# by = ""\n' for item in items]
    return "\n".join([head, *rows])
