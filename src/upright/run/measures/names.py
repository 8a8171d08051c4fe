"""Names by how they are written: a title and capitalised words, or capitalised words where none had to be.

A plain rule for English and languages like it. It takes places, firms and drugs for names as well, and misses a lone
name at the start of a sentence: to be used where two collections are compared under the same rule.
"""

import re

from upright.run.measures.recognise import Found

NAME = "name"
TITLES = "mr|mrs|ms|mx|miss|dr|prof|sir|madam|señor|señora|herr|frau"
ONE = r"[A-ZÀ-ÖØ-Þ](?:['\u2019][A-ZÀ-ÖØ-Þ])?[a-zß-öø-ÿ]+(?:['\u2019-][A-ZÀ-ÖØ-Þ]?[a-zß-öø-ÿ]+)*"
SPAN = re.compile(rf"(?P<title>\b(?i:{TITLES})\b\.? +)?(?P<name>\b{ONE}(?: +(?:[A-Z]\. +)?{ONE})*)")
OPENING = re.compile(r"[.!?:;\n\"\u201c(\[][\s\"'\u201c\u2018(\[-]*$")  # what a sentence or line begins after
MONTHS = "january february march april may june july august september october november december"
DAYS = "monday tuesday wednesday thursday friday saturday sunday"
PLAIN = frozenset([*MONTHS.split(), *DAYS.split(), "i'm", "i've", "i'll", "i'd"])
LOOK_BACK = 8  # characters in which the end of the sentence before must stand


def names(text: str) -> list[Found]:
    """Names in a text, in the order in which they stand.

    Capitalised words in a row are one name. The first word of a sentence is capitalised anyway and is left out, unless
    a title stands before it; so are months and days.

    >>> [found.value for found in names("Today Ann Lee saw Dr. Ott in May. Mrs. O'Neil-Ray left. Bo came.")]
    ['Ann Lee', 'Ott', "O'Neil-Ray"]
    """
    found = []
    for match in SPAN.finditer(text):
        start, end = match.span("name")
        if match["title"] is None and _opens(text, start):
            start = _second(text, start, end)
        value = text[start:end]
        if value and not PLAIN.issuperset(value.lower().split()):
            found.append(Found(NAME, value, start, end))
    return found


def _opens(text: str, at: int) -> bool:
    """Whether a sentence or line opens there."""
    return OPENING.search(text, max(0, at - LOOK_BACK), at) is not None or not text[:at].strip()


def _second(text: str, start: int, end: int) -> int:
    """Where the second word begins, `end` if there is none."""
    space = text.find(" ", start, end)
    return end if space < 0 else end - len(text[space:end].lstrip())
