"""One forward pass of a language model over many texts, kept as small per-token numbers.

The logits of a batch are made, used and dropped a chunk of tokens at a time: nothing of size (T, V) outlives its
chunk. Rows are batched by length; batching changes the speed, never the numbers (beyond rounding).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from upright.errors import UserError
from upright.models.causal import CausalModel, pad, prompt_ids_and_offsets
from upright.models.generate import Prefix, batches, check_room

Floats = NDArray[np.float64]

LOGITS_AT_ONCE = 2**23
"""Logits held at a time (numbers, not bytes): 32 MiB in float32, and a few copies."""
FLOOR = -1e4  # stands for ln 0 where p ln p is summed


class Reading(NamedTuple):
    """What a model makes of n texts; column t is the t-th predicted token, NaN (or -1) behind a text's end."""

    log_p: Floats
    """ln p(x_t | x_<t), nats (n, T)."""
    mean: Floats
    """Mean of ln p(v | x_<t) over v ~ p, nats (n, T): minus the entropy."""
    sd: Floats
    """Its standard deviation (n, T)."""
    drawn: NDArray[np.int64]
    """Other tokens for each place, drawn from the model (n, T, J)."""

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Predicted tokens of each text (n,)."""
        return np.asarray((~np.isnan(self.log_p)).sum(axis=1))


class _Facts(NamedTuple):
    """The same for tokens in a row, on the model's device."""

    log_p: Tensor
    mean: Tensor
    sd: Tensor
    drawn: Tensor


def cut(model: CausalModel, texts: Sequence[str], tokens: int) -> tuple[list[str], int]:
    """The texts without what lies beyond their first `tokens` tokens, and how many were cut."""
    if not texts:
        return [], 0
    _, spans = prompt_ids_and_offsets(model.tokenizer, texts)
    short = [text if len(row) <= tokens else text[: row[tokens - 1][1]] for text, row in zip(texts, spans, strict=True)]
    return short, sum(len(row) > tokens for row in spans)


@torch.no_grad()
def read(
    model: CausalModel,
    rows: Sequence[Sequence[int]],
    batch_rows: int,
    *,
    moments: bool = False,
    uniforms: Tensor | None = None,
    before: Sequence[int] | None = None,
    skip: int = 0,
) -> Reading:
    """Read token rows; every token of a row but the first `1 + skip` is predicted.

    Args:
        moments: also fill `mean` and `sd` (else NaN).
        uniforms: (n, T, J) in [0, 1), one for each token to draw; the token that stands there is never drawn.
        before: ids that come before every row; then all tokens but the first `skip` are predicted.

    Raises UserError for a row longer than the model's context.
    """
    first = skip if before else 1 + skip
    check_room(model, [[*(before or ()), *row] for row in rows], 0)
    width = max((len(row) for row in rows), default=first) - first
    draws = 0 if uniforms is None else uniforms.shape[2]
    empty = np.full((3, len(rows), max(width, 0)), np.nan)
    log_p, mean, sd = empty
    found = Reading(log_p, mean, sd, np.full((*empty.shape[1:], draws), -1))
    for batch in batches([len(row) for row in rows], batch_rows):
        some = [list(rows[i]) for i in batch]
        states, targets, lengths = _states(model, some, first, before)
        noise = None if uniforms is None else _noise(uniforms, batch, lengths)
        facts = _facts(model, states, targets, moments, noise)
        _fill(found, batch, lengths, facts)
    return found


def _states(
    model: CausalModel, rows: list[list[int]], first: int, before: Sequence[int] | None
) -> tuple[Tensor, Tensor, list[int]]:
    """Hidden states (N, d) from which the targets (N,) are predicted, and how many each row has."""
    ids, mask = pad(rows, model.pad_id, "right", model.device)
    if before:
        prefix = Prefix(model, [before])
        prefix.select([0] * len(rows))
        last = prefix.hidden[:, None]
        states = torch.cat([last, prefix.feed(ids, mask)], dim=1)[:, first:-1]
    else:
        states = model.hidden(ids)[:, first - 1 : -1]  # no mask: causal attention never reaches padding on the right
    wanted = mask[:, first:].bool()
    return states[wanted], ids[:, first:][wanted], [max(0, len(row) - first) for row in rows]


