"""Every family of the table, on a tiny model built from its own config class."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers import AutoConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from upright.errors import UserError
from upright.models.causal import CausalModel
from upright.models.layouts import (
    LAYOUTS,
    add_update,
    blocks_of,
    capture_inputs,
    layout_for,
    layout_of,
    map_output,
    mlp_only_at,
    weight_out_in,
)

TEXTS = ["The capital of France is", "Rome"]


def test_every_path_of_the_table_resolves(family: str, weights: Callable[..., PreTrainedModel]) -> None:
    model = weights(family)
    layout, blocks = layout_of(model), blocks_of(model)
    assert len(blocks) == 3
    assert model.get_submodule(layout.embed) is model.get_input_embeddings()
    assert model.get_submodule(layout.head) is model.get_output_embeddings()
    assert "norm" in type(model.get_submodule(layout.final_norm)).__name__.lower()
    for block in blocks:
        assert weight_out_in(block.get_submodule(layout.attention_out)).shape[0] == 32


def test_down_undoes_what_up_does(family: str, weights: Callable[..., PreTrainedModel]) -> None:
    """`down` maps d_ff to d_model; `up` and `gate` map back, a fused `up` to twice d_ff."""
    layout, block = LAYOUTS[family], blocks_of(weights(family))[1]
    d_model, d_ff = weight_out_in(block.get_submodule(layout.down)).shape
    assert (d_model, d_ff) in {(32, 48), (32, 128)}
    fused = 2 if family == "phi3" else 1
    assert weight_out_in(block.get_submodule(layout.up)).shape == (fused * d_ff, d_model)
    if layout.gate:
        assert weight_out_in(block.get_submodule(layout.gate)).shape == (d_ff, d_model)


def test_captured_inputs_are_what_the_down_projection_reads(family: str, tiny: Callable[..., CausalModel]) -> None:
    """W k (+ bias) of the captured keys is what the module itself returned, for every row and position."""
    model = tiny(family)
    ids, _, _ = model.encode(TEXTS)
    outputs = []  # cloned: Falcon adds the attention to them in place
    down = model.down(1)
    down.register_forward_hook(lambda module, args, output: outputs.append(output.clone()))
    with capture_inputs(model.model, [1, 2]) as keys:
        model.hidden(ids)
    weight = weight_out_in(down)
    assert keys.keys() == {1, 2}
    assert keys[1].shape == (*ids.shape, weight.shape[1])
    bias = dict(down.named_parameters()).get("bias", torch.zeros(32))
    assert_close(keys[1] @ weight.T + bias, outputs[0].view(*ids.shape, 32))
    assert not down._forward_pre_hooks


def test_replacing_a_block_output_changes_what_follows_it(family: str, tiny: Callable[..., CausalModel]) -> None:
    """A change at position 3 leaves the logits of positions 0 to 2 alone and moves those from 3 on."""
    model = tiny(family, dtype=torch.float32)
    ids = model.encode(TEXTS[:1]).ids
    before = model.unembed(model.hidden(ids))

    def add_at_3(hidden: torch.Tensor) -> torch.Tensor:
        return hidden + (torch.arange(hidden.shape[1]) == 3)[None, :, None] * torch.linspace(-5, 5, 32)

    with map_output(model.blocks[1], add_at_3):
        changed = model.unembed(model.hidden(ids))
    assert_close(changed[:, :3], before[:, :3])
    assert ((changed - before).abs().amax(dim=-1)[0, 3:] > 1e-3).all()
    assert_close(model.unembed(model.hidden(ids)), before)


def test_an_mlp_run_at_some_tokens_gives_these_what_it_always_gives(
    family: str, tiny: Callable[..., CausalModel]
) -> None:
    model = tiny(family)
    ids = model.encode(TEXTS).ids
    places = torch.tensor([0, 3, 4, ids.shape[1] + 1])
    before = model.hidden(ids).flatten(0, 1)
    last = model.blocks[-1]
    with mlp_only_at(last, model.layout, places):
        found = model.hidden(ids).flatten(0, 1)
    assert_close(found[places], before[places])
    others = torch.ones(len(before), dtype=torch.bool).index_fill(0, places, False)
    assert torch.equal(found[others], before[others]) == (family == "opt")  # its MLP is no module of its own
    assert_close(model.hidden(ids).flatten(0, 1), before)


def test_unembedded_hidden_states_are_the_models_logits(family: str, tiny: Callable[..., CausalModel]) -> None:
    model = tiny(family, dtype=torch.float32)
    ids = model.encode(TEXTS[:1]).ids
    assert_close(model.unembed(model.hidden(ids)), model.model(input_ids=ids).logits)


def test_a_square_conv1d_is_told_from_a_linear_map_by_its_type() -> None:
    """Both fit by shape; only y = W x tells. W = [[0, 1], [0, 0]] maps (0, 1) to (1, 0)."""
    conv, linear = Conv1D(2, 2), nn.Linear(2, 2, bias=False)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(linear.weight)
    delta = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    for module in (conv, linear):
        add_update(module, delta)
        assert torch.equal(weight_out_in(module), delta)
        assert torch.equal(module(torch.tensor([[0.0, 1.0]])), torch.tensor([[1.0, 0.0]]))
    assert torch.equal(conv.weight, delta.T)


def test_an_update_is_summed_in_the_wider_type_and_rounded_once() -> None:
    """In bfloat16, with steps of 2^-7 above 1: 1 + 2^-8 + 2^-16 is nearer to 1 + 2^-7.

    An update rounded to bfloat16 first is 2^-8, a tie, which would round to even, back to 1.
    """
    linear = nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    nn.init.ones_(linear.weight)
    add_update(linear, torch.tensor([[2.0**-8 + 2.0**-16]]))
    assert linear.weight.item() == 1 + 2.0**-7


def test_an_update_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\) for a weight \(2, 3\)"):
        add_update(nn.Linear(3, 2), torch.zeros(3, 2))


def test_what_is_no_plain_matrix_is_refused() -> None:
    quantised = nn.Linear(2, 2).requires_grad_(False)
    quantised.weight.data = quantised.weight.data.to(torch.int8)
    with pytest.raises(UserError, match="unquantised"):
        weight_out_in(quantised)
    with pytest.raises(UserError, match="Embedding is not a linear map"):
        weight_out_in(nn.Embedding(2, 2))


@pytest.mark.parametrize("family", ["mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss", "deepseek_v3"])
def test_a_mixture_of_experts_is_refused_for_what_it_is(family: str) -> None:
    with pytest.raises(UserError, match=rf"'{family}' is a mixture of experts.*use a dense model.*llama"):
        layout_for(AutoConfig.for_model(family))


def test_an_unknown_family_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"unknown model type 'bert'.*gpt2.*llama.*qwen3"):
        layout_for(AutoConfig.for_model("bert"))
