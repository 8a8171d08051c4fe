"""Answers to prompts that a model has read: drawn token by token, or chosen among given texts.

Every answer has its own stream of random numbers and its own rules, so whatever stands beside it in a batch
changes nothing but the rounding of floating-point sums.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from upright.models.causal import CausalModel, pad
from upright.models.chat.protocol import Call, Completion, Finish, Sampling, TokenLogprobs, Usage
from upright.models.chat.reading import SharedPrefix

_TOP = 20  # likeliest tokens told at each place
_LEAST = -9999.0  # the log-probability of what is impossible, as servers tell it


class Halted(Exception):
    """Nobody waits for the answers any more."""


@dataclass(eq=False)
class Answer:
    """One answer under way."""

    sampling: Sampling
    stop: tuple[str, ...]
    prompt: int
    """Number of its prompt among those read."""
    room: int
    """Tokens it may have."""
    rng: torch.Generator
    ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)


def stream(call: Call, sample: int) -> torch.Generator:
    """The random numbers of a sample, by the seed, the messages and the sample's number alone."""
    text = json.dumps([call.sampling.seed, call.messages, sample])
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def write(
    model: CausalModel, read: SharedPrefix, answers: Sequence[Answer], halted: Callable[[], bool] = lambda: False
) -> None:
    """Write the answers to their ends, all side by side; those that have ended leave the batch.

    Raises:
        Halted: as soon as `halted()` is true.
    """
    prefix = read.fork()
    prefix.select([answer.prompt for answer in answers])
    live = list(answers)
    while True:
        if halted():
            raise Halted
        logits = model.unembed(prefix.hidden).float()
        ids = pick(logits, live)
        _note(model, logits, ids, live)
        going = [place for place, answer in enumerate(live) if ending(model, answer) is None]
        if not going:
            return
        if len(going) < len(live):
            prefix.select(going)
            live, ids = [live[place] for place in going], ids[going]
        prefix.feed(ids[:, None], torch.ones_like(ids[:, None]))


def pick(logits: Tensor, answers: Sequence[Answer]) -> Tensor:
    """The next token (B,) of each answer after `logits` (B, V): the likeliest, or drawn by its own rules."""
    likeliest = logits.argmax(dim=-1)
    drawn = [place for place, answer in enumerate(answers) if answer.sampling.temperature > 0]
    if not drawn:
        return likeliest
    rules = [answers[place].sampling for place in drawn]
    float64 = partial(torch.tensor, dtype=torch.float64, device=logits.device)
    temperature = float64([rule.temperature for rule in rules])
    probabilities = (logits[drawn].double() / temperature[:, None]).softmax(dim=-1)
    if any(rule.top_p < 1 for rule in rules):
        probabilities = nucleus(probabilities, float64([rule.top_p for rule in rules]))
    likeliest[drawn] = race(probabilities, [answers[place].rng for place in drawn])
    return likeliest


def race(probabilities: Tensor, rngs: Sequence[torch.Generator]) -> Tensor:
    """One number (B,) drawn from each row of `probabilities` (B, V), which need not sum to 1, by its own generator.

    The largest p / e wins, with e from the exponential distribution: the Gumbel-max trick. Unlike the inverse
    of the cumulative distribution it takes no sum of many numbers, so that rounding, which differs between
    batches, changes a draw only where two candidates are equal to about six digits.
    """
    shape = probabilities.shape[-1:]
    noise = torch.stack([torch.empty(shape).exponential_(generator=rng) for rng in rngs]).to(probabilities.device)
    return (probabilities / noise.clamp(min=torch.finfo(noise.dtype).tiny)).argmax(dim=-1)


def nucleus(probabilities: Tensor, top_p: Tensor) -> Tensor:
    """`probabilities` (B, V), 0 outside the fewest likeliest tokens that hold `top_p` (B,) (Holtzman et al. 2020)."""
    ordered, ids = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = ordered.where(before < top_p[:, None], 0)
    return torch.zeros_like(probabilities).scatter(-1, ids, kept)


def ending(model: CausalModel, answer: Answer) -> Finish | None:
    """Why an answer ends here; None while it goes on."""
    if answer.ids[-1] in model.eos_ids:
        return "stop"
    # A token holds at least one byte, so a stop text that has just been completed lies in this tail.
    tail = max((len(text.encode()) for text in answer.stop), default=0) + 1
    text = decode(model, answer.ids[-tail:])
    if any(stop in text for stop in answer.stop):
        return "stop"
    return "length" if len(answer.ids) >= answer.room else None


