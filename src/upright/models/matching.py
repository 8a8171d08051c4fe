"""When a generated answer counts as right: exact match after normalisation, aliases allowed."""

import re
import string
from collections.abc import Iterable

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_END = re.compile(r"[.!?](?=\s|$)|\n")


def normalise(text: str) -> str:
    """Lower case without punctuation, articles and extra spaces (the usual SQuAD rule).

    A text of punctuation alone, or one that would vanish, is only trimmed.
    """
    plain = " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
    return plain or text.strip().lower()


def answer_of(generated: str) -> str:
    """The answer in generated text: up to the first full stop, question or exclamation mark, or line break.

    >>> answer_of(" Paris. It lies on"), answer_of(" St. Louis")
    ('Paris', 'St')
    """
    return _END.split(generated.strip(), maxsplit=1)[0].strip()


def matches(generated: str, answers: Iterable[str]) -> bool:
    """Whether the generated text gives one of the answers and then stops or ends its sentence.

    An answer may itself hold a full stop: the text is compared up to the answer's own length.

    >>> matches(" St. Louis. It", ["St. Louis"]), matches(" Guinea-Bissau.", ["Guinea"])
    (True, False)
    """
    text = generated.strip()
    for answer in answers:
        rest = text[len(answer.strip()) :]
        if normalise(answer_of(text)) == normalise(answer):
            return True
        if text.lower().startswith(answer.strip().lower()) and (not rest or _END.match(rest)):
            return True
    return False
