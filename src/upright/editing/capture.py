"""Keys and states at fact positions, and key statistics over running text."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from upright.editing.requests import Row
from upright.models.causal import CausalModel, pad, prompt_ids
from upright.models.layouts import capture_inputs, map_output


class _Stop(Exception):
    """Raised inside a forward pass when nothing above is needed."""


@contextmanager
def stop_after(block: nn.Module) -> Iterator[None]:
    """End forward passes after `block`, without running what lies above."""

    def hook(module: nn.Module, args: object, output: object) -> None:
        raise _Stop

    handle = block.register_forward_hook(hook)
    try:
        yield
    except _Stop:
        pass
    finally:
        handle.remove()


@torch.no_grad()
def keys_at_fact(model: CausalModel, rows: Sequence[Row], layer: int, batch_rows: int) -> Tensor:
    """Inputs (n, d_k) of layer's down projection at the fact position of each row, float64 on the CPU."""
    parts = []
    for chunk, ids, mask in _batches(model, rows, batch_rows):
        with capture_inputs(model.model, [layer]) as inputs, stop_after(model.blocks[layer]):
            model.hidden(ids, mask, _positions(mask))
        parts.append((chunk, inputs[layer][:, -1].double().cpu()))
    return _in_order(parts, len(rows))


@torch.no_grad()
def states_at_fact(model: CausalModel, rows: Sequence[Row], layer: int, batch_rows: int) -> Tensor:
    """Outputs (n, d) of block `layer` at the fact position of each row, float64 on the CPU."""
    parts = []
    for chunk, ids, mask in _batches(model, rows, batch_rows):
        kept: list[Tensor] = []

        def keep(states: Tensor, kept: list[Tensor] = kept) -> Tensor:
            kept.append(states[:, -1].double().cpu())
            return states

        with map_output(model.blocks[layer], keep), stop_after(model.blocks[layer]):
            model.hidden(ids, mask, _positions(mask))
        parts.append((chunk, kept[0]))
    return _in_order(parts, len(rows))


def text_moments(
    model: CausalModel, texts: Iterable[str], layers: Sequence[int], tokens: int, batch_rows: int
) -> tuple[dict[int, Tensor], int]:
    """Uncentred second moments E[k k^T] (d_k, d_k) of each layer's keys over running text, and the key count.

    The first token of each text is left out: its state is an outlier in many models and would be one dominant
    direction. Texts are cut to `tokens` tokens.
    """

    def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for chunk in _chunks(texts, batch_rows):
            rows = [row[:tokens] for row in prompt_ids(model.tokenizer, chunk)]
            ids, mask = pad(rows, model.pad_id, "right", model.device)
            counted = mask.bool()
            counted[:, 0] = False
            yield ids, mask, counted

    return _moments(model, layers, batches())


def fact_moments(
    model: CausalModel, rows: Sequence[Row], layers: Sequence[int], batch_rows: int
) -> tuple[dict[int, Tensor], int]:
    """The same over the keys at the fact positions of prompts alone: where facts are looked up."""

    def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for _, ids, mask in _batches(model, rows, batch_rows):
            last = torch.zeros_like(mask, dtype=torch.bool)
            last[:, -1] = True
            yield ids, mask, last

    return _moments(model, layers, batches())


@torch.no_grad()
def _moments(
    model: CausalModel, layers: Sequence[int], batches: Iterable[tuple[Tensor, Tensor, Tensor]]
) -> tuple[dict[int, Tensor], int]:
    """Of batches (ids, mask, which tokens count); one pass serves all layers and stops above the highest."""
    sums: dict[int, Tensor] = {}
    count = 0
    for ids, mask, counted in batches:
        with capture_inputs(model.model, layers) as inputs, stop_after(model.blocks[max(layers)]):
            model.hidden(ids, mask, _positions(mask))
        for layer in layers:
            keys = inputs[layer][counted].float()
            gram = (keys.T @ keys).double()
            sums[layer] = sums[layer] + gram if layer in sums else gram
        count += int(counted.sum())
    return {layer: (total / count).cpu() for layer, total in sums.items()}, count


def _batches(model: CausalModel, rows: Sequence[Row], batch_rows: int) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Texts cut after the fact position and padded on the left: the fact is always the last column."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].before))
    for start in range(0, len(order), batch_rows):
        chunk = order[start : start + batch_rows]
        ids, mask = pad([[*rows[i].before, rows[i].after[0]] for i in chunk], model.pad_id, "left", model.device)
        yield chunk, ids, mask


def _positions(mask: Tensor) -> Tensor:
    return (mask.cumsum(1) - 1).clamp(min=0)


def _in_order(parts: list[tuple[list[int], Tensor]], n: int) -> Tensor:
    out = torch.empty(n, parts[0][1].shape[1], dtype=torch.float64)
    for chunk, values in parts:
        out[chunk] = values
    return out


def _chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    for text in texts:
        chunk.append(text)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
