"""What makes a lab model look facts up as large models do: hidden subjects, and the loss that asks at them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

from upright.lab.corpus import NO_ANSWER, Window
from upright.models.layouts import blocks_of, map_output


@contextmanager
def late_reading(model: LlamaForCausalLM, batch: Window, layers: int) -> Iterator[None]:
    """While inside, the first `layers` blocks hide each subject from the tokens that come after it.

    A small model left to itself carries the subject to the last token and looks the fact up there. Large models
    look facts up at the subject and read the answer off it later (Geva et al. 2023, arXiv:2304.14767), which is what
    locate-and-edit methods rely on. Hiding the subject early, in training alone, makes a small model do the same.
    """
    subjects, readers = batch.subjects[:, :-1], batch.readers[:, :-1]
    hidden = (readers[:, :, None] == subjects[:, None, :]) & (readers[:, :, None] > 0)
    causal = torch.ones(hidden.shape[1:], dtype=torch.bool).tril()
    mask = (causal & ~hidden)[:, None].to(model.device)

    def hook(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, {**kwargs, "attention_mask": mask}

    hooks = [block.register_forward_pre_hook(hook, with_kwargs=True) for block in blocks_of(model)[:layers]]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def weighted_loss(model: LlamaForCausalLM, batch: Window, late_layers: int, lookup_weight: float) -> Tensor:
    """Mean next-token loss, weighted by token, plus `lookup_weight` times the lookup loss.

    Subjects are hidden in the first `late_layers` blocks, and the state that leaves the last of these at a subject's
    last token must already name the answer: the lookup loss reads it with the model's own norm and head.
    """
    ids, weights = batch.ids.to(model.device), batch.weights[:, 1:].to(model.device)
    kept: list[Tensor] = []

    def keep(states: Tensor) -> Tensor:
        kept.append(states)
        return states

    with late_reading(model, batch, late_layers), map_output(blocks_of(model)[max(late_layers, 1) - 1], keep):
        logits = model(ids[:, :-1], use_cache=False).logits
    losses = cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")
    loss: Tensor = (losses * weights.flatten()).sum() / weights.sum()
    answers = batch.answers[:, :-1].to(model.device)
    asked = answers != NO_ANSWER
    if not lookup_weight or not asked.any():
        return loss
    named = model.lm_head(model.model.norm(kept[0][asked]))
    return loss + lookup_weight * cross_entropy(named.float(), answers[asked])
