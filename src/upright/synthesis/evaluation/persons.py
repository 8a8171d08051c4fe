"""Persons in a record about one person, by rules: who is mentioned where, of which sex and age.

The rules know English words of sex, kinship and age, titles with names, and one law of such records: whoever is not
named otherwise is the person the record is about. They are no gold standard; what they label is called silver.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

FEMALE, MALE = "female", "male"

NOUNS = {
    **dict.fromkeys(("woman", "lady", "girl", "female"), FEMALE),
    **dict.fromkeys(("man", "gentleman", "boy", "male"), MALE),
}
KIN: dict[str, str | None] = {
    **dict.fromkeys(
        ("mother", "mom", "wife", "sister", "daughter", "grandmother", "aunt", "niece", "girlfriend", "granddaughter"),
        FEMALE,
    ),
    **dict.fromkeys(
        ("father", "dad", "husband", "brother", "son", "grandfather", "uncle", "nephew", "boyfriend", "grandson"), MALE
    ),
    **dict.fromkeys(("parent", "spouse", "partner", "sibling", "child", "cousin", "friend", "caregiver", "neighbor")),
    **dict.fromkeys(("doctor", "physician", "nurse", "specialist", "surgeon", "oncologist", "therapist", "provider")),
}
"""Other persons in a record: relatives, and those who care."""
PRONOUNS = {
    **dict.fromkeys(("she", "her", "hers", "herself"), FEMALE),
    **dict.fromkeys(("he", "him", "his", "himself"), MALE),
}
TITLES: dict[str, str | None] = {"mr": MALE, "mister": MALE, "mrs": FEMALE, "ms": FEMALE, "miss": FEMALE}
DOCTORS = ("dr", "doctor")

_CAPITAL = r"[A-Z][\w'-]*"
_YEARS = r"(?:years?|yrs?)"


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(words, key=lambda word: (-len(word), word)))


MENTION = re.compile(
    rf"""\b(?:
      (?P<title>(?i:{_any([*TITLES, *DOCTORS])}))\b\.?\s+(?P<name>{_CAPITAL}(?:\s+{_CAPITAL})?)
    | (?P<bare>{_CAPITAL}(?:\s+{_CAPITAL})?)(?=,?\s+(?:is\s+|was\s+)?(?:an?\s+)?\d{{1,3}}[\s-]+{_YEARS}[\s-]+old)
    | (?P<patient>(?i:(?:(?:the|this|our)\s+)?patient|pt))\b
    | (?P<noun>(?i:{_any(NOUNS)}))\b(?!\s+(?i:{_any(KIN)})\b)
    | (?P<kin>(?i:{_any(KIN)}))s?\b
    | (?P<pronoun>(?i:{_any(PRONOUNS)}))\b
    )""",
    re.VERBOSE,
)
AGE = re.compile(
    rf"\b(\d{{1,3}})[\s-]*{_YEARS}[\s-]+old\b|\b(\d{{1,3}})[\s-]*y/?o\b|(?<!\bat )\baged?:?\s+(\d{{1,3}})\b", re.I
)
SENTENCE = re.compile(r"(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bMrs)[.!?]+\s+|\n+")


class Mention(NamedTuple):
    """Words that stand for a person."""

    start: int
    end: int
    text: str
    """In lower case; of a title with a name the name alone."""
    kind: str
    """title, doctor, bare, patient, noun, kin or pronoun."""
    sex: str | None
    """What the words themselves tell."""
    sentence: int


class Reading(NamedTuple):
    """What the rules found in one record."""

    mentions: list[Mention]
    persons: list[int]
    """Whom each mention is; 0 is the person of the record."""
    sex: str | None
    """Of the person of the record, as far as told."""
    mixed: bool
    """Whether words of both sexes stand for that person."""
    ages: frozenset[int]
    """Told of that person; more than one contradict each other."""


def mentions(text: str) -> list[Mention]:
    """All mentions of persons in a text, in order."""
    ends = [match.end() for match in SENTENCE.finditer(text)]
    return list(_found(text, ends))


def _found(text: str, ends: list[int]) -> Iterator[Mention]:
    sentence = 0
    for match in MENTION.finditer(text):
        while sentence < len(ends) and ends[sentence] <= match.start():
            sentence += 1
        kind = match.lastgroup if match["title"] is None else "title"
        words = " ".join((match["name"] or match["kin"] or match.group()).lower().split())
        sex = (NOUNS | KIN | PRONOUNS).get(words)
        if kind == "title":
            title = match["title"].lower()
            kind, sex = ("doctor", None) if title in DOCTORS else ("title", TITLES[title])
        yield Mention(match.start(), match.end(), words, str(kind), sex, sentence)


def read(text: str) -> Reading:
    """Mentions, persons, sex and ages of one record."""
    found = mentions(text)
    resolver = _Resolver()
    persons = [resolver.person(mention) for mention in found]
    return Reading(found, persons, resolver.sexes[0], resolver.mixed, _ages(text, found))


def _ages(text: str, found: list[Mention]) -> frozenset[int]:
    """Ages of the record's person: those that no relative stands before in the sentence, or close behind."""
    kin = [mention.start for mention in found if mention.kind == "kin"]
    ages = set()
    for match in AGE.finditer(text):
        begins = max((m.end() for m in SENTENCE.finditer(text, 0, match.start())), default=0)
        if not any(begins <= start < match.end() + 12 for start in kin):
            ages.add(int(match[1] or match[2] or match[3]))
    return frozenset(ages)


