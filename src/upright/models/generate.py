"""Batched generation over the key/value cache: rows of any length together, each as if it were alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase

from upright.errors import UserError
from upright.models.causal import CausalModel, pad, prompt_ids

_NUCLEUS = 256
"""Tokens that top-p sampling looks at first."""


class Prefix:
    """A batch of token rows the model has read, ready to be continued.

    Rows are padded on the left, so that all end at the same place; positions count real tokens only, so a row
    has the states it would have alone.
    """

    hidden: Tensor
    """Hidden state (B, d_model) after each row's last token."""

    def __init__(self, model: CausalModel, rows: Sequence[Sequence[int]]) -> None:
        """Read `rows`, each of at least one token id."""
        ids, mask = pad(rows, model.pad_id, "left", model.device)
        self._model = model
        self._mask = mask[:, :0]
        self._cache = DynamicCache(config=model.model.config)
        self.hidden = self.feed(ids, mask)[:, -1]

    def feed(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Let the rows read `ids` (B, T), real where `mask` (B, T) is 1; their hidden states (B, T, d_model).

        `hidden` becomes the last column.
        """
        self._mask = torch.cat([self._mask, mask], dim=1)
        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        states = self._model.hidden(ids, self._mask, positions, self._cache)
        self.hidden = states[:, -1]
        return states

    def select(self, rows: Sequence[int]) -> None:
        """Keep `rows`, in that order; a row named twice is there twice."""
        index = torch.tensor(rows, device=self._mask.device)
        self._cache.batch_select_indices(index)
        self._mask, self.hidden = self._mask[index], self.hidden[index]


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance (Sanchez et al. 2023): lean towards what the prompt makes likelier.

    Args:
        scale: logits become neutral + scale * (prompted - neutral); 1 changes nothing, more leans further.
        neutral: a prompt that says nothing, such as the prompt with its values left blank.
    """

    scale: float
    neutral: str


class Continuation(str):
    """What came after a prompt: a string that knows how it ended."""

    ended: bool
    """Whether it came to an end token or a stop string before its tokens ran out."""

    def __new__(cls, text: str, ended: bool = True) -> "Continuation":
        made = super().__new__(cls, text)
        made.ended = ended
        return made


@torch.no_grad()
def generate(
    model: CausalModel,
    prompts: Sequence[str],
    max_new_tokens: int,
    stop: Sequence[str] = ("\n",),
    temperature: float = 0.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
    batch_rows: int = 32,
    top_p: float = 1.0,
    draws: Tensor | None = None,
    guidance: Guidance | None = None,
) -> list[Continuation]:
    """Continue each prompt by at most `max_new_tokens` tokens; the new texts, in the order of the prompts.

    A row ends at an end-of-text token or at the first `stop` string; neither is in the text. A leading space
    is there if the tokenizer keeps it. At temperature 0 the likeliest token is taken, else one is drawn with
    `generator`, among the `top_k` likeliest if given, and of these among the fewest whose mass reaches `top_p`
    (Holtzman et al. 2020). All randomness is drawn up front in the order of the prompts, so `batch_rows` changes
    the speed and not the texts; `draws`, uniform numbers (prompts, max_new_tokens) on the CPU, takes the place of
    `generator` where a text must not depend on the prompts beside it either. `guidance` costs a second row for each.
    Raises `UserError` for an empty prompt and for one that leaves no room in the model's context.
    """
    if max_new_tokens < 1 or "" in stop:
        raise ValueError(f"max_new_tokens={max_new_tokens}, stop={stop!r}: at least one token, no empty stop string")
    if temperature > 0 and draws is None and generator is not None:
        draws = _draws(len(prompts), max_new_tokens, generator)
    choose = _Choice(temperature, top_k, top_p, draws)
    rows = prompt_ids(model.tokenizer, prompts)
    check_room(model, rows, max_new_tokens)
    neutral, scale = _aside(model, guidance, max_new_tokens)
    found: dict[int, Continuation] = {}
    for batch in batches([len(row) for row in rows], batch_rows):
        reader = _Reader(model, [rows[i] for i in batch], neutral, scale)
        for i, ids in _continue(model, reader, batch, max_new_tokens, stop, choose).items():
            found[i] = Continuation(_text(model, ids, stop), _ended(model, ids, stop))
    return [found[i] for i in range(len(rows))]


@torch.no_grad()
def next_token_logprobs(model: CausalModel, prompts: Sequence[str], batch_rows: int = 32) -> Tensor:
    """Log-probabilities (N, V) of the token after each prompt, float32 on the CPU; for KL divergences.

    Raises `UserError` for an empty prompt and for one longer than the model's context.
    """
    rows = prompt_ids(model.tokenizer, prompts)
    check_room(model, rows, 0)
    result = torch.empty(len(rows), model.model.config.vocab_size)
    for batch in batches([len(row) for row in rows], batch_rows):
        logits = model.unembed(Prefix(model, [rows[i] for i in batch]).hidden)
        result[batch] = logits.float().log_softmax(dim=-1).cpu()
    return result


def batches(keys: Sequence[Any], batch_rows: int) -> list[list[int]]:
    """Indices in groups of at most `batch_rows`, sorted by key: similar lengths make little padding."""
    if batch_rows < 1:
        raise ValueError(f"batch_rows={batch_rows}: must be at least 1")
    order = sorted(range(len(keys)), key=lambda i: keys[i])
    return [order[start : start + batch_rows] for start in range(0, len(order), batch_rows)]


def check_room(model: CausalModel, rows: Sequence[Sequence[int]], new_tokens: int) -> None:
    """Raise `UserError` for the first row that, with `new_tokens` more, outgrows the model's context."""
    for number, row in enumerate(rows):
        if model.context is not None and len(row) + new_tokens > model.context:
            raise UserError(
                f"prompt {number} has {len(row)} tokens and {new_tokens} may follow: more than the "
                f"{model.context} {model.name} can read; shorten it or ask for fewer new tokens"
            )


def _aside(model: CausalModel, guidance: Guidance | None, max_new_tokens: int) -> tuple[list[int], float]:
    """The neutral row of a guidance and its scale; no row where there is none."""
    if guidance is None:
        return [], 1.0
    (neutral,) = prompt_ids(model.tokenizer, [guidance.neutral])
    check_room(model, [neutral], max_new_tokens)
    return neutral, guidance.scale


@dataclass(frozen=True)
class _Choice:
    """The rule that picks the next token of each row. Raises ValueError for settings that it cannot follow."""

    temperature: float
    top_k: int | None
    top_p: float
    draws: Tensor | None
    """Uniform numbers (prompts, steps) on the CPU; not looked at where the temperature is 0."""

    def __post_init__(self) -> None:
        if self.temperature < 0 or (self.temperature > 0 and self.draws is None):
            raise ValueError(f"temperature={self.temperature}: must be >= 0, and above 0 needs a generator or draws")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p}: must be above 0 and at most 1")

    def __call__(self, logits: Tensor, prompts: list[int], step: int) -> Tensor:
        """Ids (B,) for `logits` (B, V) of these prompts at this step."""
        if self.draws is None or self.temperature == 0:
            return logits.argmax(dim=-1)
        uniform = self.draws[prompts, step].to(logits.device)
        return _draw(logits.double() / self.temperature, self.top_k, uniform, self.top_p)


