"""Texts of a side, members or non-members: plain text, one a line, or JSONL with a field `text`."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from upright.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Text:
    """A text, where it stands, and the attribute to infer, if one was asked for."""

    text: str
    line: int
    attribute: str | None = None


def read_texts(path: Path, attribute: str | None = None) -> list[Text]:
    """The texts of a file; empty lines are passed over.

    Raises:
        UserError: that names the first row without text or attribute, or says that there is no text at all.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from error
    jsonl = path.suffix.lower() == ".jsonl"
    if attribute is not None and not jsonl:
        raise UserError(
            f"{path}: plain text has no field {attribute!r}; give JSONL with the fields text and {attribute}"
        )
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    texts = [_row(path, number, line, attribute) if jsonl else Text(line, number) for number, line in filled]
    if not texts:
        raise UserError(f"{path}: holds no text; give one text a line, or JSONL with a field text")
    return texts


def _row(path: Path, number: int, line: str, attribute: str | None) -> Text:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{number}: not JSON ({error.msg}); give one object a line") from error
    wanted = ["text", *([] if attribute is None else [attribute])]
    for name in wanted:
        value = row.get(name) if isinstance(row, dict) else None
        if not isinstance(value, str | int | float) or (name == "text" and not str(value).strip()):
            raise UserError(f"{path}:{number}: field {name} is {value!r}; must be text")
    return Text(str(row["text"]), number, None if attribute is None else str(row[attribute]))


def some(texts: Sequence[T], count: int, rng: random.Random) -> list[T]:
    """At most `count` of them, picked at random, in their order."""
    chosen = sorted(rng.sample(range(len(texts)), min(count, len(texts))))
    return [texts[i] for i in chosen]
