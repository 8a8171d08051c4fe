"""Texts as vectors: the mean of a model's last hidden states over the tokens of a text."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from upright.errors import UserError
from upright.models import causal
from upright.models.causal import pad, resolve_device
from upright.models.generate import batches

HEADS = ("pooler",)  # weights of a model that have no part in its hidden states


class Beginnings(NamedTuple):
    """Vectors of the beginnings of texts."""

    vectors: Tensor
    """(n, d) in float32, on the CPU."""
    tokens: list[int]
    """How many each whole text has (n,): more than `Embedder.longest` where the rest was left out."""


class Embedder:
    """A causal model or an encoder that gives each text a vector; call it with texts.

    Args:
        spec: Hugging Face id, folder or lab:NAME.
        device: see `upright.models.causal.load`.
        batch_rows: texts computed at once.

    Raises:
        UserError: for a model that cannot be read or lacks weights.
    """

    def __init__(self, spec: str, device: str = "auto", batch_rows: int = 32) -> None:
        self.name, self._rows = spec, batch_rows
        where, source = resolve_device(device), causal._source(spec)
        with causal._reading(spec), causal._quiet():
            self._tokenizer = causal._read_tokenizer(source)
            config = AutoConfig.from_pretrained(source)
            loaded: Any = AutoModel.from_pretrained(
                source, dtype="auto", output_loading_info=True, ignore_mismatched_sizes=True
            )
        model, found = loaded
        missing = {key for key in found["missing_keys"] if not key.startswith(HEADS)}
        causal._check_whole(spec, {**found, "missing_keys": missing})
        self._model: nn.Module = model.float() if where.type == "cpu" else model
        self._model = self._model.to(where).eval().requires_grad_(False)
        self._width = int(config.hidden_size)
        known = (getattr(config, "max_position_embeddings", None), self._tokenizer.model_max_length)
        self.longest = min(int(most) for most in known if most is not None)
        """Tokens of a text that the model reads; of RoBERTa's positions, two belong to no token."""

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """Vectors (n, d) in float32. Raises `UserError` for a text longer than the model reads."""
        rows = self._tokens(texts)
        for row, text in zip(rows, texts, strict=True):
            if not 0 < len(row) <= self.longest:
                raise UserError(f"{text[:40]!r}: has {len(row)} tokens; {self.name} reads 1 to {self.longest}")
        result: list[list[float]] = self._vectors(rows).tolist()
        return result

    def beginnings(self, texts: Sequence[str]) -> Beginnings:
        """Vectors of as much of each text as the model reads; NaN for a text without tokens."""
        rows = self._tokens(texts)
        return Beginnings(self._vectors([row[: self.longest] for row in rows]), [len(row) for row in rows])

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        rows = self._tokenizer(list(texts), verbose=False)["input_ids"] if texts else []
        return [list(row) for row in rows]

    def _vectors(self, rows: Sequence[Sequence[int]]) -> Tensor:
        found = torch.full((len(rows), self._width), torch.nan)
        filled = [i for i, row in enumerate(rows) if row]
        for some in batches([len(rows[i]) for i in filled], self._rows):
            places = [filled[i] for i in some]
            found[places] = self._mean([rows[i] for i in places]).cpu()
        return found

    @torch.no_grad()
    def _mean(self, rows: Sequence[Sequence[int]]) -> Tensor:
        ids, mask = pad(rows, 0, "right", next(self._model.parameters()).device)
        states: Tensor = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)
