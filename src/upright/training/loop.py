"""The training loop, written once: batches in, a trained model out, resumable at any step.

for step in range(start, steps):
    loss = loss_of(next batch)       # any pure loss
    backward, clip, step every optimiser    # the schedule sets the learning rate
    every `save_every` seconds: one atomic checkpoint
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from upright.run.progress import progress


@dataclass(frozen=True)
class Plan:
    """How long and how carefully to train; nothing in it depends on the machine."""

    steps: int
    """Number of updates."""
    schedule: Callable[[float], float]
    """Learning-rate factor by progress in [0, 1]."""
    clip: float = 1.0
    """Largest gradient norm."""


@dataclass
class Checkpoint:
    """Where a training can go on from; written atomically."""

    path: Path | None = None
    save_every: float = 120.0
    """Seconds between saves."""

    def load(self, model: nn.Module, optimisers: Sequence[Optimizer]) -> list[float]:
        """Restore model and optimisers; the losses of the steps done (none without a checkpoint)."""
        if self.path is None or not self.path.exists():
            return []
        state = torch.load(self.path, weights_only=True)
        model.load_state_dict(state["model"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        return list(state["losses"])

    def save(self, model: nn.Module, optimisers: Sequence[Optimizer], losses: Sequence[float]) -> None:
        """Write everything that `load` reads."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".tmp")
        states = [optimiser.state_dict() for optimiser in optimisers]
        torch.save({"model": model.state_dict(), "optimisers": states, "losses": list(losses)}, draft)
        os.replace(draft, self.path)


def fit(
    model: nn.Module,
    batches: Callable[[int], Iterator[Any]],
    loss_of: Callable[[Any], Tensor],
    optimisers: Sequence[Optimizer],
    plan: Plan,
    checkpoint: Checkpoint | None = None,
    on_step: Callable[[int, float], None] | None = None,
    description: str = "training",
) -> list[float]:
    """Train in place; the loss of every step, also of those before a resume.

    Args:
        batches: gives the batches from a step on (so that a resumed run sees what an unbroken one would).
        loss_of: scalar loss of one batch.
        on_step: called after each update with (step, loss).
    """
    checkpoint = checkpoint or Checkpoint()
    losses = checkpoint.load(model, optimisers)
    start = len(losses)
    base = [[group["lr"] for group in optimiser.param_groups] for optimiser in optimisers]
    if start:
        base = [[group["initial_lr"] for group in optimiser.param_groups] for optimiser in optimisers]
    model.train()
    saved = time.monotonic()
    stream = batches(start)
    with progress(description, total=plan.steps) as bar:
        bar.advance(start)
        for step in range(start, plan.steps):
            _set_rates(optimisers, base, plan.schedule((step + 1) / plan.steps))
            losses.append(_update(model, loss_of(next(stream)), optimisers, plan.clip))
            if on_step:
                on_step(step + 1, losses[-1])
            if time.monotonic() - saved > checkpoint.save_every:
                checkpoint.save(model, optimisers, losses)
                saved = time.monotonic()
            bar.advance(1)
    checkpoint.save(model, optimisers, losses)
    model.eval()
    return losses


def _set_rates(optimisers: Sequence[Optimizer], base: list[list[float]], factor: float) -> None:
    for optimiser, rates in zip(optimisers, base, strict=True):
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["initial_lr"], group["lr"] = rate, rate * factor


def _update(model: nn.Module, loss: Tensor, optimisers: Sequence[Optimizer], clip: float) -> float:
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return float(loss.detach())
