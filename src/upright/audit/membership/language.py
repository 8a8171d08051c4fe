"""Attack scores of texts under a language model and, if given, under reference models that saw none of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upright.audit.membership import attacks, signals
from upright.audit.membership.config import TextConfig
from upright.audit.membership.forward import Reading, cut, gradient_norms, read
from upright.audit.texts import Drop, Text, lead_tokens
from upright.errors import UserError
from upright.models.causal import CausalModel, peek, prompt_ids

Floats = NDArray[np.float64]

SHARD = 256
"""Texts whose signals are stored together; a killed run loses the work on one such part at most."""
TOO_SHORT = "fewer than two tokens to predict"
LEAST_PREFIX = 8  # tokens; a shorter prefix tells nothing


class Fitting(NamedTuple):
    """Texts cut to what a model is to read, without those in which it predicts too little."""

    rows: list[Text]
    drops: list[Drop]
    shortened: int


def fitting(model: CausalModel, rows: Sequence[Text], longest: int) -> Fitting:
    """The texts cut to `longest` tokens; those with fewer than two tokens to predict are dropped."""
    short, shortened = cut(model, [row.text for row in rows], longest)
    enough = [len(ids) > 2 for ids in prompt_ids(model.tokenizer, short)]
    kept = [row._replace(text=text) for row, text, some in zip(rows, short, enough, strict=True) if some]
    drops = [Drop(TOO_SHORT, row.row) for row, some in zip(rows, enough, strict=True) if not some]
    return Fitting(kept, drops, shortened)


def check_reference(name: str, texts: Sequence[str]) -> None:
    """Raises UserError for a reference model that is not there or cannot read a text; no weight is read."""
    tokenizer, context = peek(name)
    sizes = [len(row) for row in prompt_ids(tokenizer, texts)]
    if context is not None and max(sizes) > context:
        raise UserError(
            f"--reference {name}: reads {context} tokens, and a text has {max(sizes)}; "
            "lower --text.tokens or leave it out"
        )
    if min(sizes) < 2:
        raise UserError(f"--reference {name}: finds a single token in {texts[sizes.index(min(sizes))]!r}; leave it out")


def recall_prefix(model: CausalModel, aside: Sequence[str], texts: Sequence[str]) -> list[int]:
    """Ids of the texts set aside, cut to what the longest of `texts` leaves of the context; none below 8 tokens."""
    if not aside:
        return []
    ids = prompt_ids(model.tokenizer, ["\n\n".join(aside) + "\n\n"])[0]
    longest = max(map(len, prompt_ids(model.tokenizer, texts)))
    room = len(ids) if model.context is None else max(0, model.context - longest)
    return ids[:room] if min(room, len(ids)) >= LEAST_PREFIX else []


def log_frequency(model: CausalModel, corpus: Sequence[str]) -> Floats:
    """Logarithm of each token's share (V,) in a corpus, one added to every count so that none is zero."""
    rows = prompt_ids(model.tokenizer, corpus)
    counts = np.bincount(np.concatenate(rows), minlength=int(model.model.config.vocab_size)) + 1.0
    return np.asarray(np.log(counts / counts.sum()))


