"""What one call of a layer says about the gradients of its parameters, by kind of layer.

A rule is given the layer, the tensors it was called with, and the gradient of the summed loss at its output, whose
first dimension is the records (of a unit's several records: all of them, one after the other).
"""

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.nn.functional import layer_norm

from upright.errors import UserError
from upright.training.private.forms import Dense, Form, Outer, Rows


class Call(NamedTuple):
    """What a layer was called with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def input(self) -> Tensor:
        """The first argument, however it was given."""
        found: Tensor = self.args[0] if self.args else next(iter(self.kwargs.values()))
        return found


Rule = Callable[[Any, Mapping[str, Tensor], Call, Tensor, int], Iterator[tuple[str, Form]]]
"""(layer, its trainable parameters by name, call, output gradient, B) -> form of each parameter."""


def rule_of(layer: nn.Module) -> Rule:
    """The rule for a layer; any kind that has none of its own is differentiated record by record."""
    if layer not in _found:
        special = _conv1d if _is_conv1d(layer) else _rms_norm if _is_rms_norm(layer) else _any
        _found[layer] = RULES.get(type(layer), special)
    return _found[layer]


def _linear(
    layer: nn.Linear, trained: Mapping[str, Tensor], call: Call, flow: Tensor, size: int
) -> Iterator[tuple[str, Form]]:
    b = places(flow, size)
    if "weight" in trained:
        yield "weight", Outer(b, places(call.input, size))
    if "bias" in trained:
        yield "bias", Dense(b.sum(1))


def _conv1d(
    layer: nn.Module, trained: Mapping[str, Tensor], call: Call, flow: Tensor, size: int
) -> Iterator[tuple[str, Form]]:
    """The linear layer of GPT-2, which stores its weight (d, p)."""
    b = places(flow, size)
    if "weight" in trained:
        yield "weight", Outer(places(call.input, size), b)
    if "bias" in trained:
        yield "bias", Dense(b.sum(1))


def _embedding(
    layer: nn.Embedding, trained: Mapping[str, Tensor], call: Call, flow: Tensor, size: int
) -> Iterator[tuple[str, Form]]:
    if layer.scale_grad_by_freq or layer.max_norm is not None:
        raise UserError(f"{layer}: scale_grad_by_freq and max_norm mix records; must be off for private training")
    ids = call.input
    if ids.shape != flow.shape[:-1] or len(ids) % size:
        raise UserError(
            f"{layer}: was asked for places {tuple(ids.shape)} by {size} records; each record must ask for its own "
            "(give position_ids of shape (records, tokens))"
        )
    if layer.padding_idx is not None:
        flow = torch.where((ids == layer.padding_idx)[..., None], 0, flow)
    yield "weight", Rows(ids.reshape(size, -1), places(flow, size), layer.num_embeddings)


def _layer_norm(
    layer: nn.LayerNorm, trained: Mapping[str, Tensor], call: Call, flow: Tensor, size: int
) -> Iterator[tuple[str, Form]]:
    b = _wide(flow)
    if "weight" in trained:
        normal = layer_norm(_wide(call.input), layer.normalized_shape, None, None, layer.eps)
        yield "weight", Dense(_summed(b * normal, size, len(layer.normalized_shape)))
    if "bias" in trained:
        yield "bias", Dense(_summed(b, size, len(layer.normalized_shape)))


def _rms_norm(
    layer: nn.Module, trained: Mapping[str, Tensor], call: Call, flow: Tensor, size: int
) -> Iterator[tuple[str, Form]]:
    """With a weight that scales by 1, the layer itself gives the normalised input, rounded as it rounds."""
    weight = torch.full_like(trained["weight"], _unit_weights[layer])
    normal = functional_call(layer, {"weight": weight}, (call.input.detach(),))
    yield "weight", Dense(_summed(_wide(flow) * _wide(normal), size, 1))


def _any(
    layer: nn.Module, trained: Mapping[str, Tensor], call: Call, flow: Tensor, size: int
) -> Iterator[tuple[str, Form]]:
    """By definition: the layer's own derivative, mapped over the records."""
    rows = len(flow)
    own = {name: p.detach() for name, p in trained.items()}

    def split(value: Any) -> Any:
        mine = isinstance(value, Tensor) and value.ndim and len(value) == rows
        return value.detach().unflatten(0, (size, -1)) if mine else value

    def single(args: tuple[Any, ...], kwargs: dict[str, Any], b: Tensor) -> dict[str, Tensor]:
        pull: Any = vjp(lambda values: functional_call(layer, values, args, kwargs), own)[1]
        found: dict[str, Tensor] = pull(b)[0]
        return found

    args, kwargs = tuple(map(split, call.args)), {name: split(value) for name, value in call.kwargs.items()}
    mapped = [0 if new is not old else None for new, old in zip(args, call.args, strict=True)]
    named = {name: 0 if kwargs[name] is not call.kwargs[name] else None for name in kwargs}
    grads = vmap(single, in_dims=(tuple(mapped), named, 0))(args, kwargs, split(flow))
    yield from ((name, Dense(_wide(grad))) for name, grad in grads.items())


_found: MutableMapping[nn.Module, Rule] = WeakKeyDictionary()
_unit_weights: MutableMapping[nn.Module, float] = WeakKeyDictionary()
RULES: dict[type, Rule] = {nn.Linear: _linear, nn.Embedding: _embedding, nn.LayerNorm: _layer_norm}


def _is_conv1d(layer: nn.Module) -> bool:
    module: Any = sys.modules.get("transformers.pytorch_utils")  # whoever has such a layer has imported it
    return module is not None and type(layer) is module.Conv1D


@torch.no_grad()
def _is_rms_norm(layer: nn.Module) -> bool:
    """Whether it is one by deed: each family has a class of its own, and some scale by 1 + weight."""
    own = dict(layer.named_parameters(recurse=False))
    weight = own.get("weight")
    if not type(layer).__name__.endswith("RMSNorm") or len(own) != 1 or weight is None or weight.ndim != 1:
        return False
    x = torch.linspace(-1, 2, weight.numel(), dtype=weight.dtype, device=weight.device).view(1, 1, -1)
    wanted = x * torch.rsqrt(x.square().mean(-1, keepdim=True))
    for unit in (1.0, 0.0):
        _unit_weights[layer] = unit
        found = functional_call(layer, {"weight": torch.full_like(weight, unit)}, (x,))
        twice = functional_call(layer, {"weight": torch.full_like(weight, unit + 1)}, (x,))
        if torch.allclose(found, wanted, rtol=1e-2, atol=1e-3) and torch.allclose(twice, 2 * found, rtol=1e-2):
            return True
    return False


def places(tensor: Tensor, size: int) -> Tensor:
    """(B, …, d) or (B · R, …, d) as (B, T, d), in 32 bits at least."""
    return _wide(tensor).detach().reshape(size, -1, tensor.shape[-1])


def _summed(tensor: Tensor, size: int, dims: int) -> Tensor:
    """(B · R, …, *shape) summed to (B, *shape), where `shape` are the last `dims` dimensions."""
    shape = tensor.shape[tensor.ndim - dims :]
    return tensor.reshape(size, -1, *shape).sum(1)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
