"""Personal data in a text replaced by invented values or by tags, as far as patterns find them.

Found are data with a form of their own (`upright.run.measures.recognise`), names after titles and after phrases that
introduce a name, the same names wherever the text repeats them, ages over 89, street addresses, months with a day,
and numbers of five digits and more. This is no guarantee: a name without a title, a rare disease, a place, a job
can still tell who somebody is.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from upright.run.measures.names import ONE, TITLES, names
from upright.run.measures.recognise import MONTHS, Found, recognise
from upright.synthesis.config import Style

_NAMES = rf"{ONE}(?: +(?:[A-Z]\. +)?{ONE}){{0,2}}"
_TITLES = rf"{TITLES}|doctor|professor|nurse|judge|rev|sister|brother|officer|captain"


def _words(line: str) -> list[str]:
    return line.split()


_PATTERNS = (
    ("name", re.compile(rf"\b(?i:{_TITLES})\b\.? +({_NAMES})")),
    ("name", re.compile(rf"(?i:\b(?:my name is|name'?s|name:|named|patient:|called|signed,|regards,))\s+({_NAMES})")),
    ("age", re.compile(r"\b(9\d|1[01]\d)(?=[ -]?(?:years?|yrs?|y\.?/?o|year-old)\b)", re.IGNORECASE)),
    ("age", re.compile(r"\b(?:age|aged|age:)\s+(9\d|1[01]\d)\b", re.IGNORECASE)),
    (
        "address",
        re.compile(
            r"\b(\d{1,5} (?:[A-Z][a-z]+ ){1,3}(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Way|Court"
            r"|Ct|Square|Place)\b\.?)"
        ),
    ),
    ("date", re.compile(rf"\b((?:{MONTHS.title()})[a-z]*\.? (?:[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?)(?!\w)")),
    ("date", re.compile(r"(?<![\w/.-])((?:0?[1-9]|1[0-2])/(?:19|20)\d\d)(?![\w/-])")),
    ("number", re.compile(r"(?<![\w.,])(\d{5,})(?![\w%])")),
)
_NOT_NAMES = frozenset(
    _words(
        """a an and at but doctor had has he her here his how i if in is it my no not of on or patient please she thank
        thanks that the their there they this to was we what when where who why yes you"""
    )
)
"""Words that may follow a title or an introduction with a capital and are no name."""
_FIRST = _words("Alder Birke Corin Dorea Elvan Fenna Garin Hesper Ilario Junia Kelda Lorin Mirel Nadia Orla Perrin")
_LAST = _words("Ashdown Brackley Calloway Denholm Everly Farrow Glenmore Hartwell Ingram Kestrel Lockridge Marlowe")
_STREETS = _words("Maple Juniper Harbour Meadow Orchard Willow")
_MONTHS = _words("January February March April May June July August September October November December")


class Anonymised(NamedTuple):
    """A text without the personal data that were found."""

    text: str
    found: Counter[str]
    """How many of each kind were replaced."""


@dataclass
class Anonymiser:
    """Replaces personal data; equal values get equal replacements, also in later texts.

    Args:
        style: invented values, which keep the text natural, or tags such as <NAME>.
        rng: of the inventions.
        thorough: also replace what may be a name because it is capitalised within a sentence: far more names are
            found, and places, firms and drugs are taken for names.
    """

    style: Style
    rng: random.Random
    thorough: bool = True
    _known: dict[tuple[str, str], str] = field(default_factory=dict)

    def __call__(self, text: str) -> Anonymised:
        """The text with everything replaced that is found in it."""
        spans = personal(text, self.thorough)
        parts, at = list[str](), 0
        for span in spans:
            parts += [text[at : span.start], self._for(span)]
            at = span.end
        return Anonymised("".join([*parts, text[at:]]), Counter(span.kind for span in spans))

    def _for(self, found: Found) -> str:
        if self.style == "tags":
            return f"<{found.kind.upper()}>"
        if found.kind == "name":
            return " ".join(self._name(word, i) for i, word in enumerate(found.value.split(" ")))
        if found.key not in self._known:
            self._known[found.key] = self._invented(found)
        return self._known[found.key]

    def _name(self, word: str, place: int) -> str:
        """For each word of a name one of an invented name, so that a part that stands alone later still fits."""
        if word.endswith("."):
            return self.rng.choice(_FIRST)[0] + "."
        key = ("name", word.lower())
        if key not in self._known:
            self._known[key] = _other(word, _LAST if place else _FIRST + _LAST, self.rng)
        return self._known[key]

    def _invented(self, found: Found) -> str:
        return _INVENTED.get(found.kind, _digits)(found.value, self.rng)


def personal(text: str, thorough: bool = True) -> list[Found]:
    """Personal data in a text, in the order in which they stand, none overlapping another.

    With `thorough` also capitalised words within sentences (`upright.run.measures.names`).
    """
    taken = list(recognise(text))
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            found = _trimmed(kind, match)
            if found and _free(found, taken):
                taken.append(found)
    taken += [found for found in (names(text) if thorough else ()) if _free(found, taken) and not _plain(found.value)]
    taken += [found for found in _repeated(text, taken) if _free(found, taken)]
    return sorted(taken, key=lambda found: found.start)


def _trimmed(kind: str, match: re.Match[str]) -> Found | None:
    """What a pattern found; of a name, the words up to one that is none."""
    value, start = match[1], match.start(1)
    if kind == "name":
        words = value.split(" ")
        stop = next((i for i, word in enumerate(words) if word.lower() in _NOT_NAMES), len(words))
        value = " ".join(words[:stop])
    return Found(kind, value, start, start + len(value)) if value else None


def _plain(value: str) -> bool:
    """Whether nothing but words that are no names, and titles, stands there."""
    return all(word.lower() in _NOT_NAMES or re.fullmatch(_TITLES, word, re.IGNORECASE) for word in value.split())


def _free(found: Found, taken: list[Found]) -> bool:
    return all(found.end <= other.start or found.start >= other.end for other in taken)


def _repeated(text: str, taken: list[Found]) -> Iterator[Found]:
    """Further places of the words of names that were found."""
    words = {word for found in taken if found.kind == "name" for word in found.value.split(" ") if len(word) > 2}
    if words:
        pattern = rf"\b(?:{'|'.join(map(re.escape, sorted(words, key=len, reverse=True)))})\b"
        for match in re.finditer(pattern, text):
            yield Found("name", match[0], match.start(), match.end())


# --- inventions ---


def _other(word: str, among: list[str], rng: random.Random) -> str:
    return rng.choice([choice for choice in among if choice.lower() != word.lower()])


def _digits(value: str, rng: random.Random) -> str:
    """Other digits and letters in the same places."""

    def changed(sign: str) -> str:
        if sign.isdigit():
            return str(rng.choice([digit for digit in range(1, 10) if str(digit) != sign]))
        return rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ") if sign.isalpha() else sign

    return "".join(map(changed, value))


def _date(value: str, rng: random.Random) -> str:
    """Another day, written as the value is: with a word for the month or with figures, with a year or without."""
    year, month, day = 2000 + rng.randrange(20), rng.choice(_MONTHS), 1 + rng.randrange(28)
    if re.search(r"[a-z]{3}", value, re.IGNORECASE):
        return f"{month} {day}, {year}" if re.search(r"\d{4}", value) else f"{month} {day}"
    sign, number = re.sub(r"\d", "", value)[0], 1 + rng.randrange(12)
    if re.match(r"\d{4}", value):
        return f"{year}{sign}{number:02}{sign}{day:02}"
    return f"{number:02}{sign}{min(day, 12):02}{sign}{year}"  # valid in either order of day and month


_INVENTED: dict[str, Callable[[str, random.Random], str]] = {
    "e-mail": lambda value, rng: f"{rng.choice(_FIRST).lower()}.{rng.choice(_LAST).lower()}@example.org",
    "URL": lambda value, rng: f"https://example.org/{rng.randrange(1000, 10000)}",
    "IP address": lambda value, rng: f"192.0.2.{rng.randrange(1, 255)}",
    "date": _date,
    "age": lambda value, rng: "90",  # one class for all above 89, as 45 CFR 164.514(b)(2)(i)(C) has it
    "address": lambda value, rng: f"{rng.randrange(1, 400)} {rng.choice(_STREETS)} Street",
}
