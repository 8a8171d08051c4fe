"""Records as token ids to learn from: code, text and end; one loss for each unit."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from upright.errors import UserError
from upright.models.causal import pad, prompt_and_target, prompt_ids

IGNORED = -100
"""Target of what is not learnt: the code and the padding."""

Batch = tuple[Tensor, ...]


class Row(NamedTuple):
    """A record in tokens."""

    ids: list[int]
    """Code, text, and the token that ends it."""
    learnt: int
    """Ids before this place are the code: read, but not learnt."""


class Tokenised(NamedTuple):
    """All records, and how many lost their end."""

    rows: list[Row]
    cut: list[int]
    """Places of the records that were longer than allowed."""


def tokenised(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], texts: Sequence[str], end: int, most: int
) -> Tokenised:
    """Ids of prompt + " " + text + end, at most `most` of each; one that is cut has no end token.

    Where a token would reach across the border of both, they are tokenised apart (see `causal.prompt_and_target`), so
    that a code has the ids that it has alone, when it is written for.

    Raises:
        UserError: for a code that leaves no room for its text.
    """
    unique = list(dict.fromkeys(prompt.rstrip(" ") for prompt in prompts))
    codes = dict(zip(unique, prompt_ids(tokenizer, unique), strict=True))
    for prompt, ids in codes.items():
        if len(ids) >= most:
            raise UserError(f"the code {prompt!r} alone has {len(ids)} tokens; must be fewer than tune.tokens={most}")
    joined = [f"{prompt.rstrip(' ')} {text.strip()}" for prompt, text in zip(prompts, texts, strict=True)]
    rows, cut = [], []
    for number, whole in enumerate(prompt_ids(tokenizer, joined)):
        code = codes[prompts[number].rstrip(" ")]
        if whole[: len(code)] != code:
            whole = [*code, *prompt_and_target(tokenizer, prompts[number], texts[number])[1]]
        if len(whole) + 1 > most:
            cut.append(number)
        rows.append(Row([*whole, end][:most], len(code)))
    return Tokenised(rows, cut)


class UnitTexts:
    """Units with their records, as the batches of a private training.

    A batch holds for U units R records of T tokens: ids and targets, both (U, R, T). A unit with fewer than R records
    has empty rows in place of the rest.

    Args:
        rows: all records.
        members: for each unit, the places of its records.
        records: R; a unit with more has R of them drawn anew in every step.
        seed: of those draws. They depend on the step and on the unit's own records alone, so that a unit more or less
            changes the draws of no other: the guarantee then holds whoever knows the seed.
        tokens: padded tokens of a part, at most, if not of a single unit.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        members: Sequence[Sequence[int]],
        records: int,
        seed: int,
        pad_id: int,
        device: torch.device,
        tokens: int = 8192,
    ) -> None:
        self._rows, self._members, self._records = rows, members, records
        self._seed, self._pad_id, self._device, self._tokens = seed, pad_id, device, tokens
        self._step = 0

    def __len__(self) -> int:
        return len(self._members)

    def begin(self, step: int) -> Self:
        """Draw the records of step number `step`, whatever was drawn before: a resumed training needs no memory."""
        self._step = step
        return self

    def parts(self, indices: Tensor) -> Iterator[Batch]:
        """The units at `indices` in parts of similar length, each of at most `tokens` padded tokens or of one unit."""
        drawn = sorted(self._drawn(indices), key=self._width)
        part: list[list[int]] = []
        for own in drawn:
            if part and (len(part) + 1) * self._records * self._width(own) > self._tokens:
                yield self._batch(part)
                part = []
            part.append(own)
        if part:
            yield self._batch(part)

    def _width(self, own: list[int]) -> int:
        return max(len(self._rows[i].ids) for i in own)

    def _drawn(self, indices: Tensor) -> list[list[int]]:
        return [self._some(list(self._members[unit])) for unit in indices.tolist()]

    def _some(self, own: list[int]) -> list[int]:
        if len(own) <= self._records:
            return own
        words = np.array([i for place in own for i in self._rows[place].ids], dtype=np.int64)
        rng = np.random.default_rng([self._seed, self._step, zlib.crc32(words.tobytes())])
        some: list[int] = rng.choice(own, self._records, replace=False).tolist()
        return some

    def _batch(self, drawn: Sequence[Sequence[int]]) -> Batch:
        rows = [self._rows[i] for own in drawn for i in own]
        ids, _ = pad([row.ids for row in rows], self._pad_id, "right")
        targets, _ = pad([[IGNORED] * row.learnt + row.ids[row.learnt :] for row in rows], IGNORED, "right")
        places = torch.tensor([u * self._records + k for u, own in enumerate(drawn) for k in range(len(own))])
        shape = (len(drawn) * self._records, ids.shape[1])
        fields = []
        for field, fill in ((ids, self._pad_id), (targets, IGNORED)):
            full = torch.full(shape, fill, dtype=torch.long)
            full[places] = field
            fields.append(full.view(len(drawn), self._records, -1).to(self._device))
        return tuple(fields)


class Logits(nn.Module):
    """A causal model as a plain function of ids and positions, both (B, T), to logits (B, T, V)."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        """No mask: padding stands on the right, where causal attention never reaches it."""
        logits: Tensor = self.model(input_ids=ids, position_ids=positions, use_cache=False).logits
        return logits


class UnitLoss:
    """Loss (U,) of ids and targets (U, R, T): nats per learnt token of a record, averaged over the unit's records.

    Args:
        precision: type of the forward pass where it is lower than that of the weights.
    """

    def __init__(self, precision: torch.dtype | None = None) -> None:
        self._precision = precision

    def __call__(self, model: Callable[..., Tensor], batch: Batch) -> Tensor:
        ids, targets = (field.flatten(0, 1) for field in batch)
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        with self._lower(ids.device):
            logits = model(ids, positions)
        wanted = targets[:, 1:].flatten()
        nlls = cross_entropy(logits[:, :-1].flatten(0, 1).float(), wanted, ignore_index=IGNORED, reduction="none")
        learnt = (wanted != IGNORED).view(len(ids), -1).sum(1)
        means = nlls.view(len(ids), -1).sum(1) / learnt.clamp(min=1)
        size = batch[0].shape[:2]
        return means.view(size).sum(1) / (learnt > 0).view(size).sum(1).clamp(min=1)

    def _lower(self, device: torch.device) -> Any:
        return nullcontext() if self._precision is None else torch.autocast(device.type, self._precision)
