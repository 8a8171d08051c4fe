"""Which optimiser gets what, and the learning rate over time."""

import math

import pytest
import torch
from torch import nn

from tests.tiny import world_model
from upright.errors import UserError
from upright.training.optimise import adam, muon, warmup_then_decay


def test_decay_is_for_matrices_only() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    decayed, free = adam(model.parameters(), 1e-3, weight_decay=0.1).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(3, 2)]
    assert [tuple(p.shape) for p in free["params"]] == [(3,), (3,), (3,)]
    assert (decayed["weight_decay"], free["weight_decay"], free["betas"]) == (0.1, 0.0, (0.9, 0.95))


def test_frozen_parameters_and_empty_groups_are_left_out() -> None:
    model = nn.Linear(2, 3)
    model.weight.requires_grad_(False)
    (only,) = adam(model.parameters(), 1e-3).param_groups
    assert [id(p) for p in only["params"]] == [id(model.bias)]


def test_muon_takes_the_matrices_inside_the_blocks() -> None:
    """Embedding (tied to the head) and norms go to Adam; each parameter to exactly one of the two."""
    model = world_model().model.requires_grad_(True)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    inside, outside = (
        {names[id(p)] for group in optimiser.param_groups for p in group["params"]} for optimiser in muon(model, 1e-3)
    )
    assert inside == {name for name in names.values() if "proj" in name}
    assert outside == {name for name in names.values() if "proj" not in name}
    assert "model.embed_tokens.weight" in outside


def test_an_untied_head_is_no_matter_for_muon() -> None:
    model = world_model().model.requires_grad_(True)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    matrices, rest = (group["params"] for optimiser in muon(model, 1e-3) for group in optimiser.param_groups[:1])
    assert model.lm_head.weight not in set(matrices)
    assert model.lm_head.weight in set(rest)


def test_muon_steps_like_adam() -> None:
    """Its update of an (m, n) matrix is orthogonal times 0.2 sqrt(max(m, n)): root mean square 0.2 when square."""
    square = nn.Linear(64, 64, bias=False)
    before = square.weight.detach().clone()
    optimiser, _ = muon(nn.ModuleList([square, nn.LayerNorm(2)]), learning_rate=0.01)
    square.weight.grad = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    optimiser.step()
    moved = (square.weight.detach() - before).square().mean().sqrt()
    assert float(moved) == pytest.approx(0.01 * 0.2, rel=0.15)


def test_without_muon_the_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(UserError, match=r"has no Muon optimiser; training from scratch needs torch >= 2.9"):
        muon(nn.Linear(2, 2), 1e-3)


def test_the_schedule_by_hand() -> None:
    """Up over 2 %, flat to 70 %, then half a cosine: half of it is gone at 85 %."""
    factor = warmup_then_decay(0.02, 0.3)
    points = {0.0: 0.0, 0.01: 0.5, 0.02: 1.0, 0.5: 1.0, 0.7: 1.0, 0.85: 0.5, 1.0: 0.0}
    assert {at: factor(at) for at in points} == pytest.approx(points)
    assert factor(0.775) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
