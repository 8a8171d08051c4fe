"""Numbers and dates in the texts of literals; what is neither is a name or a text."""

import re
import unicodedata
from calendar import monthrange
from math import isfinite

NUMBER = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d+))?")
MULTIPLES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
UNIT_WORDS = 3  # of the longest unit
# a unit begins with a small letter or a sign (prime and double prime are escaped), or is a short row of capitals
UNIT = re.compile(r"[^\W\d_A-Z].*|[°%‰\u2032\u2033µ$€£¥].*|[A-Z]{1,4}[²³$€£]?")
MIXED = {"Hz", "MHz", "GHz", "THz", "Pa", "MPa", "GPa", "Wh", "MWh", "GWh", "TWh", "Bq", "Gy", "Sv", "Da", "Wb", "Ma"}
ORDINALS = {"st", "nd", "rd", "th"}

MOMENT = re.compile(
    r"(?P<year>[+-]?\d{4,9})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?)?)?"
    r"(?:Z|[+-]\d\d:\d\d)?"
)
PLAIN_YEAR = 4  # digits of a year without a sign, month or day


def quantity(text: str) -> float | None:
    """The number a literal states, with or without a unit; None for anything else.

    Thousands may be grouped by commas; a currency sign may stand before the number, a multiple and a unit of at
    most three words behind it. A word with a capital is no unit, unless it is a symbol such as MW: "12 Monkeys"
    is a film.

    >>> quantity("1,234"), quantity("-3.5e6"), quantity("12 km"), quantity("$2.5 million"), quantity("12 Monkeys")
    (1234.0, -3500000.0, 12.0, 2500000.0, None)
    """
    text = text.strip().replace("\N{MINUS SIGN}", "-")
    if text and unicodedata.category(text[0]) == "Sc":
        text = text[1:].lstrip()
    match = NUMBER.match(text)
    if match is None or not _is_unit(text[match.end() :]):
        return None
    words = text[match.end() :].split()
    value = float(match[0].replace(",", "")) * (MULTIPLES.get(words[0].lower(), 1.0) if words else 1.0)
    return value if isfinite(value) else None


def _is_unit(rest: str) -> bool:
    """Whether this can follow a number as its unit: "", "%", "km", " km", " square kilometres"."""
    words = rest.split()
    if rest[:2].lower() in ORDINALS or len(words) > UNIT_WORDS:
        return False
    return all(UNIT.fullmatch(word) or word in MIXED for word in words)


def moment(text: str) -> tuple[int, ...] | None:
    """Year, year and month, or year, month and day of an ISO 8601 date or time; None for anything else.

    A year alone has four digits, or a sign and four to nine; the time of day and the zone are left out. Months
    and days of 00, by which Wikidata marks what is not known, end the moment before them.

    >>> moment("2001-05"), moment("2001-05-03T00:00:00Z"), moment("-0044-03-15"), moment("2001-02-30")
    ((2001, 5), (2001, 5, 3), (-44, 3, 15), None)
    """
    match = MOMENT.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day = match["year"], match["month"], match["day"]
    if len(year) != PLAIN_YEAR and year[0] not in "+-":
        return None
    if month in (None, "00"):
        return (int(year),) if day in (None, "00") else None
    if not 1 <= int(month) <= 12:
        return None
    if day in (None, "00"):
        return int(year), int(month)
    return (int(year), int(month), int(day)) if int(day) <= _days(int(year), int(month)) else None


def _days(year: int, month: int) -> int:
    """Days of a month in the proleptic Gregorian calendar, which repeats itself every 400 years."""
    return monthrange(2000 + year % 400, month)[1]