def text_signals(
    model: CausalModel,
    texts: Sequence[str],
    config: TextConfig,
    prefix: Sequence[int],
    rows: int,
    seed: int,
    frequency: Floats | None = None,
) -> dict[str, Tensor]:
    """Every signal of the texts (n,), with "total" and "tokens": sums of ln p and predicted tokens.

    One forward pass gives loss, zlib, min-k, min-k++, window, dc-pdd and the tokens of altered copies; lower-case and
    recall take one more each, the neighbour signal one for each copy, gradient a pass back for each text.
    """
    wanted = set(config.signals)
    ids = prompt_ids(model.tokenizer, texts)
    copies = config.neighbours if "neighbour" in wanted else 0
    uniforms = None
    if copies:
        width = max(map(len, ids)) - 1
        uniforms = torch.rand(len(ids), width, copies, generator=torch.Generator().manual_seed(seed))
    plain = read(model, ids, rows, moments="min-k++" in wanted, uniforms=uniforms)
    found = {"total": signals.totals(plain.log_p), "tokens": plain.tokens.astype(float)}
    makers: dict[str, Callable[[], Floats]] = {
        "loss": lambda: signals.loss(plain.log_p),
        "zlib": lambda: signals.zlib_ratio(plain.log_p, texts),
        "min-k": lambda: signals.min_k(plain.log_p, config.k),
        "min-k++": lambda: signals.min_k_plus(plain.log_p, plain.mean, plain.sd, config.k),
        "window": lambda: signals.window(plain.log_p, config.window),
        "lower-case": lambda: _lower_case(model, texts, plain, rows),
        "neighbour": lambda: _neighbour(model, ids, plain, config.replaced, rows, seed),
        "gradient": lambda: -gradient_norms(model, ids),
    }
    if prefix:
        makers["recall"] = lambda: _recall(model, ids, plain, prefix, rows)
    found |= {name: make() for name, make in makers.items() if name in wanted or name == "loss"}
    if frequency is not None:
        found["dc-pdd"] = signals.dc_pdd(plain.log_p, ids, frequency)
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in found.items()}


def _lower_case(model: CausalModel, texts: Sequence[str], plain: Reading, rows: int) -> Floats:
    lowered = [text.lower() for text in texts]
    changed = np.array([low != text for low, text in zip(lowered, texts, strict=True)])
    if not changed.any():
        return np.full(len(texts), np.nan)
    room = model.context
    ids = [row[:room] for row in prompt_ids(model.tokenizer, lowered)]  # more tokens than the text as it stood
    return signals.lower_case(plain.log_p, read(model, ids, rows).log_p, changed)


def _neighbour(model: CausalModel, ids: list[list[int]], plain: Reading, share: float, rows: int, seed: int) -> Floats:
    copies = signals.altered_rows(ids, plain.drawn, share, np.random.default_rng(seed))
    altered = signals.loss(read(model, copies, rows).log_p)
    return signals.neighbour(plain.log_p, altered.reshape(len(ids), -1))


def _recall(model: CausalModel, ids: list[list[int]], plain: Reading, prefix: Sequence[int], rows: int) -> Floats:
    """The same tokens are predicted with and without the prefix, of which a BOS stays in front."""
    bos = bool(lead_tokens(model))
    bodies = [row[1:] for row in ids] if bos else ids
    return signals.recall(plain.log_p, read(model, bodies, rows, before=prefix, skip=0 if bos else 1).log_p)


def totals_under(model: CausalModel, texts: Sequence[str], rows: int) -> Tensor:
    """Sum of ln p of each text (n,) under a reference model."""
    return torch.from_numpy(signals.totals(read(model, prompt_ids(model.tokenizer, texts), rows).log_p))


# --- attacks with references -----------------------------------------------------------------------------------


def with_references(found: Mapping[str, Floats], others: Floats, a: float) -> dict[str, Floats]:
    """Attacks that hold the audited model against reference models that saw no text; `others` (M, n) are totals.

    For RMIA and LiRA the probability of a text is the geometric mean over the audited model's tokens. LiRA needs
    two references.
    """
    if not len(others):
        return {}
    log_p, reference = found["total"] / found["tokens"], others / found["tokens"]
    unseen = np.zeros(reference.shape, dtype=bool)
    made = {
        "reference": signals.reference(found["total"], others, found["tokens"]),
        "offline RMIA": log_p - attacks.prior_offline(reference, unseen, a),
    }
    if len(others) > 1:
        made["offline LiRA"] = attacks.lira_offline(
            attacks.confidence_of(log_p), attacks.confidence_of(reference), unseen
        )
    return made
