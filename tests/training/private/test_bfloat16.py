"""The private step where the forward pass, or the weights, are in bfloat16: what float64 says, up to its rounding."""

import copy
import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam
from transformers import PreTrainedModel

from tests.models.conftest import tiny_weights
from upright.errors import UserError
from upright.synthesis.texts import Logits, UnitLoss
from upright.training.private import Plan, PrivateTraining, Seeded, Tensors
from upright.training.private.gradients import (
    Batch,
    FunctionalGradients,
    LayerGradients,
    PerRecord,
    per_record,
    trainable,
)

UNITS, RECORDS, TOKENS = 12, 2, 20
LOWER = UnitLoss(torch.bfloat16)
Way = Callable[[nn.Module, Any], PerRecord]


def units() -> Batch:
    """Ids and targets (U, R, T): records of unlike lengths."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2, 320, (UNITS, RECORDS, TOKENS), generator=generator)
    lengths = torch.randint(3, TOKENS + 1, (UNITS, RECORDS, 1), generator=generator)
    return ids, torch.where(torch.arange(TOKENS) < lengths, ids, -100)


def weights(family: str, dtype: torch.dtype) -> PreTrainedModel:
    """As large as those of a trained model, so that roundings do not grow from layer to layer; without dropout."""
    model = tiny_weights(family, dtype)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.3 if p.ndim == 2 else 1.0)
    model.eval()
    return model


def whole(family: str) -> nn.Module:
    """All weights in float32, trained."""
    return Logits(weights(family, torch.float32))


def whole_lower(family: str) -> nn.Module:
    """All weights in bfloat16, trained."""
    return Logits(weights(family, torch.bfloat16))


def factors(family: str) -> nn.Module:
    """Frozen weights in bfloat16 beside low-rank factors in float32, as `upright synthesize` tunes on a GPU."""
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    torch.manual_seed(0)
    base = weights(family, torch.bfloat16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's own, of names that transformers is about to change
        model = peft.get_peft_model(base, settings)
    for name, p in model.named_parameters():
        if "lora_B" in name:  # zero at first, and with it the gradient of the other factor
            nn.init.normal_(p, std=0.1)
    return Logits(base)


MODELS = {
    "whole, float32": whole,
    "whole, bfloat16": whole_lower,
    "factors": factors,
}


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # of torch's vmap over attention
@pytest.mark.parametrize(
    ("family", "way"), [("llama", LayerGradients), ("gpt2", LayerGradients), ("llama", FunctionalGradients)]
)
@pytest.mark.parametrize("name", MODELS)
def test_norms_and_sums_are_those_of_float64(family: str, name: str, way: Way) -> None:
    model = MODELS[name](family)
    exact = copy.deepcopy(model).double()  # of the same, rounded weights
    wanted = LayerGradients(exact, UnitLoss()).clipped(units(), math.inf)
    clip = float(wanted.norms.median())
    wanted = LayerGradients(exact, UnitLoss()).clipped(units(), clip)
    found = way(model, LOWER).clipped(units(), clip)
    assert found.norms.dtype == torch.float32
    torch.testing.assert_close(found.norms.double(), wanted.norms, rtol=0.02, atol=0.0)
    assert {total.dtype for total in found.sums} == {torch.float32}
    ours, theirs = (torch.cat([total.flatten().double() for total in each.sums]) for each in (found, wanted))
    assert float((ours - theirs).norm()) < 0.02 * float(theirs.norm())


@pytest.mark.parametrize("name", MODELS)
def test_a_step_in_parts_adds_up_in_float32_and_moves_the_weights(name: str) -> None:
    """Units one by one give the same sum as all together; the model is not taken for one whose records mix."""
    model = MODELS[name]("llama")
    gradients = per_record(model, LOWER)
    all_at_once = gradients.clipped(units(), 1.0).sums
    in_parts = trained(model, noise=1.0, rows=1)._clipped_sum(torch.arange(UNITS))
    for one, other in zip(in_parts, all_at_once, strict=True):
        assert one.dtype == torch.float32
        assert float((one - other).norm()) <= 2e-3 * float(other.norm())
    before = {key: p.detach().clone() for key, p in trainable(model).items()}
    trained(model, noise=1.0, rows=5).run()
    for key, p in trainable(model).items():
        assert torch.isfinite(p).all()
        assert p.dtype == before[key].dtype
        assert not torch.equal(p, before[key])


def trained(model: nn.Module, noise: float, rows: int) -> PrivateTraining:
    plan = Plan(records=UNITS, batch=6, steps=2, clip=1.0, noise=noise, delta=1e-3)
    records = Tensors(*units(), rows=rows)
    return PrivateTraining(plan, model, LOWER, records, partial(Adam, lr=1e-2), Seeded(torch.Generator()))


class Leaky(nn.Module):
    """A head whose weight is also used outside it: a tenth of its gradient is none of the layer's."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x) + 0.1 * (x @ self.head.weight.T)  # type: ignore[no-any-return]


def test_a_gradient_that_escapes_is_found_under_autocast_too() -> None:
    x = torch.randn(UNITS, 16, generator=torch.Generator().manual_seed(0))

    def loss(model: Callable[..., Tensor], batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model(batch[0]).float().square().sum(1)

    plan = Plan(records=UNITS, batch=6, steps=2, clip=1.0, noise=1.0, delta=1e-3)
    make = partial(
        PrivateTraining, plan, loss=loss, records=Tensors(x), optimiser=Adam, randomness=Seeded(torch.Generator())
    )
    make(model=nn.Sequential(nn.Linear(16, 1)))._clipped_sum(torch.arange(UNITS))
    with pytest.raises(UserError, match=r"head\.weight: its gradient is not that of its layers alone"):
        make(model=Leaky())._clipped_sum(torch.arange(UNITS))


def test_losses_are_in_float32() -> None:
    losses: Tensor = LOWER(whole_lower("llama"), units())
    assert losses.dtype == torch.float32
    assert torch.isfinite(losses).all()