class _Reader:
    """The rows of a batch, and beside each a neutral one that reads the same new tokens, if `neutral` is not empty."""

    def __init__(self, model: CausalModel, rows: Sequence[Sequence[int]], neutral: Sequence[int], scale: float) -> None:
        self._model, self._scale, self._guided = model, scale, bool(neutral)
        self._prefix = Prefix(model, [*rows, *([neutral] * len(rows) if neutral else [])])

    def logits(self) -> Tensor:
        """Of the next token of each row, (B, V)."""
        logits = self._model.unembed(self._prefix.hidden)
        if not self._guided:
            return logits
        own, neutral = logits.float().chunk(2)
        return neutral + self._scale * (own - neutral)

    def feed(self, ids: Tensor) -> None:
        """Let each row read its next token, `ids` (B,)."""
        ids = torch.cat([ids, ids]) if self._guided else ids
        self._prefix.feed(ids[:, None], torch.ones_like(ids[:, None]))

    def select(self, rows: Sequence[int], of: int) -> None:
        """Keep these of the `of` rows."""
        self._prefix.select([*rows, *([of + row for row in rows] if self._guided else [])])


def _continue(
    model: CausalModel,
    reader: _Reader,
    numbers: Sequence[int],
    max_new_tokens: int,
    stop: Sequence[str],
    choose: _Choice,
) -> dict[int, list[int]]:
    """New ids of each row of one batch, by its number; rows that have ended leave the batch."""
    new: dict[int, list[int]] = {number: [] for number in numbers}
    live = list(numbers)
    for step in range(max_new_tokens):
        ids = choose(reader.logits(), live, step)
        for number, token in zip(live, ids.tolist(), strict=True):
            new[number].append(token)
        going = [place for place, number in enumerate(live) if not _ended(model, new[number], stop)]
        if not going or step + 1 == max_new_tokens:
            break
        if len(going) < len(live):
            reader.select(going, len(live))
            live, ids = [live[place] for place in going], ids[going]
        reader.feed(ids)
    return new


