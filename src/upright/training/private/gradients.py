"""Gradients of single records: their norms, and the sum of what is left of them after clipping.

Two ways of the same numbers. `LinearGradients` never forms a single gradient where it need not: the input `a` and
the output gradient `b` of each linear layer give norm and sum (book-keeping, Bu et al. 2023). `FunctionalGradients`
forms every one with `vmap(grad)` and takes any model whose records do not mix.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from upright.errors import UserError

Batch = tuple[Tensor, ...]
"""Tensors that share their first dimension, the records."""

Loss = Callable[[Callable[..., Tensor], Batch], Tensor]
"""(model, batch of B) -> losses (B,); the loss of a record may depend on that record alone."""

MIXING = (nn.modules.batchnorm._NormBase,)
"""Layers through which one record changes the output of another, or that keep statistics of the records."""


class Clipped(NamedTuple):
    """Σ_i c_i g_i for each trainable parameter, in their order, and the norms ‖g_i‖ (B,) before clipping."""

    sums: list[Tensor]
    norms: Tensor


class PerRecord(Protocol):
    """A way to the gradients of single records."""

    def clipped(self, batch: Batch, clip: float) -> Clipped:
        """Sum of the gradients, each scaled by c_i = min(1, clip / ‖g_i‖); a gradient that is not finite counts 0."""


def per_record(model: nn.Module, loss: Loss) -> PerRecord:
    """The faster way that fits the model.

    Raises:
        UserError: for a model without trainable parameters, or with layers in which records mix.
    """
    mixing = [name for name, module in model.named_modules() if isinstance(module, MIXING)]
    if mixing:
        raise UserError(
            f"{', '.join(mixing)}: batch normalisation mixes records, so no record's gradient is its own; "
            "must be LayerNorm, GroupNorm or none"
        )
    chosen = trainable(model)
    if not chosen:
        raise UserError("the model has no trainable parameter; must have one to train it")
    layers = _linear_layers(model)
    covered = {id(p) for layer in layers.values() for p in layer.parameters(recurse=False)}
    linear = all(id(p) in covered for p in chosen.values()) and len(chosen) == sum(1 for _ in _owned(layers.values()))
    return LinearGradients(model, loss) if linear else FunctionalGradients(model, loss)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, each once, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def coefficients(norms: Tensor, clip: float) -> Tensor:
    """c_i = min(1, clip / ‖g_i‖) (Abadi et al. 2016, algorithm 1); 1 for a norm of 0, 0 for one that is not finite."""
    scale = (clip / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp(max=1.0)
    return torch.where(torch.isfinite(norms), scale, 0.0)


def _linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    return {name: module for name, module in model.named_modules() if type(module) is nn.Linear}


def _owned(layers: Iterable[nn.Linear]) -> Iterator[nn.Parameter]:
    for layer in layers:
        yield from (p for p in layer.parameters(recurse=False) if p.requires_grad)


class Uses(NamedTuple):
    """A layer's inputs `a` (B, T, d) and output gradients `b` (B, T, p); a layer used K times has K times the T."""

    a: Tensor
    b: Tensor