@dataclass
class _Resolver:
    """Takes mentions in their order and says whom they are; a state of its own for each record."""

    sexes: list[str | None] = field(default_factory=lambda: [None])
    mixed: bool = False
    by_key: dict[str, int] = field(default_factory=dict)
    surname: str | None = None
    recent: list[tuple[int, int]] = field(default_factory=list)
    """(person, sentence) of all mentions so far of others than the record's person."""

    def person(self, mention: Mention) -> int:
        if mention.kind == "pronoun":
            return self._pronoun(mention)
        who = self._named(mention) if mention.kind in ("title", "bare", "doctor") else self._described(mention)
        if who:
            self.recent.append((who, mention.sentence))
        return who

    def _described(self, mention: Mention) -> int:
        if mention.kind == "kin":
            return self._other(f"kin {mention.text}", mention.sex)
        self._tell(mention.sex)
        return 0

    def _named(self, mention: Mention) -> int:
        """The first who is named and may be the record's person is it; then the surname tells."""
        surname = mention.text.split()[-1]
        if mention.kind == "doctor":
            return self._other(f"doctor {surname}", None)
        fits = mention.sex is None or self.sexes[0] in (None, mention.sex)
        if fits and self.surname in (None, surname):
            self.surname = surname
            self._tell(mention.sex)
            return 0
        return self._other(f"name {surname} {mention.sex}", mention.sex)

    def _pronoun(self, mention: Mention) -> int:
        """Another person of that sex in the sentence, else the record's, else another before, else a contradiction."""
        near = self._latest(mention, same_sentence=True)
        if near is not None:
            return near
        if self.sexes[0] in (None, mention.sex):
            self._tell(mention.sex)
            return 0
        far = self._latest(mention, same_sentence=False)
        if far is not None:
            return far
        self.mixed = True
        return self._other(f"unknown {mention.sex}", mention.sex)

    def _latest(self, mention: Mention, same_sentence: bool) -> int | None:
        """The latest other person who may be meant; in the same sentence only if the sex is known to agree."""
        for who, sentence in reversed(self.recent):
            if same_sentence and sentence != mention.sentence:
                return None
            if self.sexes[who] == mention.sex or (self.sexes[who] is None and not same_sentence):
                return who
        return None

    def _other(self, key: str, sex: str | None) -> int:
        if key not in self.by_key:
            self.by_key[key] = len(self.sexes)
            self.sexes.append(sex)
        return self.by_key[key]

    def _tell(self, sex: str | None) -> None:
        if sex is None:
            return
        if self.sexes[0] is None:
            self.sexes[0] = sex
        self.mixed |= self.sexes[0] != sex
