"""Where each family of causal models keeps its parts: one table, and the few ways to read or change a part.

Code elsewhere asks for "the down projection of layer 5" and never for a model's name. A new family is one row
of `LAYOUTS`; the tests run over every row.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from upright.errors import UserError, unknown


@dataclass(frozen=True)
class Layout:
    """Paths of the parts of a decoder-only model, as `nn.Module.get_submodule` reads them.

    `blocks`, `final_norm`, `embed` and `head` start at the model; `down`, `up`, `gate` and `attention_out`
    at one block. `down` maps d_ff to d_model. `gate` is None for an MLP without a gate, and where gate and
    up are one fused matrix: then `up` is that matrix, gate rows first.
    """

    blocks: str
    down: str
    up: str
    attention_out: str
    final_norm: str
    embed: str
    gate: str | None = None
    head: str = "lm_head"


_LLAMA = Layout(
    blocks="model.layers",
    down="mlp.down_proj",
    up="mlp.up_proj",
    gate="mlp.gate_proj",
    attention_out="self_attn.o_proj",
    final_norm="model.norm",
    embed="model.embed_tokens",
)
_GPT2 = Layout(
    blocks="transformer.h",
    down="mlp.c_proj",
    up="mlp.c_fc",
    attention_out="attn.c_proj",
    final_norm="transformer.ln_f",
    embed="transformer.wte",
)

LAYOUTS: dict[str, Layout] = {
    "falcon": Layout(
        blocks="transformer.h",
        down="mlp.dense_4h_to_h",
        up="mlp.dense_h_to_4h",
        attention_out="self_attention.dense",
        final_norm="transformer.ln_f",
        embed="transformer.word_embeddings",
    ),
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "gpt2": _GPT2,
    "gpt_neo": replace(_GPT2, attention_out="attn.attention.out_proj"),
    "gpt_neox": Layout(
        blocks="gpt_neox.layers",
        down="mlp.dense_4h_to_h",
        up="mlp.dense_h_to_4h",
        attention_out="attention.dense",
        final_norm="gpt_neox.final_layer_norm",
        embed="gpt_neox.embed_in",
    ),
    "gptj": replace(_GPT2, down="mlp.fc_out", up="mlp.fc_in", attention_out="attn.out_proj"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "olmo2": _LLAMA,
    "opt": Layout(
        blocks="model.decoder.layers",
        down="fc2",
        up="fc1",
        attention_out="self_attn.out_proj",
        final_norm="model.decoder.final_layer_norm",
        embed="model.decoder.embed_tokens",
    ),
    "phi": replace(
        _LLAMA,
        down="mlp.fc2",
        up="mlp.fc1",
        gate=None,
        attention_out="self_attn.dense",
        final_norm="model.final_layernorm",
    ),
    "phi3": replace(_LLAMA, up="mlp.gate_up_proj", gate=None),
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "stablelm": _LLAMA,
}
"""Layouts by `config.model_type`."""

_EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def layout_for(config: PreTrainedConfig) -> Layout:
    """The layout of the family that `config` describes.

    Raises `UserError` for a family that is not in the table, and for a mixture of experts, whose layers have
    no single down projection.
    """
    family = config.model_type
    if family in LAYOUTS:
        return LAYOUTS[family]
    if any(getattr(config, count, None) for count in _EXPERT_COUNTS):
        raise UserError(
            f"model type {family!r} is a mixture of experts, whose layers have no single down projection; "
            f"use a dense model (allowed: {', '.join(LAYOUTS)})"
        )
    raise unknown("model type", family, LAYOUTS)


def layout_of(model: PreTrainedModel) -> Layout:
    """The layout of `model`; errors as in `layout_for`."""
    return layout_for(model.config)


def blocks_of(model: PreTrainedModel) -> list[nn.Module]:
    """The transformer blocks of `model`, first to last."""
    return list(model.get_submodule(layout_of(model).blocks).children())


def weight_out_in(module: nn.Module) -> Tensor:
    """The weight of a linear map as a view of shape (out, in), y = W x; writing to it writes the module.

    `Conv1D` (GPT-2) stores the transpose. That is decided by the module's type, never by its shape: a square
    matrix fits both ways. Raises `UserError` for quantised and unknown modules.
    """
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dtype not in _FLOATS or weight.ndim != 2:
        raise UserError(f"{type(module).__name__} holds no plain float matrix; load the model unquantised")
    if isinstance(module, Conv1D):
        return weight.T
    if isinstance(module, nn.Linear):
        return weight
    raise UserError(f"{type(module).__name__} is not a linear map (allowed: Linear, Conv1D)")


@torch.no_grad()
def add_update(module: nn.Module, delta_out_in: Tensor) -> None:
    """Add `delta_out_in` (out, in) to the module's weight, in place.

    The sum is taken in the wider of both dtypes and rounded once to the weight's own.
    Raises `ValueError` when the shapes differ.
    """
    weight = weight_out_in(module)
    if delta_out_in.shape != weight.shape:
        got, wanted = tuple(delta_out_in.shape), tuple(weight.shape)
        raise ValueError(f"update of shape {got} for a weight {wanted}: both are (out, in)")
    wider = torch.promote_types(weight.dtype, delta_out_in.dtype)
    weight.copy_(weight.to(wider) + delta_out_in.to(weight.device, wider))


@contextmanager
def capture_inputs(model: PreTrainedModel, layers: Sequence[int], part: str = "down") -> Iterator[dict[int, Tensor]]:
    """Collect what enters `part` ("down", "up", "gate" or "attention_out") of `layers` during a forward pass.

    Yields a dict that each forward pass fills anew: layer -> (B, T, width). OPT hands its MLP one flat
    (B*T, width) matrix; here every family has the batch shape back.
    """
    inputs: dict[int, Tensor] = {}
    blocks, path = blocks_of(model), getattr(layout_of(model), part)

    def keep(layer: int) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            inputs[layer] = args[0]

        return hook

    def shape(layer: int) -> Callable[..., None]:
        def hook(block: nn.Module, args: object, output: Tensor | tuple[Tensor, ...]) -> None:
            batch_shape = _hidden(output).shape[:-1]
            inputs[layer] = inputs[layer].view(*batch_shape, inputs[layer].shape[-1])

        return hook

    with ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(blocks[layer].get_submodule(path).register_forward_pre_hook(keep(layer)))
            hooks.enter_context(blocks[layer].register_forward_hook(shape(layer)))
        yield inputs


@contextmanager
def map_output(block: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While inside, replace the hidden states (B, T, d_model) that leave `block` by `change` of them.

    To read them only, return them unchanged.
    """

    def hook(module: nn.Module, args: object, output: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        changed = change(_hidden(output))
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    with block.register_forward_hook(hook):
        yield


@contextmanager
def mlp_only_at(block: nn.Module, layout: Layout, places: Tensor) -> Iterator[None]:
    """While inside, run the MLP of `block` at `places` of the flattened (B * T) tokens alone; elsewhere it gives 0.

    OPT, whose MLP is no module of its own, runs it everywhere.
    """
    shape: list[torch.Size] = []

    def pack(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        shape.append(args[0].shape)
        return (args[0].flatten(0, 1).index_select(0, places)[None], *args[1:])

    def unpack(module: nn.Module, args: object, output: Tensor) -> Tensor:
        batch, length, width = shape.pop()
        return output.new_zeros(batch * length, width).index_copy(0, places, output[0]).view(batch, length, width)

    path = layout.down.rpartition(".")[0]
    if not path:
        yield
        return
    mlp = block.get_submodule(path)
    with mlp.register_forward_pre_hook(pack), mlp.register_forward_hook(unpack):
        yield


def _hidden(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Blocks of some families return their hidden states alone, others as the head of a tuple."""
    return output[0] if isinstance(output, tuple) else output
