"""Loading and its errors, identity, and the rules of tokenising."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import processors
from torch.testing import assert_close
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from upright.errors import UserError
from upright.models import causal
from upright.models.causal import CausalModel, load, pad, prompt_and_target, prompt_ids
from upright.models.layouts import add_update, weight_out_in

Tiny = Callable[..., CausalModel]


@pytest.fixture
def folder(tmp_path: Path, tiny: Tiny) -> Path:
    """A saved model: weights, config and tokenizer."""
    model = tiny("llama", dtype=torch.float16)
    model.model.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_a_saved_model_comes_back_frozen_and_equal(folder: Path, tiny: Tiny) -> None:
    model = load(str(folder))
    assert (model.device.type, model.dtype, model.name) == ("cpu", torch.float32, str(folder))
    assert not model.model.training
    assert not any(parameter.requires_grad for parameter in model.model.parameters())
    original = tiny("llama", dtype=torch.float16)
    for name, parameter in original.model.named_parameters():
        assert_close(model.model.get_parameter(name), parameter.float(), rtol=0, atol=0)
    assert model.tokenizer_digest() == original.tokenizer_digest()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_named_dtype_is_obeyed(folder: Path, dtype: str) -> None:
    assert load(str(folder), dtype=dtype).dtype == getattr(torch, dtype)


def test_a_lab_model_is_found_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upright.lab.checkpoint", {"atlas": folder}.__getitem__, raising=False)
    assert load("lab:atlas").name == "lab:atlas"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer .none of tokenizer.json, tokenizer.model"),
        (lambda f: (f / "model.safetensors").unlink(), "no weights .none of [*].safetensors"),
        (lambda f: (f / "config.json").write_text("{"), "config.json' is not a valid JSON file"),
        (lambda f: (f / "config.json").write_text('{"model_type": "nope"}'), "nope"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "unknown model type 'bert'"),
        (lambda f: (f / "model.safetensors").write_bytes(b"cut"), "cannot be read: .*header"),
        (lambda f: (f / "tokenizer.json").write_text("[]"), "cannot be read: its tokenizer: "),
        (lambda f: (f / "tokenizer.json").write_text("{"), "cannot be read: its tokenizer: "),
    ],
)
def test_a_spoilt_folder_is_one_clear_line(folder: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(folder)
    with pytest.raises(UserError, match=message) as caught:
        load(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("shape", "problem"), [(None, "missing"), ((2, 2), "mismatched")])
def test_weights_are_never_made_up(folder: Path, shape: tuple[int, int] | None, problem: str) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.down_proj.weight"
    del weights[name]
    if shape:
        weights[name] = torch.zeros(shape)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"1 weights are {problem}, the first is {name}"):
        load(str(folder))


def test_tied_weights_are_not_missing(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("gpt2", dtype=torch.float32)
    model.model.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    assert load(str(tmp_path)).digest() == model.digest()


def test_names_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "model.bin").touch()
    wrong = {
        str(tmp_path / "gone"): "no such folder",
        "./gone": "no such folder",
        str(tmp_path / "model.bin"): "is a file",
        "no-such/model": "nor in the local cache, and huggingface.co cannot be reached",
        "two words": "nor a Hugging Face id",
    }
    for spec, message in wrong.items():
        with pytest.raises(UserError, match=message):
            load(spec)


def test_wrong_device_and_dtype_list_the_choices(folder: Path) -> None:
    with pytest.raises(UserError, match=r"unknown dtype 'float8' .allowed: auto, float32"):
        load(str(folder), dtype="float8")
    with pytest.raises(UserError, match=r"unknown device 'cuda:99' .allowed: auto, cpu"):
        load(str(folder), device="cuda:99")


def test_layers_outside_the_model_are_refused(tiny: Tiny) -> None:
    for layer in (-1, 3):
        with pytest.raises(UserError, match=f"layer {layer}: tiny-llama has layers 0 to 2"):
            tiny("llama").down(layer)


def test_the_digest_follows_the_weights(tiny: Tiny) -> None:
    """Equal weights, equal digest; any change in place is seen, and taking it back restores the digest."""
    model = tiny("gpt2", dtype=torch.float32)
    before = model.digest()
    assert before == model.digest() == tiny("gpt2", dtype=torch.float32).digest()
    step = torch.zeros(32, 128)
    step[0, 0] = 1.0
    weight = weight_out_in(model.down(1))
    value = weight[0, 0].clone()
    add_update(model.down(1), step)
    assert model.digest() != before
    weight[0, 0] = value
    assert model.digest() == before
    assert tiny("gpt2", dtype=torch.bfloat16).digest() != before


def test_the_tokenizer_digest_ignores_padding_and_sees_the_bos(tokenizer: PreTrainedTokenizerFast, tiny: Tiny) -> None:
    model = tiny("llama")
    before = model.tokenizer_digest()
    model.tokenizer(["a", "a a a a"], padding=True, truncation=True, max_length=3)
    assert model.tokenizer_digest() == before
    model.tokenizer.backend_tokenizer.post_processor = processors.ByteLevel()
    assert model.tokenizer_digest() != before


def test_the_pad_token_is_one_that_exists(tokenizer: PreTrainedTokenizerFast, tiny: Tiny) -> None:
    size = len(tokenizer)
    model = tiny("llama")
    assert (model.pad_id, len(model.tokenizer)) == (model.tokenizer.eos_token_id, size)


def test_a_pad_token_beyond_the_embedding_is_replaced(
    tokenizer: PreTrainedTokenizerFast, weights: Callable[..., PreTrainedModel]
) -> None:
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    model = CausalModel(weights("llama", vocab_size=315), tokenizer, "short")
    assert model.pad_id == tokenizer.eos_token_id


def test_a_tokenizer_of_another_model_is_refused(
    tokenizer: PreTrainedTokenizerFast, weights: Callable[..., PreTrainedModel]
) -> None:
    with pytest.raises(UserError, match="315 entries does not fit an embedding of 100 rows"):
        CausalModel(weights("llama", vocab_size=100), tokenizer, "small")


def test_pad_by_hand() -> None:
    left = pad([[5, 6], [7]], 9, "left")
    right = pad([[5, 6], [7]], 9, "right")
    assert [t.tolist() for t in left] == [[[5, 6], [9, 7]], [[1, 1], [0, 1]]]
    assert [t.tolist() for t in right] == [[[5, 6], [7, 9]], [[1, 1], [1, 0]]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_offsets_find_a_substring_on_either_side_of_padding(tiny: Tiny, side: causal.Side) -> None:
    texts = ["Berlin is the capital of Germany", "Rome"]
    batch = tiny("llama").encode(texts, side=side)
    for text, ids, mask, offsets in zip(texts, batch.ids, batch.mask, batch.offsets, strict=True):
        real = offsets[mask.bool()].tolist()
        assert real[0] == [0, 0]
        assert ids[mask.bool()][0] == 0
        assert "".join(text[start:end] for start, end in real) == text
        assert (offsets[~mask.bool()] == 0).all()


def test_prompts_get_one_bos_and_never_an_eos(tokenizer: PreTrainedTokenizerFast) -> None:
    plain = tokenizer("Paris", add_special_tokens=False)["input_ids"]
    assert prompt_ids(tokenizer, ["Paris", "<bos>Paris", ""]) == [[0, *plain], [0, *plain], [0]]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 0), ("<eos>", 1)]
    )
    assert prompt_ids(tokenizer, ["Paris"]) == [[0, *plain]]
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel()
    assert prompt_ids(tokenizer, ["Paris"]) == [plain]
    with pytest.raises(UserError, match="prompt 1 is empty"):
        prompt_ids(tokenizer, ["Paris", ""])


def test_a_tokenizer_file_cannot_cut_texts_off(folder: Path) -> None:
    path = folder / "tokenizer.json"
    rules = json.loads(path.read_text())
    rules["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    rules["padding"] = {
        "strategy": {"Fixed": 50}, "direction": "Left", "pad_to_multiple_of": None,
        "pad_id": 1, "pad_type_id": 0, "pad_token": "<eos>",
    }  # fmt: skip
    path.write_text(json.dumps(rules))
    model = load(str(folder))
    text = "The capital of Japan is Tokyo, and the capital of Peru is Lima."
    ids, mask, _ = model.encode([text])
    assert mask.all()
    assert model.tokenizer.decode(ids[0], skip_special_tokens=True) == text


@pytest.mark.parametrize("prompt", ["The capital of France is", "The capital of France is  "])
@pytest.mark.parametrize("target", ["Paris", " Paris", "  Paris "])
def test_one_space_at_the_border_belongs_to_the_target(
    tokenizer: PreTrainedTokenizerFast, prompt: str, target: str
) -> None:
    prompt_part, target_part = prompt_and_target(tokenizer, prompt, target)
    assert tokenizer.decode(prompt_part) == "<bos>The capital of France is"
    assert tokenizer.decode(target_part) == " Paris"
    assert prompt_part + target_part == tokenizer("The capital of France is Paris")["input_ids"]


def test_a_merge_across_the_border_shifts_nothing(tokenizer_across_words: PreTrainedTokenizerFast) -> None:
    """Here "The capital" is one token: cutting the joint ids after "The" would lose part of the target."""
    tokenizer = tokenizer_across_words
    prompt, whole = prompt_ids(tokenizer, ["The", "The capital of"])
    assert whole[: len(prompt)] != prompt
    prompt_part, target_part = prompt_and_target(tokenizer, "The", "capital of")
    assert prompt_part == prompt
    assert tokenizer.decode(target_part) == " capital of"


def test_an_empty_target_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match="target of prompt 'The' is empty"):
        prompt_and_target(tokenizer, "The", " ")
