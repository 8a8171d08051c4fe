"""Recognisers of personal data with a form of their own: patterns, and checksums where there are any.

Names and addresses have no such form and are not looked for.
"""

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import NamedTuple


class Found(NamedTuple):
    """Personal data in a text."""

    kind: str
    value: str
    start: int
    end: int

    @property
    def key(self) -> tuple[str, str]:
        """What is the same in all ways of writing it: the kind, and letters and digits alone."""
        return self.kind, re.sub(r"[\W_]", "", self.value).lower()

    @property
    def masked(self) -> str:
        """The value as a report may show it: its first two characters and its length."""
        return f"{self.value[:2]}… ({len(self.value)} characters)"


class Recogniser(NamedTuple):
    """A pattern and what a match must satisfy."""

    kind: str
    pattern: re.Pattern[str]
    check: Callable[[str], bool]


def luhn(text: str) -> bool:
    """Whether the digits pass the check of payment cards (ISO/IEC 7812-1, annex B).

    >>> luhn("4539 1488 0343 6467"), luhn("4539 1488 0343 6468")
    (True, False)
    """
    digits = [int(c) for c in reversed(text) if c.isdigit()]
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0


def iban(text: str) -> bool:
    """Whether the letters and digits pass the check of bank accounts (ISO 13616, modulus 97).

    >>> iban("GB82 WEST 1234 5698 7654 32"), iban("GB83 WEST 1234 5698 7654 32")
    (True, False)
    """
    plain = re.sub(r"\W", "", text).upper()
    return len(plain) >= 15 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def spanish_id(text: str) -> bool:
    """Whether the letter of a Spanish DNI fits its number.

    >>> spanish_id("12345678Z"), spanish_id("12345678A")
    (True, False)
    """
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(text[:8]) % 23] == text[8].upper()


def french_id(text: str) -> bool:
    """Whether the key of a French NIR fits its number.

    >>> french_id("1 84 12 76 451 089 46"), french_id("1 84 12 76 451 089 47")
    (True, False)
    """
    digits = re.sub(r"\D", "", text)
    return 97 - int(digits[:13]) % 97 == int(digits[13:])


def _address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def _phone(text: str) -> bool:
    """Seven to fifteen digits, and a sign that they are no mere number: a plus, brackets, a leading zero, or groups."""
    groups = re.findall(r"\d+", text)
    count = sum(map(len, groups))
    if re.fullmatch(r"\d{3}-\d\d-\d{4}", text) or ("." in text and len(groups) < 3):
        return False  # an invalid national id, a decimal fraction
    if text[0] in "+(0":
        return 7 <= count <= 15
    grouped = len(groups) > 1 and all(2 <= len(group) <= 5 or group == "1" for group in groups)
    return 7 <= count <= 13 and ((grouped and (count >= 9 or "-" in text or len(groups) > 2)) or count == 10)


def _any(text: str) -> bool:
    return True


MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
DATE = (
    r"(?:19|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.](?:[12]\d|3[01]|0?[1-9])"
    r"|(?:[12]\d|3[01]|0?[1-9])[-/.](?:[12]\d|3[01]|0?[1-9])[-/.](?:19|20)?\d\d"
    rf"|(?:[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)? (?:{MONTHS})[a-z]*\.?,? (?:19|20)\d\d"
    rf"|(?:{MONTHS})[a-z]*\.? (?:[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?,? (?:19|20)\d\d"
)
# In order of precedence: what an earlier one takes is not offered to a later one.
RECOGNISERS = tuple(
    Recogniser(kind, re.compile(pattern, re.IGNORECASE), check)
    for kind, pattern, check in (
        ("e-mail", r"(?<![\w.+-])[\w.+-]+@(?:[\w-]+\.)+[a-z]{2,}\b", _any),
        ("URL", r"\b(?:https?://|www\.)[^\s<>\"')\]]*[^\s<>\"')\].,;:!?]", _any),
        ("IBAN", r"\b[a-z]{2}\d\d(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,3})?\b", iban),
        ("payment card", r"(?<![\w.-])\d(?:[ -]?\d){11,18}(?![\w-])", luhn),
        ("national id", r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])", _any),
        ("national id", r"\b[a-ceghj-prstw-z][a-ceghj-nprstw-z] ?\d\d ?\d\d ?\d\d ?[a-d]\b", _any),
        ("national id", r"\b\d{8}[a-z]\b", spanish_id),
        ("national id", r"\b[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?\d\d ?\d{3} ?\d{3} ?\d\d\b", french_id),
        (
            "IP address",
            r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7})(?![\w:]|\.\d)",
            _address,
        ),
        ("date", rf"(?<![\w/.-])(?:{DATE})(?![\w/-])", _any),
        ("phone number", r"(?<![\w.+-])(?:\+|\()?\d[\d ().-]{5,18}\d(?= ?x\d{1,5}\b|(?![\w-]))", _phone),
    )
)
KINDS = tuple(dict.fromkeys(recogniser.kind for recogniser in RECOGNISERS))


def recognise(text: str) -> list[Found]:
    """Personal data in a text, in the order in which they stand, none overlapping another."""
    taken: list[Found] = []
    for kind, pattern, check in RECOGNISERS:
        for match in pattern.finditer(text):
            start, end = match.span()
            if check(match[0]) and all(end <= other.start or start >= other.end for other in taken):
                taken.append(Found(kind, match[0], start, end))
    return sorted(taken, key=lambda found: found.start)
