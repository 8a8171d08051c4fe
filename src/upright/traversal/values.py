"""What a state is worth, in [0, 1], read from a model's answer.

From log-probabilities where there are some: the mean of the scale under the model's own distribution, which needs
no decoding and gives fewer ties; otherwise the last number after the tag.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from upright.models.chat.protocol import Completion, TokenLogprobs
from upright.traversal.prompts import SCORE_TAG

How = Literal["choices", "tokens", "text"]
_NUMBER = re.compile(r"(?<![\w.])(\d+(?:\.\d*)?|\.\d+)\s*(%?)(?!\w)")


class Value(NamedTuple):
    """A value and where it was read."""

    value: float
    how: How


def read(completion: Completion, scale: Mapping[str, float] | None) -> Value | None:
    """The value in an answer; None when there is none.

    Args:
        completion: the answer.
        scale: what each of the choices that were offered is worth.
    """
    if completion.finish == "error":
        return None
    tokens = completion.logprobs or ()
    if scale and tokens and (mean := expected(tokens[0].top, scale)) is not None:
        return Value(mean, "choices")
    if scale and completion.text.strip().lower() in scale:
        return _refined(tokens, scale[completion.text.strip().lower()])
    number = parse(_whole(completion, bare=bool(scale)))
    return None if number is None else _refined(tokens, number)


def _whole(completion: Completion, bare: bool) -> str:
    """The text, without what a cut may have spoilt: its last number, and reasons (not `bare`) without a score."""
    text = completion.text
    if completion.finish != "length":
        return text
    return text.rstrip("0123456789.%") if bare or SCORE_TAG.lower() in text.lower() else ""


def expected(top: Iterable[tuple[str, float]], scale: Mapping[str, float]) -> float | None:
    """Mean of the scale over the answers on it, weighted by their renormalised probabilities.

    With the scale {"yes": 1, "no": 0} this is p(yes) / (p(yes) + p(no)). None when no answer on it has a
    probability.

    >>> round(expected([("8", math.log(0.5)), ("10", math.log(0.5))], DIGITS), 3)
    0.9
    """
    weights: dict[str, float] = {}
    for token, logprob in top:
        text = token.strip().lower()
        if text in scale:
            weights[text] = weights.get(text, 0.0) + math.exp(logprob)
    total = sum(weights.values())
    return sum(scale[text] * weight for text, weight in weights.items()) / total if total > 0 else None


def softmax(logprobs: Sequence[float]) -> list[float]:
    """Probabilities from log-probabilities, renormalised."""
    highest = max(logprobs)
    weights = [math.exp(logprob - highest) for logprob in logprobs]
    return [weight / sum(weights) for weight in weights]


DIGITS = {str(i): i / 10 for i in range(11)}


def _refined(tokens: Iterable[TokenLogprobs], number: float) -> Value:
    """The mean over the digits that could stand after the point, where the number was written as 0 and one decimal."""
    text = ""
    digit: TokenLogprobs | None = None
    for token in tokens:
        text += token.token
        if re.search(r"(?<![\d.])0?\.\d$", text) and re.fullmatch(r"\d", token.token):
            digit = token
    mean = expected(digit.top, DIGITS) if digit is not None and number == int(digit.token) / 10 else None
    return Value(number, "text") if mean is None else Value(mean, "tokens")


def parse(text: str) -> float | None:
    """The last number after the last tag, or of the text when it has no tag; None when it is not in [0, 1].

    >>> parse("I compare 0.3 and more. Score: 0.9"), parse("1"), parse(".9"), parse("85 %"), parse("7.5")
    (0.9, 1.0, 0.9, 0.85, None)
    """
    rest = re.split(re.escape(SCORE_TAG), text, flags=re.IGNORECASE)[-1]
    found = _NUMBER.findall(rest)
    if not found:
        return None
    digits, percent = found[-1]
    value = float(digits) / (100 if percent else 1)
    return value if 0 <= value <= 1 else None
