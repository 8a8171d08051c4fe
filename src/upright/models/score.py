"""How likely a model finds given texts: targets after prompts, and running text."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from upright.models.causal import CausalModel, pad, prompt_and_target, prompt_ids
from upright.models.generate import Prefix, batches, check_room

_LOGITS_AT_ONCE = 2**25
"""Logits held at a time (numbers, not bytes): 128 MiB in float32 whatever the vocabulary."""


class Score(NamedTuple):
    """What a model makes of one target after one prompt, teacher-forced."""

    nll_mean: float
    """Mean of -log p over the target's tokens, in nats per token."""
    nll_sum: float
    """Sum of -log p over the target's tokens, in nats."""
    tokens: int
    """Number of target tokens."""
    exact: bool
    """Whether every target token is the likeliest one at its place."""


class Perplexity(NamedTuple):
    """Negative log-likelihood of texts; perplexity is exp(nll_sum / tokens)."""

    nll_sum: float
    """Sum of -log p over all predicted tokens, in nats."""
    tokens: int
    """Number of predicted tokens: all but the first of each text."""
    per_text: list[float]
    """Sum of -log p of each text, in nats, in the order given."""
    text_tokens: list[int]
    """Predicted tokens of each text."""


@torch.no_grad()
def score(model: CausalModel, prompts: Sequence[str], targets: Sequence[str], batch_rows: int = 32) -> list[Score]:
    """Score `targets[i]` as the continuation of `prompts[i]`, in the order given.

    Tokenised by `prompt_and_target`. A prompt with several targets in one batch is read once, and the output
    head runs at target positions only.
    Raises `UserError` for an empty prompt or target and for a pair longer than the model's context.
    """
    pairs = [prompt_and_target(model.tokenizer, *pair) for pair in zip(prompts, targets, strict=True)]
    check_room(model, [prompt + target[:-1] for prompt, target in pairs], 0)
    keys = [(len(prompt), prompt, len(target)) for prompt, target in pairs]  # equal prompts side by side
    scores: dict[int, Score] = {}
    for batch in batches(keys, batch_rows):
        scores.update(zip(batch, _score_batch(model, [pairs[i] for i in batch]), strict=True))
    return [scores[i] for i in range(len(pairs))]


@torch.no_grad()
def perplexity(model: CausalModel, texts: Sequence[str], window: int, stride: int, batch_rows: int = 8) -> Perplexity:
    """Negative log-likelihood of running text, every token but a text's first predicted once.

    A text longer than `window` tokens is read in windows that move by `stride` tokens, and each token is
    predicted in the first window that holds it, so from at least `window - stride` tokens of context. Texts
    are tokenised as prompts, BOS included.
    Raises `ValueError` unless 1 <= stride < window, `UserError` for a window beyond the model's context.
    """
    if not 1 <= stride < window:
        raise ValueError(f"stride={stride}: must be at least 1 and less than the window of {window} tokens")
    rows = prompt_ids(model.tokenizer, texts)
    check_room(model, [row[:window] for row in rows], 0)
    pieces = [(i, *piece) for i, row in enumerate(rows) for piece in _windows(row, window, stride)]
    per_text = [0.0] * len(rows)
    for batch in batches([len(ids) for _, ids, _ in pieces], batch_rows):
        for i, nll in _window_nlls(model, [pieces[place] for place in batch]):
            per_text[i] += nll
    text_tokens = [max(0, len(row) - 1) for row in rows]
    return Perplexity(sum(per_text), sum(text_tokens), per_text, text_tokens)


def _score_batch(model: CausalModel, pairs: list[tuple[list[int], list[int]]]) -> list[Score]:
    prompts = {tuple(prompt): None for prompt, _ in pairs}
    place = {prompt: i for i, prompt in enumerate(prompts)}
    prefix = Prefix(model, list(prompts))
    prefix.select([place[tuple(prompt)] for prompt, _ in pairs])
    targets = [target for _, target in pairs]
    states = prefix.hidden[:, None]
    if max(map(len, targets)) > 1:  # the last token of a target is predicted, never read
        read = pad([target[:-1] for target in targets], model.pad_id, "right", model.device)
        states = torch.cat([states, prefix.feed(*read)], dim=1)
    ids, mask = pad(targets, model.pad_id, "right", model.device)
    nlls, hits = _token_nlls(model, states[mask.bool()], ids[mask.bool()])
    lengths = [len(target) for target in targets]
    return [
        Score(float(nll.mean()), float(nll.sum()), len(nll), bool(hit.all()))
        for nll, hit in zip(nlls.split(lengths), hits.split(lengths), strict=True)
    ]


def _windows(row: list[int], window: int, stride: int) -> Iterator[tuple[list[int], int]]:
    """Windows of a row, each with how many of its last tokens are predicted there."""
    done = 1
    while done < len(row):
        end = min(len(row), window if done == 1 else done + stride)
        yield row[max(0, end - window) : end], end - done
        done = end


def _window_nlls(model: CausalModel, pieces: list[tuple[int, list[int], int]]) -> Iterator[tuple[int, float]]:
    """The text's number and the NLL sum of each window's predicted tokens."""
    ids, _ = pad([row for _, row, _ in pieces], model.pad_id, "right", model.device)
    states = model.hidden(ids)  # no mask: causal attention never reaches padding on the right
    spans = [(i, slice(len(row) - count - 1, len(row) - 1)) for i, (_, row, count) in enumerate(pieces)]
    targets = [torch.tensor(row[len(row) - count :], device=model.device) for _, row, count in pieces]
    nlls, _ = _token_nlls(model, torch.cat([states[i, span] for i, span in spans]), torch.cat(targets))
    for (text, _, _), nll in zip(pieces, nlls.split([len(target) for target in targets]), strict=True):
        yield text, float(nll.sum())


def _token_nlls(model: CausalModel, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """-log p of `ids` (N,) after `hidden` (N, d_model), float64, and whether each is the likeliest."""
    nlls, hits = [], []
    rows = max(1, _LOGITS_AT_ONCE // model.model.config.vocab_size)
    for some, wanted in zip(hidden.split(rows), ids.split(rows), strict=True):
        logits = model.unembed(some)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        nlls.append(cross_entropy(logits, wanted, reduction="none").double().cpu())
        hits.append((logits.argmax(dim=-1) == wanted).cpu())
    return torch.cat(nlls), torch.cat(hits)
