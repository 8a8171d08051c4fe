"""What is left out of the synthetic records, by looks at them alone: post-processing, which costs no privacy."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from upright.synthesis.config import FilterConfig
from upright.synthesis.corpus import Code

EMPTY, SHORT, LOOP, REPEAT, SECRET = "empty", "too short", "loop", "repeat", "canary"
GRAM = 4
"""Words of the n-grams whose repetitions make a loop."""
LEAST_COMPARED = 5
"""Words of a record from which on it may be a repeat; shorter ones are alike by chance."""


@dataclass(frozen=True)
class Filtered:
    """What passed.

    Args:
        kept: places of the records that passed, rising.
        reasons: how many did not, by reason.
        refused: how many did not, by code.
    """

    kept: list[int]
    reasons: Counter[str]
    refused: Counter[Code]


def accept(texts: Sequence[str], codes: Sequence[Code], config: FilterConfig, secrets: Iterable[str] = ()) -> Filtered:
    """Which of these texts pass; the first of equal ones before the others. A text has one reason at most.

    Args:
        secrets: public list of texts, such as canaries, that no record may hold; case and spacing play no role.
    """
    hidden = [_plain(secret) for secret in secrets]
    if not all(hidden):
        raise ValueError("got an empty secret, which every text holds; must have some letters")
    kept, reasons, refused, seen = list[int](), Counter[str](), Counter[Code](), Counter[str]()
    for i, (text, code) in enumerate(zip(texts, codes, strict=True)):
        reason = _reason(text, config, hidden) or _repeats(text, config, seen)
        if reason is None:
            kept.append(i)
        else:
            reasons[reason] += 1
            refused[code] += 1
    return Filtered(kept, reasons, refused)


def _reason(text: str, config: FilterConfig, hidden: Sequence[str]) -> str | None:
    """What is wrong with a text by itself."""
    words = text.split()
    if not words:
        return EMPTY
    if len(words) < config.least:
        return SHORT
    if repetition(words) > config.loops:
        return LOOP
    plain = _plain(text) if hidden else ""
    return SECRET if any(secret in plain for secret in hidden) else None


def _repeats(text: str, config: FilterConfig, seen: Counter[str]) -> str | None:
    """Whether as many equal texts as may be were `seen`, of which this is then one; spacing plays no role."""
    words = text.split()
    if len(words) < LEAST_COMPARED:
        return None
    line = " ".join(words)
    seen[line] += 1
    return REPEAT if seen[line] > config.repeats else None


def repetition(words: Sequence[str]) -> float:
    """Share of the 4-grams that repeat an earlier one: 1 - distinct / all; 0 for less than four words.

    >>> repetition("so it goes on so it goes on".split())
    0.2
    """
    grams = [tuple(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1)]
    return round(1 - len(set(grams)) / len(grams), 12) if grams else 0.0


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().casefold()
