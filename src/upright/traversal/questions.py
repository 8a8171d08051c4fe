"""Questions a person brings: JSONL, one ``{"id", "question", "answer", "seeds"}`` a line.

`answer` (a text or a list) and `seeds` (names or ids of the entities to start from) may be missing.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path as File
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError

from upright.errors import UserError
from upright.run.files import write_text
from upright.traversal.paths import Path

SHAPE = '{"id", "question", "answer": [..]}'
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) else value


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Texts = Annotated[tuple[Annotated[Text, BeforeValidator(_text)], ...], BeforeValidator(_listed)]


class Question(BaseModel):
    """One question, with the answers that would be right where they are known."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Annotated[Text, BeforeValidator(_text)]
    question: Text
    answer: Texts = ()
    seeds: Texts = ()


class Lesson(NamedTuple):
    """A question that was made, and the way that was meant, as `upright.traversal.transcripts.Way` has it."""

    question: Question
    path: Path
    form: str = ""
    start: str = ""

    @property
    def counted(self) -> bool:
        """Whether the answer is a number of entities."""
        return self.form.startswith("count")


def read_questions(path: File | str) -> list[Question]:
    """Read a JSONL file of questions.

    Raises:
        UserError: naming file, line and field of the first bad row, or an id that stands twice.
    """
    path = File(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give a JSONL file of {SHAPE}") from None
    found: dict[str, Question] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        question = _read(line, f"{path}:{number}", str(number))
        if question.id in found:
            raise UserError(f"{path}:{number}: id {question.id!r} stands twice; give each question its own")
        found[question.id] = question
    if not found:
        raise UserError(f"{path}: holds no questions; give one {SHAPE} a line")
    return list(found.values())


def _read(line: str, where: str, name: str) -> Question:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: is not JSON ({error.msg} at column {error.colno}); give {SHAPE}") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: got a {type(row).__name__}; give an object {SHAPE}")
    try:
        return Question.model_validate({"id": name, **row})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise UserError(f"{where}: {field}: {first['msg'].lower()}; give {SHAPE}") from None


def write_questions(path: File | str, questions: Iterable[Question]) -> None:
    """Write questions as `read_questions` reads them."""
    write_text(File(path), "".join(f"{question.model_dump_json()}\n" for question in questions))


def of_text(text: str, seeds: Sequence[str] = ()) -> Question:
    """A single question from the command line."""
    return Question(id="1", question=text, seeds=tuple(seeds))