def completion(model: CausalModel, answer: Answer, read: int, blank: bool) -> Completion:
    """A finished answer, after a prompt of `read` tokens; with `blank` without blanks at its beginning."""
    finish = ending(model, answer)
    assert finish is not None
    text = decode(model, answer.ids)
    text = text[: min((at for stop in answer.stop if (at := text.find(stop)) >= 0), default=len(text))]
    logprobs = tuple(answer.logprobs) if answer.sampling.logprobs else None
    return Completion(text.lstrip(" ") if blank else text, finish, Usage(read, len(answer.ids)), logprobs)


def decode(model: CausalModel, ids: Sequence[int]) -> str:
    """The text of token ids, without special tokens."""
    text = model.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


def _note(model: CausalModel, logits: Tensor, ids: Tensor, answers: Sequence[Answer]) -> None:
    for answer, token in zip(answers, ids.tolist(), strict=True):
        answer.ids.append(token)
    for place, answer in enumerate(answers):
        if answer.sampling.logprobs:
            row = logits[place].log_softmax(dim=-1)
            values, likely = row.topk(min(_TOP, len(row)))
            top = tuple(
                (decode(model, [i]), max(value, _LEAST))
                for i, value in zip(likely.tolist(), values.tolist(), strict=True)
            )
            token = answer.ids[-1]
            answer.logprobs.append(TokenLogprobs(decode(model, [token]), max(float(row[token]), _LEAST), top))


# --- choices ---


@torch.no_grad()
def likelihoods(
    model: CausalModel,
    read: SharedPrefix,
    prompts: Sequence[int],
    texts: Sequence[list[int]],
    ends: Tensor | None = None,
) -> list[float]:
    """The log-likelihood of each text (token ids) after its prompt (its number among those read), in nats.

    With `ends`, token ids of which one must follow, the end is part of the text.
    """
    states = read.hidden[list(prompts)][:, None]
    told = [text if ends is not None else text[:-1] for text in texts]
    if any(told):
        prefix = read.fork()
        prefix.select(prompts)
        states = torch.cat([states, prefix.feed(*pad(told, model.pad_id, "right", model.device))], dim=1)
    sums = [0.0] * len(texts)
    for step in range(states.shape[1]):  # one place at a time: a whole batch of logits may not fit
        logprobs = model.unembed(states[:, step]).double().log_softmax(dim=-1)
        for i, text in enumerate(texts):
            if step < len(text):
                sums[i] += float(logprobs[i, text[step]])
            elif step == len(text) and ends is not None:
                sums[i] += float(logprobs[i, ends].logsumexp(dim=-1))
    return sums


def nested(texts: Sequence[list[int]]) -> bool:
    """Whether one of the texts goes on where another ends; then the end must be scored to tell them apart."""
    ordered = sorted(texts)
    return any(second[: len(first)] == first for first, second in pairwise(ordered))


def end_ids(model: CausalModel, stop: Sequence[str]) -> Tensor:
    """Tokens that end an answer: end of text, and those that begin with a stop text."""
    size = int(model.model.config.vocab_size)
    texts = model.tokenizer.batch_decode([[i] for i in range(size)], clean_up_tokenization_spaces=False)
    ids = [i for i, text in enumerate(texts) if i in model.eos_ids or text.startswith(tuple(stop))]
    return torch.tensor(ids, device=model.device)


def choose(choices: Sequence[str], scores: Sequence[float], sampling: Sampling, rng: torch.Generator) -> TokenLogprobs:
    """The likeliest choice at temperature 0, else one drawn from softmax(scores / temperature).

    Its log-probability is that among the choices (temperature 1), and so are those of all, likeliest first.
    """
    logprobs = torch.tensor(scores, dtype=torch.float64).clamp(min=_LEAST).log_softmax(dim=-1)
    place = int(logprobs.argmax())
    if sampling.temperature > 0:
        place = int(race((logprobs / sampling.temperature).softmax(dim=-1)[None], [rng]))
    pairs = sorted(zip(choices, logprobs.tolist(), strict=True), key=lambda pair: -pair[1])
    return TokenLogprobs(choices[place], float(logprobs[place]), tuple(pairs))
