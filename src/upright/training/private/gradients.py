"""Gradients of single records: their norms, and the sum of what is left of them after clipping.

Two ways of the same numbers. `LayerGradients` never forms a single gradient where it need not: what goes into each
layer and the gradient at its output give norm and sum after one pass backward (book-keeping, Bu et al. 2023).
`FunctionalGradients` forms every one with `vmap(grad)`, for models whose parameters are not those of single layers.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from upright.errors import UserError
from upright.training.private.forms import Dense, Form, joined
from upright.training.private.layers import Call, rule_of

Batch = tuple[Tensor, ...]
"""Tensors that share their first dimension, the records."""

Loss = Callable[[Callable[..., Tensor], Batch], Tensor]
"""(model, batch of B) -> losses (B,); the loss of a record may depend on that record alone.

Where a record is a unit of R texts, the model is called with B · R rows, those of a unit one after the other.
"""

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
    single = all(not [*module.children()] for module in _owners(model))
    return LayerGradients(model, loss) if single else FunctionalGradients(model, loss)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, each once, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def coefficients(norms: Tensor, clip: float) -> Tensor:
    """c_i = min(1, clip / ‖g_i‖) (Abadi et al. 2016, algorithm 1); 1 for a norm of 0, 0 for one that is not finite."""
    scale = (clip / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp(max=1.0)
    return torch.where(torch.isfinite(norms), scale, 0.0)


def _owners(model: nn.Module) -> dict[nn.Module, dict[str, nn.Parameter]]:
    """Modules that have trainable parameters of their own, with these by name."""
    own = {module: dict(module.named_parameters(recurse=False)) for module in model.modules()}
    trained = {module: {name: p for name, p in few.items() if p.requires_grad} for module, few in own.items()}
    return {module: few for module, few in trained.items() if few}


class LayerGradients:
    """For models whose trainable parameters each belong to layers: one pass forward, one backward.

    The parameters are held still meanwhile, so that autograd forms no gradient of theirs. As soon as the gradient at
    a layer's output is known, the gradients of its parameters are brought into their shortest form and measured.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self._model, self._loss = model, loss

    def clipped(self, batch: Batch, clip: float) -> Clipped:
        parameters = list(trainable(self._model).values())
        book = _Book(self._model, len(batch[0]))
        with torch.enable_grad(), book.open():
            losses = self._loss(self._model, batch)
        book.close(losses)
        norms = torch.stack([form.norm2() for form in book.forms.values()]).sum(0).clamp_min(0).sqrt()
        c = coefficients(norms, clip)
        return Clipped([book.forms.pop(p).weighted(c).reshape(p.shape) for p in parameters], norms)


class _Book:
    """The calls of a model's layers during one pass, and the gradients they lead to."""

    def __init__(self, model: nn.Module, size: int) -> None:
        self._owners, self._size = _owners(model), size
        self._calls: Counter[nn.Module] = Counter()
        self._starts: list[Tensor] = []
        self._pages: dict[nn.Parameter, list[Form]] = {p: [] for few in self._owners.values() for p in few.values()}
        self.forms: dict[nn.Parameter, Form] = {}

    @contextmanager
    def open(self) -> Iterator[None]:
        """While inside, calls are written down, and the parameters are held still."""
        handles = [layer.register_forward_hook(self._call, with_kwargs=True) for layer in self._owners]
        parameters = [p for few in self._owners.values() for p in few.values()]
        for p in parameters:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for p in parameters:
                p.requires_grad_(True)

    def close(self, losses: Tensor) -> None:
        """Go backward; `forms` has every parameter afterwards.

        Raises:
            UserError: for a layer that was not called.
        """
        idle = [layer for layer in self._owners if not self._calls[layer]]
        if idle:
            raise UserError(f"{idle[0]}: got no input, so its gradient is missing; must be used or be frozen")
        # the loss is summed: the gradient at an output is then each record's own
        torch.autograd.grad(losses.sum(), self._starts, allow_unused=True)
        for p, forms in self._pages.items():  # those of which a use led nowhere
            self.forms[p] = joined(forms) if forms else Dense(p.new_zeros(self._size, *p.shape))

    def _call(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Tensor | None:
        if not isinstance(output, Tensor):
            raise UserError(f"{layer}: gives {type(output).__name__}, no tensor; must be frozen for private training")
        self._calls[layer] += 1
        call, started = Call(args, kwargs), None
        if not output.requires_grad:  # nothing before it is trained: here the way back ends
            self._starts.append(output.detach().requires_grad_())
            output = started = self._starts[-1].clone()
        output.register_hook(partial(self._enter, layer, call))
        return started

    def _enter(self, layer: nn.Module, call: Call, flow: Tensor) -> None:
        own = self._owners[layer]
        for name, form in rule_of(layer)(layer, own, call, flow.detach(), self._size):
            page = self._pages[own[name]]
            page.append(form)
            if len(page) == self._uses(own[name]):  # so that inputs and gradients of long layers are let go
                self.forms[own[name]] = joined(self._pages.pop(own[name]))

    def _uses(self, parameter: nn.Parameter) -> int:
        calls = (self._calls[layer] for layer, own in self._owners.items() if any(p is parameter for p in own.values()))
        return sum(calls)


class FunctionalGradients:
    """For any model: every record's gradient is formed, B times the memory of the trainable parameters."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self._model, self._loss = model, loss

    def clipped(self, batch: Batch, clip: float) -> Clipped:
        chosen = trainable(self._model)

        def loss_of(parameters: dict[str, Tensor], record: Batch) -> Tensor:
            def model(*inputs: Tensor, **named: Tensor) -> Any:
                return functional_call(self._model, parameters, inputs, named)

            return self._loss(model, tuple(field.unsqueeze(0) for field in record))[0]

        values = {name: p.detach() for name, p in chosen.items()}
        single = vmap(grad(loss_of), in_dims=(None, 0), randomness="different")(values, batch)
        flat = [single[name].flatten(1).to(torch.promote_types(p.dtype, torch.float32)) for name, p in chosen.items()]
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
