"""Gradients of every kind of layer against one record at a time, in float64: language models, tied heads, LoRA."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from upright.errors import UserError
from upright.training.private.forms import Dense, Form, Outer, Rows, Tied, joined
from upright.training.private.gradients import Batch, Clipped, LayerGradients, per_record, trainable

V, T = 11, 5
SMALL = {
    "vocab_size": V,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 2,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": True},
    "mistral": {},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {},
    "gemma": {},
    "gemma2": {},
    "phi": {},
    "phi3": {},
    "gpt2": {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16},
    "gptj": {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16, "rotary_dim": 2},
    "gpt_neox": {"rotary_pct": 1.0},
    "opt": {"ffn_dim": 12, "word_embed_proj_dim": 8},
    "falcon": {"alibi": False},
    "bloom": {"n_layer": 2, "n_head": 2},
    "olmo2": {},
}


def config(family: str) -> Any:
    given = {**SMALL, **FAMILIES[family]}
    return CONFIG_MAPPING[family](**{k: v for k, v in given.items() if (family, k) != ("falcon", "head_dim")})


def language_model(family: str) -> nn.Module:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config(family))
    return randomised(model.double().eval())


def randomised(model: nn.Module) -> nn.Module:
    """Weights large enough that no gradient is tiny; norms and biases too."""
    for p in model.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return model


def lm_loss(model: Any, batch: Batch) -> Tensor:
    """Mean loss of each record, over its own real tokens."""
    ids, mask = batch
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    needs = (
        {} if isinstance(model, nn.Module) and "bloom" in type(model).__name__.lower() else {"position_ids": positions}
    )
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, **needs).logits
    losses = cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(len(ids), -1)
    return (losses * mask[:, 1:]).sum(1) / mask[:, 1:].sum(1)


def texts(rows: int = 4, tokens: int = T, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, V, (rows, tokens), generator=generator)
    ids[0, 1:] = ids[0, 1]  # a word that comes again
    lengths = torch.randint(2, tokens + 1, (rows, 1), generator=generator)
    mask = (torch.arange(tokens) < lengths).long()
    return torch.where(mask == 1, ids, 0), mask


def one_at_a_time(model: nn.Module, loss: Callable[..., Tensor], batch: Batch, clip: float) -> Clipped:
    """The definition: back-propagate each record by itself, clip, add up."""
    chosen = list(trainable(model).values())
    sums, norms = [torch.zeros_like(p) for p in chosen], []
    for i in range(len(batch[0])):
        found = torch.autograd.grad(loss(model, tuple(f[i : i + 1] for f in batch)).sum(), chosen, allow_unused=True)
        gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(chosen, found, strict=True)]
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        norms.append(norm)
        for total, g in zip(sums, gradients, strict=True):
            total += g * min(1.0, clip / norm)
    return Clipped(sums, torch.tensor(norms, dtype=torch.float64))


def same(found: Clipped, wanted: Clipped) -> None:
    """To 1e-8 of the largest number."""
    torch.testing.assert_close(found.norms, wanted.norms, rtol=1e-8, atol=0)
    for ours, theirs in zip(found.sums, wanted.sums, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8 * float(wanted.norms.max()))


@pytest.mark.parametrize("clip", [0.5, math.inf])
@pytest.mark.parametrize("family", FAMILIES)
def test_language_models_are_those_of_one_record_at_a_time(family: str, clip: float) -> None:
    model = language_model(family)
    way = per_record(model, lm_loss)
    assert isinstance(way, LayerGradients)
    same(way.clipped(texts(), clip), one_at_a_time(model, lm_loss, texts(), clip))


@pytest.mark.parametrize("tokens", [2, 3, 9])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_short_and_long_texts(family: str, tokens: int) -> None:
    model, batch = language_model(family), texts(3, tokens, seed=1)
    same(per_record(model, lm_loss).clipped(batch, 0.5), one_at_a_time(model, lm_loss, batch, 0.5))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # asked for by peft
@pytest.mark.parametrize("first_to", ["wrap", "cast"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_lora_factors(family: str, first_to: str) -> None:
    """Whichever comes first, the change of type or the wrapping: parameters are found anew in every pass."""
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(r=3, lora_alpha=6, target_modules="all-linear", fan_in_fan_out=family == "gpt2")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config(family))
    if first_to == "cast":
        model = peft.get_peft_model(model.double(), settings).double()
    else:
        model = peft.get_peft_model(model, settings).double()
    model.eval()  # without dropout, which would draw anew
    for p in trainable(model).values():
        p.data += 0.3 * torch.randn_like(p)
    way = per_record(model, lm_loss)
    assert isinstance(way, LayerGradients)
    assert len(trainable(model)) < len(list(model.parameters()))
    same(way.clipped(texts(), 0.5), one_at_a_time(model, lm_loss, texts(), 0.5))


def test_a_unit_of_several_texts_is_one_record() -> None:
    """Texts (U, R, T): the gradient of a unit is that of its mean loss, clipped as one."""
    model = language_model("llama")

    def loss(model: Any, batch: Batch) -> Tensor:
        ids, mask = batch
        return lm_loss(model, (ids.flatten(0, 1), mask.flatten(0, 1))).view(len(ids), -1).mean(1)

    ids, mask = texts(6)
    batch = ids.view(3, 2, T), mask.view(3, 2, T)
    same(per_record(model, loss).clipped(batch, 0.5), one_at_a_time(model, loss, batch, 0.5))


def test_mixed_precision_norms_are_right_to_two_percent() -> None:
    model = language_model("llama").float()

    def loss(model: Any, batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return lm_loss(model, batch).float()

    found = per_record(model, loss).clipped(texts(), 0.5)
    wanted = one_at_a_time(model, loss, texts(), 0.5)
    torch.testing.assert_close(found.norms.double(), wanted.norms, rtol=0.02, atol=0)
    assert all(total.dtype == torch.float32 for total in found.sums)


class Zoo(nn.Module):
    """Kinds of layers that have no rule of their own, and those that have."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(V, 6, padding_idx=0)
        self.layers = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6), nn.PReLU(6), nn.RMSNorm(6), nn.Linear(6, 6))
        self.convolution = nn.Conv1d(6, 4, 2)
        self.group = nn.GroupNorm(2, 4)
        self.head = nn.Linear(4, V)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.layers[1](self.layers[0](self.embed(ids)))
        hidden = self.layers[4](self.layers[3](torch.tanh(hidden)))
        mixed = self.layers[2](hidden.transpose(1, 2)).sin()
        return self.head(self.group(self.convolution(mixed)).mean(2))  # type: ignore[no-any-return]


