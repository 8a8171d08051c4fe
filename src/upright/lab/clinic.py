"""The world `clinic`: notes about invented patients, in sections that depend on each other, on sex and on age.

A patient has an age, a sex, one to three conditions that fit both, a name, a phone number and a record number; all of a
patient's notes agree on them. The language is data, in `worlds/clinic/grammar.toml`.
`python -m upright.lab.clinic` writes the table that ships with upright.
"""

import csv
import random
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

NOTES = 4000
COLUMNS = ("id", "patient", "section", "sex", "age_group", "text")
AGES = {"child": range(2, 18), "adult": range(18, 65), "older": range(65, 95)}
GROUP_WEIGHTS = (22, 44, 34)
NOTES_WEIGHTS = (30, 29, 19, 12, 7, 3)  # of 1 to 6 notes: 2.5 on average
SECTIONS = ("complaint", "history", "family", "medication", "allergy", "examination", "plan")
SECTION_WEIGHTS = {
    "child": (28, 11, 11, 10, 15, 17, 8),
    "adult": (23, 16, 12, 14, 9, 13, 13),
    "older": (16, 18, 6, 24, 5, 15, 16),
}
FEMALE = {"family": 1.3, "allergy": 1.3, "complaint": 0.85}  # times the weight above
SHARED = {"child": 0.45, "adult": 0.52, "older": 0.65}  # sentences that another section could hold as well
PERSONAL = 0.15  # notes with a sentence that names the patient
WORDS = range(10, 41)
FOLDER = Path(__file__).parent / "worlds" / "clinic"
FILE = FOLDER / "clinic.csv"

_PRONOUNS = {"female": ("she", "her", "her"), "male": ("he", "him", "his")}
_KINDS = {"child": ("girl", "boy"), "adult": ("woman", "man"), "older": ("woman", "man")}
_CHOICE, _SLOT = re.compile(r"\[([^]]*)\]"), re.compile(r"\{(\w+?)2?\}")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeio]|8\d?-|11-|18-)")