class LinearGradients:
    """For models that are linear layers and what has no parameters, such as an MLP.

    The gradient of record i is W_i = Σ_t b_it a_itᵀ, for the bias Σ_t b_it. One pass backward gives `b` of all layers;
    the norms come from `a` and `b`, and Σ_i c_i W_i is one product.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self._model, self._loss = model, loss
        self._layers = [layer for layer in _linear_layers(model).values() if [*_owned([layer])]]

    def clipped(self, batch: Batch, clip: float) -> Clipped:
        uses = self._uses(batch)
        squares = torch.stack([n2 for layer in self._layers for n2 in _squared_norms(layer, uses[layer])])
        norms = squares.sum(0).sqrt()
        c = coefficients(norms, clip)
        if not bool(torch.isfinite(norms).all()):
            uses = {layer: _masked(use, c > 0) for layer, use in uses.items()}
        sums = {p: total for layer in self._layers for p, total in _weighted_sums(layer, uses[layer], c)}
        return Clipped([sums[p] for p in trainable(self._model).values()], norms)

    def _uses(self, batch: Batch) -> dict[nn.Linear, Uses]:
        with _recorded(self._layers) as records, torch.enable_grad():
            losses = self._loss(self._model, batch)
            unused = [layer for layer in self._layers if layer not in records]
            if unused:
                raise UserError(f"{unused[0]}: got no input, so its gradient is missing; must be used or be frozen")
            outputs = [output for pairs in records.values() for _, output in pairs]
            # the loss is summed: the gradient at an output is then each record's own
            flow = iter(torch.autograd.grad(losses.sum(), outputs))
        size = len(losses)
        joined = {}
        for layer, pairs in records.items():
            flows = [(_rows(a.detach(), size), _rows(next(flow), size)) for a, _ in pairs]
            joined[layer] = Uses(torch.cat([a for a, _ in flows], 1), torch.cat([b for _, b in flows], 1))
        return joined


@contextmanager
def _recorded(layers: Sequence[nn.Linear]) -> Iterator[dict[nn.Linear, list[tuple[Tensor, Tensor]]]]:
    """Inputs and outputs of each use of the layers inside the block, in the order of first use."""
    records: dict[nn.Linear, list[tuple[Tensor, Tensor]]] = {}

    def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        records.setdefault(layer, []).append((args[0], output))

    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


def _rows(tensor: Tensor, size: int) -> Tensor:
    """(B, …, d) as (B, T, d)."""
    return tensor.reshape(size, -1, tensor.shape[-1])


def _squared_norms(layer: nn.Linear, uses: Uses) -> Iterator[Tensor]:
    a, b = uses
    if layer.weight.requires_grad:
        yield _weight_norm2(a, b)
    if layer.bias is not None and layer.bias.requires_grad:
        yield b.sum(1).square().sum(1)


def _weight_norm2(a: Tensor, b: Tensor) -> Tensor:
    """‖Σ_t b_t a_tᵀ‖² (B,): from both Gram matrices when T (p + d) < p d, else from the gradient itself.

    ‖Σ_t b_t a_tᵀ‖² = Σ_tu (a_t · a_u)(b_t · b_u) (Li et al. 2022, section 4).
    """
    (_, t, d), p = a.shape, b.shape[2]
    if t == 1:
        return a[:, 0].square().sum(1) * b[:, 0].square().sum(1)
    if t * (p + d) < p * d:
        return ((a @ a.mT) * (b @ b.mT)).sum((1, 2))
    return (b.mT @ a).square().sum((1, 2))


def _masked(uses: Uses, counts: Tensor) -> Uses:
    """Zeros for the records that do not count, as zero times infinity is no zero."""
    return Uses(*(torch.where(counts[:, None, None], part, 0.0) for part in uses))


def _weighted_sums(layer: nn.Linear, uses: Uses, c: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    a, b = uses.a, uses.b * c[:, None, None]
    if layer.weight.requires_grad:
        yield layer.weight, b.flatten(0, 1).T @ a.flatten(0, 1)
    if layer.bias is not None and layer.bias.requires_grad:
        yield layer.bias, b.sum((0, 1))


class FunctionalGradients:
    """For any model: every record's gradient is formed, B times the memory of the trainable parameters."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self._model, self._loss = model, loss

    def clipped(self, batch: Batch, clip: float) -> Clipped:
        chosen = trainable(self._model)

        def loss_of(parameters: dict[str, Tensor], record: Batch) -> Tensor:
            def model(*inputs: Tensor) -> Tensor:
                output: Tensor = functional_call(self._model, parameters, inputs)
                return output

            return self._loss(model, tuple(field.unsqueeze(0) for field in record))[0]

        values = {name: p.detach() for name, p in chosen.items()}
        single = vmap(grad(loss_of), in_dims=(None, 0), randomness="different")(values, batch)
        flat = [single[name].flatten(1) for name in chosen]
        norms = torch.stack([g.square().sum(1) for g in flat]).sum(0).sqrt()
        c = coefficients(norms, clip)
        kept = [torch.where((c > 0)[:, None], g, 0.0) for g in flat]
        return Clipped([(c @ g).reshape(p.shape) for g, p in zip(kept, chosen.values(), strict=True)], norms)


def clipped_in_parts(gradients: PerRecord, batch: Batch, clip: float, rows: int) -> Clipped:
    """As `PerRecord.clipped`, `rows` records at a time; the sum is that of the whole batch, which must not be empty."""
    parts = [gradients.clipped(tuple(f[i : i + rows] for f in batch), clip) for i in range(0, len(batch[0]), rows)]
    if len(parts) == 1:
        return parts[0]
    sums = [torch.stack(column).sum(0) for column in zip(*(part.sums for part in parts), strict=True)]
    return Clipped(sums, torch.cat([part.norms for part in parts]))