def _ended(model: CausalModel, ids: list[int], stop: Sequence[str]) -> bool:
    if ids[-1] in model.eos_ids:
        return True
    # A token holds at least one byte, so a stop string that has just been completed lies in this tail.
    tail = max((len(string.encode()) for string in stop), default=0) + 1
    text = _decode(model.tokenizer, ids[-tail:])
    return any(string in text for string in stop)


def _text(model: CausalModel, ids: list[int], stop: Sequence[str]) -> str:
    text = _decode(model.tokenizer, ids[:-1] if ids and ids[-1] in model.eos_ids else ids)
    found = [text.find(string) for string in stop]
    return text[: min((at for at in found if at >= 0), default=len(text))]


def _decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


def _draws(rows: int, steps: int, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers (rows, steps) in [0, 1), all drawn at once so that batching cannot change them."""
    device = generator.device if generator is not None else "cpu"
    return torch.rand(rows, steps, generator=generator, device=device, dtype=torch.float64).cpu()


def _draw(logits: Tensor, top_k: int | None, uniform: Tensor, top_p: float = 1.0) -> Tensor:
    """One token (B,) per row of `logits` (B, V): its cumulative distribution inverted at `uniform` (B,)."""
    ids = None
    if top_k is not None and top_k < logits.shape[-1]:
        logits, ids = logits.topk(top_k, dim=-1)
    if top_p < 1:
        cumulative, order = _likeliest(logits.softmax(dim=-1), top_p)
        ids = order if ids is None else ids.gather(1, order)
        mass = cumulative.gather(1, (cumulative < top_p).sum(1, keepdim=True).clamp(max=cumulative.shape[1] - 1))
    else:
        cumulative = logits.softmax(dim=-1).cumsum(dim=-1)
        mass = cumulative[:, -1:]
    place = torch.searchsorted(cumulative, uniform[:, None] * mass, right=True).clamp(max=cumulative.shape[1] - 1)
    return place[:, 0] if ids is None else ids.gather(1, place)[:, 0]


def _likeliest(probabilities: Tensor, mass: float) -> tuple[Tensor, Tensor]:
    """Cumulative probabilities (B, K) of the likeliest tokens of each row and their ids, K enough to reach `mass`.

    A sort of the whole vocabulary costs more than the rest of a step, and a few hundred tokens mostly hold the mass.
    """
    size = min(_NUCLEUS, probabilities.shape[-1])
    while True:
        values, ids = probabilities.topk(size, dim=-1)
        cumulative = values.cumsum(dim=-1)
        if size == probabilities.shape[-1] or bool((cumulative[:, -1] >= mass).all()):
            return cumulative, ids
        size = min(8 * size, probabilities.shape[-1])
