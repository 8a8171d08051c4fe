"""Texts as words and marks, and back."""

import re
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
_TOKEN = re.compile(r"[Ġ▁ ](\w+(?:['\u2019]\w+)*)|([^\w\sĠ▁])")


def words_of(text: str) -> list[str]:
    """Words and marks of a text, in lower case.

    >>> words_of("It's a 7-day course.")
    ["it's", 'a', '7', '-', 'day', 'course', '.']
    """
    return _WORD.findall(text.lower())


def spelled(words: Sequence[str]) -> str:
    """A text of words and marks, set as in print.

    >>> spelled(["it's", "a", "7", "-", "day", "course", "(", "or", "so", ")", ".", "good", "."])
    "It's a 7-day course (or so). Good."
    """
    text = re.sub(r" (?=[.,;:!?)\]%])|(?<=[(\[]) | (?=[-/])|(?<=[-/]) ", "", " ".join(words))
    return re.sub(r"(^|[.!?] )(\w)", lambda found: found[1] + found[2].upper(), text)


def public_words(tokens: Iterable[str]) -> list[str]:
    """Words that begin with a space, and marks, among the tokens of a public model, sorted.

    >>> public_words(["Ġpain", "ain", "▁Pain", ".", "<s>", "Ġknee"])
    ['.', 'knee', 'pain']
    """
    spaced = (_TOKEN.fullmatch(token) for token in tokens)
    return sorted({(found[1] or found[2]).lower() for found in spaced if found})
