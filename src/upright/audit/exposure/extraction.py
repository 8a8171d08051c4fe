"""Training text that comes out word for word: greedily, and with what probability by sampling.

Nothing is generated: one pass over prompt and target tells which tokens the model would choose at every place.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from upright.models.causal import CausalModel
from upright.models.generate import check_room

Floats = NDArray[np.float64]
LOGITS_AT_ONCE = 2**24


class Rule(NamedTuple):
    """How tokens are drawn: temperature first, then the likeliest k, of these the likeliest that hold a mass p."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0


def log_chance(logits: Tensor, ids: Tensor, rule: Rule) -> Tensor:
    """The log of P(id) (N,) under the rule, for logits (N, V) and ids (N,); -inf for a token that is never drawn."""
    scaled = logits.double() / rule.temperature
    count = scaled.shape[-1] if rule.top_k is None else min(rule.top_k, scaled.shape[-1])
    if count == scaled.shape[-1] and rule.top_p >= 1:
        return scaled.log_softmax(-1).gather(1, ids[:, None])[:, 0]
    values, places = scaled.topk(count, dim=-1)
    chance = values.softmax(-1)
    kept = chance.cumsum(-1) - chance < rule.top_p  # the token that reaches the mass is still in
    values = values.masked_fill(~kept, -torch.inf).log_softmax(-1)
    return values.masked_fill(places != ids[:, None], -torch.inf).amax(-1)


@torch.no_grad()
def draw_out(model: CausalModel, rows: Tensor, target: int, rule: Rule, batch_rows: int) -> dict[str, Tensor]:
    """What of texts (N, T) the model gives away of their last `target` ids, once it has been given the others.

    "greedy" (N,): whether greedy decoding gives them exactly, which it does as long as each is the likeliest after the
    true ones before it. "log_p" (N,): the log-probability that one draw under the rule gives them.
    Raises UserError for texts that outgrow the model's context.
    """
    check_room(model, rows[:1, :-1].tolist(), 0)
    room = max(1, LOGITS_AT_ONCE // (target * model.model.config.vocab_size))
    parts = [_read(model, some, target, rule) for some in rows.split(min(batch_rows, room))]
    return {"greedy": torch.cat([hit for hit, _ in parts]), "log_p": torch.cat([log_p for _, log_p in parts])}


def _read(model: CausalModel, ids: Tensor, target: int, rule: Rule) -> tuple[Tensor, Tensor]:
    ids = ids.to(model.device)
    logits = model.unembed(model.hidden(ids[:, :-1])[:, -target:])
    wanted = ids[:, -target:]
    chances = log_chance(logits.flatten(0, 1), wanted.flatten(), rule).view(wanted.shape)
    return (logits.argmax(-1) == wanted).all(1).cpu(), chances.sum(1).cpu()


def within(log_p: ArrayLike, draws: int) -> Floats:
    """1 - (1 - p)^n: the probability that a text comes out at least once in n draws (Hayes et al., arXiv:2410.19482).

    >>> within([np.log(0.5), -np.inf, 0.0], 2).tolist()
    [0.75, 0.0, 1.0]
    """
    p = np.exp(np.asarray(log_p, dtype=float))
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(draws * np.log1p(-p)) + 0.0)