def test_layers_without_a_rule_are_differentiated_by_definition() -> None:
    torch.manual_seed(1)
    model, ids = randomised(Zoo().double()), texts()[0]

    def loss(model: Any, batch: Batch) -> Tensor:
        return cross_entropy(model(batch[0]), batch[0][:, -1], reduction="none")

    way = per_record(model, loss)
    assert isinstance(way, LayerGradients)
    same(way.clipped((ids,), 0.5), one_at_a_time(model, loss, (ids,), 0.5))


def test_places_that_are_not_each_records_own_are_refused() -> None:
    """GPT-2 looks positions up once for the whole batch unless it is given them: that sum is no record's gradient."""
    model = language_model("gpt2")

    def loss(model: Any, batch: Batch) -> Tensor:
        return model(input_ids=batch[0]).logits.square().mean((1, 2))  # type: ignore[no-any-return]

    with pytest.raises(UserError, match="give position_ids"):
        per_record(model, loss).clipped(texts(), 1.0)


def test_embeddings_that_mix_records_are_refused() -> None:
    model = nn.Embedding(V, 4, max_norm=1.0)
    with pytest.raises(UserError, match="max_norm mix records"):
        per_record(model, lambda m, b: m(b[0]).sum((1, 2))).clipped(texts(), 1.0)


def test_a_layer_whose_output_leads_nowhere_has_no_gradient() -> None:
    class Dangling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.lost = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            self.lost(x)
            return self.used(x)  # type: ignore[no-any-return]

    model = Dangling().double()

    def loss(model: Any, batch: Batch) -> Tensor:
        return model(batch[0]).square().sum(1)  # type: ignore[no-any-return]

    batch = (torch.randn(4, 3, dtype=torch.float64),)
    same(per_record(model, loss).clipped(batch, 0.5), one_at_a_time(model, loss, batch, 0.5))


def test_parameters_can_be_trained_afterwards_even_if_the_loss_fails() -> None:
    model = language_model("llama")

    def failing(model: Any, batch: Batch) -> Tensor:
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        per_record(model, failing).clipped(texts(), 1.0)
    assert all(p.requires_grad for p in model.parameters())


# --- forms, by hand ---


def f64(values: list[Any]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_outer_by_hand() -> None:
    """a = [[1,0],[1,1]], b = [[1],[2]]: W = (3, 2), norm² 13 = 1·1 + 1·2 + 1·2 + 2·4."""
    form = Outer(f64([[[1], [2]]]), f64([[[1, 0], [1, 1]]]))
    assert form.norm2().item() == pytest.approx(13)
    assert form.dense().norm2().item() == pytest.approx(13)


def test_rows_by_hand() -> None:
    """ids 5, 5, 7 with (1,0), (2,0), (0,3): rows (3,0) and (0,3), norm² 18, and not 14 = 1 + 4 + 9."""
    form = Rows(torch.tensor([[5, 5, 7]]), f64([[[1, 0], [2, 0], [0, 3]]]), 8)
    assert form.norm2().item() == pytest.approx(18)
    assert form.dense().norm2().item() == pytest.approx(18)


def test_tied_by_hand() -> None:
    """V = 2, id 0, b 3, h 2, c (1,-1): E = (3,0), H = (2,-2), norm² 29 = 9 + 8 + 12, and not 17."""
    form = Tied(Rows(torch.tensor([[0]]), f64([[[3]]]), 2), Outer(f64([[[1, -1]]]), f64([[[2]]])))
    assert form.norm2().item() == pytest.approx(29)
    assert form.dense().norm2().item() == pytest.approx(29)


def forms(generator: torch.Generator, m: int, n: int, t: int) -> Iterator[Form]:
    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    yield Outer(drawn(3, t, m), drawn(3, t, n))
    yield Rows(torch.randint(0, m, (3, t), generator=generator), drawn(3, t, n), m)
    yield Dense(drawn(3, m, n))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 6),
    st.sets(st.integers(0, 2), min_size=1),
)
def test_any_sum_of_forms_is_that_of_written_out_gradients(seed: int, m: int, n: int, t: int, some: set[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = list(forms(generator, m, n, t)), list(forms(generator, m, n, t))
    chosen = [form for k in some for form in (first[k], second[k])]
    plain = torch.stack([form.dense().grads for form in chosen]).sum(0)
    form, c = joined(chosen), torch.rand(3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(form.norm2(), plain.square().sum((1, 2)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(form.weighted(c), (c[:, None, None] * plain).sum(0), rtol=1e-9, atol=1e-9)
