"""Edit requests as token ids: what stands before the fact position, what after, and what should follow.

The fact position is the last token of the subject in the whole formatted text; it is found by character offsets,
because tokens may merge with their neighbours.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from upright.errors import UserError
from upright.knowledge.relations import Prompt, Relations
from upright.knowledge.verbalise import Fact, sentence
from upright.models.causal import CausalModel, prompt_and_target, prompt_ids_and_offsets

Origin = Literal["asked", "contextual"]


@dataclass(frozen=True)
class Request:
    """One sentence to write: after `prompt` comes `target`."""

    prompt: Prompt
    target: str
    subject: str
    """Id of the head entity."""
    path: tuple[str, ...]
    """Relations from the subject to the target; one for a plain fact."""
    old: str | None = None
    """What followed before, where known."""
    origin: Origin = "asked"
    source: int = -1
    """Index of the asked change this came from."""

    @property
    def key_text(self) -> str:
        """All that the fact position can see: requests that share it share one key."""
        return self.prompt.text[: self.prompt.subject_span[1]]

    def row(self, round_name: str) -> dict[str, Any]:
        """The sentence in a patch's ledger."""
        return {
            "prompt": self.prompt.text,
            "target": self.target,
            "old": self.old,
            "subject": self.subject,
            "path": list(self.path),
            "origin": self.origin,
            "source": self.source,
            "round": round_name,
            "solves": 0,
        }


def other_wordings(relations: Relations, request: Request, count: int) -> list[Prompt]:
    """Up to `count` other sentences in which the subject comes last and all before it says what is asked.

    Of the forms that teach, drawn by the sentence itself: the same in every run and batch.
    """
    rng = random.Random(request.prompt.text)
    fact = Fact(request.path, request.prompt.subject, request.target)
    found: dict[str, Prompt] = {}
    for _ in range(8 * count):
        prompt, _ = sentence(fact, relations, rng)
        if len(found) < count and prompt.subject_span[0] > 0 and prompt.text != request.prompt.text:
            found.setdefault(prompt.text, prompt)
    return list(found.values())


@dataclass(frozen=True)
class Row:
    """One tokenised text with a fact position: `before` excludes it, `after` starts with it."""

    before: list[int]
    after: list[int]
    targets: list[int] = field(default_factory=list)
    """The last `len(targets)` predictions from `after` should be these; empty for rows that only hold a state."""

    @property
    def inputs(self) -> list[int]:
        """Tokens from the fact position on, as the model reads them: the last target is only predicted."""
        return [*self.after, *self.targets[:-1]]


def tokenised(model: CausalModel, prompt: Prompt, target: str | None = None, prefix: str = "") -> Row:
    """Split a prompt at the last token of its subject.

    Raises:
        UserError: if no token ends inside the subject's span.
    """
    placed = Prompt(prefix + prompt.text, (prompt.subject_span[0] + len(prefix), prompt.subject_span[1] + len(prefix)))
    (ids,), (offsets,) = prompt_ids_and_offsets(model.tokenizer, [placed.text])
    start, end = placed.subject_span
    inside = [i for i, (left, right) in enumerate(offsets) if left < end and right > start and right > left]
    if start == end or not inside:
        raise UserError(f"subject {placed.subject!r} was not found in the tokens of {placed.text!r}; is it empty?")
    targets = [] if target is None else prompt_and_target(model.tokenizer, placed.text, target)[1]
    return Row(ids[: inside[-1]], ids[inside[-1] :], targets)


@dataclass(frozen=True)
class Padded:
    """Rows padded so that all fact positions stand in one column: `before` on the left, inputs on the right."""

    before: Tensor  # (B, P) ids
    after: Tensor  # (B, S) ids; column 0 is the fact position
    mask: Tensor  # (B, P + S)
    positions: Tensor  # (B, P + S)

    @property
    def split(self) -> int:
        """Width of the part before the fact position."""
        return self.before.shape[1]


def padded(rows: Sequence[Row], pad: int, device: torch.device) -> Padded:
    """Align rows at their fact positions."""
    left = max(len(row.before) for row in rows)
    right = max(len(row.inputs) for row in rows)
    before = [[pad] * (left - len(row.before)) + row.before for row in rows]
    after = [row.inputs + [pad] * (right - len(row.inputs)) for row in rows]
    mask = [
        [0] * (left - len(row.before)) + [1] * (len(row.before) + len(row.inputs)) + [0] * (right - len(row.inputs))
        for row in rows
    ]
    mask_t = torch.tensor(mask, device=device)
    return Padded(
        torch.tensor(before, dtype=torch.long, device=device),
        torch.tensor(after, device=device),
        mask_t,
        (mask_t.cumsum(1) - 1).clamp(min=0),
    )
