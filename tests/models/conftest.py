"""Tiny models of every family and a tokenizer trained in a moment: real ones, only small."""

from collections.abc import Callable, Iterator

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from upright.models.causal import CausalModel
from upright.models.layouts import LAYOUTS

SENTENCES = [
    "The capital of France is Paris.",
    "The capital of Japan is Tokyo, and the capital of Peru is Lima.",
    "Berlin is the capital of Germany\nRome is the capital of Italy",
]

# Shapes that work for every family: where a family ignores a name, its own default is as good.
SIZES = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 96,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}

# The features of a family that change how positions, masks, caches or logits work.
FEATURES: dict[str, dict[str, object]] = {
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 4, "final_logit_softcapping": 2.0},
    "gemma3_text": {
        "head_dim": 8,
        "sliding_window": 4,
        "layer_types": ["sliding_attention"] * 2 + ["full_attention"],
    },
    "gpt_neo": {
        "num_layers": 3,
        "num_heads": 4,
        "attention_types": [[["global", "local", "global"], 1]],
        "window_size": 4,
    },
    "gptj": {"rotary_dim": 4},
    "mistral": {"sliding_window": 4},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "phi3": {"sliding_window": 4},
    "qwen3": {"head_dim": 8},
}


def tiny_weights(family: str, dtype: torch.dtype = torch.float64, **config: object) -> PreTrainedModel:
    """A model of three layers with weights large enough that every token and every position matters."""
    sizes = AutoConfig.for_model(family, **{**SIZES, **FEATURES.get(family, {}), **config})
    model: PreTrainedModel = AutoModelForCausalLM.from_config(sizes, dtype=dtype)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def byte_level_bpe(across_words: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE that adds a BOS; with `across_words` its merges do not stop at spaces."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not across_words)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<bos>", "<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices are slower on many threads than on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=sorted(LAYOUTS))
def family(request: pytest.FixtureRequest) -> str:
    """Every family of the table in turn."""
    return str(request.param)


@pytest.fixture
def weights() -> Callable[..., PreTrainedModel]:
    """`tiny_weights(family, dtype, **config)`."""
    return tiny_weights


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of whole words and pieces that adds a BOS."""
    return byte_level_bpe()


@pytest.fixture
def tokenizer_across_words() -> PreTrainedTokenizerFast:
    """A tokenizer with tokens that hold a space in the middle."""
    return byte_level_bpe(across_words=True)


@pytest.fixture
def tiny(tokenizer: PreTrainedTokenizerFast) -> Callable[..., CausalModel]:
    """`tiny(family, dtype, **config)`: the model with its tokenizer."""

    def build(family: str = "llama", dtype: torch.dtype = torch.float64, **config: object) -> CausalModel:
        return CausalModel(tiny_weights(family, dtype, **config), tokenizer, name=f"tiny-{family}")

    return build
