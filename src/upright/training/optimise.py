"""Optimisers and learning-rate schedules."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from upright.errors import UserError

HEADS = ("lm_head", "embed_out")


def adam(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float = 0.0) -> AdamW:
    """AdamW for language models: betas (0.9, 0.95), decay on matrices only."""
    chosen = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in chosen if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in chosen if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=learning_rate, betas=(0.9, 0.95))


def muon(model: nn.Module, learning_rate: float, weight_decay: float = 0.0) -> list[Optimizer]:
    """Muon for the matrices inside a language model's blocks, AdamW for embeddings, head and norms.

    Muon learns rarely seen facts faster than Adam (Wang et al. 2025, arXiv:2509.26030); its step is scaled to Adam's
    root mean square, so both share one learning rate.

    Raises:
        UserError: where this torch has no Muon (before 2.9).
    """
    if not hasattr(torch.optim, "Muon"):
        raise UserError(f"torch {torch.__version__} has no Muon optimiser; training from scratch needs torch >= 2.9")
    ends = [m for name, m in model.named_modules() if isinstance(m, nn.Embedding) or name in HEADS]
    outside = {id(p) for m in ends for p in m.parameters()}
    inside = [p for p in model.parameters() if p.ndim == 2 and id(p) not in outside]
    chosen = {id(p) for p in inside}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    matched = torch.optim.Muon(inside, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
    return [matched, adam(rest, learning_rate)]


def warmup_then_decay(warmup: float = 0.02, decay: float = 0.3) -> Callable[[float], float]:
    """Learning-rate factor by progress in [0, 1]: linear up, flat, then cosine down to zero over the last `decay`."""

    def factor(progress: float) -> float:
        if progress < warmup:
            return progress / warmup
        if progress < 1 - decay:
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - 1 + decay) / decay)))

    return factor
