"""A server's reply, read with care: servers with "the same API" differ, and some answer garbage."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, FiniteFloat, NonNegativeInt

from upright.models.chat.protocol import Completion, Finish, TokenLogprobs, Usage

_LEAST = -9999.0  # stands for the log-probability of what is impossible; servers use it, and JSON knows no infinity

Logprob = Annotated[FiniteFloat, BeforeValidator(lambda x: _LEAST if x == float("-inf") else x)]


class _Likely(BaseModel):
    token: str
    logprob: Logprob


class _Token(_Likely):
    top_logprobs: list[_Likely] | None = None


class _Logprobs(BaseModel):
    content: list[_Token] | None = None


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Usage(BaseModel):
    prompt_tokens: NonNegativeInt = 0
    completion_tokens: NonNegativeInt = 0


class Reply(BaseModel):
    """The parts of a chat completion that are read."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def completions(reply: Reply) -> list[Completion]:
    """One completion for each choice; the tokens of all of them add up to what the reply says."""
    usage = reply.usage or _Usage()
    texts = [choice.message.content or choice.message.refusal or "" for choice in reply.choices]
    written = split(usage.completion_tokens, [len(text) for text in texts])
    read = [usage.prompt_tokens] + [0] * (len(texts) - 1)
    return [
        _completion(choice, text, Usage(*tokens))
        for choice, text, *tokens in zip(reply.choices, texts, read, written, strict=True)
    ]


def split(total: int, weights: Sequence[int]) -> list[int]:
    """`total` as whole numbers in proportion to `weights`, equal shares where all are 0; they add up to `total`.

    >>> split(10, [1, 1, 1]), split(7, [0, 2]), split(3, [0, 0])
    ([3, 4, 3], [0, 7], [2, 1])
    """
    weights = weights if any(weights) else [1] * len(weights)
    ends = [round(total * sum(weights[: i + 1]) / sum(weights)) for i in range(len(weights))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _completion(choice: _Choice, text: str, usage: Usage) -> Completion:
    tokens = choice.logprobs.content if choice.logprobs else None
    logprobs = None if tokens is None else tuple(_logprobs(token) for token in tokens)
    if choice.finish_reason in ("content_filter", "tool_calls", "function_call"):
        return Completion("", "error", usage, error=f"the server ended the answer with {choice.finish_reason}")
    finish: Finish = "length" if choice.finish_reason == "length" else "stop"
    return Completion(text, finish, usage, logprobs)


def _logprobs(token: _Token) -> TokenLogprobs:
    return TokenLogprobs(
        token.token, token.logprob, tuple((top.token, top.logprob) for top in token.top_logprobs or ())
    )
