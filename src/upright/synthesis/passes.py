"""One reading of texts by one model: a vector and a likelihood of each, which all comparisons share."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from upright.engines import Engine, Work, stream
from upright.models.causal import CausalModel, pad, prompt_ids
from upright.models.generate import batches
from upright.synthesis.corpus import Corpus

Floats = NDArray[np.float64]
Row = tuple[Floats, Floats, bool]
"""Of one text: its vector (d,), its likelihood (2,), and whether it was cut."""
SHARD = 512
"""Texts that are sorted by length and read together."""

_LOGITS_AT_ONCE = 2**25
"""Numbers, not bytes: 128 MiB in float32 whatever the vocabulary."""


class Reading(NamedTuple):
    """What a model makes of n texts."""

    vectors: Floats
    """Mean of the last hidden states over the tokens of each text (n, d)."""
    nlls: Floats
    """Sum of -log p in nats, and how many tokens it is summed over: all but the first of each text (n, 2)."""
    cut: NDArray[np.bool_]
    """Texts longer than the model reads, of which the rest was left out (n,)."""


@torch.no_grad()
def read(model: CausalModel, texts: Sequence[str], batch_rows: int = 16) -> Reading:
    """Read each text once; its numbers depend on no other text."""
    whole = prompt_ids(model.tokenizer, texts)
    rows = [row[: model.context] for row in whole]
    nlls = np.zeros((len(rows), 2))
    vectors = np.zeros((len(rows), int(model.model.config.hidden_size)))
    for batch in batches([len(row) for row in rows], batch_rows):
        ids, mask = pad([rows[i] for i in batch], model.pad_id, "right", model.device)
        states = model.hidden(ids)  # no mask: causal attention never reaches padding on the right
        weights = mask[..., None].to(torch.float32)
        means = (states.float() * weights).sum(1) / weights.sum(1)
        vectors[batch] = means.double().cpu().numpy()
        sums = _nll_sums(model, states[:, :-1], ids[:, 1:], mask[:, 1:])
        nlls[batch] = torch.stack([sums, mask[:, 1:].sum(1).double()], dim=1).cpu().numpy()
    cut = [len(row) < len(all_) for row, all_ in zip(rows, whole, strict=True)]
    return Reading(vectors, nlls, np.array(cut, dtype=bool))


def read_sides(
    opening: Callable[[], CausalModel],
    sides: Mapping[str, Corpus],
    batch_rows: int,
    *,
    engine: Engine = "local",
    workers: int = 1,
    description: str = "reading",
) -> dict[str, Reading]:
    """The same for several collections, in one pass over all, which a cluster may share out.

    Args:
        opening: gives the model; called once by each worker.
    """
    texts = [text for corpus in sides.values() for text in corpus.texts]

    def reader() -> Work[str, Row]:
        model = opening()
        return lambda some, _: list(zip(*read(model, some, batch_rows), strict=True))

    made = stream(reader, texts, engine=engine, workers=workers, size=SHARD, description=description)
    rows = iter(chain.from_iterable(made))
    return {name: _joined([next(rows) for _ in corpus.texts]) for name, corpus in sides.items()}


def _joined(rows: Sequence[Row]) -> Reading:
    if not rows:
        return Reading(np.empty((0, 0)), np.empty((0, 2)), np.empty(0, dtype=bool))
    vectors, nlls, cut = zip(*rows, strict=True)
    return Reading(np.stack(vectors), np.stack(nlls), np.array(cut))


def _nll_sums(model: CausalModel, states: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Sums (B,) of -log p of the ids (B, T) after the states (B, T, d), where the mask (B, T) is 1."""
    chosen = mask.bool()
    hidden, wanted = states[chosen], ids[chosen]
    rows = max(1, _LOGITS_AT_ONCE // int(model.model.config.vocab_size))
    parts = [
        cross_entropy(model.unembed(some).float(), targets, reduction="none").double()
        for some, targets in zip(hidden.split(rows), wanted.split(rows), strict=True)
    ]
    found = torch.zeros(ids.shape, dtype=torch.float64, device=ids.device)
    found[chosen] = torch.cat(parts) if parts else found.new_zeros(0)
    return found.sum(1)
