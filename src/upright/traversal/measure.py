"""How right an answer is: golds found in answers on token borders, for one question and over all.

`em_in` is 1 if *all* golds are contained in the answers (Tree-of-Traversals, arXiv:2407.21358, section 4), here on the
borders of tokens: "no" is not in "Norway". A question without an answer counts as wrong, never as absent.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from upright.run.evidence import Metric, mean, proportion

ARTICLES = {"a", "an", "the"}
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
NUMBERS = {word: str(number) for number, word in enumerate(WORDS)}
Tokens = tuple[str, ...]


class Judged(NamedTuple):
    """One answer against its golds; `n` golds are left that can be scored."""

    em_in: bool
    recall: float
    f1: float
    hit: bool
    """Whether the first answer is a gold."""
    n: int


def tokens(text: str) -> Tokens:
    """Case folded, without accents, punctuation and articles; small number words as digits.

    >>> tokens("The Paris and Lyon areas")
    ('paris', 'and', 'lyon', 'areas')
    """
    plain = "".join(mark for mark in unicodedata.normalize("NFKD", text) if not unicodedata.combining(mark))
    words = re.findall(r"\w+", plain.casefold().replace("'", ""))
    return tuple(NUMBERS.get(word, word) for word in words if word not in ARTICLES)


def contains(answer: Tokens, gold: Tokens) -> bool:
    """Whether the gold's tokens stand in the answer, side by side."""
    size = len(gold)
    return any(answer[i : i + size] == gold for i in range(len(answer) - size + 1))


def judge(answers: Sequence[str], golds: Sequence[str]) -> Judged:
    """Compare answers with golds. Golds of which nothing is left are not scored; see `Judged.n`."""
    said = [found for answer in answers if (found := tokens(answer))]
    wanted = {found for gold in golds if (found := tokens(gold))}
    met = {gold for gold in wanted if any(contains(answer, gold) for answer in said)}
    recall = len(met) / len(wanted) if wanted else 0.0
    same = len(set(said) & wanted)
    f1 = 2 * same / (len(set(said)) + len(wanted)) if said or wanted else 0.0
    return Judged(bool(wanted) and met == wanted, recall, f1, bool(said) and said[0] in wanted, len(wanted))


def summary(judged: Sequence[Judged], split: str = "all") -> list[Metric]:
    """Shares and means over all questions that have a gold to score."""
    scored = [one for one in judged if one.n]
    return [
        proportion("EM-in", sum(one.em_in for one in scored), len(scored), split=split),
        proportion("first answer right", sum(one.hit for one in scored), len(scored), split=split),
        mean("golds found", [one.recall for one in scored], split=split, unit="proportion", better="higher"),
        mean("set F1", [one.f1 for one in scored], split=split, better="higher"),
    ]
