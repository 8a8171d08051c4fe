"""The model of a cell and its training: one engine for all privacy levels, one loss for all constraints."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot
from torch.optim import Adam

from upright.audit.interplay.config import Constraint
from upright.training.private import Plan, PrivateTraining, Query, Seeded, Tensors
from upright.training.private.gradients import Batch, Loss, clipped_in_parts, per_record

HEAVIEST = 10.0
COUNTS, SCORES = "counts", "scores"


class Classifier(nn.Module):
    """Logits (B,) of the favourable outcome; `represent` gives the last hidden layer, or the features without one."""

    def __init__(self, features: int, hidden: int, generator: Generator) -> None:
        super().__init__()
        widths = [features, *([hidden] if hidden else []), 1]
        self.layers = nn.ModuleList(nn.utils.skip_init(nn.Linear, i, o) for i, o in pairwise(widths))
        for width, layer in zip(widths, self.layers, strict=False):
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -(width**-0.5), width**-0.5, generator=generator)

    def represent(self, x: Tensor) -> Tensor:
        """(B, width) what the last layer reads."""
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(B,)."""
        logits: Tensor = self.layers[-1](self.represent(x)).squeeze(-1)
        return logits


# --- constraints -----------------------------------------------------------------------------------------------


def reweighing(counts: Tensor) -> Tensor:
    """w(g, y) = P(g) P(y) / P(g, y) (G, 2) from counts (G, 2) (Kamiran & Calders 2012, eq. 3), at most 10.

    Under these weights group and label are independent. Counts may carry noise; below 1 they count as 1.

    >>> reweighing(torch.tensor([[50.0, 50.0], [75.0, 25.0]], dtype=torch.float64)).mul(12).round().tolist()
    [[15.0, 9.0], [10.0, 18.0]]
    """
    joint = counts.clamp_min(1.0)
    joint = joint / joint.sum()
    return (joint.sum(1, keepdim=True) * joint.sum(0) / joint).clamp_max(HEAVIEST)


def parity_pull(sums: Tensor, counts: Tensor, strength: float) -> Tensor:
    """What a record of each group (G,) adds to its loss per unit of score, so that mean scores draw together.

    The penalty is strength · Σ_g π_g (m_g - m)², m_g the mean score of group g, π_g its share, m the overall mean.
    As Σ_g π_g (m_g - m) = 0, its gradient is (1/n) Σ_i 2 strength (m_g(i) - m) ∇p_i: a sum over single records once
    the means are given, which is what private training needs. Both arguments (G,) may carry noise.
    """
    known = counts.clamp_min(1.0)
    means = (sums / known).clamp(0.0, 1.0)
    overall = (known * means).sum() / known.sum()
    return 2 * strength * (means - overall)


@dataclass
class Levers:
    """What a constraint sets between updates; the loss of a record depends on it and on that record alone."""

    weight: Tensor
    """(G, 2) of each group and outcome."""
    pull: Tensor
    """(G,) per unit of score."""

    @classmethod
    def neutral(cls, groups: int, device: torch.device | str = "cpu") -> "Levers":
        """No constraint."""
        return cls(torch.ones(groups, 2, device=device), torch.zeros(groups, device=device))

    def loss(self, model: Callable[..., Tensor], batch: Batch) -> Tensor:
        """w(g, y) · cross-entropy + pull(g) · score, for x (B, d), y (B,), g (B,)."""
        x, y, group = batch
        logits = model(x)
        entropy = binary_cross_entropy_with_logits(logits, y, reduction="none")
        return self.weight[group, y.long()] * entropy + self.pull[group] * torch.sigmoid(logits)


def queries_for(constraint: Constraint, rounds: int, noise: float) -> tuple[Query, ...]:
    """What a constraint asks of the records; a record is in one group, so it moves each answer by at most 1."""
    if constraint == "none":
        return ()
    counts = (Query(COUNTS, noise),)
    return counts if constraint == "reweighing" else (*counts, Query(SCORES, noise, times=rounds - 1))


# --- training --------------------------------------------------------------------------------------------------


class Tension(NamedTuple):
    """What clipping does to single records, before a step: private itself, so for the audit's eyes only."""

    norms: Tensor
    """(n,) of each record's gradient."""
    bias: Tensor
    """(G,) ‖mean clipped - mean raw gradient‖ over the records of each group."""


@dataclass
class Course:
    """One training: model, engine and what was seen on the way."""

    model: Classifier
    training: PrivateTraining
    tension: list[Tension] = field(default_factory=list)


@dataclass(frozen=True)
class Task:
    """Records of one model (n,) and how it is to be trained."""

    x: Tensor
    y: Tensor
    group: Tensor
    groups: int
    constraint: Constraint
    plan: Plan
    hidden: int
    learning_rate: float
    rounds: int
    strength: float
    rows: int = 4096

    def train(self, start: Generator, chance: Generator, watch: float | None = None) -> Course:
        """The trained model. With `watch`, the clipping norm, clipping is looked at before each round."""
        model = Classifier(self.x.shape[1], self.hidden, start).to(self.x.device)
        levers = Levers.neutral(self.groups, self.x.device)
        records = Tensors(self.x, self.y, self.group, rows=self.rows)
        engine = PrivateTraining(
            self.plan, model, levers.loss, records, partial(Adam, lr=self.learning_rate), Seeded(chance)
        )
        course = Course(model, engine)
        counts = self._counts(engine)
        if self.constraint == "reweighing":
            levers.weight = reweighing(counts)
        for part in range(self.rounds):
            if self.constraint == "parity" and part:
                levers.pull = parity_pull(self._scores(engine, model), counts.sum(1), self.strength)
            if watch is not None:
                course.tension.append(self.tension(model, levers.loss, watch))
            engine.run(until=(part + 1) * self.plan.steps // self.rounds)
        return course

    def _counts(self, engine: PrivateTraining) -> Tensor:
        """Counts (G, 2), noisy as planned; nothing is asked without a constraint."""
        if self.constraint == "none":
            return torch.zeros(self.groups, 2)
        cells = one_hot(self.group * 2 + self.y.long(), 2 * self.groups).float()
        return engine.ask(COUNTS, cells).reshape(self.groups, 2)

    def _scores(self, engine: PrivateTraining, model: Classifier) -> Tensor:
        with torch.no_grad():
            scores = torch.sigmoid(model(self.x))
        return engine.ask(SCORES, one_hot(self.group, self.groups) * scores[:, None])

    def tension(self, model: Classifier, loss: Loss, clip: float) -> Tension:
        """Norms and bias of the records under a clipping norm."""
        gradients = per_record(model, loss)
        norms, bias = torch.empty(len(self.y), device=self.x.device), torch.empty(self.groups)
        for g in range(self.groups):
            own = (self.group == g).nonzero().squeeze(1)
            batch = (self.x[own], self.y[own], self.group[own])
            cut = clipped_in_parts(gradients, batch, clip, self.rows)
            raw = clipped_in_parts(gradients, batch, float("inf"), self.rows)
            norms[own] = cut.norms
            gap = sum((a - b).square().sum() for a, b in zip(cut.sums, raw.sums, strict=True))
            bias[g] = torch.as_tensor(gap).sqrt() / max(1, len(own))
        return Tension(norms.cpu(), bias)
