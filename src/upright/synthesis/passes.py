"""One reading of texts by one model: a vector and a likelihood of each, which all comparisons share."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from upright.models.causal import CausalModel, pad, prompt_ids
from upright.models.generate import batches
from upright.run.progress import progress
from upright.synthesis.corpus import Corpus

Floats = NDArray[np.float64]

_LOGITS_AT_ONCE = 2**25
"""Numbers, not bytes: 128 MiB in float32 whatever the vocabulary."""


class Reading(NamedTuple):
    """What a model makes of n texts."""

    vectors: Floats
    """Mean of the last hidden states over the tokens of each text (n, d)."""
    nlls: Floats
    """Sum of -log p in nats, and how many tokens it is summed over: all but the first of each text (n, 2)."""
    cut: int
    """Texts longer than the model reads, of which the rest was left out."""


@torch.no_grad()
def read(model: CausalModel, texts: Sequence[str], batch_rows: int = 16, description: str = "reading") -> Reading:
    """Read each text once; its numbers depend on no other text."""
    whole = prompt_ids(model.tokenizer, texts)
    rows = [row[: model.context] for row in whole]
    nlls = np.zeros((len(rows), 2))
    vectors = np.zeros((len(rows), int(model.model.config.hidden_size)))
    with progress(description, total=len(rows)) as bar:
        for batch in batches([len(row) for row in rows], batch_rows):
            ids, mask = pad([rows[i] for i in batch], model.pad_id, "right", model.device)
            states = model.hidden(ids)  # no mask: causal attention never reaches padding on the right
            weights = mask[..., None].to(torch.float32)
            means = (states.float() * weights).sum(1) / weights.sum(1)
            vectors[batch] = means.double().cpu().numpy()
            sums = _nll_sums(model, states[:, :-1], ids[:, 1:], mask[:, 1:])
            nlls[batch] = torch.stack([sums, mask[:, 1:].sum(1).double()], dim=1).cpu().numpy()
            bar.advance(len(batch))
    return Reading(vectors, nlls, sum(len(row) < len(all_) for row, all_ in zip(rows, whole, strict=True)))


def read_sides(model: CausalModel, sides: Mapping[str, Corpus], batch_rows: int) -> dict[str, Reading]:
    """The same for several collections, in one pass over all."""
    found = read(model, [text for corpus in sides.values() for text in corpus.texts], batch_rows)
    ends = np.cumsum([len(corpus) for corpus in sides.values()])[:-1]
    vectors, nlls = np.split(found.vectors, ends), np.split(found.nlls, ends)
    return {name: Reading(v, n, found.cut) for name, v, n in zip(sides, vectors, nlls, strict=True)}


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