def _noise(uniforms: Tensor, batch: list[int], lengths: list[int]) -> Tensor:
    return torch.cat([uniforms[i, :length] for i, length in zip(batch, lengths, strict=True)])


def _facts(model: CausalModel, states: Tensor, targets: Tensor, moments: bool, noise: Tensor | None) -> _Facts:
    rows = max(1, LOGITS_AT_ONCE // model.model.config.vocab_size)
    parts = []
    for start in range(0, max(len(states), 1), rows):
        piece = slice(start, start + rows)
        logits = model.unembed(states[piece])
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        parts.append(_of_chunk(logits, targets[piece], moments, None if noise is None else noise[piece]))
    found = _Facts(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))
    if found.log_p.isnan().any():
        raise UserError(
            f"{model.name}: gives logits that are no numbers, in {model.dtype}; must be saved in another type"
        )
    return found


def _of_chunk(logits: Tensor, targets: Tensor, moments: bool, noise: Tensor | None) -> _Facts:
    log_p = logits.log_softmax(dim=-1)
    of_target = log_p.gather(1, targets[:, None])[:, 0]
    mean = sd = torch.full_like(of_target, torch.nan)
    if moments:
        floored, p = log_p.clamp(min=FLOOR), log_p.exp()
        mean = (p * floored).sum(dim=-1)
        sd = (p * (floored - mean[:, None]) ** 2).sum(dim=-1).sqrt()
    drawn = targets[:, None][:, :0] if noise is None else _others(logits, targets, noise.to(logits))
    return _Facts(of_target, mean, sd, drawn)


def _others(logits: Tensor, targets: Tensor, uniforms: Tensor) -> Tensor:
    """Tokens (N, J) drawn from the model's law without the token that stands there, by inverting the law."""
    cumulative = logits.scatter(1, targets[:, None], -torch.inf).softmax(dim=-1).cumsum(dim=-1)
    place = torch.searchsorted(cumulative, uniforms * cumulative[:, -1:], right=True)
    return place.clamp(max=logits.shape[-1] - 1)


def _fill(found: Reading, batch: list[int], lengths: list[int], facts: _Facts) -> None:
    rows = np.repeat(batch, lengths)
    places = np.concatenate([np.arange(length) for length in lengths]) if lengths else np.empty(0, int)
    for target, values in zip(found, facts, strict=True):
        target[rows, places] = values.numpy()


# --- gradients -------------------------------------------------------------------------------------------------


@torch.enable_grad()
def gradient_norms(model: CausalModel, rows: Sequence[Sequence[int]]) -> Floats:
    """Norm of the gradient of each text's mean loss (n,) for all parameters of the model, one text at a time.

    The loss goes back to the last hidden states a chunk of logits at a time, then from there through the model.
    """
    parameters = list(model.model.parameters())
    model.model.requires_grad_(True)
    try:
        return np.array([_gradient_norm(model, row, parameters) for row in rows])
    finally:
        model.model.requires_grad_(False)


def _gradient_norm(model: CausalModel, row: Sequence[int], parameters: Sequence[Tensor]) -> float:
    ids = torch.tensor([row], device=model.device)
    states = model.hidden(ids)[0, :-1]
    last = states.detach().requires_grad_(True)
    size = max(1, LOGITS_AT_ONCE // model.model.config.vocab_size)
    for some, wanted in zip(last.split(size), ids[0, 1:].split(size), strict=True):
        logits = model.unembed(some)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        (cross_entropy(logits, wanted, reduction="sum") / len(states)).backward()
    states.backward(last.grad)
    squares = [p.grad.double().square().sum() for p in parameters if p.grad is not None]
    for p in parameters:
        p.grad = None
    return float(torch.stack(squares).sum().sqrt())
