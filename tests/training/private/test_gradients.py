"""Gradients of single records against one record at a time, in float64."""

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from upright.errors import UserError
from upright.training.private.gradients import (
    Batch,
    Clipped,
    FunctionalGradients,
    LayerGradients,
    PerRecord,
    clipped_in_parts,
    coefficients,
    per_record,
    trainable,
)


def loss(model: object, batch: Batch) -> Tensor:
    x, y = batch
    logits = model(x)  # type: ignore[operator]
    return cross_entropy(logits.flatten(1), y, reduction="none")


class Tokens(nn.Module):
    """A linear layer along a second dimension, another used twice, and a mean."""

    def __init__(self, t: int, narrow: bool) -> None:
        super().__init__()
        self.first = nn.Linear(3, 2 if narrow else 11)
        self.again = nn.Linear(2 if narrow else 11, 2 if narrow else 11, bias=False)
        self.head = nn.Linear(2 if narrow else 11, 4)
        self.t = t

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x.reshape(len(x), self.t, 3)))
        hidden = torch.tanh(self.again(torch.tanh(self.again(hidden))))
        return self.head(hidden).mean(1)  # type: ignore[no-any-return]


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 4))


def frozen() -> nn.Module:
    model = mlp()
    first, _, second, *_ = model.children()
    first.requires_grad_(False)
    next(iter(second.parameters())).requires_grad_(False)
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "mlp": mlp,
    "frozen": frozen,
    "narrow tokens": lambda: Tokens(2, True),
    "wide tokens": lambda: Tokens(2, False),
}


def one_at_a_time(model: nn.Module, batch: Batch, clip: float) -> Clipped:
    """The definition: back-propagate each record by itself, clip, add up."""
    chosen = list(trainable(model).values())
    sums, norms = [torch.zeros_like(p) for p in chosen], []
    for i in range(len(batch[0])):
        gradients = torch.autograd.grad(loss(model, tuple(f[i : i + 1] for f in batch)).sum(), chosen)
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        norms.append(norm)
        for total, g in zip(sums, gradients, strict=True):
            total += g * min(1.0, clip / norm)
    return Clipped(sums, torch.tensor(norms, dtype=torch.float64))


def case(name: str, size: int = 9) -> tuple[nn.Module, Batch]:
    torch.manual_seed(3)
    model = MODELS[name]().double()
    return model, (3 * torch.randn(size, 6, dtype=torch.float64), torch.randint(0, 4, (size,)))


@pytest.mark.parametrize(("name", "clip"), list(product(MODELS, [0.3, 2.0, math.inf])))
@pytest.mark.parametrize("way", [LayerGradients, FunctionalGradients])
def test_norms_and_clipped_sum_are_those_of_one_record_at_a_time(
    name: str, clip: float, way: type[LayerGradients] | type[FunctionalGradients]
) -> None:
    model, batch = case(name)
    found, wanted = way(model, loss).clipped(batch, clip), one_at_a_time(model, batch, clip)
    torch.testing.assert_close(found.norms, wanted.norms, rtol=1e-8, atol=1e-10)
    for ours, theirs in zip(found.sums, wanted.sums, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_norm_by_hand() -> None:
    """a = [[1,0],[1,1]], b = [[1],[2]]: W = 1·(1,0) + 2·(1,1) = (3,2), so ‖W‖² = 13, and the bias (1+2)² = 9."""
    layer = nn.Linear(2, 1).double()

    def weighted(model: object, batch: Batch) -> Tensor:
        return (model(batch[0]) * torch.tensor([[1.0], [2.0]]).double()).sum((1, 2))  # type: ignore[operator, no-any-return]

    a = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]]).double()
    found = LayerGradients(layer, weighted).clipped((a,), math.inf)
    assert found.norms.tolist() == [pytest.approx(math.sqrt(13 + 9))]
    assert found.sums[0].tolist() == [[3.0, 2.0]]
    assert found.sums[1].tolist() == [3.0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 5))
def test_one_record_more_moves_the_sum_by_at_most_the_clip(seed: int, clip: float) -> None:
    model = mlp().double()
    generator = torch.Generator().manual_seed(seed)
    x = 10 * torch.randn(7, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 4, (7,), generator=generator)
    way = per_record(model, loss)
    with_it, without = way.clipped((x, y), clip).sums, way.clipped((x[:-1], y[:-1]), clip).sums
    moved = math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(with_it, without, strict=True)))
    assert moved <= clip * (1 + 1e-9)


def test_coefficients_never_exceed_the_clip_and_drop_what_is_not_finite() -> None:
    norms = torch.tensor([0.0, 1e-40, 0.5, 2.0, 1e30, math.inf, math.nan])
    scaled = coefficients(norms, 1.0)
    assert scaled[:4].tolist() == [1.0, 1.0, 1.0, 0.5]
    assert scaled[5:].tolist() == [0.0, 0.0]
    assert bool((scaled[:5] * norms[:5] <= 1 + 1e-6).all())


@pytest.mark.parametrize("way", [LayerGradients, FunctionalGradients])
def test_a_record_that_is_not_finite_leaves_the_others_alone(
    way: type[LayerGradients] | type[FunctionalGradients],
) -> None:
    model, (x, y) = case("mlp")
    bad = x.clone()
    bad[4] = math.inf
    keep = torch.arange(len(x)) != 4
    found = way(model, loss).clipped((bad, y), 0.5)
    wanted = way(model, loss).clipped((x[keep], y[keep]), 0.5)
    for ours, theirs in zip(found.sums, wanted.sums, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 4, 9, 100])
def test_parts_change_nothing(rows: int) -> None:
    model, batch = case("mlp")
    way = per_record(model, loss)
    whole, parts = way.clipped(batch, 0.7), clipped_in_parts(way, batch, 0.7, rows)
    torch.testing.assert_close(parts.norms, whole.norms, rtol=1e-12, atol=0)
    for ours, theirs in zip(parts.sums, whole.sums, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


class Bare(nn.Module):
    """A parameter that belongs to no single layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.layer = nn.Parameter(torch.randn(6)), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.tanh(x * self.scale))  # type: ignore[no-any-return]


def test_what_does_not_belong_to_layers_goes_the_general_way_and_is_right() -> None:
    torch.manual_seed(5)
    model = Bare().double()
    batch = (torch.randn(5, 6, dtype=torch.float64), torch.randint(0, 4, (5,)))
    way: PerRecord = per_record(model, loss)
    assert isinstance(way, FunctionalGradients)
    for ours, theirs in zip(way.clipped(batch, 0.4).sums, one_at_a_time(model, batch, 0.4).sums, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)), r"^1: batch normalisation mixes records"),
        (nn.Sequential(nn.Tanh()), r"no trainable parameter"),
    ],
)
def test_models_without_gradients_of_single_records_are_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(UserError, match=message):
        per_record(model, loss)


def test_a_layer_without_input_is_named() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(6, 4), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)  # type: ignore[no-any-return]

    with pytest.raises(UserError, match=r"in_features=3.*got no input"):
        per_record(Idle(), loss).clipped((torch.randn(2, 6), torch.tensor([0, 1])), 1.0)
