"""Pieces that make a lab model from nothing: tokenizer, model, loss, save."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from upright.lab.config import Shape
from upright.lab.corpus import NO_ANSWER, Window
from upright.models.layouts import blocks_of, map_output

BOUNDARY, PAD = "<|endoftext|>", "<|pad|>"


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE; every text starts with the boundary token, which also ends documents."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOUNDARY, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single=f"{BOUNDARY} $A", special_tokens=[(BOUNDARY, tokenizer.token_to_id(BOUNDARY))]
            ),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOUNDARY,
        eos_token=BOUNDARY,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )


def new_model(shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A randomly initialised Llama with tied embeddings."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=shape.hidden,
                intermediate_size=shape.mlp,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_key_value_heads=shape.heads,
                max_position_embeddings=shape.context,
                tie_word_embeddings=True,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )


@contextmanager
def late_reading(model: LlamaForCausalLM, batch: Window, layers: int) -> Iterator[None]:
    """While inside, the first `layers` blocks hide each subject from the tokens that come after it.

    A small model left to itself carries the subject to the last token and looks the fact up there. Large models
    look facts up at the subject and read the answer off it later (Geva et al. 2023, arXiv:2304.14767), which is what
    locate-and-edit methods rely on. Hiding the subject early, in training alone, makes a small model do the same.
    """
    subjects, readers = batch.subjects[:, :-1], batch.readers[:, :-1]
    hidden = (readers[:, :, None] == subjects[:, None, :]) & (readers[:, :, None] > 0)
    causal = torch.ones(hidden.shape[1:], dtype=torch.bool).tril()
    mask = (causal & ~hidden)[:, None].to(model.device)

    def hook(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, {**kwargs, "attention_mask": mask}

    hooks = [block.register_forward_pre_hook(hook, with_kwargs=True) for block in blocks_of(model)[:layers]]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def weighted_loss(model: LlamaForCausalLM, batch: Window, late_layers: int, lookup_weight: float) -> Tensor:
    """Mean next-token loss, weighted by token, plus `lookup_weight` times the lookup loss.

    Subjects are hidden in the first `late_layers` blocks, and the state that leaves the last of these at a subject's
    last token must already name the answer: the lookup loss reads it with the model's own norm and head.
    """
    ids, weights = batch.ids.to(model.device), batch.weights[:, 1:].to(model.device)
    kept: list[Tensor] = []

    def keep(states: Tensor) -> Tensor:
        kept.append(states)
        return states

    with late_reading(model, batch, late_layers), map_output(blocks_of(model)[max(late_layers, 1) - 1], keep):
        logits = model(ids[:, :-1], use_cache=False).logits
    losses = cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")
    loss: Tensor = (losses * weights.flatten()).sum() / weights.sum()
    answers = batch.answers[:, :-1].to(model.device)
    asked = answers != NO_ANSWER
    if not lookup_weight or not asked.any():
        return loss
    named = model.lm_head(model.model.norm(kept[0][asked]))
    return loss + lookup_weight * cross_entropy(named.float(), answers[asked])