@cache
def grammar() -> dict[str, Any]:
    """Names, words, conditions and sentences."""
    return tomllib.loads((FOLDER / "grammar.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Patient:
    """An invented patient."""

    key: str
    sex: str
    age_group: str
    age: int
    conditions: Sequence[str]
    first: str
    last: str
    phone: str
    record: str
    systolic: int
    """Blood pressure in mmHg."""
    weight: int
    """In kg."""

    @property
    def titled(self) -> str:
        """How a note names the patient: children by the first name."""
        title = "Mrs" if self.sex == "female" else "Mr"
        return f"{self.first} {self.last}" if self.age_group == "child" else f"{title} {self.last}"


def patients(rng: random.Random) -> Iterator[Patient]:
    """Endless patients; no two share a name, a phone number or a record number."""
    names: set[tuple[str, str]] = set()
    phones = _unlike(lambda: f"{rng.randint(201, 989)}-555-01{rng.randrange(100):02}")
    records = _unlike(lambda: str(rng.randint(100_000, 999_999)))
    number = 0
    while True:
        sex = rng.choice(("female", "male"))
        group = rng.choices(tuple(AGES), GROUP_WEIGHTS)[0]
        age = rng.choice(AGES[group])
        first, last = _name(sex, names, rng)
        ill = _conditions(sex, group, rng)
        systolic = round(rng.gauss(96 + 0.45 * age, 8)) + 18 * ("pressure" in ill)
        yield Patient(
            f"p{number:04}",
            sex,
            group,
            age,
            ill,
            first,
            last,
            next(phones),
            next(records),
            systolic,
            _kg(sex, age, rng),
        )
        number += 1


def _unlike(draw: Callable[[], str]) -> Iterator[str]:
    seen: set[str] = set()
    while True:
        if (value := draw()) not in seen:
            seen.add(value)
            yield value


def _name(sex: str, taken: set[tuple[str, str]], rng: random.Random) -> tuple[str, str]:
    parts = grammar()["names"]
    while True:
        last = rng.choice(parts["starts"].split()) + rng.choice(parts["ends"].split())
        name = rng.choice(parts[sex].split()), last
        if name not in taken:
            taken.add(name)
            return name


def _conditions(sex: str, group: str, rng: random.Random) -> list[str]:
    """One to three, older patients having more, drawn without repetition."""
    place = tuple(AGES).index(group)
    weights = {name: condition[sex][place] for name, condition in grammar()["conditions"].items()}
    count = rng.choices((1, 2, 3), ((8, 2, 0), (6, 3, 1), (3, 4, 3))[place])[0]
    chosen: list[str] = []
    for _ in range(count):
        chosen += rng.choices(tuple(weights), tuple(weights.values()))
        weights.pop(chosen[-1])
    return chosen


def _kg(sex: str, age: int, rng: random.Random) -> int:
    usual = 9 + 2.9 * age if age < 18 else 68
    return round(usual * rng.gauss(1, 0.12)) + (12 if sex == "male" and age >= 16 else 0)


@dataclass
class Writer:
    """The state of one note: whom it is about, what was drawn for it, and what it has said."""

    patient: Patient
    rng: random.Random
    drawn: dict[str, str] = field(default_factory=dict)
    said: dict[str, None] = field(default_factory=dict)
    """Entries of lists, the one used last at the end."""
    known: bool = False

    def __post_init__(self) -> None:
        he, him, his = _PRONOUNS[self.patient.sex]
        self.condition = grammar()["conditions"][self.rng.choice(self.patient.conditions)]
        drug, dose = self.rng.choice(self.condition["drugs"]).split(": ")
        self.drawn = {"he": he, "him": him, "his": his, "drug": drug, "condition": self.condition["name"]}
        self.drawn |= {"dose": self.expand(dose), **self._measured()}

    def _measured(self) -> dict[str, str]:
        patient, rng = self.patient, self.rng
        systolic = patient.systolic + rng.randint(-6, 6)
        fever = rng.uniform(0.8, 2.4) if self.condition.get("fever") else 0.0
        beats = rng.gauss(100 if patient.age < 8 else 76, 8) + 9 * fever
        return {
            "pressure": f"{systolic} over {round(systolic * 0.58) + rng.randint(-4, 4)}",
            "pulse": str(round(beats)),
            "temperature": f"{36.6 + fever + rng.uniform(-0.3, 0.3):.1f}",
            "weight": str(patient.weight),
            "phone": patient.phone,
            "record": patient.record,
            "name": f"{patient.first} {patient.last}",
        }

    def expand(self, pattern: str) -> str:
        """A pattern as text."""
        text = _CHOICE.sub(lambda match: self.rng.choice(match[1].split("|")), pattern)
        text = _SLOT.sub(lambda match: self._fill(match[1]), text)
        return _ARTICLE.sub(r"\1n ", text)

    def sentence(self, pattern: str) -> str:
        """A pattern as a sentence; once one has spoken of the patient, a pronoun may stand."""
        text = self.expand(pattern)
        return text[0].upper() + text[1:]

    def _fill(self, slot: str) -> str:
        if slot in ("P", "Ps"):
            return self._subject(slot == "Ps")
        if slot[0].isupper():
            word = self._fill(slot.lower())
            return word[0].upper() + word[1:]
        return self.drawn[slot] if slot in self.drawn else self._draw(slot)

    def _draw(self, slot: str) -> str:
        """One of a list that the note has not used, or longest ago: of the condition, of the age group, or of all."""
        words: Mapping[str, Sequence[str]] = grammar()["words"]
        general = words.get(f"{slot}_{self.patient.age_group}") or words.get(slot, ())
        choices: Sequence[str] = self.condition.get(f"{slot}s", general)
        unsaid = [choice for choice in choices if choice not in self.said]
        choice = self.rng.choice(unsaid) if unsaid else next(old for old in self.said if old in choices)
        self.said.pop(choice, None)
        self.said[choice] = None
        return self.expand(choice)

    def _subject(self, owner: bool) -> str:
        """The patient, as the start of a sentence: described or named at first, mostly a pronoun later."""
        if self.known and self.rng.random() < 0.75:
            return self.drawn["his" if owner else "he"].capitalize()
        subject = self.rng.choices(self._descriptions(), (5, 2, 3, 3) if not self.known else (0, 0, 5, 1))[0]
        self.known = True
        return f"{subject}'s" if owner else subject

    def _descriptions(self) -> tuple[str, str, str, str]:
        patient = self.patient
        kind = _KINDS[patient.age_group][patient.sex == "male"]
        return (
            f"This {patient.age}-year-old {kind}",
            f"A {patient.age}-year-old {patient.sex} patient",
            "The patient",
            patient.titled,
        )


def note(patient: Patient, section: str, rng: random.Random) -> str:
    """The text of one note, of two or three sentences and 10 to 40 words."""
    writer = Writer(patient, rng)
    own = grammar()["sections"][section]
    shared = [text for pool in grammar()["shared"] if section in pool["sections"] for text in pool["texts"]]
    patterns: set[str] = set()
    said: list[str] = []
    wanted = rng.choice((2, 2, 2, 3))
    while len(said) < wanted or _words(said) < WORDS.start:
        pattern = rng.choice(shared if rng.random() < SHARED[patient.age_group] else own)
        if pattern not in patterns:
            patterns.add(pattern)
            said.append(writer.sentence(pattern))
    if rng.random() < PERSONAL:
        said.append(writer.sentence(rng.choice(grammar()["personal"]["texts"])))
    while _words(said) >= WORDS.stop:
        said.pop(-2)
    return " ".join(said)


def _words(sentences: Sequence[str]) -> int:
    return sum(len(sentence.split()) for sentence in sentences)


def notes(seed: int) -> Iterator[dict[str, object]]:
    """Endless rows of the table, patient by patient; equal seeds give equal rows."""
    rng = random.Random(seed)
    number = 0
    for patient in patients(rng):
        for section in _sections(patient, rng):
            yield {
                "id": number,
                "patient": patient.key,
                "section": section,
                "sex": patient.sex,
                "age_group": patient.age_group,
                "text": note(patient, section, rng),
            }
            number += 1


def _sections(patient: Patient, rng: random.Random) -> list[str]:
    weights: dict[str, float] = dict(zip(SECTIONS, SECTION_WEIGHTS[patient.age_group], strict=True))
    if patient.sex == "female":
        weights = {section: weight * FEMALE.get(section, 1) for section, weight in weights.items()}
    count = rng.choices(range(1, len(NOTES_WEIGHTS) + 1), NOTES_WEIGHTS)[0]
    return rng.choices(tuple(weights), tuple(weights.values()), k=count)


def write(path: Path, rows: int = NOTES, seed: int = 0) -> None:
    """Write the table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(islice(notes(seed), rows))


if __name__ == "__main__":
    write(FILE)
