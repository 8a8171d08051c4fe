"""`upright audit plant`: canaries, their record, and the lines to train on."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from upright.audit.exposure.config import Plant
from upright.errors import UserError
from upright.run.files import write_text
from upright.run.folder import Message
from upright.run.measures.spaces import Space


class Canary(BaseModel):
    """One sentence of the record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    text: str
    format: str
    """The format it was drawn from."""
    repeats: NonNegativeInt
    """Times it stands in the training text; 0 for a control."""


@dataclass(frozen=True, kw_only=True)
class Planted(Message):
    """Where the canaries are."""

    record: Path
    training: Path


def run(config: Plant) -> Planted:
    """Draw canaries and controls; write the record and the lines to mix into the training text.

    Raises:
        UserError: for a format with too few texts, a name for the training lines, and files that are there already.
    """
    training = config.out.with_suffix(".txt")
    if training == config.out:
        raise UserError(f"--out {config.out}: the lines to train on go to that name; must end in .jsonl")
    for path in (config.out, training):
        if path.exists() and not config.overwrite:
            raise UserError(f"--out {config.out}: {path} is there already; choose another name or add --overwrite")
    rng = random.Random(config.seed)
    found = draw(config, rng)
    lines = [canary.text for canary in found for _ in range(canary.repeats)]
    rng.shuffle(lines)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(config.out, "".join(canary.model_dump_json() + "\n" for canary in found))
    write_text(training, "".join(line + "\n" for line in lines))
    message = f"{training}: {len(lines)} lines to mix into the training text; keep {config.out} out of it"
    return Planted(record=config.out, training=training, message=message)


def draw(config: Plant, rng: random.Random) -> list[Canary]:
    """Planted canaries, then controls: all different, all drawn uniformly from the format's space."""
    space, total = Space.parse(config.format), config.count + config.controls
    if space.size < 2 * total:
        raise UserError(
            f"format {config.format!r}: has {space.size:,} texts, too few for {total:,} canaries and controls; "
            "give it longer random parts"
        )
    texts = space.sample(total, rng)
    times = [config.repeats[i % len(config.repeats)] if i < config.count else 0 for i in range(total)]
    return [
        Canary(id=f"{'canary' if n else 'control'}-{i}", text=text, format=config.format, repeats=n)
        for i, (text, n) in enumerate(zip(texts, times, strict=True))
    ]


def read_record(path: Path) -> list[Canary]:
    """The canaries of a record. Raises UserError that names the first line that is not one."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a record of canaries ({error})") from error
    found, spaces, seen = [], dict[str, Space](), set[str]()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            canary = Canary.model_validate(json.loads(line))
        except (ValidationError, ValueError) as error:
            raise UserError(f"{path}:{number}: no canary that `upright audit plant` wrote ({_first(error)})") from error
        space = spaces.setdefault(canary.format, Space.parse(canary.format))
        if not space.holds(canary.text):
            raise UserError(f"{path}:{number}: text {canary.text!r} is not of the format {canary.format!r}")
        if canary.text in seen:
            raise UserError(
                f"{path}:{number}: text {canary.text!r} stands there twice; a canary or control is one line"
            )
        seen.add(canary.text)
        found.append(canary)
    if not found:
        raise UserError(f"{path}: holds no canaries; write some with `upright audit plant`")
    return found


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors()[0]
        return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    return str(error).splitlines()[0]
